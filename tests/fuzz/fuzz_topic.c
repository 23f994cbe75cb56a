/*
 * Any bytes as a percent-encoded topic, and as the query of a URL that names one. What is decoded
 * fits its room, is no longer than its code, and comes back from a code of our own; a good topic is
 * what the contract says.
 */
#include "tests/fuzz/fuzz.h"

#include "shared/contract/topic_name.h"
#include "shared/base/utf8.h"

static size_t encode(const char *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	size_t used = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char byte = (unsigned char)bytes[i];

		if (byte == ' ' && i % 2 == 0) {
			out[used++] = '+';
		} else if (byte != '+' && byte != '%' && i % 3 == 0) {
			out[used++] = bytes[i];
		} else {
			out[used++] = '%';
			out[used++] = digits[byte >> 4];
			out[used++] = digits[16 + (byte & 15)];
		}
	}
	return used;
}

static void check_round_trip(const char *bytes, size_t len)
{
	char *code = malloc(3 * len + 1);
	char *back = malloc(len + !len);
	size_t back_len = 0;

	assert(code && back);
	size_t code_len = encode(bytes, len, code);
	assert(topic_percent_decode(code, code_len, back, len, &back_len));
	assert(back_len == len && memcmp(back, bytes, len) == 0);
	if (len > 0)
		assert(!topic_percent_decode(code, code_len, back, len - 1, &back_len));
	assert(!topic_percent_decode(memcpy(code + code_len, "%", 1), 1, back, len, &back_len));
	free(code);
	free(back);
}

static void check_name(const char *topic, size_t len)
{
	bool has_control = false;

	for (size_t i = 0; i < len; i++)
		has_control |= (unsigned char)topic[i] < 0x20 || topic[i] == 0x7F;
	bool is_good = len >= 1 && len <= TOPIC_MAX_BYTES && utf8_valid(topic, len) && !has_control;
	assert(is_good == !topic_name_fault(topic, len));
}

static void check_query(const char *text, size_t size)
{
	struct slice query = {text, size};
	char topic[TOPIC_MAX_BYTES], again[TOPIC_MAX_BYTES];
	char code[7 + 3 * TOPIC_MAX_BYTES] = "topic=";
	size_t len = 0, again_len = 0;
	enum topic_query found = topic_of_query(query, topic, &len);

	if (found != TOPIC_MISSING)
		assert(memmem(text, size, "topic=", 6));
	if (found == TOPIC_BROKEN)
		assert(memchr(text, '%', size));
	if (found != TOPIC_NAMED)
		return;
	assert(!topic_name_fault(topic, len));
	query = (struct slice){code, 6 + encode(topic, len, code + 6)};
	if (!memchr(topic, '&', len)) /* which encode leaves alone */
		assert(topic_of_query(query, again, &again_len) == TOPIC_NAMED &&
		       again_len == len && memcmp(again, topic, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	char *out = malloc(size + !size);
	size_t len = 0;

	assert(out);
	if (topic_percent_decode(text, size, out, size, &len)) {
		assert(len <= size);
		check_name(out, len);
		check_round_trip(out, len);
	} else {
		assert(memchr(text, '%', size)); /* nothing else can be wrong */
	}
	check_query(text, size);
	check_name(text, size);
	check_round_trip(text, size);
	free(out);
	return 0;
}
