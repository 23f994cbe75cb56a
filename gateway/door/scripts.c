/* What the browser's scripts are answered with: see scripts.h. No state; never blocks. */
#include "gateway/door/scripts.h"

#include <string.h>

struct slice script_answer(const struct handshake *handshake)
{
	bool is_head = handshake->method.len == 4 && memcmp(handshake->method.at, "HEAD", 4) == 0;
	bool is_get = handshake->method.len == 3 && memcmp(handshake->method.at, "GET", 3) == 0;
	struct slice answer = {0};

	if (handshake_is_for(handshake, "/client.js"))
		answer.at = script_client;
	else if (handshake_is_for(handshake, "/client-socket.js"))
		answer.at = script_client_socket;
	if (!answer.at || (!is_head && !is_get))
		return (struct slice){0};
	answer.len = is_head ? (size_t)(strstr(answer.at, "\r\n\r\n") + 4 - answer.at)
			     : strlen(answer.at);
	return answer;
}
