// needs: gateway/door/handshake.c gateway/door/refusals.c gateway/client/answer.c
// needs: gateway/client/body.c
/*
 * Any bytes as the request that opens a WebSocket or a stream. A head is whole with its last byte
 * and not before; what is malformed stays so, whatever comes. What is found lies within the head, a
 * topic is one that the contract allows, and what goes on to libwebsockets is a good request with
 * the same key.
 */
#include "tests/fuzz/fuzz.h"

#include "gateway/client/answer.h"
#include "gateway/door/handshake.h"

static enum handshake_state parse(const char *text, size_t len)
{
	struct handshake handshake;

	return handshake_parse(text, len, &handshake);
}

static void check_inside(struct slice slice, const char *text, size_t len)
{
	if (slice.at)
		assert(slice.at >= text && slice.len <= len && slice.at + slice.len <= text + len);
	else
		assert(slice.len == 0);
}

/* No byte that could make another reader of the same head see something else. */
static void check_bytes(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char byte = (unsigned char)text[i];

		if (byte == '\r')
			assert(i + 1 < len && text[i + 1] == '\n');
		else if (byte == '\n')
			assert(i > 0 && text[i - 1] == '\r');
		else
			assert((byte >= ' ' || byte == '\t') && byte != 0x7F);
	}
}

static void check_whole(const char *text, size_t len, const struct handshake *handshake)
{
	size_t head_len = handshake->head_len;

	assert(head_len >= 4 && head_len <= len && memcmp(text + head_len - 4, "\r\n\r\n", 4) == 0);
	assert(parse(text, head_len) == HANDSHAKE_WHOLE);
	assert(parse(text, head_len - 1) == HANDSHAKE_INCOMPLETE);
	assert(parse(text, head_len / 2) == HANDSHAKE_INCOMPLETE);
	check_inside(handshake->method, text, head_len);
	check_inside(handshake->path, text, head_len);
	check_inside(handshake->query, text, head_len);
	check_inside(handshake->key, text, head_len);
	check_inside(handshake->version, text, head_len);
	check_inside(handshake->origin, text, head_len);
	assert(handshake->forwarded_len <= HANDSHAKE_FORWARDED_MAX);
	check_bytes(text, head_len);
}

static void check_malformed(const char *text, size_t len)
{
	char *longer = malloc(len + 4);

	assert(longer);
	memcpy(longer, text, len);
	memcpy(longer + len, "\r\n\r\n", 4);
	assert(parse(longer, len + 4) == HANDSHAKE_MALFORMED);
	free(longer);
}

static void check_refusal(const struct refusal *refusal)
{
	char out[ANSWER_SIZE];
	size_t len = answer_write(out, refusal->status, refusal->text, "", true);

	assert(refusal->status >= 400 && len > 0);
	assert(memmem(out, len, "\r\n\r\n", 4) && out[len - 1] == '\n');
}

static void check_topic(const struct handshake *handshake)
{
	char topic[TOPIC_MAX_BYTES];
	size_t len = 0;
	const struct refusal *refusal = handshake_topic(handshake, topic, &len);

	if (refusal)
		check_refusal(refusal);
	else
		assert(!topic_name_fault(topic, len));
}

static void check_upgrade(const struct handshake *handshake)
{
	char canonical[HANDSHAKE_CANONICAL_SIZE];
	struct handshake again;
	const struct refusal *refusal = handshake_upgrade(handshake);

	if (refusal) {
		check_refusal(refusal);
		return;
	}
	size_t len = handshake_canonical(handshake, canonical);
	assert(len < sizeof(canonical));
	assert(handshake_parse(canonical, len, &again) == HANDSHAKE_WHOLE && again.head_len == len);
	assert(!handshake_upgrade(&again));
	assert(again.key.len == handshake->key.len);
	assert(memcmp(again.key.at, handshake->key.at, again.key.len) == 0);
}

static void check_body(const struct handshake *handshake)
{
	struct body body;
	const struct refusal *refusal = handshake_body(handshake, &body);

	if (refusal)
		check_refusal(refusal);
	else
		assert(body.left <= 4096 && (body.left == 0 || handshake->length.len > 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct handshake handshake;

	if (size > HANDSHAKE_MAX_BYTES)
		return -1;
	switch (handshake_parse(text, size, &handshake)) {
	case HANDSHAKE_WHOLE:
		check_whole(text, size, &handshake);
		check_topic(&handshake);
		check_upgrade(&handshake);
		check_body(&handshake);
		break;
	case HANDSHAKE_MALFORMED:
		check_malformed(text, size);
		break;
	case HANDSHAKE_INCOMPLETE:
		break;
	}
	return 0;
}
