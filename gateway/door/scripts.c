/* The answers to requests for the browser's scripts: see scripts.h. No state; never blocks. */
#include "gateway/door/scripts.h"

struct slice script_answer(const struct handshake *handshake)
{
	bool is_head = slice_equals(handshake->method, "HEAD");
	struct slice answer = {0};

	if (handshake_is_for(handshake, "/client.js"))
		answer.at = script_client;
	else if (handshake_is_for(handshake, "/client-socket.js"))
		answer.at = script_client_socket;
	if (!answer.at || (!is_head && !slice_equals(handshake->method, "GET")))
		return (struct slice){0};
	answer.len = is_head ? (size_t)(strstr(answer.at, "\r\n\r\n") + 4 - answer.at)
			     : strlen(answer.at);
	return answer;
}
