/*
 * Where Redis is: what each part of a URL means, and what is wrong with those that are none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/contract/redis_url.h"

static const struct {
	const char *text;
	struct redis_url url;
} good[] = {
	{"redis://localhost", {.host = "localhost", .port = 6379}},
	{"redis://localhost/", {.host = "localhost", .port = 6379}},
	{"redis://redis-1.example_2.org.:7000/15",
	 {.host = "redis-1.example_2.org.", .port = 7000, .database = 15}},
	{"redis://192.0.2.1:65535/0", {.host = "192.0.2.1", .port = 65535}},
	{"redis://[2001:db8::1]", {.host = "2001:db8::1", .port = 6379}},
	{"redis://[::1]:1/65535", {.host = "::1", .port = 1, .database = 65535}},
	{"redis://:word@h", {.host = "h", .port = 6379, .password = "word"}},
	{"redis://user:word@h:2", {.host = "h", .port = 2, .user = "user", .password = "word"}},
	{"redis://u%3as%65r:w%2For%40d%25%c3%A4@[::1]:2/3",
	 {.host = "::1", .port = 2, .database = 3, .user = "u:ser", .password = "w/or@d%\xc3\xa4"}},
	{"redis://:a@b:c@h", {.host = "h", .port = 6379, .password = "a@b:c"}},
	{"redis://:@h", {.host = "h", .port = 6379}},
	{"rediss://h:6380/1", {.is_tls = true, .host = "h", .port = 6380, .database = 1}},
	{"rediss://u:p@h",
	 {.is_tls = true, .host = "h", .port = 6379, .user = "u", .password = "p"}},
	{"unix:/run/redis.sock", {.path = "/run/redis.sock"}},
	{"unix:/run/re@dis:1.sock?db=7", {.path = "/run/re@dis:1.sock", .database = 7}},
	{"unix:///run/redis.sock", {.path = "/run/redis.sock"}},
	{"unix://u:p%2f@/s?db=0", {.path = "/s", .user = "u", .password = "p/"}},
	{"unix://:p@/s", {.path = "/s", .password = "p"}},
};

static void each_part_is_understood(void **state)
{
	struct redis_url url;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		const char *fault = redis_url_fault(good[i].text, &url);

		if (fault)
			fail_msg("%s is refused: %s", good[i].text, fault);
		assert_int_equal(url.is_tls, good[i].url.is_tls);
		assert_string_equal(url.host, good[i].url.host);
		assert_int_equal(url.port, good[i].url.port);
		assert_string_equal(url.path, good[i].url.path);
		assert_string_equal(url.user, good[i].url.user);
		assert_string_equal(url.password, good[i].url.password);
		assert_int_equal(url.database, good[i].url.database);
	}
}

static const struct {
	const char *text;
	const char *fault; /* how it begins; "": no more than that it is none */
} bad[] = {
	{"", ""},
	{"localhost:6379", ""},
	{"redis:localhost", ""},
	{"REDIS://h", ""},
	{"redis+tls://h", ""},
	{"tcp://h", ""},
	{" redis://h", ""},
	{"/run/redis.sock", ""},
	{"redis://", "there is no host"},
	{"redis://:6379", "there is no host"},
	{"redis:///1", "there is no host"},
	{"redis://:p@/1", "there is no host"},
	{"redis://h:", "the port"},
	{"redis://h:0", "the port"},
	{"redis://h:65536", "the port"},
	{"redis://h:06379", "the port"},
	{"redis://h:6379a", "the port"},
	{"redis://h:-1", "the port"},
	{"redis://h:1/65536", "the database"},
	{"redis://h/01", "the database"},
	{"redis://h/-1", "the database"},
	{"redis://h/1/", "the database"},
	{"redis://h/x", "the database"},
	{"redis://::1", "an IPv6 address must be in brackets"},
	{"redis://2001:db8::1:6379", "an IPv6 address must be in brackets"},
	{"redis://[::1", "what is in brackets"},
	{"redis://[", "what is in brackets"},
	{"redis://[]", "what is in brackets"},
	{"redis://[127.0.0.1]", "what is in brackets"},
	{"redis://[h]", "what is in brackets"},
	{"redis://[::1%eth0]", "what is in brackets"},
	{"redis://[::1]x:1", "there is something between"},
	{"redis://[::1]6379", "there is something between"},
	{"redis://[::1]:", "the port"},
	{"redis://h h", "the host is not"},
	{"redis://a,b", "the host is not"},
	{"redis://h%41", "the host is not"},
	{"redis://@h", "there is a user without"},
	{"redis://u@h", "there is a user without"},
	{"redis://u:@h", "there is a user without"},
	{"redis://:a/b@h", "a / of the user"},
	{"redis://:a?b@h", "parameters"},
	{"redis://:a#b@h", "parameters"},
	{"redis://h?db=1", "parameters"},
	{"redis://:%@h", "a % is not"},
	{"redis://:%4@h", "a % is not"},
	{"redis://:%4g@h", "a % is not"},
	{"redis://:%g4@h", "a % is not"},
	{"redis://:a%00b@h", "a % is not"},
	{"redis://%:a@h", "a % is not"},
	{"unix:", "the path of a UNIX socket must"},
	{"unix:/", "the path of a UNIX socket must"},
	{"unix:/?db=1", "the path of a UNIX socket must"},
	{"unix:run/s", "the path of a UNIX socket must"},
	{"unix://run/s", "the path of a UNIX socket must"},
	{"unix://", "the path of a UNIX socket must"},
	{"unix:///", "the path of a UNIX socket must"},
	{"unix://:a/b@/s", "the path of a UNIX socket must"},
	{"unix:/s?", "behind the ?"},
	{"unix:/s?db", "behind the ?"},
	{"unix:/s?timeout=1", "behind the ?"},
	{"unix:/s?db=", "the database"},
	{"unix:/s?db=1&db=2", "the database"},
};

static void what_is_wrong_is_said_without_the_password(void **state)
{
	struct redis_url url;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *fault = redis_url_fault(bad[i].text, &url);

		if (!fault || strncmp(fault, bad[i].fault, strlen(bad[i].fault)) != 0 ||
		    (*bad[i].fault == '\0') != (*fault == '\0'))
			fail_msg("%s: %s", bad[i].text, fault ? fault : "is taken");
	}
}

/* `count` times a letter between two texts. */
static const char *filled(const char *start, size_t count, const char *end)
{
	static char text[4096];

	snprintf(text, sizeof(text), "%s%*s%s", start, (int)count, "", end);
	memset(text + strlen(start), 'x', count);
	return text;
}

static void each_part_has_a_longest(void **state)
{
	struct redis_url url;

	(void)state;
	assert_null(redis_url_fault(filled("redis://", 255, ":1"), &url));
	assert_int_equal(strlen(url.host), 255);
	assert_non_null(redis_url_fault(filled("redis://", 256, ":1"), &url));
	assert_null(redis_url_fault(filled("redis://u:", 1023, "@h"), &url));
	assert_int_equal(strlen(url.password), 1023);
	assert_non_null(redis_url_fault(filled("redis://u:", 1024, "@h"), &url));
	assert_non_null(redis_url_fault(filled("redis://", 1024, ":p@h"), &url));
	assert_null(redis_url_fault(filled("unix:/", 106, "?db=1"), &url));
	assert_int_equal(strlen(url.path), 107);
	assert_non_null(redis_url_fault(filled("unix:/", 107, ""), &url));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_part_is_understood),
		cmocka_unit_test(what_is_wrong_is_said_without_the_password),
		cmocka_unit_test(each_part_has_a_longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
