/*
 * RFC 6455 from the client's side, made by hand: as little as a load generator needs. Pure.
 */
#ifndef BENCH_WEBSOCKET_H
#define BENCH_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>

enum { WEBSOCKET_TEXT = 1, WEBSOCKET_CLOSE = 8, WEBSOCKET_PING = 9, WEBSOCKET_PONG = 10 };

/* What a client frame takes beside its payload, at most; one of ours is never longer than 64 KiB.
 */
enum { WEBSOCKET_CLIENT_HEADER_MAX = 8 };

/* Writes the request of an opening handshake for `target` (a path with its query); returns its
 * length, without a NUL. Ends the program when it does not fit. */
size_t websocket_request(char *out, size_t size, const char *target);

/* True when `head` (`len` bytes, up to and with the empty line) accepts that request. */
bool websocket_accepted(const char *head, size_t len);

/* Writes a masked frame, in one piece; `out` has room for the header and the payload. Returns its
 * length. */
size_t websocket_client_frame(char *out, int opcode, const char *payload, size_t len);

struct websocket_frame {
	int opcode;
	bool is_final;
	const char *payload;
	size_t len;
};

/* Looks at the beginning of what a server sent. Returns how many bytes the first frame takes, 0
 * when it is not whole yet; the program ends when it is no frame that a server may send. */
size_t websocket_server_frame(const char *bytes, size_t len, struct websocket_frame *frame);

#endif
