/*
 * What each key takes and what it refuses, and how the findings of a whole file come.
 */
#include "tests/unit/config_fixture.h"

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
	assert_int_equal(config->max_connections, 0);
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
	{"max_connections: 0\n", offsetof(struct config, max_connections), 0},
	{"max_connections: 15000\n", offsetof(struct config, max_connections), 15000},
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
	struct config *config = good("durability: full\nlog_level: debug\n");

	(void)state;
	assert_int_equal(config->durability, CONFIG_DURABILITY_FULL);
	assert_int_equal(config->log_level, LOG_DEBUG);
	config_free(config);
	config = good("durability: 'normal'\nlog_level: error\n");
	assert_int_equal(config->durability, CONFIG_DURABILITY_NORMAL);
	assert_int_equal(config->log_level, LOG_ERROR);
	config_free(config);
}

#define PORT "ws_port: expected a whole number from 1 to 65535"
#define MODE                                                                                       \
	"ws_socket_mode: expected permission bits in octal with a leading 0, from 0000 to 0777"
#define TTL "topic_ttl: expected a duration such as 90s, 5m or 24h, at least 1ms"
#define BUSY "busy_timeout: expected a duration such as 500ms, from 1ms to 900ms"
#define BIND                                                                                       \
	"ws_bind: expected an IPv4 or IPv6 address, unix:/absolute/path (the path at most 107 "    \
	"bytes), or nothing for all interfaces"
#define INTERNAL "internal_bind: expected an IPv4 or IPv6 address"
#define PROXIES                                                                                    \
	"trusted_proxies: expected addresses and CIDR blocks such as 192.0.2.1 or "                \
	"2001:db8::/32, at most 1000"
#define CONTROL "must not hold control characters (a line end is one)"

static const struct {
	const char *line;
	const char *message;
} refused[] = {
	{"ws_port: 0\n", PORT},
	{"ws_port: 65536\n", PORT},
	{"ws_port: -1\n", PORT},
	{"ws_port: 99999999999999999999\n", PORT},
	{"ws_port: http\n", PORT},
	{"ws_port: 80.0\n", PORT},
	{"ws_port: 8e3\n", PORT},
	{"ws_port: 0x50\n", PORT},
	{"ws_port: 0120\n", PORT},
	{"ws_port: 8_0\n", PORT},
	{"ws_port: '80 '\n", PORT},
	{"ws_port: ' 80'\n", PORT},
	{"ws_port: '+ 80'\n", PORT},
	{"ws_port: '+-80'\n", PORT},
	{"ws_port: true\n", PORT},
	{"ws_port:\n", PORT},
	{"ws_port: ~\n", PORT},
	{"ws_port: [80]\n", PORT ", not a list"},
	{"ws_port: {a: 80}\n", PORT ", not nested values"},
	{"ws_port: \"80\\0\"\n", "ws_port: " CONTROL},
	{"ws_socket_mode: 432\n", MODE},
	{"ws_socket_mode: 01000\n", MODE},
	{"ws_socket_mode: '0888'\n", MODE},
	{"ws_socket_mode: 0x1ff\n", MODE},
	{"ws_socket_mode: u=rw\n", MODE},
	{"topic_ttl: 0\n", TTL},
	{"topic_ttl: 0s\n", TTL},
	{"topic_ttl: -1h\n", TTL},
	{"topic_ttl: 1us\n", TTL},
	{"topic_ttl: 24\n", TTL},
	{"topic_ttl: 1d\n", TTL},
	{"topic_ttl: \"\"\n", TTL},
	{"topic_ttl: 3000000h\n", TTL},
	{"busy_timeout: 901ms\n", BUSY},
	{"busy_timeout: 0\n", BUSY},
	{"log_connections: 1\n", "log_connections: expected true or false"},
	{"log_connections: y\n", "log_connections: expected true or false"},
	{"log_connections:\n", "log_connections: expected true or false"},
	{"durability: Full\n", "durability: expected one of normal, full"},
	{"log_level: 3\n", "log_level: expected one of error, warn, info, debug"},
	{"log_level: [info]\n", "log_level: expected one of error, warn, info, debug, not a list"},
	{"ws_bind: localhost\n", BIND},
	{"ws_bind: 1.2.3\n", BIND},
	{"ws_bind: 1.2.3.4:80\n", BIND},
	{"ws_bind: '[::1]'\n", BIND},
	{"ws_bind: unix:x.sock\n", BIND},
	{"ws_bind: 'unix:'\n", BIND},
	{"ws_bind: unix:/\n", BIND},
	{"ws_bind: \"unix:/a\\0b\"\n", "ws_bind: " CONTROL},
	{"internal_bind: ''\n", INTERNAL},
	{"internal_bind: unix:/x\n", INTERNAL},
	{"state_dir: state\n", "state_dir: expected an absolute path"},
	{"state_dir: ''\n", "state_dir: expected an absolute path"},
	{"state_dir: \"/a\\x7fb\"\n", "state_dir: " CONTROL},
	{"state_dir: \"/a\\x9bb\"\n", "state_dir: " CONTROL},
	{"state_dir: \"/a\\u202eb\"\n", "state_dir: " CONTROL},
	{"state_dir: |\n  /a\n", "state_dir: " CONTROL},
	{"trusted_proxies: 10.0.0.0/33\n", PROXIES},
	{"trusted_proxies: ::1/129\n", PROXIES},
	{"trusted_proxies: 10.0.0.0/08\n", PROXIES},
	{"trusted_proxies: 10.0.0.0/\n", PROXIES},
	{"trusted_proxies: 10.0.0.0/-1\n", PROXIES},
	{"trusted_proxies: 10.0.0.0/8/8\n", PROXIES},
	{"trusted_proxies: /8\n", PROXIES},
	{"trusted_proxies: proxy.example\n", PROXIES},
	{"trusted_proxies: '10.0.0.1,'\n", PROXIES},
	{"trusted_proxies: '10.0.0.1,,10.0.0.2'\n", PROXIES},
	{"trusted_proxies: 10.0.0.1 10.0.0.2\n", PROXIES},
	{"trusted_proxies: [10.0.0.1, x]\n", PROXIES},
	{"trusted_proxies: [[10.0.0.1]]\n", PROXIES ", not nested values"},
	{"trusted_proxies: {a: 10.0.0.1}\n", PROXIES ", not nested values"},
};

static void what_a_key_does_not_take_is_an_error_that_says_what_it_takes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		bad(refused[i].line, refused[i].line[strlen(refused[i].line) - 3] == '/' ? 2 : 1,
		    refused[i].message);
}
