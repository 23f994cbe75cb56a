/*
 * The log, see log.h. State: the program's name and the level, set once at the start (the level may
 * be changed later) and read by any thread. A line is built on the caller's stack and handed to the
 * kernel by one write(2), so lines of several threads and processes do not mix. It may block when
 * stderr is a pipe that nobody reads. A line that cannot be written whole is lost. errno is left as
 * it was.
 */
#include "shared/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "shared/base/clock.h"
#include "shared/base/escape.h"

static const char cut_mark[] = "...";

static const char *_Atomic program_name = "";
static _Atomic enum log_level level_now = LOG_INFO;

/* The line so far, without its newline. `boundary` is the last place where it may be cut. */
struct line {
	char text[LOG_LINE_MAX];
	size_t used;
	size_t boundary;
	bool is_cut;
};

enum { TEXT_MAX = LOG_LINE_MAX - 1, CUT_MAX = TEXT_MAX - (sizeof(cut_mark) - 1) };

/* Adds the bytes, all of them or none: when they do not fit the line is closed. */
static void add(struct line *line, const char *bytes, size_t len)
{
	if (line->is_cut)
		return;
	if (len > TEXT_MAX - line->used) {
		memcpy(line->text + line->boundary, cut_mark, sizeof(cut_mark) - 1);
		line->used = line->boundary + sizeof(cut_mark) - 1;
		line->is_cut = true;
		return;
	}
	memcpy(line->text + line->used, bytes, len);
	line->used += len;
	if (line->used <= CUT_MAX)
		line->boundary = line->used;
}

static void add_text(struct line *line, const char *text)
{
	add(line, text, strlen(text));
}

static void add_quoted(struct line *line, const char *text, size_t len)
{
	add(line, "\"", 1);
	while (len > 0 && !line->is_cut) {
		char shown[ESCAPE_MAX_BYTES];
		size_t shown_len;
		size_t taken = escape_next(text, len, shown, &shown_len);

		add(line, shown, shown_len);
		text += taken;
		len -= taken;
	}
	add(line, "\"", 1);
}

static void add_time(struct line *line)
{
	int64_t now_ms = clock_wall_ms();
	time_t seconds = (time_t)(now_ms / 1000);
	char text[64];
	struct tm utc;
	size_t len = 0;

	if (gmtime_r(&seconds, &utc))
		len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
	add(line, text, len);
	snprintf(text, sizeof(text), ".%03dZ", (int)(now_ms % 1000));
	add_text(line, text);
}

static void add_field(struct line *line, const struct log_field *field)
{
	char number[24];

	add(line, " ", 1);
	add_text(line, field->key);
	add(line, "=", 1);
	if (field->text) {
		add_quoted(line, field->text, field->len);
		return;
	}
	snprintf(number, sizeof(number), "%" PRId64, field->number);
	add_text(line, number);
}

struct log_field log_text(const char *key, const char *text)
{
	return log_bytes(key, text, text ? strlen(text) : 0);
}

struct log_field log_bytes(const char *key, const char *text, size_t len)
{
	return (struct log_field){.key = key, .text = text ? text : "", .len = text ? len : 0};
}

struct log_field log_number(const char *key, int64_t number)
{
	return (struct log_field){.key = key, .number = number};
}

void log_setup(const char *program, enum log_level level)
{
	program_name = program;
	level_now = level;
}

void log_set_level(enum log_level level)
{
	level_now = level;
}

enum log_level log_level_now(void)
{
	return level_now;
}

static const char *level_name(enum log_level level)
{
	switch (level) {
	case LOG_ERROR:
		return "error";
	case LOG_WARN:
		return "warn";
	case LOG_INFO:
		return "info";
	default:
		return "debug";
	}
}

void log_fields(enum log_level level, const char *message, const struct log_field *fields,
		size_t count)
{
	int saved_errno = errno;
	struct line line;

	if (level > level_now)
		return;
	line.used = line.boundary = 0;
	line.is_cut = false;
	add_time(&line);
	add_text(&line, " level=");
	add_text(&line, level_name(level));
	add_text(&line, " program=");
	add_text(&line, program_name);
	add_text(&line, " msg=");
	add_quoted(&line, message, strlen(message));
	for (size_t i = 0; i < count; i++)
		add_field(&line, &fields[i]);
	line.text[line.used++] = '\n';
	if (write(STDERR_FILENO, line.text, line.used) < 0) {
		/* lost, with nowhere to say so */
	}
	errno = saved_errno;
}
