/*
 * Counting what repeats instead of repeating it, see log_repeat.h. State: in each struct. Blocks
 * only where log.h does.
 */
#include "shared/base/log_repeat.h"

enum { FIELDS_MAX = 8, OWN_FIELDS = 3 };

static void say(struct log_repeat *repeat, int64_t now_ms, const struct log_field *fields,
		size_t count)
{
	struct log_field all[FIELDS_MAX];
	size_t used = 0;

	if (repeat->key)
		all[used++] = log_text(repeat->key, repeat->cause);
	for (size_t i = 0; i < count && i < FIELDS_MAX - OWN_FIELDS; i++)
		all[used++] = fields[i];
	if (repeat->was_said && repeat->unsaid > 0) {
		all[used++] = log_number("times", repeat->unsaid);
		all[used++] = log_number("seconds", (now_ms - repeat->said_ms) / 1000);
	}
	log_fields(repeat->level, repeat->message, all, used);
	repeat->unsaid = 0;
	repeat->said_ms = now_ms;
	repeat->was_said = true;
	repeat->is_known = repeat->is_on;
}

static bool is_time(const struct log_repeat *repeat, int64_t now_ms)
{
	return !repeat->was_said || now_ms - repeat->said_ms >= LOG_REPEAT_MS;
}

void log_repeat_tick(struct log_repeat *repeat, int64_t now_ms, bool is_last)
{
	if (repeat->unsaid > 0 && (is_last || is_time(repeat, now_ms)))
		say(repeat, now_ms, NULL, 0);
}

void log_repeat_happens(struct log_repeat *repeat, int64_t now_ms, const struct log_field *fields,
			size_t count)
{
	if (!repeat->is_on) {
		repeat->is_on = true;
		repeat->is_known = false;
		repeat->began_ms = now_ms;
		repeat->times = 0;
	}
	repeat->times++;
	if (is_time(repeat, now_ms)) {
		if (repeat->unsaid > 0)
			repeat->unsaid++; /* this one is counted too */
		say(repeat, now_ms, fields, count);
	} else {
		repeat->unsaid++;
	}
}

void log_repeat_ends(struct log_repeat *repeat, int64_t now_ms, const char *message)
{
	const struct log_field fields[] = {
		log_text(repeat->key ? repeat->key : "", repeat->cause),
		log_number("times", repeat->times),
		log_number("seconds", (now_ms - repeat->began_ms) / 1000),
	};
	size_t first = repeat->key ? 0 : 1;

	if (repeat->is_on && repeat->is_known) {
		log_fields(LOG_INFO, message, fields + first,
			   sizeof(fields) / sizeof(fields[0]) - first);
		repeat->unsaid = 0;
	}
	repeat->is_on = false;
	log_repeat_tick(repeat, now_ms, false);
}
