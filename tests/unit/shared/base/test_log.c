/*
 * Lines of the log as stderr gets them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/base/log.h"
#include "tests/unit/captured_log.h"

#define TIME "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "

static int start(void **state)
{
	(void)state;
	log_setup("test", LOG_DEBUG);
	return start_capture() ? 0 : -1;
}

static void assert_matches(const char *text, const char *pattern)
{
	regex_t regex;

	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&regex, text, 0, NULL, 0) != 0)
		fail_msg("%s does not match %s", text, pattern);
	regfree(&regex);
}

static void a_line_has_time_level_program_message_and_fields(void **state)
{
	(void)state;
	CAPTURED(log_event(LOG_INFO, "listening", log_text("address", "0.0.0.0"),
			   log_number("port", 9000), log_number("low", INT64_MIN)));
	assert_matches(next_write(), "^" TIME "level=info program=test msg=\"listening\" "
				     "address=\"0.0.0.0\" port=9000 low=-9223372036854775808\n$");
	assert_string_equal(next_write(), "");
}

static void a_line_without_fields_ends_behind_the_message(void **state)
{
	(void)state;
	CAPTURED(log_event(LOG_ERROR, "stopped"));
	assert_matches(next_write(), "^" TIME "level=error program=test msg=\"stopped\"\n$");
}

static void the_time_is_now(void **state)
{
	struct tm utc = {0};
	time_t now = time(NULL);

	(void)state;
	CAPTURED(log_event(LOG_WARN, "x"));
	assert_non_null(strptime(next_write(), "%Y-%m-%dT%H:%M:%S", &utc));
	assert_in_range(timegm(&utc), now, now + 5);
}

static void lines_below_the_level_are_not_written(void **state)
{
	static const char *const names[] = {"level=error ", "level=warn ", "level=info ",
					    "level=debug "};

	(void)state;
	for (enum log_level limit = LOG_ERROR; limit <= LOG_DEBUG; limit++) {
		log_setup("test", limit);
		for (enum log_level level = LOG_ERROR; level <= LOG_DEBUG; level++) {
			CAPTURED(log_event(level, "x"));
			assert_int_equal(strstr(next_write(), names[level]) != NULL,
					 level <= limit);
		}
	}
}

static void values_and_messages_are_escaped(void **state)
{
	(void)state;
	CAPTURED(log_event(LOG_INFO, "a \"b\"\n", log_text("text", "\"\\\n\x1B[m\xFF\xC2\x9B"),
			   log_bytes("bytes",
				     "a\0b\xE2\x80\xAE"
				     "c",
				     6)));
	assert_non_null(strstr(next_write(), " msg=\"a \\\"b\\\"\\x0a\" "
					     "text=\"\\\"\\\\\\x0a\\x1b[m\\xff\\xc2\\x9b\" "
					     "bytes=\"a\\x00b\\xe2\\x80\\xae\"\n"));
}

static void a_missing_text_is_an_empty_one(void **state)
{
	(void)state;
	CAPTURED(log_event(LOG_INFO, "x", log_text("a", NULL), log_bytes("b", NULL, 3),
			   log_text("c", "")));
	assert_non_null(strstr(next_write(), " a=\"\" b=\"\" c=\"\"\n"));
}

/* A line whose field has `count` times `piece`. Returns its length. */
static size_t log_repeated(const char *piece, size_t count)
{
	char text[4096];
	size_t len = strlen(piece);

	assert_true(count * len < sizeof(text));
	for (size_t i = 0; i < count; i++)
		memcpy(text + i * len, piece, len);
	CAPTURED(log_event(LOG_INFO, "x", log_bytes("t", text, count * len)));
	return strlen(next_write());
}

static bool ends_with(const char *end)
{
	size_t len = strlen(written);

	return len >= strlen(end) && strcmp(written + len - strlen(end), end) == 0;
}

static void a_line_that_just_fits_is_whole_and_a_longer_one_is_cut(void **state)
{
	size_t room = LOG_LINE_MAX - log_repeated("", 0);

	(void)state;
	assert_int_equal(log_repeated("a", room), LOG_LINE_MAX);
	assert_true(ends_with("aaaa\"\n"));
	assert_int_equal(log_repeated("a", room + 1), LOG_LINE_MAX);
	assert_true(ends_with("aaaa...\n"));
	assert_int_equal(log_repeated("a", 4000), LOG_LINE_MAX);
	assert_true(ends_with("aaaa...\n"));
}

static void a_line_is_cut_between_characters(void **state)
{
	static const struct {
		const char *piece;
		const char *shown;
	} cases[] = {{"\xC3\xA9", "\xC3\xA9...\n"},
		     {"\xE2\x82\xAC", "\xE2\x82\xAC...\n"},
		     {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80...\n"},
		     {"\\", "\\\\...\n"},
		     {"\n", "\\x0a...\n"},
		     {"\xC2\x80", "\\xc2\\x80...\n"}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t shown = strlen(cases[i].shown) - strlen("...\n");

		for (size_t shift = 0; shift < shown; shift++) { /* every place in a character */
			log_setup(&"12345678"[8 - shift], LOG_DEBUG);
			size_t len = log_repeated(cases[i].piece, 1000);
			assert_in_range(len, LOG_LINE_MAX - shown + 1, LOG_LINE_MAX);
			assert_true(ends_with(cases[i].shown));
			size_t before = (size_t)(strstr(written, "t=\"") + 3 - written);
			assert_int_equal((len - before - strlen("...\n")) % shown, 0);
		}
	}
}

static void fields_behind_a_cut_are_left_out(void **state)
{
	char text[2000];

	(void)state;
	memset(text, 'a', sizeof(text));
	CAPTURED(log_event(LOG_INFO, "x", log_bytes("t", text, sizeof(text)), log_number("n", 1),
			   log_text("u", "u")));
	assert_int_equal(strlen(next_write()), LOG_LINE_MAX);
	assert_true(ends_with("aaaa...\n"));
	assert_string_equal(next_write(), "");
}

static void errno_is_left_alone(void **state)
{
	int closed = open("/dev/null", O_RDONLY | O_CLOEXEC); /* cannot be written to */

	(void)state;
	dup2(closed, STDERR_FILENO);
	errno = ENOENT;
	log_event(LOG_INFO, "lost");
	int after = errno;
	dup2(real_stderr, STDERR_FILENO);
	close(closed);
	assert_int_equal(after, ENOENT);
}

/* The pipe's writing end, which blocks, is stderr for the time of the statement. */
#define WITH_PIPE(end, statement)                                                                  \
	do {                                                                                       \
		dup2(end, STDERR_FILENO);                                                          \
		statement;                                                                         \
		dup2(real_stderr, STDERR_FILENO);                                                  \
	} while (0)

static size_t drain(int fd, char *text, size_t size)
{
	ssize_t len = 0, used = 0;

	while ((len = read(fd, text + used, size - 1 - (size_t)used)) > 0)
		used += len;
	text[used] = '\0';
	return (size_t)used;
}

static void a_full_pipe_holds_up_nobody_and_what_was_lost_is_said(void **state)
{
	enum { TOO_MANY = 3000 };
	static char text[1 << 20];
	int pipe_fds[2], lines = 0;
	long lost;

	(void)state;
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
	alarm(20); /* one that waits, waits for ever */
	WITH_PIPE(pipe_fds[1], for (int i = 0; i < TOO_MANY; i++)
				       log_event(LOG_INFO, "one of many", log_number("i", i)));
	alarm(0);
	drain(pipe_fds[0], text, sizeof(text));
	for (const char *at = text; (at = strstr(at, "\"one of many\"")) != NULL; at++)
		lines++;
	assert_in_range(lines, 100, TOO_MANY - 1);
	assert_true(text[strlen(text) - 1] == '\n'); /* whole ones */

	WITH_PIPE(pipe_fds[1], log_event(LOG_INFO, "again"); log_event(LOG_INFO, "and again"));
	drain(pipe_fds[0], text, sizeof(text));
	assert_matches(text,
		       "^" TIME "level=warn program=test msg=\"the log could not be written\" "
		       "lines=[0-9]+\n" TIME "level=info program=test msg=\"again\"\n" TIME
		       "level=info program=test msg=\"and again\"\n$");
	lost = strtol(strstr(text, " lines=") + 7, NULL, 10);
	assert_int_equal(lines + lost, TOO_MANY);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void nor_does_a_full_socket(void **state)
{
	enum { TOO_MANY = 3000 };
	char text[4096];
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	alarm(20);
	WITH_PIPE(ends[1], for (int i = 0; i < TOO_MANY; i++) log_event(LOG_INFO, "one of many"));
	alarm(0);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	while (recv(ends[0], text, sizeof(text), 0) > 0)
		;
	WITH_PIPE(ends[1], log_event(LOG_INFO, "again"));
	text[recv(ends[0], text, sizeof(text) - 1, 0)] = '\0';
	assert_matches(text,
		       "^" TIME "level=warn program=test msg=\"the log could not be written\" "
		       "lines=[0-9]+\n" TIME "level=info program=test msg=\"again\"\n$");
	close(ends[0]);
	close(ends[1]);
}

/* Runs in a child: what was closed is not given to the next file, and the pipe that was stderr is
 * written to without waiting, though its end blocks. */
static void open_with(int closed, int stderr_fd)
{
	if (stderr_fd >= 0)
		dup2(stderr_fd, STDERR_FILENO);
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (closed & 1 << fd)
			close(fd);
	log_open();
	int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (next <= STDERR_FILENO || fcntl(STDERR_FILENO, F_GETFD) < 0)
		_exit(1);
	alarm(20);
	for (int i = 0; i < 3000; i++)
		log_event(LOG_INFO, "one of many");
	bool is_shared_end_left_alone = stderr_fd < 0 || !(fcntl(stderr_fd, F_GETFL) & O_NONBLOCK);
	_exit(is_shared_end_left_alone ? 0 : 2);
}

static void expect_child(int closed, int stderr_fd)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		open_with(closed, stderr_fd);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void closed_standard_descriptors_are_filled(void **state)
{
	int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)state;
	for (int closed = 0; closed < 8; closed++)
		expect_child(closed, nowhere);
	close(nowhere);
}

static void a_pipe_is_written_to_without_waiting_and_without_touching_its_flags(void **state)
{
	int pipe_fds[2];

	(void)state;
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	expect_child(0, pipe_fds[1]);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

enum { THREADS = 4, LINES = 2000 };

static void *log_many(void *number)
{
	for (int i = 0; i < LINES; i++)
		log_event(LOG_INFO, "thread", log_number("number", *(int *)number),
			  log_text("filler", "0123456789012345678901234567890123456789"));
	return NULL;
}

static void lines_of_several_threads_do_not_mix(void **state)
{
	FILE *file = tmpfile();
	int numbers[THREADS];
	pthread_t threads[THREADS];
	char line[LOG_LINE_MAX + 1];
	int count = 0;

	(void)state;
	assert_non_null(file);
	fcntl(fileno(file), F_SETFL, O_APPEND);
	dup2(fileno(file), STDERR_FILENO);
	for (int i = 0; i < THREADS; i++) {
		numbers[i] = i;
		pthread_create(&threads[i], NULL, log_many, &numbers[i]);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	dup2(real_stderr, STDERR_FILENO);
	rewind(file);
	while (fgets(line, sizeof(line), file)) {
		assert_matches(line, "^" TIME "level=info program=test msg=\"thread\" "
				     "number=[0-3] filler=\"[0-9]{40}\"\n$");
		count++;
	}
	fclose(file);
	assert_int_equal(count, THREADS * LINES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_line_has_time_level_program_message_and_fields,
						start, stop_capture),
		cmocka_unit_test_setup_teardown(a_line_without_fields_ends_behind_the_message,
						start, stop_capture),
		cmocka_unit_test_setup_teardown(the_time_is_now, start, stop_capture),
		cmocka_unit_test_setup_teardown(lines_below_the_level_are_not_written, start,
						stop_capture),
		cmocka_unit_test_setup_teardown(values_and_messages_are_escaped, start,
						stop_capture),
		cmocka_unit_test_setup_teardown(a_missing_text_is_an_empty_one, start,
						stop_capture),
		cmocka_unit_test_setup_teardown(
			a_line_that_just_fits_is_whole_and_a_longer_one_is_cut, start,
			stop_capture),
		cmocka_unit_test_setup_teardown(a_line_is_cut_between_characters, start,
						stop_capture),
		cmocka_unit_test_setup_teardown(fields_behind_a_cut_are_left_out, start,
						stop_capture),
		cmocka_unit_test_setup_teardown(errno_is_left_alone, start, stop_capture),
		cmocka_unit_test_setup_teardown(
			a_full_pipe_holds_up_nobody_and_what_was_lost_is_said, start, stop_capture),
		cmocka_unit_test_setup_teardown(nor_does_a_full_socket, start, stop_capture),
		cmocka_unit_test_setup_teardown(closed_standard_descriptors_are_filled, start,
						stop_capture),
		cmocka_unit_test_setup_teardown(
			a_pipe_is_written_to_without_waiting_and_without_touching_its_flags, start,
			stop_capture),
		cmocka_unit_test_setup_teardown(lines_of_several_threads_do_not_mix, start,
						stop_capture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
