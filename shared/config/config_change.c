/*
 * From one configuration to another while a program runs, see config_take_over in config.h. No
 * state.
 */
#include "shared/config/config_key.h"

static bool is_equal(const struct config *a, const struct config *b, const struct config_key *key)
{
	const void *left = config_field_const(a, key);
	const void *right = config_field_const(b, key);

	if (config_type_is_text(key->type))
		return strcmp(*(char *const *)left, *(char *const *)right) == 0;
	return memcmp(left, right, config_type_size(key->type)) == 0;
}

static void swap(struct config *a, struct config *b, const struct config_key *key)
{
	char left[sizeof(int64_t)];
	size_t size = config_type_size(key->type);

	memcpy(left, config_field(a, key), size);
	memcpy(config_field(a, key), config_field(b, key), size);
	memcpy(config_field(b, key), left, size);
}

void config_take_over(struct config *live, struct config *fresh, config_report *report,
		      void *context)
{
	char message[CONFIG_WHY_SIZE];

	for (const struct config_key *key = config_keys; key->name; key++) {
		if (is_equal(live, fresh, key))
			continue;
		if (!key->needs_restart) {
			swap(live, fresh, key);
			continue;
		}
		snprintf(message, sizeof(message), "%s has changed: takes effect after a restart",
			 key->name);
		report(context, false, live->path, 0, message);
	}
	config_free(fresh);
}
