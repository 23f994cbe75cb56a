/*
 * What each key takes, what it refuses, and what it then says that it takes.
 */
#include "tests/unit/shared/config/config_fixture.h"

#define PORT "ws_port: expected a whole number from 1 to 65535"
#define MODE "ws_socket_mode: expected permission bits in octal with a leading 0, from 0000 to 0777"
#define TTL "topic_ttl: expected a duration such as 90s, 5m or 24h, at least 1ms"
#define BUSY "busy_timeout: expected a duration such as 500ms, from 1ms to 900ms"
#define BIND                                                                                       \
	"ws_bind: expected an IPv4 or IPv6 address, unix:/absolute/path (the path at most 107 "    \
	"bytes), or nothing for all interfaces"
#define INTERNAL "internal_bind: expected an IPv4 or IPv6 address"
#define PROXIES                                                                                    \
	"trusted_proxies: expected addresses and CIDR blocks such as 192.0.2.1 or "                \
	"2001:db8::/32, at most 1000"
#define ORIGINS                                                                                    \
	"allowed_origins: expected origins such as https://example.org, https://*.example.org or " \
	"http://localhost:8080, without a path, at most 1000"
#define SLASH "allowed_origins: an origin ends in its host or port: leave out the slash at the end"
#define TIMEOUT "handshake_timeout: expected a duration such as 500ms, from 100ms to 1m0s"
#define REDIS                                                                                      \
	"redis_url: expected redis://[user:password@]host[:port][/database], rediss://... for "    \
	"TLS, or unix:/absolute/path"
#define TEN "1234567890"
#define CONTROL "must not hold control characters (a line end is one)"

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
	assert_string_equal(config->redis_ca, "");
	assert_string_equal(config->node_name, "");
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
	assert_int_equal(config->poll_rate, 100);
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
	{"poll_rate: 0\n", offsetof(struct config, poll_rate), 0},
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
	{"allowed_origins: ' http://b.example ,https://c.example:80 '\n",
	 offsetof(struct config, allowed_origins), "http://b.example,https://c.example:80"},
	{"allowed_origins: [\"  \"]\n", offsetof(struct config, allowed_origins), ""},
	{"allowed_origins: HTTPS://*.A.example:443\n", offsetof(struct config, allowed_origins),
	 "https://*.a.example"},
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

/* Reads a file that has only this secret, in quotes as it is. */
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
	assert_found(0, true, 1, "worker_secret: missing, expected at least 32 characters");
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

static void a_cluster_has_a_url_certificates_and_a_name(void **state)
{
	struct config *config = good("redis_url: rediss://:pass@localhost:7000/2\n"
				     "redis_ca: /etc/redis/ca.pem\nnode_name: Zürich 2\n");

	(void)state;
	assert_string_equal(config->redis_url, "rediss://:pass@localhost:7000/2");
	assert_string_equal(config->redis_ca, "/etc/redis/ca.pem");
	assert_string_equal(config->node_name, "Zürich 2");
	config_free(config);
	config_free(good("redis_ca: /etc/redis/ca.pem\n"));
	bad("redis_url: redis://localhost\nredis_ca: /etc/redis/ca.pem\n", 0,
	    "redis_ca: only for a redis_url that begins with rediss://");
}

static const char *const empty[] = {
	"ws_port:\n",
	"ws_port: ~\n",
	"ws_port: ''\n",
	"topic_ttl: \"\"\n",
	"log_connections:\n",
	"internal_bind: ''\n",
	"state_dir: ''\n",
	"ws_socket_mode: null\n",
	"durability:\n",
	"drain: NULL\n",
	"ws_bind:\n",
	"trusted_proxies: [~, '']\n",
	"allowed_origins: ''\n",
	"redis_url: ''\n",
};

static void a_key_with_an_empty_value_is_one_that_is_not_there(void **state)
{
	struct config *defaults = good("");

	(void)state;
	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		struct config *config = good(empty[i]);

		assert_string_equal(config->ws_bind, "");
		assert_string_equal(config->redis_url, "");
		assert_string_equal(config->trusted_proxies, "");
		assert_string_equal(config->allowed_origins, "");
		assert_string_equal(config->internal_bind, defaults->internal_bind);
		assert_string_equal(config->state_dir, defaults->state_dir);
		assert_int_equal(config->ws_port, defaults->ws_port);
		assert_int_equal(config->ws_socket_mode, defaults->ws_socket_mode);
		assert_int_equal(config->topic_ttl_ms, defaults->topic_ttl_ms);
		assert_int_equal(config->drain_ms, defaults->drain_ms);
		assert_int_equal(config->durability, defaults->durability);
		assert_int_equal(config->log_connections, defaults->log_connections);
		config_free(config);
	}
	config_free(defaults);
	bad("ws_port:\nws_port: 80\n", 2, "ws_port: duplicate key, first on line 1");
	bad("ws_port: '~'\n", 1, PORT);
}

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
	{"topic_ttl: 3000000h\n", TTL},
	{"busy_timeout: 901ms\n", BUSY},
	{"busy_timeout: 0\n", BUSY},
	{"log_connections: 1\n", "log_connections: expected true or false"},
	{"log_connections: y\n", "log_connections: expected true or false"},
	{"durability: Full\n", "durability: expected one of normal, full"},
	{"token_expiry: ignore\n", "token_expiry: expected one of close, keep"},
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
	{"internal_bind: unix:/x\n", INTERNAL},
	{"worker_secret_previous: short\n", "worker_secret_previous: shorter than 32 characters"},
	{"state_dir: state\n", "state_dir: expected an absolute path"},
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
	{"allowed_origins: example.org\n", ORIGINS},
	{"allowed_origins: https://example.org/\n", SLASH},
	{"allowed_origins: 'https://a.example, https://*.b.example:8443/'\n", SLASH},
	{"allowed_origins: https://example.org//\n", ORIGINS},
	{"allowed_origins: https://example.org/a/\n", ORIGINS},
	{"allowed_origins: https://*\n", ORIGINS},
	{"allowed_origins: 'https://example.org,'\n", ORIGINS},
	{"allowed_origins: ',https://example.org'\n", ORIGINS},
	{"allowed_origins: '*'\n", ORIGINS},
	{"allowed_origins: 'null'\n", ORIGINS},
	{"allowed_origins: [https://example.org, x]\n", ORIGINS},
	{"allowed_origins: {a: https://example.org}\n", ORIGINS ", not nested values"},
	{"redis_url: localhost:6379\n", REDIS},
	{"redis_url: http://localhost\n", REDIS},
	{"redis_url: redis://localhost:0\n", "redis_url: the port is not a number from 1 to 65535"},
	{"redis_url: 'redis://:p/ssword@localhost'\n",
	 "redis_url: a / of the user or password is written %2F"},
	{"redis_url: \"redis://:p\\nw@localhost\"\n", "redis_url: " CONTROL},
	{"redis_url: [redis://a, redis://b]\n", REDIS ", not a list"},
	{"redis_ca: ca.pem\n", "redis_ca: expected the absolute path of a file"},
	{"node_name: \"a\\tb\"\n", "node_name: " CONTROL},
	{"node_name: " TEN TEN TEN TEN TEN TEN "12345\n", "node_name: expected at most 64 bytes"},
	{"handshake_timeout: 99ms\n", TIMEOUT},
	{"handshake_timeout: 61s\n", TIMEOUT},
	{"message_rate: -1\n", "message_rate: expected a whole number from 0 to 100000"},
	{"poll_rate: 100001\n", "poll_rate: expected a whole number from 0 to 100000"},
	{"trusted_proxies: [[10.0.0.1]]\n", PROXIES ", not nested values"},
	{"trusted_proxies: {a: 10.0.0.1}\n", PROXIES ", not nested values"},
};

static void what_a_key_does_not_take_is_an_error_that_says_what_it_takes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		bad(refused[i].line, 1, refused[i].message);
}

/* A text of that many bytes after `start`, in a buffer that lives until the next call. */
static const char *filled(const char *start, size_t len, const char *end)
{
	static char text[2048];
	char filler[1024];

	assert_true(len < sizeof(filler));
	memset(filler, 'x', len);
	filler[len] = '\0';
	snprintf(text, sizeof(text), "%s%s%s", start, filler, end);
	return text;
}

static void paths_of_sockets_fit_a_socket_address(void **state)
{
	struct config *config = good(filled("ws_bind: unix:/", 106, "\n"));

	(void)state;
	assert_int_equal(strlen(config->ws_bind), strlen("unix:") + 107);
	config_free(config);
	bad(filled("ws_bind: unix:/", 107, "\n"), 1, BIND);

	/* With "/wakeup.sock" behind it: 12 bytes. */
	config = good(filled("state_dir: /", 94, "\n"));
	assert_int_equal(strlen(config->state_dir), 107 - 12);
	config_free(config);
	bad(filled("state_dir: /", 95, "\n"), 1,
	    "state_dir: too long: with /wakeup.sock behind it the path of a socket may have 107 "
	    "bytes");
}

static void a_list_has_a_limit(void **state)
{
	static char text[32768];
	size_t used = 0;

	(void)state;
	for (int entries = 999; entries <= 1001; entries++) {
		used = (size_t)snprintf(text, sizeof(text), SECRET_LINE "trusted_proxies: ::1");
		for (int i = 1; i < entries; i++)
			used += (size_t)snprintf(text + used, sizeof(text) - used, ",10.0.0.1");
		struct config *config = parse(text, used);
		assert_int_equal(config != NULL, entries <= 1000);
		config_free(config);
	}
	assert_found(0, true, 2, PROXIES);
	used = (size_t)snprintf(text, sizeof(text), SECRET_LINE "trusted_proxies:\n");
	for (int i = 0; i < 1001; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "- ::1\n");
	assert_null(parse(text, used));
	assert_found(0, true, 1003, "a list of more than 1000 entries");
	assert_int_equal(found_count, 1);
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
		cmocka_unit_test(a_cluster_has_a_url_certificates_and_a_name),
		cmocka_unit_test(a_key_with_an_empty_value_is_one_that_is_not_there),
		cmocka_unit_test(what_a_key_does_not_take_is_an_error_that_says_what_it_takes),
		cmocka_unit_test(paths_of_sockets_fit_a_socket_address),
		cmocka_unit_test(a_list_has_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
