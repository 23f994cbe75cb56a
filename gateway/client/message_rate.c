/*
 * A client's rate of messages, see message_rate.h. The account says until when the client has paid:
 * each message costs the time that lies between two of them at the allowed rate, and may be paid
 * for MESSAGE_BURST_S in advance.
 */
#include "gateway/client/message_rate.h"

enum { SECOND_US = 1000000 };

bool message_rate_take(int64_t *paid_us, int64_t now_ms, int64_t per_second)
{
	int64_t now_us = now_ms * 1000;
	int64_t paid = *paid_us > now_us ? *paid_us : now_us;

	if (per_second == 0)
		return true;
	paid += SECOND_US / per_second;
	if (paid - now_us > (int64_t)MESSAGE_BURST_S * SECOND_US)
		return false;
	*paid_us = paid;
	return true;
}
