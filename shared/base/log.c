/*
 * The log, see log.h. State: the program's name and the level, set once at the start (the level may
 * be changed later) and read by any thread; how many lines were lost. A line is built on the
 * caller's stack and handed to the kernel by one system call, so lines of several threads and
 * processes do not mix. errno is left as it was.
 *
 * O_NONBLOCK belongs to the open file, not to a descriptor: if it were set on the stderr that we
 * were given, the writes of other programs that share it would fail. So log_open opens the pipe
 * again. Where that is not allowed (another user made the pipe), a line is written only while there
 * is room for it; only somebody who takes that room at the same moment could still make us wait.
 */
#include "shared/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shared/base/clock.h"
#include "shared/base/escape.h"

static const char cut_mark[] = "...";
static const char *const level_names[] = {"error", "warn", "info", "debug"};

static const char *_Atomic program_name = "";
static _Atomic enum log_level level_now = LOG_INFO;
static _Atomic int64_t lost_lines;
static int log_fd = STDERR_FILENO;

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

/* A short piece, with nothing from outside in it. */
__attribute__((format(printf, 2, 3))) static void add_format(struct line *line, const char *format,
							     ...)
{
	char text[160];
	va_list args;
	size_t len;

	va_start(args, format);
	len = (size_t)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	add(line, text, len < sizeof(text) ? len : sizeof(text) - 1);
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

void log_open(void)
{
	struct stat info;
	int fd;

	log_fd = STDERR_FILENO;
	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (fd < 0) /* without devices a directory will do: the number is taken */
			fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	if (fstat(STDERR_FILENO, &info) != 0 || !S_ISFIFO(info.st_mode))
		return;
	fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		log_fd = fd;
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

static bool is_at(const char *path, const struct stat *file)
{
	struct stat info;

	return stat(path, &info) == 0 && info.st_ino == file->st_ino && info.st_dev == file->st_dev;
}

/* Only one process may rotate: of two that do so at once, the second would take the new file, and
 * the old one would be lost. */
void log_look_after(const char *path, int64_t max_bytes, bool may_rotate)
{
	static bool is_ours; /* once it has been, it is, even if somebody deletes it */
	char old_path[PATH_MAX];
	struct stat file;
	bool is_there;

	snprintf(old_path, sizeof(old_path), "%s.1", path);
	if (fstat(STDERR_FILENO, &file) != 0)
		return;
	is_there = is_at(path, &file);
	is_ours = is_ours || is_there || is_at(old_path, &file);
	if (!is_ours ||
	    (is_there && (file.st_size < max_bytes || !may_rotate || rename(path, old_path) != 0)))
		return;
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0) {
		dup2(fd, STDERR_FILENO);
		close(fd);
	}
}

/* False: it would have to wait, or there is nobody to write to. */
static bool write_line(enum log_level level, const char *message, const struct log_field *fields,
		       size_t count)
{
	struct pollfd room = {.fd = log_fd, .events = POLLOUT};
	int64_t now_ms = clock_wall_ms();
	struct tm utc = {0};
	struct line line;
	char date[32];
	ssize_t len;

	line.used = line.boundary = 0;
	line.is_cut = false;
	gmtime_r(&(time_t){(time_t)(now_ms / 1000)}, &utc);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
	add_format(&line, "%s.%03dZ level=%s program=%s msg=", date, (int)(now_ms % 1000),
		   level_names[level], program_name);
	add_quoted(&line, message, strlen(message));
	for (size_t i = 0; i < count; i++) {
		add_format(&line, " %s=", fields[i].key);
		if (fields[i].text)
			add_quoted(&line, fields[i].text, fields[i].len);
		else
			add_format(&line, "%" PRId64, fields[i].number);
	}
	line.text[line.used++] = '\n';
	len = send(log_fd, line.text, line.used, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (len < 0 && errno == ENOTSOCK && poll(&room, 1, 0) != 0)
		len = write(log_fd, line.text, line.used);
	return len >= 0;
}

void log_fields(enum log_level level, const char *message, const struct log_field *fields,
		size_t count)
{
	int saved_errno = errno;
	int64_t lost;

	if (level > level_now)
		return;
	lost = atomic_exchange(&lost_lines, 0);
	if (lost > 0 && !write_line(LOG_WARN, "the log could not be written",
				    &(struct log_field){.key = "lines", .number = lost}, 1))
		lost_lines += lost;
	if (!write_line(level, message, fields, count))
		lost_lines++;
	errno = saved_errno;
}
