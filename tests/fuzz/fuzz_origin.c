/*
 * Any bytes as the Origin of a browser. What is taken has one form, which is taken again as it is
 * and can be in a list; a list that does not name it does not let it in.
 */
#include "tests/fuzz/fuzz.h"

#include "shared/contract/origin.h"

static void check_form(const char *origin)
{
	size_t len = strlen(origin);

	assert(len >= strlen("a://b") && len < ORIGIN_SIZE);
	assert(strstr(origin, "://"));
	for (size_t i = 0; i < len; i++)
		assert(origin[i] > ' ' && origin[i] < 0x7F && origin[i] != ',' &&
		       !(origin[i] >= 'A' && origin[i] <= 'Z'));
}

/* Two lines at most, whatever a client calls its origin, and it is let in if it is in them. */
static void check_head(const char *list, const char *text, size_t size)
{
	char head[ORIGIN_HEAD_SIZE];
	size_t len = origin_head(list, text, size, head), ends = 0;

	assert(len < sizeof(head) && strlen(head) == len && strcmp(head + len - 2, "\r\n") == 0);
	for (size_t i = 0; i < len; i++) {
		assert((head[i] >= ' ' && head[i] < 0x7F) || head[i] == '\r' || head[i] == '\n');
		ends += head[i] == '\r';
	}
	assert(ends == (size_t)1 + (*list && origin_is_allowed(list, text, size)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	char origin[ORIGIN_SIZE], again[ORIGIN_SIZE], list[2 * ORIGIN_SIZE];

	check_head("", text, size);
	check_head("https://a.example,https://*.b.example", text, size);
	if (!origin_pattern_fault(text, size, origin)) {
		assert(!origin_pattern_fault(origin, strlen(origin), again));
		assert(strcmp(again, origin) == 0);
		assert(!strchr(origin, '*') == origin_normalise(text, size, false, again));
	}
	if (!origin_normalise(text, size, false, origin)) {
		assert(!origin_is_listed("https://a.example", text, size));
		return 0;
	}
	check_form(origin);
	assert(origin_normalise(origin, strlen(origin), false, again));
	assert(strcmp(again, origin) == 0);
	snprintf(list, sizeof(list), "http://first.example,%s,x://y", origin);
	assert(origin_is_listed(list, text, size));
	assert(origin_is_listed(origin, text, size));
	check_head(origin, text, size);
	snprintf(list, sizeof(list), "x%s,%sx", origin, origin);
	assert(!origin_is_listed(list, text, size));
	return 0;
}
