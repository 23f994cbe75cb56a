/*
 * Whole files: where they are looked for, what is no file, what the environment says instead, and
 * what config_print writes.
 */
#include <pwd.h>
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
	assert_found(0, true, 0, message);
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
	assert_found(0, false, 0, "others can read this file and the secret in it: chmod o-r");
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

/* Loaded by a user who is not root, the file is refused, and the message names these two. */
static void assert_denied(const char *owner)
{
	bool is_root = geteuid() == 0;
	const char *us = is_root ? "nobody" : getpwuid(geteuid())->pw_name;
	char message[256];

	snprintf(message, sizeof(message),
		 "cannot open the file: Permission denied (%s%s%sthis program runs as %s)",
		 owner ? "it belongs to " : "", owner ? owner : "", owner ? ", " : "", us);
	if (is_root)
		assert_int_equal(seteuid(65534), 0);
	struct config *config = load(path);
	if (is_root)
		assert_int_equal(seteuid(0), 0);
	assert_null(config);
	assert_found(0, true, 0, message);
}

static void an_unreadable_file_is_an_error_that_names_both_users(void **state)
{
	char owner[64];

	(void)state;
	snprintf(owner, sizeof(owner), "%s", getpwuid(geteuid())->pw_name);
	write_file(BYTES(SECRET_LINE), 0);
	assert_int_equal(chmod(directory, 0755), 0);
	assert_denied(owner);
	assert_int_equal(chmod(directory, 0600), 0); /* it may not even be looked at */
	assert_denied(NULL);
	assert_int_equal(chmod(directory, 0700), 0);
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

/* What config_print writes, with a line after it; free it. */
static char *print(const struct config *config, const char *end)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	config_print(config, out);
	fputs(end, out);
	fclose(out);
	return text;
}

static void what_is_printed_is_loaded_again_and_the_same(void **state)
{
	struct config *config = good("ws_bind: unix:/a/\xC3\xA9\"\\'\nws_socket_mode: 0600\n"
				     "ws_port: 80\ninternal_bind: ::1\ninternal_port: 81\n"
				     "trusted_proxies: [\"::1\", 10.0.0.0/8]\nlog_level: warn\n"
				     "state_dir: \"/ \"\ntopic_ttl: 26h1m0.5s\nevent_limit: 5\n"
				     "event_retention: 90s\ndurability: full\nbusy_timeout: 5ms\n"
				     "outbox_max_frames: 6\noutbox_max_bytes: 7000\n"
				     "max_connections: 8\nlog_connections: yes\n");
	char *text = print(config, SECRET_LINE);
	struct config *again = parse(text, strlen(text));

	(void)state;
	assert_non_null(again);
	assert_int_equal(found_count, 0);
	char *again_text = print(again, SECRET_LINE);
	assert_string_equal(text, again_text);
	assert_non_null(strstr(text, "\nws_bind: \"unix:/a/\xC3\xA9\\\"\\\\'\"\n"));
	assert_non_null(strstr(text, "\nws_socket_mode: \"0600\"\n"));
	assert_non_null(strstr(text, "\ntrusted_proxies: \"::1,10.0.0.0/8\"\n"));
	assert_non_null(strstr(text, "\nstate_dir: \"/ \"\n"));
	assert_non_null(strstr(text, "\ntopic_ttl: 93660500ms\n"));
	assert_non_null(strstr(text, "\nevent_retention: 1m30s\n"));
	assert_non_null(strstr(text, "\ndurability: full\n"));
	assert_non_null(strstr(text, "\nlog_connections: true\n"));
	free(again_text);
	free(text);
	config_free(again);
	config_free(config);
}

static void secrets_are_not_printed(void **state)
{
	static const char file[] =
		SECRET_LINE "redis_url: redis://:password@localhost\n"
			    "worker_secret_previous: the-password-before, 32 characters\n";
	struct config *config = parse(file, strlen(file));
	char *text = print(config, "");

	(void)state;
	assert_null(strstr(text, SECRET));
	assert_non_null(strstr(text, "\n# worker_secret: (hidden)\n"));
	assert_null(strstr(text, "password"));
	assert_non_null(strstr(text, "\n# redis_url: (hidden)\n"));
	assert_non_null(strstr(text, "\n# worker_secret_previous: (hidden)\n"));
	free(text);
	config_free(config);
}

static void a_strange_name_of_the_file_breaks_no_line(void **state)
{
	struct config *config =
		config_parse(BYTES(SECRET_LINE), "a\nws_port: 1\x1B\xFF", take_finding, found);
	char *text = print(config, "");

	(void)state;
	assert_int_equal(
		strncmp(text,
			BYTES("# The configuration in use, from \"a\\x0aws_port: 1\\x1b\\xff\"\n")),
		0);
	free(text);
	config_free(config);
}

/* The sample with the # before keys taken away and a secret in it. */
static char *activated_sample(void)
{
	FILE *in = fopen("config.sample.yaml", "r"); /* tests run in the repository's folder */
	char line[512];
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(in);
	assert_non_null(out);
	while (fgets(line, sizeof(line), in)) {
		bool is_key = line[0] == '#' && line[1] >= 'a' && line[1] <= 'z';

		assert_true(line[0] == '#' || line[0] == '\n');
		if (strncmp(line, BYTES("#worker_secret:")) == 0)
			fputs(SECRET_LINE, out);
		else
			fputs(line + is_key, out);
	}
	fclose(in);
	fclose(out);
	return text;
}

static void the_sample_has_every_key_with_its_default(void **state)
{
	char *activated = activated_sample();
	struct config *sample = parse(activated, strlen(activated));
	struct config *defaults;
	char line[512], key[64];
	int keys = 0;

	(void)state;
	assert_non_null(sample);
	assert_int_equal(found_count, 0);
	defaults = good("");
	char *text = print(sample, "");
	char *expected = print(defaults, "");
	assert_string_equal(text, expected);
	free(text);
	FILE *printed = fmemopen(expected, strlen(expected), "r");
	assert_non_null(printed);
	while (fgets(line, sizeof(line), printed)) {
		if (sscanf(line, "# %60[a-z_]", key) == 1 || sscanf(line, "%60[a-z_]", key) == 1)
			keys++;
		else
			continue;
		snprintf(line, sizeof(line), "\n%s:", key);
		if (!strstr(activated, line))
			fail_msg("config.sample.yaml lacks %s", key);
	}
	assert_in_range(keys, 30, 100);
	fclose(printed);
	free(activated);
	free(expected);
	config_free(sample);
	config_free(defaults);
}

static const char *const variables[][2] = {
	{"WORKER_SECRET", "another secret of 32 characters or more"},
	{"WORKER_WS_BIND", "192.0.2.1"},
	{"WORKER_WS_PORT", "8000"},
	{"WORKER_INTERNAL_BIND", "::1"},
	{"WORKER_INTERNAL_PORT", "8001"},
	{"WORKER_REDIS_URL", "redis://:password@localhost"},
	{"WORKER_TOPIC_TTL", "90m"},
};

enum { VARIABLES = sizeof(variables) / sizeof(variables[0]) };

static void set_variables(void)
{
	for (size_t i = 0; i < VARIABLES; i++)
		setenv(variables[i][0], variables[i][1], 1);
}

static int unset_variables(void **state)
{
	for (size_t i = 0; i < VARIABLES; i++)
		unsetenv(variables[i][0]);
	return remove_file(state);
}

static void check_environment_is_used(const struct config *config)
{
	assert_non_null(config);
	assert_string_equal(config->worker_secret, variables[0][1]);
	assert_string_equal(config->ws_bind, "192.0.2.1");
	assert_int_equal(config->ws_port, 8000);
	assert_string_equal(config->internal_bind, "::1");
	assert_int_equal(config->internal_port, 8001);
	assert_string_equal(config->redis_url, "redis://:password@localhost");
	assert_int_equal(config->topic_ttl_ms, 5400 * 1000);
}

static void the_environment_wins_over_the_file(void **state)
{
	static const char text[] = SECRET_LINE "ws_bind: 192.0.2.9\nws_port: 1\nevent_limit: 7\n"
					       "internal_bind: 192.0.2.8\ninternal_port: 2\n"
					       "topic_ttl: 1s\n";

	(void)state;
	set_variables();
	struct config *config = parse(text, strlen(text));
	check_environment_is_used(config);
	assert_int_equal(config->event_limit, 7);
	assert_int_equal(found_count, 0);
	config_free(config);
	config = parse(BYTES("ws_port: 1\n")); /* the secret need not be in the file */
	check_environment_is_used(config);
	config_free(config);
}

static void an_empty_variable_is_one_that_is_not_set(void **state)
{
	(void)state;
	for (size_t i = 0; i < VARIABLES; i++)
		setenv(variables[i][0], "", 1);
	struct config *config = good("ws_port: 81\n");
	assert_string_equal(config->worker_secret, SECRET);
	assert_int_equal(config->ws_port, 81);
	assert_int_equal(config->internal_port, 9001);
	config_free(config);
	assert_null(parse(BYTES("ws_port: 81\n")));
	assert_found(0, true, 1, "worker_secret: missing, expected at least 32 characters");
	the_only_error_is("cannot open the file: No such file or directory");
}

static void a_fault_in_the_environment_names_the_variable(void **state)
{
	static const char *const faults[][3] = {
		{"WORKER_SECRET", "0123456789", "shorter than 32 characters"},
		{"WORKER_WS_PORT", "0", "expected a whole number from 1 to 65535"},
		{"WORKER_INTERNAL_BIND", "a host", "expected an IPv4 or IPv6 address"},
		{"WORKER_WS_BIND", "::1\n", "must not hold control characters (a line end is one)"},
		{"WORKER_TOPIC_TTL", "-1h",
		 "expected a duration such as 90s, 5m or 24h, at least 1ms"},
	};
	char message[128];

	(void)state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		setenv(faults[i][0], faults[i][1], 1);
		assert_null(parse(BYTES(SECRET_LINE)));
		snprintf(message, sizeof(message), "%s: %s", faults[i][0], faults[i][2]);
		assert_int_equal(found_count, 1);
		assert_true(found[0].is_error);
		assert_int_equal(found[0].line, 0);
		assert_string_equal(found[0].file, "environment");
		assert_string_equal(found[0].message, message);
		unsetenv(faults[i][0]);
	}
}

static void a_missing_file_is_fine_when_the_environment_has_the_secret(void **state)
{
	(void)state;
	set_variables();
	struct config *config = load(path);
	check_environment_is_used(config);
	assert_false(config->has_file);
	assert_string_equal(config->path, path);
	assert_int_equal(config->event_limit, 100000);
	assert_int_equal(found_count, 0);
	config_free(config);

	unsetenv("WORKER_REDIS_URL");
	unsetenv("WORKER_SECRET");
	the_only_error_is("cannot open the file: No such file or directory");
}

static void a_file_that_is_there_must_be_good_whatever_the_environment_says(void **state)
{
	(void)state;
	setenv("WORKER_SECRET", variables[0][1], 1);
	write_file(BYTES("ws_port: 0\n"), 0600);
	assert_null(load(path));
	assert_found(0, true, 1, "ws_port: expected a whole number from 1 to 65535");
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	the_only_error_is("is a directory");
	rmdir(path);
}

static void what_is_from_the_environment_is_printed_so_but_for_its_secrets(void **state)
{
	(void)state;
	set_variables();
	struct config *config = load(path);
	char *text = print(config, "");

	assert_non_null(strstr(text, "# The configuration in use, from the environment; there is "
				     "no file \"/tmp/"));
	assert_non_null(strstr(text, "\nws_port: 8000 # from WORKER_WS_PORT\n"));
	assert_non_null(strstr(text, "\nevent_limit: 100000\n"));
	assert_non_null(strstr(text, "\n# worker_secret: (hidden) # from WORKER_SECRET\n"));
	assert_non_null(strstr(text, "\n# redis_url: (hidden) # from WORKER_REDIS_URL\n"));
	assert_null(strstr(text, variables[0][1]));
	assert_null(strstr(text, "password"));
	free(text);
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_good_file_is_loaded, remove_file),
		cmocka_unit_test_teardown(a_file_that_others_can_read_is_a_warning, remove_file),
		cmocka_unit_test_teardown(what_is_no_file_is_an_error, remove_file),
		cmocka_unit_test_teardown(an_unreadable_file_is_an_error_that_names_both_users,
					  remove_file),
		cmocka_unit_test_teardown(a_file_may_have_a_mebibyte_and_no_more, remove_file),
		cmocka_unit_test_teardown(
			the_option_comes_first_then_the_variable_then_the_working_directory,
			remove_file),
		cmocka_unit_test(what_is_printed_is_loaded_again_and_the_same),
		cmocka_unit_test(secrets_are_not_printed),
		cmocka_unit_test(a_strange_name_of_the_file_breaks_no_line),
		cmocka_unit_test(the_sample_has_every_key_with_its_default),
		cmocka_unit_test_teardown(the_environment_wins_over_the_file, unset_variables),
		cmocka_unit_test_teardown(an_empty_variable_is_one_that_is_not_set,
					  unset_variables),
		cmocka_unit_test_teardown(a_fault_in_the_environment_names_the_variable,
					  unset_variables),
		cmocka_unit_test_teardown(
			a_missing_file_is_fine_when_the_environment_has_the_secret,
			unset_variables),
		cmocka_unit_test_teardown(
			a_file_that_is_there_must_be_good_whatever_the_environment_says,
			unset_variables),
		cmocka_unit_test_teardown(
			what_is_from_the_environment_is_printed_so_but_for_its_secrets,
			unset_variables),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
