/*
 * Reading the request that opens a WebSocket, and judging it by the contract: see handshake.h. No
 * state, no allocation, never blocks. It reads what strangers send.
 *
 * Strict where leniency has been used to smuggle requests past proxies: lines end in CRLF, a header
 * name has no white space before its colon, nothing is folded, control characters are refused.
 */
#include "gateway/door/handshake.h"

#include <ctype.h>
#include <strings.h>

#include "shared/contract/message.h"

#define TOKEN_MARKS "!#$%&'*+-.^_`|~"

/* Nothing but ASCII letters, digits (the locale is "C") and those others; not empty. */
static bool consists_of(struct slice text, const char *others)
{
	for (size_t i = 0; i < text.len; i++)
		if (!isalnum((unsigned char)text.at[i]) &&
		    !memchr(others, text.at[i], strlen(others)))
			return false;
	return text.len > 0;
}

/* True when it is this word, in any case. */
static bool slice_is(struct slice text, const char *word)
{
	return text.len == strlen(word) && strncasecmp(text.at, word, text.len) == 0;
}

/* True when the comma-separated list contains this word. */
static bool slice_lists(struct slice list, const char *word)
{
	while (list.at)
		if (slice_is(slice_trim(slice_split(list, ',', &list)), word))
			return true;
	return false;
}

/* GET /ws?topic=x HTTP/1.1 */
static bool parse_request_line(struct slice line, struct handshake *handshake)
{
	struct slice target, version;

	handshake->method = slice_split(line, ' ', &target);
	target = slice_split(target, ' ', &version);
	if (!consists_of(handshake->method, TOKEN_MARKS) || target.len == 0 || version.len != 8 ||
	    memcmp(version.at, "HTTP/1.", 7) != 0 || version.at[7] < '0' || version.at[7] > '9')
		return false;
	for (size_t i = 0; i < target.len; i++)
		if (target.at[i] <= ' ' || target.at[i] == 0x7F || target.at[i] == '#')
			return false; /* bytes beyond ASCII are negative, and refused too */
	handshake->is_http_1_1 = version.at[7] != '0';
	handshake->path = slice_split(target, '?', &handshake->query);
	return true;
}

/* Joins what several headers say. If that is too long, the last entries are kept: the hops nearest
 * to us. An entry that would be cut in two is dropped, for half of it could be another address. */
static void add_forwarded(struct handshake *handshake, struct slice value)
{
	char joined[HANDSHAKE_MAX_BYTES + HANDSHAKE_FORWARDED_MAX + 1];
	struct slice all = {.at = joined};

	all.len =
		(size_t)snprintf(joined, sizeof(joined), "%.*s%s%.*s",
				 (int)handshake->forwarded_len, handshake->forwarded_for,
				 handshake->forwarded_len > 0 ? "," : "", (int)value.len, value.at);
	if (all.len > HANDSHAKE_FORWARDED_MAX) {
		all.at += all.len - HANDSHAKE_FORWARDED_MAX;
		all.len = HANDSHAKE_FORWARDED_MAX;
		slice_split(all, ',', &all);
	}
	if (all.len > 0)
		memcpy(handshake->forwarded_for, all.at, all.len);
	handshake->forwarded_len = all.len;
}

/* A header that must not be repeated makes the request wrong when it comes a second time. */
static bool set_once(struct slice *place, struct slice value)
{
	if (place->at)
		return false;
	*place = value;
	return true;
}

static bool parse_header(struct slice line, struct handshake *handshake)
{
	struct slice value;
	struct slice name = slice_split(line, ':', &value);

	if (!value.at || !consists_of(name, TOKEN_MARKS))
		return false;
	for (size_t i = 0; i < value.len; i++)
		if (((unsigned char)value.at[i] < ' ' && value.at[i] != '\t') ||
		    value.at[i] == 0x7F)
			return false;
	value = slice_trim(value);
	if (slice_is(name, "sec-websocket-key"))
		return set_once(&handshake->key, value);
	if (slice_is(name, "sec-websocket-version"))
		return set_once(&handshake->version, value);
	if (slice_is(name, "origin"))
		return set_once(&handshake->origin, value);
	if (slice_is(name, "content-length"))
		return set_once(&handshake->length, value);
	if (slice_is(name, "transfer-encoding"))
		return set_once(&handshake->coding, value);
	if (slice_is(name, "upgrade"))
		handshake->upgrade |= slice_lists(value, "websocket");
	else if (slice_is(name, "connection"))
		handshake->connection |= slice_lists(value, "upgrade");
	else if (slice_is(name, "x-forwarded-for"))
		add_forwarded(handshake, value);
	else if (slice_is(name, "host"))
		handshake->hosts++;
	else if (slice_is(name, "expect"))
		handshake->expects_100 |= slice_lists(value, "100-continue");
	return true;
}

enum handshake_state handshake_parse(const char *bytes, size_t len, struct handshake *handshake)
{
	struct slice rest = {bytes, len};

	memset(handshake, 0, offsetof(struct handshake, forwarded_for));
	for (bool is_first = true;; is_first = false) {
		struct slice line = slice_split(rest, '\n', &rest);

		if (!rest.at)
			return HANDSHAKE_INCOMPLETE;
		if (line.len == 0 || line.at[--line.len] != '\r')
			return HANDSHAKE_MALFORMED;
		if (line.len == 0 && !is_first) {
			handshake->head_len = len - rest.len;
			return HANDSHAKE_WHOLE;
		}
		if (!(is_first ? parse_request_line : parse_header)(line, handshake))
			return HANDSHAKE_MALFORMED;
	}
}

bool handshake_is_for(const struct handshake *handshake, const char *path)
{
	size_t len = strlen(path);

	return handshake->path.len >= len &&
	       memcmp(handshake->path.at + handshake->path.len - len, path, len) == 0;
}

const struct refusal *handshake_topic(const struct handshake *handshake,
				      char topic[TOPIC_MAX_BYTES], size_t *topic_len)
{
	bool is_stream = handshake_is_for(handshake, "/stream");

	if (!is_stream && !handshake_is_for(handshake, "/ws"))
		return &refusal_not_found;
	if (is_stream && !slice_equals(handshake->method, "POST"))
		return &refusal_bad_method;
	switch (topic_of_query(handshake->query, topic, topic_len)) {
	case TOPIC_NAMED:
		return NULL;
	case TOPIC_MISSING:
		return &refusal_missing_topic;
	case TOPIC_BROKEN:
		return &refusal_bad_topic;
	case TOPIC_IMPOSSIBLE:
		break;
	}
	return &refusal_not_registered;
}

const struct refusal *handshake_upgrade(const struct handshake *handshake)
{
	struct slice key = handshake->key; /* RFC 6455, section 4.2.1: 16 bytes in base64 */
	struct slice digits = {key.at, HANDSHAKE_KEY_BYTES - 2};

	if (!handshake->upgrade || !handshake->connection || !handshake->is_http_1_1 ||
	    !slice_equals(handshake->method, "GET"))
		return &refusal_not_an_upgrade;
	if (!slice_equals(handshake->version, "13"))
		return &refusal_bad_version;
	if (handshake->hosts != 1)
		return &refusal_malformed;
	if (handshake->coding.at || (handshake->length.at && !slice_is(handshake->length, "0")))
		return &refusal_has_body;
	if (key.len != HANDSHAKE_KEY_BYTES || memcmp(key.at + digits.len, "==", 2) != 0 ||
	    !consists_of(digits, "+/"))
		return &refusal_bad_key;
	return NULL;
}

/* Two lengths, or a length and chunks, have been used to smuggle requests past proxies. */
const struct refusal *handshake_body(const struct handshake *handshake, struct body *body)
{
	struct slice length = handshake->length;
	uint32_t len = 0;

	if (handshake->hosts > 1 || (handshake->is_http_1_1 && handshake->hosts == 0))
		return &refusal_malformed;
	if (handshake->coding.at) {
		*body = body_in_chunks();
		return slice_is(handshake->coding, "chunked") && !length.at &&
				       handshake->is_http_1_1
			       ? NULL
			       : &refusal_malformed;
	}
	*body = body_of_length(0);
	if (!length.at)
		return NULL;
	if (length.len == 0)
		return &refusal_malformed;
	for (size_t i = 0; i < length.len; i++) {
		if (!isdigit((unsigned char)length.at[i]))
			return &refusal_malformed;
		if (len <= MESSAGE_MAX_BYTES)
			len = len * 10 + (uint32_t)(length.at[i] - '0');
	}
	*body = body_of_length(len);
	return len > MESSAGE_MAX_BYTES ? &refusal_body_too_large : NULL;
}

size_t handshake_canonical(const struct handshake *handshake, char out[HANDSHAKE_CANONICAL_SIZE])
{
	int len = snprintf(out, HANDSHAKE_CANONICAL_SIZE,
			   "GET / HTTP/1.1\r\n"
			   "Host: gateway\r\n"
			   "Upgrade: websocket\r\n"
			   "Connection: Upgrade\r\n"
			   "Sec-WebSocket-Key: %.*s\r\n"
			   "Sec-WebSocket-Version: 13\r\n\r\n",
			   (int)handshake->key.len, handshake->key.at);

	return (size_t)len;
}
