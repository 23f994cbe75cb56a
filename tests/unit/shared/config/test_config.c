/*
 * What each key takes. What it refuses is in test_config_refused.c, whole files in
 * test_config_file.c, the grammar in test_config_yaml.c.
 */
#include "tests/unit/shared/config/config_fixture.h"

static void the_defaults_are_those_of_the_contract(void **state)
{
	struct config *config = good("");

	(void)state;
	assert_string_equal(config->path, "f");
	assert_string_equal(config->worker_secret, SECRET);
	assert_string_equal(config->ws_bind, "");
	assert_int_equal(config->ws_port, 9000);
	assert_int_equal(config->ws_socket_mode, 0660);
	assert_string_equal(config->internal_bind, "127.0.0.1");
	assert_int_equal(config->internal_port, 9001);
	assert_string_equal(config->redis_url, "");
	assert_int_equal(config->topic_ttl_ms, 24 * 3600 * 1000);
	assert_string_equal(config->state_dir, "/var/lib/wavelog-worker");
	assert_int_equal(config->event_retention_ms, 3600 * 1000);
	assert_int_equal(config->event_limit, 100000);
	assert_int_equal(config->durability, CONFIG_DURABILITY_NORMAL);
	assert_int_equal(config->busy_timeout_ms, 700);
	assert_string_equal(config->trusted_proxies, "");
	assert_int_equal(config->outbox_max_frames, 1000);
	assert_int_equal(config->outbox_max_bytes, 4 << 20);
	assert_int_equal(config->outbox_total_max_bytes, 64 << 20);
	assert_int_equal(config->max_connections, 0);
	assert_int_equal(config->max_connections_per_address, 0);
	assert_int_equal(config->max_unauthenticated, 0);
	assert_int_equal(config->handshake_timeout_ms, 10000);
	assert_int_equal(config->message_rate, 20);
	assert_string_equal(config->allowed_origins, "");
	assert_int_equal(config->token_expiry, CONFIG_TOKEN_EXPIRY_CLOSE);
	assert_int_equal(config->drain_ms, 1000);
	assert_string_equal(config->worker_secret_previous, "");
	assert_int_equal(config->max_topics, 1000000);
	assert_int_equal(config->database_max_bytes, 1 << 30);
	assert_int_equal(config->log_level, LOG_INFO);
	assert_false(config->log_connections);
	config_free(config);
}

static const struct {
	const char *line;
	size_t offset;
	int64_t value;
} numbers[] = {
	{"ws_port: 1\n", offsetof(struct config, ws_port), 1},
	{"ws_port: 65535\n", offsetof(struct config, ws_port), 65535},
	{"ws_port: '8080'\n", offsetof(struct config, ws_port), 8080},
	{"ws_port: \"8080\"\n", offsetof(struct config, ws_port), 8080},
	{"ws_port: +8080\n", offsetof(struct config, ws_port), 8080},
	{"ws_port:\t8080 # tab, comment\n", offsetof(struct config, ws_port), 8080},
	{"internal_port: 65535\n", offsetof(struct config, internal_port), 65535},
	{"ws_socket_mode: 0\n", offsetof(struct config, ws_socket_mode), 0},
	{"ws_socket_mode: 0666\n", offsetof(struct config, ws_socket_mode), 0666},
	{"ws_socket_mode: \"0777\"\n", offsetof(struct config, ws_socket_mode), 0777},
	{"topic_ttl: 1ms\n", offsetof(struct config, topic_ttl_ms), 1},
	{"topic_ttl: \"1h30m\"\n", offsetof(struct config, topic_ttl_ms), 5400000},
	{"topic_ttl: 2562047h\n", offsetof(struct config, topic_ttl_ms), INT64_C(9223369200000)},
	{"event_retention: 1.5s\n", offsetof(struct config, event_retention_ms), 1500},
	{"event_limit: 1\n", offsetof(struct config, event_limit), 1},
	{"event_limit: 1000000000\n", offsetof(struct config, event_limit), 1000000000},
	{"busy_timeout: 1ms\n", offsetof(struct config, busy_timeout_ms), 1},
	{"busy_timeout: 900ms\n", offsetof(struct config, busy_timeout_ms), 900},
	{"outbox_max_frames: 1\n", offsetof(struct config, outbox_max_frames), 1},
	{"outbox_max_bytes: 1024\n", offsetof(struct config, outbox_max_bytes), 1024},
	{"outbox_total_max_bytes: 1024\n", offsetof(struct config, outbox_total_max_bytes), 1024},
	{"max_topics: 1\n", offsetof(struct config, max_topics), 1},
	{"database_max_bytes: 16777216\n", offsetof(struct config, database_max_bytes), 16 << 20},
	{"max_connections: 0\n", offsetof(struct config, max_connections), 0},
	{"drain: 5m\n", offsetof(struct config, drain_ms), 300000},
	{"max_connections: 15000\n", offsetof(struct config, max_connections), 15000},
	{"max_connections_per_address: 7\n", offsetof(struct config, max_connections_per_address),
	 7},
	{"max_unauthenticated: 1\n", offsetof(struct config, max_unauthenticated), 1},
	{"handshake_timeout: 100ms\n", offsetof(struct config, handshake_timeout_ms), 100},
	{"handshake_timeout: 1m\n", offsetof(struct config, handshake_timeout_ms), 60000},
	{"message_rate: 0\n", offsetof(struct config, message_rate), 0},
	{"message_rate: 100000\n", offsetof(struct config, message_rate), 100000},
};

static void numbers_durations_and_modes_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct config *config = good(numbers[i].line);
		int64_t value = *(const int64_t *)((const char *)config + numbers[i].offset);

		if (value != numbers[i].value)
			fail_msg("%s is %lld", numbers[i].line, (long long)value);
		config_free(config);
	}
}

static const struct {
	const char *line;
	size_t offset;
	const char *value;
} texts[] = {
	{"ws_bind:\n", offsetof(struct config, ws_bind), ""},
	{"ws_bind: ''\n", offsetof(struct config, ws_bind), ""},
	{"ws_bind: ~\n", offsetof(struct config, ws_bind), ""},
	{"ws_bind: null\n", offsetof(struct config, ws_bind), ""},
	{"ws_bind: 192.0.2.1\n", offsetof(struct config, ws_bind), "192.0.2.1"},
	{"ws_bind: ::1\n", offsetof(struct config, ws_bind), "::1"},
	{"ws_bind: unix:/run/x.sock\n", offsetof(struct config, ws_bind), "unix:/run/x.sock"},
	{"internal_bind: \"::\"\n", offsetof(struct config, internal_bind), "::"},
	{"worker_secret_previous: ''\n", offsetof(struct config, worker_secret_previous), ""},
	{"worker_secret_previous: 01234567890123456789012345678901\n",
	 offsetof(struct config, worker_secret_previous), "01234567890123456789012345678901"},
	{"state_dir: /x y\n", offsetof(struct config, state_dir), "/x y"},
	{"state_dir: '/it''s'\n", offsetof(struct config, state_dir), "/it's"},
	{"state_dir: \"/\\xe9\"\n", offsetof(struct config, state_dir), "/\xC3\xA9"},
	{"state_dir: >-\n  /folded\n", offsetof(struct config, state_dir), "/folded"},
	{"trusted_proxies:\n", offsetof(struct config, trusted_proxies), ""},
	{"trusted_proxies: []\n", offsetof(struct config, trusted_proxies), ""},
	{"trusted_proxies: 192.0.2.1\n", offsetof(struct config, trusted_proxies), "192.0.2.1"},
	{"trusted_proxies: ' 10.0.0.0/8 , ::1,2001:db8::/32 '\n",
	 offsetof(struct config, trusted_proxies), "10.0.0.0/8,::1,2001:db8::/32"},
	{"trusted_proxies: [10.0.0.0/0, \"::/128\"]\n", offsetof(struct config, trusted_proxies),
	 "10.0.0.0/0,::/128"},
	{"trusted_proxies:\n- 10.0.0.0/32\n- fe80::/10\n", offsetof(struct config, trusted_proxies),
	 "10.0.0.0/32,fe80::/10"},
	{"allowed_origins: []\n", offsetof(struct config, allowed_origins), ""},
	{"allowed_origins: HTTPS://A.example:443\n", offsetof(struct config, allowed_origins),
	 "https://a.example"},
	{"allowed_origins:\n- http://a.example:8080\n- 'http://[::1], https://b.example'\n",
	 offsetof(struct config, allowed_origins),
	 "http://a.example:8080,http://[::1],https://b.example"},
};

static void texts_addresses_and_lists_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct config *config = good(texts[i].line);
		const char *value = *(char *const *)((const char *)config + texts[i].offset);

		if (strcmp(value, texts[i].value) != 0)
			fail_msg("%s is \"%s\"", texts[i].line, value);
		config_free(config);
	}
}

static void booleans_are_read_as_yaml_1_1_writes_them(void **state)
{
	static const char *const no[] = {"false", "False", "FALSE", "no", "No", "off", "\"off\""};
	static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes", "on", "'on'"};

	(void)state;
	for (size_t i = 0; i < 14; i++) {
		char line[64];

		snprintf(line, sizeof(line), "log_connections: %s\n", i < 7 ? no[i] : yes[i - 7]);
		struct config *config = good(line);
		assert_int_equal(config->log_connections, i >= 7);
		config_free(config);
	}
}

static void choices_are_read(void **state)
{
	struct config *config = good("durability: full\nlog_level: debug\ntoken_expiry: keep\n");

	(void)state;
	assert_int_equal(config->durability, CONFIG_DURABILITY_FULL);
	assert_int_equal(config->log_level, LOG_DEBUG);
	assert_int_equal(config->token_expiry, CONFIG_TOKEN_EXPIRY_KEEP);
	config_free(config);
	config = good("durability: 'normal'\nlog_level: error\n");
	assert_int_equal(config->durability, CONFIG_DURABILITY_NORMAL);
	assert_int_equal(config->log_level, LOG_ERROR);
	config_free(config);
}

#define CONTROL "must not hold control characters (a line end is one)"

/* Reads a file that has this secret only, as it stands in quotes. */
static struct config *parse_secret(const char *secret)
{
	char text[1024];
	int len = snprintf(text, sizeof(text), "worker_secret: \"%s\"\n", secret);

	return parse(text, (size_t)len);
}

static void a_secret_has_at_least_32_characters(void **state)
{
	struct config *config = parse_secret("0123456789abcdef0123456789abcde");

	(void)state;
	assert_null(config);
	assert_found(0, true, 1, "worker_secret: shorter than 32 characters");
	assert_int_equal(found_count, 1);

	config = parse_secret("0123456789abcdef0123456789abcdef");
	assert_non_null(config);
	config_free(config);

	/* 32 bytes, but 31 characters. */
	assert_null(parse_secret("0123456789abcdef0123456789abcd\xC3\xA9"));
	assert_null(parse_secret(""));
	assert_found(0, true, 1, "worker_secret: shorter than 32 characters");
}

static void a_plain_secret_is_taken_as_it_stands(void **state)
{
	static const char *const lines[] = {
		"worker_secret: 01234567890123456789012345678901\n",
		"worker_secret: true-null-~-[0x1F]-{a}-#b-'\"-\\-%\n",
		"worker_secret: 'true-null-~-[0x1F]-{a}-#b-''\"-\\-%'\n",
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct config *config = parse(lines[i], strlen(lines[i]));

		assert_non_null(config);
		assert_string_equal(config->worker_secret,
				    i == 0 ? "01234567890123456789012345678901"
					   : "true-null-~-[0x1F]-{a}-#b-'\"-\\-%");
		config_free(config);
	}
}

static void a_secret_that_no_header_carries_is_refused(void **state)
{
	static const char *const spaced[] = {" 0123456789abcdef0123456789abcdef",
					     "0123456789abcdef0123456789abcdef ",
					     "                                        "};
	static const char *const control[] = {"0123456789abcdef\\n0123456789abcdef",
					      "0123456789abcdef0123456789abcdef\\0",
					      "0123456789abcdef0123456789abcdef\\x7F"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_null(parse_secret(spaced[i]));
		assert_found(0, true, 1,
			     "worker_secret: begins or ends with a space, which a header cannot "
			     "carry");
		assert_null(parse_secret(control[i]));
		assert_found(0, true, 1, "worker_secret: " CONTROL);
		assert_int_equal(found_count, 1);
	}
}

static void a_redis_url_is_a_warning(void **state)
{
	static const char text[] = SECRET_LINE "redis_url: redis://:password@localhost\n";
	struct config *config = parse(text, strlen(text));

	(void)state;
	assert_non_null(config);
	assert_string_equal(config->redis_url, "redis://:password@localhost");
	assert_found(0, false, 2,
		     "redis_url: clusters are not supported by this version; the key is ignored");
	assert_int_equal(found_count, 1);
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_defaults_are_those_of_the_contract),
		cmocka_unit_test(numbers_durations_and_modes_are_read),
		cmocka_unit_test(texts_addresses_and_lists_are_read),
		cmocka_unit_test(booleans_are_read_as_yaml_1_1_writes_them),
		cmocka_unit_test(choices_are_read),
		cmocka_unit_test(a_secret_has_at_least_32_characters),
		cmocka_unit_test(a_plain_secret_is_taken_as_it_stands),
		cmocka_unit_test(a_secret_that_no_header_carries_is_refused),
		cmocka_unit_test(a_redis_url_is_a_warning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
