/*
 * Taking over a changed configuration, see reload.h. State: what the file looked like when it was
 * read. Reads one small file; a missing or faulty one changes nothing.
 */
#include "shared/config/reload.h"

#include <sys/stat.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/config/config_internal.h"
#include "shared/config/options.h"

/* Tells one state of a file from another: written in place, or replaced. */
struct look {
	struct timespec changed;
	off_t size;
	ino_t inode;
};

struct reload {
	struct config *config;
	struct look last;
	int64_t looked_ms;
};

static struct look look_at(const char *path)
{
	struct stat info;

	if (stat(path, &info) != 0)
		return (struct look){.size = -1};
	return (struct look){.changed = info.st_mtim, .size = info.st_size, .inode = info.st_ino};
}

static bool is_same(const struct look *a, const struct look *b)
{
	return a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
	       a->size == b->size && a->inode == b->inode;
}

struct reload *reload_new(struct config *config)
{
	struct reload *reload = xcalloc(1, sizeof(*reload));

	reload->config = config;
	reload->last = look_at(config->path);
	return reload;
}

void reload_free(struct reload *reload)
{
	free(reload);
}

/* Changes `live` to what `fresh` says, and frees `fresh`. Texts borrowed from `live` are gone
 * afterwards. */
static void take_over(struct config *live, struct config *fresh)
{
	char message[128], kept[sizeof(int64_t)];

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
}

bool reload_now(struct reload *reload)
{
	/* Taken before reading, so that a change during it is seen the next time. */
	struct look now = look_at(reload->config->path);
	struct config *fresh = config_load(reload->config->path, options_log_finding, NULL);

	reload->last = now;
	if (fresh && !fresh->has_file && reload->config->has_file) {
		options_log_finding(NULL, true, reload->config->path, 0, "the file is gone");
		config_free(fresh);
		fresh = NULL;
	}
	if (!fresh) {
		log_event(LOG_ERROR, "the changed configuration is not good, the old one stays");
		return false;
	}
	take_over(reload->config, fresh);
	log_set_level(reload->config->log_level);
	log_event(LOG_INFO, "configuration read again");
	return true;
}

bool reload_if_changed(struct reload *reload)
{
	int64_t now_ms = clock_monotonic_ms();
	struct look now;

	if (now_ms - reload->looked_ms < RELOAD_INTERVAL_MS)
		return false;
	reload->looked_ms = now_ms;
	now = look_at(reload->config->path);
	return !is_same(&now, &reload->last) && reload_now(reload);
}
