/*
 * Taking over a changed configuration, see reload.h. State: what the file looked like when it was
 * read, in the configuration itself: a process that is forked later sees what has changed since.
 * Reads one small file; a missing or faulty one changes nothing.
 */
#include "shared/config/reload.h"

#include "shared/base/clock.h"
#include "shared/base/held_file.h"
#include "shared/base/log.h"
#include "shared/config/config_internal.h"
#include "shared/config/options.h"

/* True when the file was written in place, replaced or deleted since the last look. */
static bool look(struct config *config)
{
	struct stat old = config->seen, *now = &config->seen;

	if (stat(config->path, now) != 0)
		*now = (struct stat){.st_size = -1}; /* which no file has */
	return !file_is_the_same(&old, now);
}

bool reload_now(struct config *live)
{
	struct config *fresh;
	char message[128], kept[sizeof(int64_t)];

	look(live); /* before reading, so that a change during it is seen the next time */
	fresh = config_load(live->path, options_log_finding, NULL);
	if (!fresh || (live->has_file && !fresh->has_file)) {
		if (fresh)
			options_log_finding(NULL, true, live->path, 0, "the file is gone");
		log_event(LOG_ERROR, "the changed configuration is not good, the old one stays");
		config_free(fresh);
		return false;
	}
	/* Texts borrowed from `live` are gone afterwards. */
	for (const struct config_key *key = config_keys; key->name; key++) {
		void *old = config_field(live, key), *new = config_field(fresh, key);

		if (config_type_is_text(key->type) ? strcmp(*(char **)old, *(char **)new) == 0
						   : memcmp(old, new, key->size) == 0)
			continue;
		if (key->needs_restart) {
			snprintf(message, sizeof(message),
				 "%s has changed: takes effect after a restart", key->name);
			options_log_finding(NULL, false, live->path, 0, message);
			continue;
		}
		memcpy(kept, old, key->size);
		memcpy(old, new, key->size);
		memcpy(new, kept, key->size); /* for config_free */
	}
	live->has_file = fresh->has_file;
	config_free(fresh);
	log_set_level(live->log_level);
	log_event(LOG_INFO, "configuration read again");
	return true;
}

bool reload_if_changed(struct config *config)
{
	int64_t now_ms = clock_monotonic_ms();

	if (now_ms - config->looked_ms < RELOAD_INTERVAL_MS)
		return false;
	config->looked_ms = now_ms;
	return look(config) && reload_now(config);
}
