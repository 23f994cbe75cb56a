/*
 * Any bytes as the Origin of a browser. What is taken has one form, which is taken again as it is
 * and can stand in a list; a list that does not name it does not let it in.
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	char origin[ORIGIN_SIZE], again[ORIGIN_SIZE], list[2 * ORIGIN_SIZE];

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
	snprintf(list, sizeof(list), "x%s,%sx", origin, origin);
	assert(!origin_is_listed(list, text, size));
	return 0;
}
