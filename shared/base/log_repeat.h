/*
 * Log lines for what may happen again and again: the first time is said at once, further times are
 * counted, and the count is said at most once a minute. For trouble that ends, one more line when
 * it does. So an operator sees that something goes on, and how much, in few lines.
 *
 * One struct for each cause, set up by a designated initialiser, owned by one thread.
 */
#ifndef SHARED_LOG_REPEAT_H
#define SHARED_LOG_REPEAT_H

#include <stdbool.h>

#include "shared/base/log.h"

enum { LOG_REPEAT_MS = 60000 };

struct log_repeat {
	enum log_level level;
	const char *message; /* constant, as of log_fields */
	const char *key, *cause; /* a constant field of each line; key NULL: none */

	/* Inside. */
	int64_t said_ms; /* when the last line was written */
	int64_t unsaid; /* times since then */
	int64_t began_ms, times; /* since it was over last */
	bool was_said; /* there was a line, ever */
	bool is_on, is_known; /* it goes on; and that stands in the log */
};

/* It happened. `now_ms` is monotonic. The fields are written if the line is. */
void log_repeat_happens(struct log_repeat *repeat, int64_t now_ms, const struct log_field *fields,
			size_t count);

/* The same with fields as of log_event. */
#define log_repeat_event(repeat, now_ms, ...)                                                      \
	log_repeat_happens((repeat), (now_ms), LOG_LIST(__VA_ARGS__) + 1,                          \
			   sizeof(LOG_LIST(__VA_ARGS__)) / sizeof(struct log_field) - 1)

/* It is over: says so, at level info, if the log knows that it went on. Does nothing when it was
 * over before. */
void log_repeat_ends(struct log_repeat *repeat, int64_t now_ms, const char *message);

/* Says what was counted when it is time to. Call it about once a second. */
void log_repeat_tick(struct log_repeat *repeat, int64_t now_ms);

/* Says what was counted now: the program ends. */
void log_repeat_flush(struct log_repeat *repeat, int64_t now_ms);

#endif
