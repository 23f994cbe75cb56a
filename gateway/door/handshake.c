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

#define PATH_END "/ws"

/* Whether the two headers of an upgrade (RFC 9110, section 7.8) say what they must. */
struct upgrade_words {
	bool upgrade, connection;
};

/* Nothing but ASCII letters, digits (the locale is "C") and those others; not empty. */
static bool consists_of(struct slice text, const char *others)
{
	for (size_t i = 0; i < text.len; i++)
		if (!isalnum((unsigned char)text.at[i]) &&
		    !memchr(others, text.at[i], strlen(others)))
			return false;
	return text.len > 0;
}

static bool is_token(struct slice text)
{
	return consists_of(text, "!#$%&'*+-.^_`|~");
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
	if (!is_token(handshake->method) || target.len == 0 || version.len != 8 ||
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
	size_t len = handshake->forwarded_len;
	const char *start = joined;

	memcpy(joined, handshake->forwarded_for, len);
	if (len > 0)
		joined[len++] = ',';
	memcpy(joined + len, value.at, value.len);
	len += value.len;
	if (len > HANDSHAKE_FORWARDED_MAX) {
		start += len - HANDSHAKE_FORWARDED_MAX;
		len = HANDSHAKE_FORWARDED_MAX;
		const char *comma = memchr(start, ',', len);
		size_t cut = comma ? (size_t)(comma + 1 - start) : len;
		start += cut;
		len -= cut;
	}
	memcpy(handshake->forwarded_for, start, len);
	handshake->forwarded_len = len;
}

/* A header that must not be repeated makes the request wrong when it comes a second time. */
static bool set_once(struct slice *place, struct slice value)
{
	if (place->at)
		return false;
	*place = value;
	return true;
}

static bool take_header(struct handshake *handshake, struct slice name, struct slice value,
			struct upgrade_words *words)
{
	if (slice_is(name, "sec-websocket-key"))
		return set_once(&handshake->key, value);
	if (slice_is(name, "sec-websocket-version"))
		return set_once(&handshake->version, value);
	if (slice_is(name, "origin"))
		return set_once(&handshake->origin, value);
	if (slice_is(name, "upgrade"))
		words->upgrade |= slice_lists(value, "websocket");
	else if (slice_is(name, "connection"))
		words->connection |= slice_lists(value, "upgrade");
	else if (slice_is(name, "x-forwarded-for"))
		add_forwarded(handshake, value);
	else if (slice_is(name, "host"))
		handshake->hosts++;
	else if (slice_is(name, "transfer-encoding") ||
		 (slice_is(name, "content-length") && !slice_is(value, "0")))
		handshake->has_body = true;
	return true;
}

static bool parse_header(struct slice line, struct handshake *handshake,
			 struct upgrade_words *words)
{
	struct slice value;
	struct slice name = slice_split(line, ':', &value);

	if (!value.at || !is_token(name))
		return false;
	for (size_t i = 0; i < value.len; i++)
		if (((unsigned char)value.at[i] < ' ' && value.at[i] != '\t') ||
		    value.at[i] == 0x7F)
			return false;
	return take_header(handshake, name, slice_trim(value), words);
}

/* The line at `from`, without its CRLF. */
static enum handshake_state next_line(const char *bytes, size_t len, size_t from,
				      struct slice *line)
{
	const char *at = memchr(bytes + from, '\n', len - from);

	if (!at)
		return HANDSHAKE_INCOMPLETE;
	*line = (struct slice){bytes + from, (size_t)(at - bytes) - from};
	if (line->len == 0 || line->at[line->len - 1] != '\r')
		return HANDSHAKE_MALFORMED;
	line->len--;
	return HANDSHAKE_WHOLE;
}

enum handshake_state handshake_parse(const char *bytes, size_t len, struct handshake *handshake)
{
	struct upgrade_words words = {false, false};
	enum handshake_state state;
	struct slice line;
	size_t at = 0;

	memset(handshake, 0, offsetof(struct handshake, forwarded_for));
	while ((state = next_line(bytes, len, at, &line)) == HANDSHAKE_WHOLE) {
		bool is_first = at == 0;

		at += line.len + 2;
		if (line.len == 0 && !is_first) {
			handshake->head_len = at;
			handshake->wants_websocket = words.upgrade && words.connection;
			return HANDSHAKE_WHOLE;
		}
		if (!(is_first ? parse_request_line(line, handshake)
			       : parse_header(line, handshake, &words)))
			return HANDSHAKE_MALFORMED;
	}
	return state;
}

/* The value of the first parameter `topic`; .at is NULL when there is none. */
static struct slice topic_parameter(struct slice query)
{
	while (query.at) {
		struct slice value;
		struct slice parameter = slice_split(query, '&', &query);
		struct slice name = slice_split(parameter, '=', &value);

		if (name.len == 5 && memcmp(name.at, "topic", 5) == 0 && value.at)
			return value;
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
		return &refusal_not_found;
	struct slice value = topic_parameter(handshake->query);
	if (value.len == 0)
		return &refusal_missing_topic;
	if (!topic_percent_decode(value.at, value.len, decoded, sizeof(decoded), topic_len))
		return &refusal_bad_topic;
	if (topic_name_fault(decoded, *topic_len))
		return &refusal_not_registered;
	memcpy(topic, decoded, *topic_len);
	return NULL;
}

/* RFC 6455, section 4.2.1: the base64 form of 16 bytes. */
static bool is_key(struct slice key)
{
	const size_t digits = HANDSHAKE_KEY_BYTES - 2;

	return key.len == HANDSHAKE_KEY_BYTES &&
	       consists_of((struct slice){key.at, digits}, "+/") &&
	       memcmp(key.at + digits, "==", 2) == 0;
}

const struct refusal *handshake_upgrade(const struct handshake *handshake)
{
	if (!handshake->wants_websocket || !handshake->is_http_1_1 || handshake->method.len != 3 ||
	    memcmp(handshake->method.at, "GET", 3) != 0)
		return &refusal_not_an_upgrade;
	if (handshake->version.len != 2 || memcmp(handshake->version.at, "13", 2) != 0)
		return &refusal_bad_version;
	if (handshake->hosts != 1)
		return &refusal_malformed;
	if (handshake->has_body)
		return &refusal_has_body;
	return is_key(handshake->key) ? NULL : &refusal_bad_key;
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
