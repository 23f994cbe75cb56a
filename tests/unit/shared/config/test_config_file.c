/*
 * Whole files: where they are looked for, what is no file, and how findings come.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/shared/config/config_fixture.h"

static char directory[] = "/tmp/config-XXXXXX";
static char path[64];
static char start[4096]; /* the working directory of the others */

static int make_directory(void **state)
{
	(void)state;
	if (!getcwd(start, sizeof(start)) || !mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/config.yaml", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

static int remove_file(void **state)
{
	(void)state;
	unlink(path);
	return chdir(start);
}

/* A file with this text at `path`. */
static void write_file(const char *text, size_t len, mode_t mode)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void the_only_error_is(const char *message)
{
	assert_null(load(path));
	assert_found(0, true, 1, message);
	assert_int_equal(found_count, 1);
}

static void a_good_file_is_loaded(void **state)
{
	(void)state;
	write_file(BYTES(SECRET_LINE "ws_port: 80\n"), 0640);
	struct config *config = load(path);
	assert_non_null(config);
	assert_int_equal(found_count, 0);
	assert_string_equal(config->path, path);
	assert_int_equal(config->ws_port, 80);
	config_free(config);
}

static void a_file_that_others_can_read_is_a_warning(void **state)
{
	(void)state;
	write_file(BYTES(SECRET_LINE), 0604);
	struct config *config = load(path);
	assert_non_null(config);
	assert_found(0, false, 1, "others can read this file and the secret in it: chmod o-r");
	assert_int_equal(found_count, 1);
	config_free(config);
}

static void what_is_no_file_is_an_error(void **state)
{
	(void)state;
	the_only_error_is("cannot open the file: No such file or directory");
	assert_int_equal(mkdir(path, 0700), 0);
	the_only_error_is("is a directory");
	rmdir(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	alarm(10); /* nobody writes to it */
	the_only_error_is("not a regular file");
	alarm(0);
}

static void an_unreadable_file_is_an_error(void **state)
{
	bool is_root = geteuid() == 0;

	(void)state;
	write_file(BYTES(SECRET_LINE), 0);
	assert_int_equal(chmod(directory, 0755), 0);
	if (is_root)
		assert_int_equal(seteuid(65534), 0);
	struct config *config = load(path);
	if (is_root)
		assert_int_equal(seteuid(0), 0);
	assert_null(config);
	assert_found(0, true, 1, "cannot open the file: Permission denied");
}

static void a_file_may_have_a_mebibyte_and_no_more(void **state)
{
	char *text = malloc(CONFIG_MAX_BYTES + 1);

	(void)state;
	memset(text, '#', CONFIG_MAX_BYTES + 1);
	memcpy(text, BYTES(SECRET_LINE));
	write_file(text, CONFIG_MAX_BYTES, 0600);
	config_free(load(path));
	assert_int_equal(found_count, 0);
	write_file(text, CONFIG_MAX_BYTES + 1, 0600);
	the_only_error_is("longer than 1 MiB");
	assert_int_equal(truncate(path, INT64_C(1) << 40), 0); /* does not take the memory */
	the_only_error_is("longer than 1 MiB");
	free(text);
}

static void the_option_comes_first_then_the_variable_then_the_working_directory(void **state)
{
	(void)state;
	assert_int_equal(chdir(directory), 0);
	write_file(BYTES(SECRET_LINE), 0600);
	setenv("WAVELOG_WORKER_CONFIG", "/variable.yaml", 1);
	assert_string_equal(config_path("option.yaml"), "option.yaml");
	assert_string_equal(config_path(NULL), "/variable.yaml");
	setenv("WAVELOG_WORKER_CONFIG", "", 1);
	assert_string_equal(config_path(NULL), "config.yaml");
	unsetenv("WAVELOG_WORKER_CONFIG");
	assert_string_equal(config_path(NULL), "config.yaml");
	chmod(path, 0); /* it is there: it must not be passed over in silence */
	assert_string_equal(config_path(NULL), "config.yaml");
	unlink(path);
	assert_string_equal(config_path(NULL), "/etc/wavelog-worker/config.yaml");
}

static void every_fault_is_reported_in_the_order_of_the_file(void **state)
{
	static const char text[] = "ws_port: 0\n"
				   "ws-port: 80\n"
				   "worker_secret: " SECRET "\n"
				   "state_dir: x\n"
				   "ws_port: 1\n"
				   "trusted_proxies:\n"
				   "  - 10.0.0.1\n"
				   "  - 10.0.0.x\n"
				   "  - 10.0.0.y\n";

	(void)state;
	assert_null(parse(text, strlen(text)));
	assert_found(0, true, 1, "ws_port: expected a whole number from 1 to 65535");
	assert_found(1, false, 2, "unknown key ws-port");
	assert_found(2, true, 4, "state_dir: expected an absolute path");
	assert_found(3, true, 5, "ws_port: duplicate key, first on line 1");
	assert_int_equal(found[4].line, 8);
	assert_int_equal(found[5].line, 9);
	assert_int_equal(found_count, 6);
}

static void findings_end_with_their_limit(void **state)
{
	static char text[4096] = SECRET_LINE "trusted_proxies:\n";
	size_t used = strlen(text);

	(void)state;
	for (int i = 0; i < CONFIG_MAX_FINDINGS + 100; i++, used += 4)
		memcpy(text + used, "- x\n", 4);
	assert_null(parse(text, used));
	assert_found(CONFIG_MAX_FINDINGS, true, CONFIG_MAX_FINDINGS + 3,
		     "more than 100 findings: the rest is not shown");
	assert_int_equal(found_count, CONFIG_MAX_FINDINGS + 1);
}

static void unknown_keys_are_warnings_and_errors_when_given_twice(void **state)
{
	static const char text[] = SECRET_LINE "made_up: {a: [1, 2]}\nother:\nmade_up: 2\n";
	struct config *config = parse(text, strlen(text) - strlen("made_up: 2\n"));

	(void)state;
	assert_non_null(config);
	assert_found(0, false, 2, "unknown key made_up");
	assert_found(1, false, 3, "unknown key other");
	assert_int_equal(found_count, 2);
	config_free(config);
	assert_null(parse(text, strlen(text)));
	assert_found(2, true, 4, "made_up: duplicate key, first on line 2");
}

static void the_name_of_an_unknown_key_is_shown_when_it_cannot_be_a_secret(void **state)
{
	static const struct {
		const char *key;
		bool shown;
	} keys[] = {
		{"a-key.of_31_characters_00000000", true},
		{"a-key.of_32_characters_000000000", false},
		{"\"a\\x1Bb\"", false},
		{"\"a\\nb\"", false},
		{"\"a\\0b\"", false},
		{"\"\"", false},
		{"\xC3\xA9", false},
		{"{worker_secret:short}", false}, /* a space is missing */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		bool is_flow = keys[i].key[0] == '{';
		char text[128];
		int len = snprintf(text, sizeof(text), "%s%s", keys[i].key, is_flow ? "" : ": 1\n");

		assert_null(parse(text, (size_t)len)); /* there is no secret */
		assert_false(found[0].is_error);
		if ((strstr(found[0].message, keys[i].key) != NULL) != keys[i].shown)
			fail_msg("%s: %s", keys[i].key, found[0].message);
		assert_non_null(strstr(found[0].message, "unknown key"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_good_file_is_loaded, remove_file),
		cmocka_unit_test_teardown(a_file_that_others_can_read_is_a_warning, remove_file),
		cmocka_unit_test_teardown(what_is_no_file_is_an_error, remove_file),
		cmocka_unit_test_teardown(an_unreadable_file_is_an_error, remove_file),
		cmocka_unit_test_teardown(a_file_may_have_a_mebibyte_and_no_more, remove_file),
		cmocka_unit_test_teardown(
			the_option_comes_first_then_the_variable_then_the_working_directory,
			remove_file),
		cmocka_unit_test(every_fault_is_reported_in_the_order_of_the_file),
		cmocka_unit_test(findings_end_with_their_limit),
		cmocka_unit_test(unknown_keys_are_warnings_and_errors_when_given_twice),
		cmocka_unit_test(the_name_of_an_unknown_key_is_shown_when_it_cannot_be_a_secret),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
