/*
 * The command line as a program sees it. Each case is a child: options_start ends the process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/base/log.h"
#include "shared/config/options.h"
#include "shared/base/version.h"

#define SECRET "a secret of 32 characters or more"

/* What a child ends with when options_start returns a configuration. */
enum { RUNS = 100, MAX_WORDS = 8 };

static const struct program program = {
	.name = "wavelog-worker-test",
	.short_name = "test",
	.summary = "Does nothing at all.\n",
};

static char directory[] = "/tmp/options-XXXXXX";
static char path[64];
static char out[16384];
static char err[16384];

static int make_directory(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/c.yaml", directory);
	unsetenv("WAVELOG_WORKER_CONFIG");
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

static void write_config(const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(chmod(path, 0600), 0);
}

static void read_back(FILE *file, char *text, size_t size)
{
	rewind(file);
	text[fread(text, 1, size - 1, file)] = '\0';
	fclose(file);
	assert_null(strstr(text, SECRET));
}

static _Noreturn void be_the_program(int argc, char **argv)
{
	struct config *config = options_start(&program, argc, argv);

	if (!config)
		_exit(RUNS + 1);
	log_event(LOG_INFO, "runs", log_number("port", config->ws_port));
	log_event(LOG_DEBUG, "in detail");
	config_free(config);
	_exit(RUNS);
}

/* Runs with these words, the last one NULL. Returns the exit code; what was written is in `out` and
 * `err`. */
static int run_to(FILE *out_file, const char *const *words)
{
	FILE *err_file = tmpfile();
	char *argv[MAX_WORDS + 2] = {(char[]){"/usr/bin/wavelog-worker-test"}};
	int argc = 1;
	int status;

	for (; words[argc - 1]; argc++)
		argv[argc] = strdup(words[argc - 1]);
	fflush(NULL);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		dup2(fileno(out_file), STDOUT_FILENO);
		dup2(fileno(err_file), STDERR_FILENO);
		be_the_program(argc, argv);
	}
	for (int i = 1; i < argc; i++)
		free(argv[i]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	read_back(out_file, out, sizeof(out));
	read_back(err_file, err, sizeof(err));
	return WEXITSTATUS(status);
}

#define RUN(...) run_to(tmpfile(), (const char *const[MAX_WORDS]){__VA_ARGS__})

static void version_is_one_line(void **state)
{
	(void)state;
	assert_int_equal(RUN("--version"), 0);
	assert_string_equal(out, "wavelog-worker-test " WORKER_VERSION "\n");
	assert_string_equal(err, "");
}

static void help_is_enough(void **state)
{
	static const char *const words[] = {
		"Usage: wavelog-worker-test ",
		"Does nothing at all.\n",
		"-c, --config FILE",
		"--check-config",
		"--version",
		"--help",
		"$WAVELOG_WORKER_CONFIG",
		"config.yaml in the working directory",
		"/etc/wavelog-worker/config.yaml",
		"SIGTERM",
		"Exit codes",
		" 64 ",
		"75 ",
		"78 ",
	};

	(void)state;
	assert_int_equal(RUN("--help"), 0);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strstr(out, words[i]))
			fail_msg("--help does not say \"%s\"", words[i]);
	assert_string_equal(err, "");
}

static void a_bad_command_line_is_64_and_a_hint(void **state)
{
	static const char *const lines[][3] = {
		{"--nonsense"},	  {"-x"},     {"-c"},	       {"--config"},
		{"word"},	  {"-c", ""}, {"--version=1"}, {"--check-config", "word"},
		{"--", "--help"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(run_to(tmpfile(), lines[i]), EXIT_USAGE);
		assert_string_equal(out, "");
		assert_non_null(strstr(err, "wavelog-worker-test"));
		assert_non_null(strstr(err, "\nTry 'wavelog-worker-test --help'.\n"));
	}
}

static void a_good_file_starts_the_program_and_sets_the_log_up(void **state)
{
	static const char *const ways[][3] = {{"-c", path}, {"--config", path}, {"-config", path}};

	(void)state;
	write_config("worker_secret: " SECRET "\nws_port: 81\n");
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(run_to(tmpfile(), ways[i]), RUNS);
		assert_string_equal(out, "");
		assert_non_null(strstr(err, "level=info program=test msg=\"runs\" port=81\n"));
		assert_null(strstr(err, "detail"));
	}
	write_config("worker_secret: " SECRET "\nlog_level: debug\n");
	assert_int_equal(RUN("-c", path), RUNS);
	assert_non_null(strstr(err, "level=debug program=test msg=\"in detail\"\n"));
	write_config("worker_secret: " SECRET "\nlog_level: error\n");
	assert_int_equal(RUN("-c", path), RUNS);
	assert_string_equal(err, "");
}

static void the_file_may_come_from_the_environment(void **state)
{
	(void)state;
	write_config("worker_secret: " SECRET "\nws_port: 82\n");
	setenv("WAVELOG_WORKER_CONFIG", path, 1);
	assert_int_equal(RUN(NULL), RUNS);
	unsetenv("WAVELOG_WORKER_CONFIG");
	assert_non_null(strstr(err, "port=82\n"));
}

#define OTHER_SECRET "a secret from the environment, of 32 characters or more"

static void a_secret_in_the_environment_starts_the_program_without_a_file(void **state)
{
	char missing[128];

	(void)state;
	snprintf(missing, sizeof(missing), "%s/missing.yaml", directory);
	setenv("WORKER_SECRET", OTHER_SECRET, 1);
	setenv("WORKER_WS_PORT", "84", 1);
	int code = RUN("-c", missing);
	RUN("--check-config", "-c", missing); /* good, if there can be the default state_dir */
	assert_null(strstr(out, OTHER_SECRET));
	assert_null(strstr(err, OTHER_SECRET));
	assert_non_null(strstr(out, "\nws_port: 84 # from WORKER_WS_PORT\n"));
	setenv("WORKER_WS_PORT", "x", 1);
	assert_int_equal(RUN("--check-config", "-c", missing), EXIT_CONFIGURATION);
	assert_string_equal(err, "environment: error: WORKER_WS_PORT: expected a whole number from "
				 "1 to 65535\n");
	assert_int_equal(RUN("-c", missing), EXIT_CONFIGURATION);
	assert_non_null(strstr(err, " at=\"environment\"\n"));
	unsetenv("WORKER_WS_PORT");
	unsetenv("WORKER_SECRET");
	assert_int_equal(code, RUNS);
	assert_int_equal(RUN("-c", missing), EXIT_CONFIGURATION);
	assert_non_null(strstr(err, "why=\"cannot open the file: No such file or directory\""));
}

static void findings_are_log_lines_when_the_program_runs(void **state)
{
	char expected[256];

	(void)state;
	write_config("worker_secret: " SECRET "\nmade_up: 1\n");
	assert_int_equal(RUN("-c", path), RUNS);
	snprintf(expected, sizeof(expected),
		 "level=warn program=test msg=\"configuration\" why=\"unknown key made_up\" "
		 "at=\"%s:2\"\n",
		 path);
	assert_non_null(strstr(err, expected));

	write_config("worker_secret: short\n");
	assert_int_equal(RUN("-c", path), EXIT_CONFIGURATION);
	snprintf(expected, sizeof(expected),
		 "level=error program=test msg=\"configuration\" "
		 "why=\"worker_secret: shorter than 32 characters\" at=\"%s:1\"\n",
		 path);
	assert_non_null(strstr(err, expected));
	assert_string_equal(out, "");
}

/* A file that is good but for these lines, and perhaps its state_dir. */
static void write_checked(const char *lines, const char *state_dir)
{
	char text[512];

	snprintf(text, sizeof(text), "worker_secret: " SECRET "\nstate_dir: %s\n%s", state_dir,
		 lines);
	write_config(text);
}

static void assert_last_line(const char *text, const char *line)
{
	size_t len = strlen(text), line_len = strlen(line);

	if (len < line_len || strcmp(text + len - line_len, line) != 0)
		fail_msg("it does not end in %s but is: %s", line, text);
}

static void check_config_ends_in_a_verdict(void **state)
{
	char line[256], missing[128];

	(void)state;
	snprintf(missing, sizeof(missing), "%s/no/parent", directory);
	write_checked("", directory);
	snprintf(line, sizeof(line), "\n%s: ok\n", path);
	assert_int_equal(RUN("--check-config", "-c", path), 0);
	assert_last_line(out, line);
	assert_string_equal(err, "");

	write_checked("", missing);
	snprintf(line, sizeof(line),
		 "%s: error: cannot make the state_dir: the directory above it does not exist\n",
		 path);
	assert_int_equal(RUN("--check-config", "-c", path), EXIT_CONFIGURATION);
	assert_string_equal(err, line);
	assert_null(strstr(out, ": ok"));

	snprintf(missing, sizeof(missing), "%s/made-by-whom", directory);
	write_checked("", missing);
	assert_int_equal(RUN("--check-config", "-c", path), 0);
	assert_int_equal(access(missing, F_OK), -1);
}

static void check_config_prints_what_will_be_used(void **state)
{
	char expected[256];

	(void)state;
	write_checked("ws_port: 83\nmade_up: 1\n", directory);
	assert_int_equal(RUN("--check-config", "-c", path), 0);
	assert_non_null(strstr(out, "\nws_port: 83\n"));
	assert_non_null(strstr(out, "\n# worker_secret: (hidden)\n"));
	snprintf(expected, sizeof(expected), "%s:4: warning: unknown key made_up\n", path);
	assert_string_equal(err, expected);
}

static void check_config_ends_with_78_and_every_fault(void **state)
{
	char expected[512];

	(void)state;
	write_config("worker_secret: short\nws_port: 0\nlog_level: error\n");
	assert_int_equal(RUN("-c", path, "--check-config"), EXIT_CONFIGURATION);
	assert_string_equal(out, "");
	snprintf(expected, sizeof(expected),
		 "%s:1: error: worker_secret: shorter than 32 characters\n"
		 "%s:2: error: ws_port: expected a whole number from 1 to 65535\n",
		 path, path);
	assert_string_equal(err, expected);

	assert_int_equal(RUN("-c", directory, "--check-config"), EXIT_CONFIGURATION);
	snprintf(expected, sizeof(expected), "%s: error: is a directory\n", directory);
	assert_string_equal(err, expected);
}

static void an_answer_that_cannot_be_written_is_a_failure(void **state)
{
	static const char *const words[] = {"--version", NULL};
	FILE *full = fopen("/dev/full", "r+");

	(void)state;
	assert_non_null(full);
	assert_int_equal(run_to(full, words), EXIT_FAILURE);
	assert_non_null(strstr(err, "cannot write to stdout: No space left on device"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_is_one_line),
		cmocka_unit_test(help_is_enough),
		cmocka_unit_test(a_bad_command_line_is_64_and_a_hint),
		cmocka_unit_test(a_good_file_starts_the_program_and_sets_the_log_up),
		cmocka_unit_test(the_file_may_come_from_the_environment),
		cmocka_unit_test(a_secret_in_the_environment_starts_the_program_without_a_file),
		cmocka_unit_test(findings_are_log_lines_when_the_program_runs),
		cmocka_unit_test(check_config_prints_what_will_be_used),
		cmocka_unit_test(check_config_ends_in_a_verdict),
		cmocka_unit_test(check_config_ends_with_78_and_every_fault),
		cmocka_unit_test(an_answer_that_cannot_be_written_is_a_failure),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
