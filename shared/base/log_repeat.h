/*
 * Log lines for what may happen again and again: the first time is logged at once, further times
 * are counted, and the count is logged at most once a minute. Trouble that ends gets one more line
 * when it does. So an operator sees in a few lines that something is going on, and how much of it.
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
	const char *message; /* constant, as for log_fields */
	const char *key, *cause; /* a constant field of each line; key NULL: none */

	/* Inside. */
	int64_t said_ms; /* when the last line was written */
	int64_t unsaid; /* times since then */
	int64_t began_ms, times; /* since it was last over */
	bool was_said; /* there has been a line */
	bool is_on, is_known; /* it is going on, and the log says so */
};

/* It happened. `now_ms` is monotonic. The fields are written if the line is. */
void log_repeat_happens(struct log_repeat *repeat, int64_t now_ms, const struct log_field *fields,
			size_t count);

/* The same, with fields as for log_event. */
#define log_repeat_event(repeat, now_ms, ...)                                                      \
	log_repeat_happens((repeat), (now_ms), LOG_LIST(__VA_ARGS__) + 1,                          \
			   sizeof(LOG_LIST(__VA_ARGS__)) / sizeof(struct log_field) - 1)

/* It is over, or never was: to be called each time that things go well. Says so, at level info, if
 * the log says that it was going on, and logs what was counted, when that is due. */
void log_repeat_ends(struct log_repeat *repeat, int64_t now_ms, const char *message);

/* Logs what was counted, when that is due or the program is ending (`is_last`). Call it about once
 * a second. */
void log_repeat_tick(struct log_repeat *repeat, int64_t now_ms, bool is_last);

#endif
