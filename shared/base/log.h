/*
 * The log: one line on stderr for each event, in logfmt: time, level, program, what happened, then
 * key=value pairs.
 *
 *	2026-11-24T14:11:02.123Z level=info program=gateway msg="listening" address="0.0.0.0:9000"
 *
 * Text values are quoted and escaped here, and nowhere else, so callers hand them over as they are:
 * none can break a line or send a control character to a terminal. Secrets and tokens are never
 * handed over. A line has at most LOG_LINE_MAX bytes; a longer one is cut and ends in "...". May be
 * called from any thread.
 *
 * The log never waits for its reader. A line for which there is no room is lost, and before the
 * next one that can be written comes one with the number of lines lost.
 */
#ifndef SHARED_LOG_H
#define SHARED_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOG_LINE_MAX = 1024 };

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* One key=value pair. Build them with the log_* makers below. */
struct log_field {
	const char *key;
	const char *text; /* NULL: a number */
	size_t len;
	int64_t number;
};

struct log_field log_text(const char *key, const char *text);
struct log_field log_bytes(const char *key, const char *text, size_t len);
struct log_field log_number(const char *key, int64_t number);

/* A program's first call. Fills whichever of the descriptors 0 to 2 are closed, so that no file
 * opened later is taken for the log, and sees to it that the log does not wait. */
void log_open(void);

/* Sets the program's name for every line, and the least important level that is written. */
void log_setup(const char *program, enum log_level level);

/* Changes the level alone. */
void log_set_level(enum log_level level);

/* To be called about once a second: when stderr is the file at `path`, and that has grown to
 * `max_bytes`, makes it path.1 and begins a new one, if `may_rotate`. When another process has done
 * so, or the file was deleted, goes on with the one that is there now. */
void log_look_after(const char *path, int64_t max_bytes, bool may_rotate);

/* Writes one line: `message` is a constant sentence without client data. */
void log_fields(enum log_level level, const char *message, const struct log_field *fields,
		size_t count);

/* The fields given, after one that is skipped, so that there may be none. */
#define LOG_LIST(...) ((const struct log_field[]){{0}, ##__VA_ARGS__})

/* log_event(LOG_INFO, "listening", log_text("address", a), log_number("port", p)) */
#define log_event(level, message, ...)                                                             \
	log_fields((level), (message), LOG_LIST(__VA_ARGS__) + 1,                                  \
		   sizeof(LOG_LIST(__VA_ARGS__)) / sizeof(struct log_field) - 1)

#endif
