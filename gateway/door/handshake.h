/*
 * The HTTP request that opens a WebSocket (RFC 6455, section 4.2.1) or a stream (RFC 9112): its
 * head as slices of the bytes received, and what the contract finds wrong with it. Pure functions;
 * nothing is copied except the forwarding header.
 *
 * libwebsockets never sees a client's request: what passes here is handed to it in a canonical form
 * (handshake_canonical). So refusals, limits and the exact bytes of a topic are ours alone.
 */
#ifndef GATEWAY_HANDSHAKE_H
#define GATEWAY_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/client/body.h"
#include "gateway/door/refusals.h"
#include "shared/base/slice.h"
#include "shared/contract/topic_name.h"

enum {
	HANDSHAKE_MAX_BYTES = 8192, /* of a head */
	HANDSHAKE_KEY_BYTES = 24, /* base64 of 16 bytes */
	HANDSHAKE_FORWARDED_MAX = 512,
	HANDSHAKE_CANONICAL_SIZE = 256
};

enum handshake_state { HANDSHAKE_INCOMPLETE, HANDSHAKE_WHOLE, HANDSHAKE_MALFORMED };

struct handshake {
	size_t head_len; /* the blank line included; what follows is WebSocket, or the body */
	struct slice method;
	struct slice path, query; /* of the target, still percent-encoded, without the '?' */
	bool is_http_1_1;
	bool upgrade, connection; /* name "websocket" and "upgrade" (RFC 9110, section 7.8) */
	bool expects_100; /* it waits for "100 Continue" before it sends its body */
	struct slice length, coding; /* Content-Length, Transfer-Encoding */
	int hosts; /* how many Host headers */
	struct slice key, version, origin;
	size_t forwarded_len;
	char forwarded_for[HANDSHAKE_FORWARDED_MAX]; /* the last bytes of all X-Forwarded-For,
							joined */
};

/* Reads the head of a request from `bytes`; HANDSHAKE_INCOMPLETE when more must come. */
enum handshake_state handshake_parse(const char *bytes, size_t len, struct handshake *handshake);

/* True when the target is that path, after any prefix; `path` begins with a slash. */
bool handshake_is_for(const struct handshake *handshake, const char *path);

/* The topic that the request names, decoded into `topic`. NULL when it is a good one, otherwise the
 * refusal: another path (404), a stream by another method than POST (405), no topic (400). A topic
 * that cannot exist is not registered (404). */
const struct refusal *handshake_topic(const struct handshake *handshake,
				      char topic[TOPIC_MAX_BYTES], size_t *topic_len);

/* NULL when the request is a proper upgrade to a WebSocket, otherwise the refusal. */
const struct refusal *handshake_upgrade(const struct handshake *handshake);

/* NULL when the request for a stream says what body it has, otherwise the refusal. */
const struct refusal *handshake_body(const struct handshake *handshake, struct body *body);

/* A request with the same meaning in a form that we know; returns its length. Only after
 * handshake_upgrade has returned NULL. */
size_t handshake_canonical(const struct handshake *handshake, char out[HANDSHAKE_CANONICAL_SIZE]);

#endif
