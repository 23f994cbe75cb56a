/*
 * Judging the request that opens a WebSocket, see handshake.h: PROTOCOL.md, section 2, the
 * paragraph before the upgrade. No state, no allocation, never blocks.
 */
#include "gateway/door/handshake.h"
#include "gateway/door/handshake_internal.h"

#define PATH_END "/ws"

static const struct refusal not_found = {404, "Not Found", "not found", COUNT_REFUSED_NOT_FOUND};
static const struct refusal missing_topic = {400, "Bad Request", "missing topic",
					     COUNT_REFUSED_BAD_TOPIC};
static const struct refusal bad_topic = {400, "Bad Request", "bad topic: broken percent-encoding",
					 COUNT_REFUSED_BAD_TOPIC};
static const struct refusal not_an_upgrade = {426, "Upgrade Required", "upgrade required",
					      COUNT_REFUSED_NOT_UPGRADE};
static const struct refusal bad_version = {426, "Upgrade Required",
					   "upgrade required: Sec-WebSocket-Version 13",
					   COUNT_REFUSED_NOT_UPGRADE};
static const struct refusal bad_key = {400, "Bad Request", "bad request: Sec-WebSocket-Key",
				       COUNT_REFUSED_MALFORMED};
static const struct refusal has_body = {400, "Bad Request", "bad request: a body",
					COUNT_REFUSED_MALFORMED};

const struct refusal refusal_malformed = {400, "Bad Request", "bad request: malformed HTTP",
					  COUNT_REFUSED_MALFORMED};
const struct refusal refusal_too_long = {431, "Request Header Fields Too Large",
					 "request head too large", COUNT_REFUSED_MALFORMED};
const struct refusal refusal_not_registered = {404, "Not Found", "topic not registered",
					       COUNT_REFUSED_NOT_REGISTERED};
const struct refusal refusal_unavailable = {
	503, "Service Unavailable", "unavailable: database error", COUNT_REFUSED_UNAVAILABLE};
const struct refusal refusal_origin = {403, "Forbidden", "origin not allowed",
				       COUNT_REFUSED_ORIGIN};
const struct refusal refusal_full = {503, "Service Unavailable", "too many connections",
				     COUNT_REFUSED_FULL};
const struct refusal refusal_address_full = {429, "Too Many Requests",
					     "too many connections from this address",
					     COUNT_REFUSED_ADDRESS_FULL};
const struct refusal refusal_pending_full = {503, "Service Unavailable",
					     "too many connections without authentication",
					     COUNT_REFUSED_PENDING_FULL};
const struct refusal refusal_timeout = {408, "Request Timeout", "request timeout",
					COUNT_REFUSED_TIMEOUT};

/* The value of the first parameter `topic`; .at is NULL when there is none. */
static struct slice topic_parameter(struct slice query)
{
	static const char name[] = "topic=";
	const size_t name_len = sizeof(name) - 1;

	while (query.len > 0) {
		const char *end = memchr(query.at, '&', query.len);
		size_t len = end ? (size_t)(end - query.at) : query.len;

		if (len >= name_len && memcmp(query.at, name, name_len) == 0)
			return (struct slice){query.at + name_len, len - name_len};
		query.at += len + (end != NULL);
		query.len -= len + (end != NULL);
	}
	return (struct slice){0};
}

const struct refusal *handshake_topic(const struct handshake *handshake,
				      char topic[TOPIC_MAX_BYTES], size_t *topic_len)
{
	struct slice path = handshake->path;
	const size_t end_len = sizeof(PATH_END) - 1;
	char decoded[HANDSHAKE_MAX_BYTES];

	if (path.len < end_len || memcmp(path.at + path.len - end_len, PATH_END, end_len) != 0)
		return &not_found;
	struct slice value = topic_parameter(handshake->query);
	if (value.len == 0)
		return &missing_topic;
	if (!topic_percent_decode(value.at, value.len, decoded, sizeof(decoded), topic_len))
		return &bad_topic;
	if (topic_name_fault(decoded, *topic_len))
		return &refusal_not_registered;
	memcpy(topic, decoded, *topic_len);
	return NULL;
}

static bool is_base64(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '+' || c == '/';
}

/* RFC 6455, section 4.2.1: the base64 form of 16 bytes. */
static bool is_key(struct slice key)
{
	if (key.len != HANDSHAKE_KEY_BYTES)
		return false;
	for (size_t i = 0; i < HANDSHAKE_KEY_BYTES - 2; i++)
		if (!is_base64(key.at[i]))
			return false;
	return memcmp(key.at + HANDSHAKE_KEY_BYTES - 2, "==", 2) == 0;
}

const struct refusal *handshake_upgrade(const struct handshake *handshake)
{
	if (!handshake->wants_websocket || !handshake->is_http_1_1 || handshake->method.len != 3 ||
	    memcmp(handshake->method.at, "GET", 3) != 0)
		return &not_an_upgrade;
	if (handshake->version.len != 2 || memcmp(handshake->version.at, "13", 2) != 0)
		return &bad_version;
	if (handshake->hosts != 1)
		return &refusal_malformed;
	if (handshake->has_body)
		return &has_body;
	return is_key(handshake->key) ? NULL : &bad_key;
}

size_t refusal_write(const struct refusal *refusal, char *out, size_t size)
{
	const char *extra = "";

	if (refusal->status == 426)
		extra = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
	else if (refusal->status == 503 || refusal->status == 429)
		extra = "Retry-After: 1\r\n";
	int len =
		snprintf(out, size,
			 "HTTP/1.1 %d %s\r\n"
			 "Content-Type: text/plain; charset=utf-8\r\n"
			 "Content-Length: %zu\r\n"
			 "X-Content-Type-Options: nosniff\r\n"
			 "Connection: %s\r\n"
			 "%s\r\n%s\n",
			 refusal->status, refusal->phrase, strlen(refusal->text) + 1,
			 refusal->status == 426 ? "close, Upgrade" : "close", extra, refusal->text);

	return len > 0 && (size_t)len < size ? (size_t)len : 0;
}
