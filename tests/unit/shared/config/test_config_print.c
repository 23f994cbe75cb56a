/*
 * What config_print writes, and that the sample file says the same as the table of keys.
 */
#include "shared/config/config_key.h"
#include "tests/unit/shared/config/config_fixture.h"

/* What config_print writes, with a line behind it; free it. */
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
	char *text = activated_sample();
	struct config *sample = parse(text, strlen(text));
	struct config *defaults;

	(void)state;
	assert_non_null(sample);
	assert_int_equal(found_count, 0);
	for (const struct config_key *key = config_keys; key->name; key++) {
		char start_of_line[64];

		snprintf(start_of_line, sizeof(start_of_line), "\n%s:", key->name);
		if (!strstr(text, start_of_line))
			fail_msg("config.sample.yaml lacks %s", key->name);
	}
	defaults = good("");
	free(text);
	text = print(sample, "");
	char *expected = print(defaults, "");
	assert_string_equal(text, expected);
	free(text);
	free(expected);
	config_free(sample);
	config_free(defaults);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_printed_is_loaded_again_and_the_same),
		cmocka_unit_test(secrets_are_not_printed),
		cmocka_unit_test(a_strange_name_of_the_file_breaks_no_line),
		cmocka_unit_test(the_sample_has_every_key_with_its_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
