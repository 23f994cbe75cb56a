/* Who is turned away, and how: see refusals.h. No state of its own; never blocks. */
#include "gateway/door/refusals.h"

#include "shared/base/clock.h"

const struct refusal answer_ready = {200, "ok", 0};
const struct refusal refusal_not_found = {404, "not found", COUNT_REFUSED_NOT_FOUND};
const struct refusal refusal_missing_topic = {400, "missing topic", COUNT_REFUSED_BAD_TOPIC};
const struct refusal refusal_bad_topic = {400, "bad topic: broken percent-encoding",
					  COUNT_REFUSED_BAD_TOPIC};
const struct refusal refusal_not_an_upgrade = {426, "upgrade required", COUNT_REFUSED_NOT_UPGRADE};
const struct refusal refusal_bad_version = {426, "upgrade required: Sec-WebSocket-Version 13",
					    COUNT_REFUSED_NOT_UPGRADE};
const struct refusal refusal_bad_key = {400, "bad request: Sec-WebSocket-Key",
					COUNT_REFUSED_MALFORMED};
const struct refusal refusal_has_body = {400, "bad request: a body", COUNT_REFUSED_MALFORMED};
const struct refusal refusal_body_too_large = {413, "body too large", COUNT_REFUSED_MALFORMED};
const struct refusal refusal_bad_method = {405, "method not allowed", COUNT_REFUSED_NOT_UPGRADE};
const struct refusal refusal_malformed = {400, "bad request: malformed HTTP",
					  COUNT_REFUSED_MALFORMED};
const struct refusal refusal_too_long = {431, "request head too large", COUNT_REFUSED_MALFORMED};
const struct refusal refusal_not_registered = {404, "topic not registered",
					       COUNT_REFUSED_NOT_REGISTERED};
const struct refusal refusal_unavailable = {503, "unavailable: database error",
					    COUNT_REFUSED_UNAVAILABLE};
const struct refusal refusal_origin = {403, "origin not allowed", COUNT_REFUSED_ORIGIN};
const struct refusal refusal_full = {503, "too many connections", COUNT_REFUSED_FULL};
const struct refusal refusal_address_full = {429, "too many connections from this address",
					     COUNT_REFUSED_ADDRESS_FULL};
const struct refusal refusal_pending_full = {503, "too many connections without authentication",
					     COUNT_REFUSED_PENDING_FULL};
const struct refusal refusal_timeout = {408, "request timeout", COUNT_REFUSED_TIMEOUT};

enum { FIRST_CAUSE = COUNT_REFUSED_MALFORMED };

void refusals_init(struct refusals *refusals, struct counters *counters)
{
	refusals->counters = counters;
	for (int i = 0; i < REFUSAL_CAUSES; i++) {
		enum counter cause = (enum counter)(FIRST_CAUSE + i);
		/* A service that is full, or cannot read its database, is worth a warning. Somebody
		 * who merely opens the port is not even worth a line at info. */
		bool is_ours =
			(cause >= COUNT_REFUSED_FULL && cause <= COUNT_REFUSED_PENDING_FULL) ||
			cause == COUNT_REFUSED_UNAVAILABLE;
		enum log_level other = cause == COUNT_REFUSED_GONE ? LOG_DEBUG : LOG_INFO;

		refusals->lines[i] = (struct log_repeat){
			.level = is_ours ? LOG_WARN : other,
			.message = "refused a connection",
			.key = "cause",
			.cause = counter_names[cause].label,
		};
	}
}

void refusals_log(struct refusals *refusals, enum counter cause)
{
	log_repeat_event(&refusals->lines[cause - FIRST_CAUSE], clock_monotonic_ms());
}

void refusals_count(struct refusals *refusals, enum counter cause)
{
	refusals->counters->counts[cause]++;
	refusals_log(refusals, cause);
}

void refusals_tick(struct refusals *refusals, bool is_last)
{
	for (int i = 0; i < REFUSAL_CAUSES; i++)
		log_repeat_tick(&refusals->lines[i], clock_monotonic_ms(), is_last);
}
