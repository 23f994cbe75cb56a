/*
 * What each key refuses, and what it says it takes.
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
	"allowed_origins: expected origins such as https://example.org or "                        \
	"http://localhost:8080, without a path, at most 1000"
#define TIMEOUT "handshake_timeout: expected a duration such as 500ms, from 100ms to 1m0s"
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
	{"internal_bind: ''\n", INTERNAL},
	{"internal_bind: unix:/x\n", INTERNAL},
	{"worker_secret_previous: short\n", "worker_secret_previous: shorter than 32 characters"},
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
	{"allowed_origins: example.org\n", ORIGINS},
	{"allowed_origins: https://example.org/\n", ORIGINS},
	{"allowed_origins: 'https://example.org,'\n", ORIGINS},
	{"allowed_origins: '*'\n", ORIGINS},
	{"allowed_origins: 'null'\n", ORIGINS},
	{"allowed_origins: [https://example.org, x]\n", ORIGINS},
	{"allowed_origins: {a: https://example.org}\n", ORIGINS ", not nested values"},
	{"handshake_timeout: 99ms\n", TIMEOUT},
	{"handshake_timeout: 61s\n", TIMEOUT},
	{"message_rate: -1\n", "message_rate: expected a whole number from 0 to 100000"},
	{"trusted_proxies: [[10.0.0.1]]\n", PROXIES ", not nested values"},
	{"trusted_proxies: {a: 10.0.0.1}\n", PROXIES ", not nested values"},
};

static void what_a_key_does_not_take_is_an_error_that_says_what_it_takes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		bad(refused[i].line, 1, refused[i].message);
}

/* A text of that many bytes behind `start`, in a buffer that lives until the next call. */
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
		cmocka_unit_test(what_a_key_does_not_take_is_an_error_that_says_what_it_takes),
		cmocka_unit_test(paths_of_sockets_fit_a_socket_address),
		cmocka_unit_test(a_list_has_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
