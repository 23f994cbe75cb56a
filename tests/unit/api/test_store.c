// needs: api/store.c
/*
 * The API's SQL on a real database: what each operation changes. What it reads is in
 * test_store_read.c, what happens when nothing can be written in test_store_unavailable.c.
 */
#include "tests/unit/api/store_fixture.h"

#include "shared/base/alloc.h"
#include "shared/database/schema.h"
#include "shared/contract/topic_name.h"

static void only_a_registered_topic_can_be_published_to(void **state)
{
	(void)state;
	int64_t id = 0;
	int64_t events = query_number(handle, "SELECT count(*) FROM events");

	assert_int_equal(publish("a", "1", &id), STORE_NOT_REGISTERED);
	assert_int_equal(enrol("a", false), STORE_OK);
	assert_int_equal(publish("A", "1", &id), STORE_NOT_REGISTERED);
	assert_int_equal(publish("ab", "1", &id), STORE_NOT_REGISTERED);
	assert_int_equal(query_number(handle, "SELECT count(*) FROM events"), events);
	assert_int_equal(publish("a", "1", &id), STORE_OK);
	assert_int_equal(publish(TOPIC_STATUS, "1", &id), STORE_OK); /* it always exists */
	assert_int_equal(query_number(handle, "SELECT count(*) FROM events"), events + 2);
}

static void ids_rise_by_one(void **state)
{
	(void)state;
	int64_t before = query_number(handle, "SELECT max(id) FROM events");
	int64_t id = 0;

	assert_int_equal(enrol("a", false), STORE_OK);
	for (int64_t i = 1; i <= 20; i++) {
		assert_int_equal(publish("a", "1", &id), STORE_OK);
		assert_int_equal(id, before + i);
		assert_int_equal(publish("unknown", "1", &id), STORE_NOT_REGISTERED);
	}
	assert_int_equal(query_number(handle, "SELECT max(id) FROM events"), id);
}

static void bytes_pass_unchanged(void **state)
{
	(void)state;
	static const char topic[] = "it's \"q\" 100% / caf\xC3\xA9 \xF0\x9F\x98\x80";
	static const char payload[] =
		"{\"n\":12345678901234567890.10,\"s\":\"\\u2028\\/' \xE2\x82\xAC\"}";
	size_t big_len = 900 * 1024;
	char *big = xcalloc(big_len, 1);
	int64_t id = 0;

	assert_int_equal(enrol(topic, true), STORE_OK);
	assert_int_equal(publish(topic, payload, &id), STORE_OK);
	assert_string_equal(query(handle, "SELECT topic FROM events ORDER BY id DESC"), topic);
	assert_string_equal(query(handle, "SELECT payload FROM events ORDER BY id DESC"), payload);
	assert_int_equal(query_number(handle, "SELECT kind FROM events ORDER BY id DESC"),
			 EVENT_PUSH);
	assert_true(llabs(query_number(handle, "SELECT created_ms FROM events ORDER BY id DESC") -
			  clock_wall_ms()) < 60000);
	/* Of just this length: what is behind it in memory is not touched. */
	memset(big, 'x', big_len);
	assert_int_equal(store_publish(store, topic, strlen(topic), big, big_len, &id), STORE_OK);
	assert_int_equal(
		query_number(handle, "SELECT length(payload) FROM events ORDER BY id DESC"),
		big_len);
	free(big);
}

static void a_topic_past_its_expiry_is_gone_until_it_is_registered_again(void **state)
{
	(void)state;
	int64_t id;

	config.topic_ttl_ms = 1000000;
	assert_int_equal(enrol("a", false), STORE_OK);
	execute(handle, "UPDATE topics SET registered_ms = 5, expires_ms = 1000 WHERE topic = 'a'");
	assert_int_equal(publish("a", "1", &id), STORE_NOT_REGISTERED);
	assert_int_equal(enrol("a", false), STORE_OK);
	assert_int_equal(publish("a", "1", &id), STORE_OK);
	/* It is not the registration of old that goes on. */
	assert_true(query_number(handle, "SELECT registered_ms FROM topics WHERE topic = 'a'") > 5);
}

static void registering_again_takes_the_new_expiry_and_access(void **state)
{
	(void)state;
	config.topic_ttl_ms = 1000000;
	assert_int_equal(enrol("a", false), STORE_OK);
	int64_t now_ms = clock_wall_ms();
	assert_in_range(query_number(handle, "SELECT expires_ms FROM topics WHERE topic = 'a'"),
			now_ms + 1000000 - 60000, now_ms + 1000000);
	assert_int_equal(query_number(handle, "SELECT require_token FROM topics WHERE topic = 'a'"),
			 0);
	execute(handle, "UPDATE topics SET registered_ms = 5, expires_ms = expires_ms - 900000 "
			"WHERE topic = 'a'");
	assert_int_equal(enrol("a", true), STORE_OK);
	assert_in_range(query_number(handle, "SELECT expires_ms FROM topics WHERE topic = 'a'"),
			now_ms + 1000000 - 60000, now_ms + 1000000 + 60000);
	assert_int_equal(query_number(handle, "SELECT require_token FROM topics WHERE topic = 'a'"),
			 1);
	assert_int_equal(query_number(handle, "SELECT registered_ms FROM topics WHERE topic = 'a'"),
			 5);
	assert_int_equal(enrol("a", false), STORE_OK);
	assert_int_equal(query_number(handle, "SELECT require_token FROM topics WHERE topic = 'a'"),
			 0);
	assert_int_equal(query_number(handle, "SELECT count(*) FROM topics"), 2);
}

static void unregistering_is_an_event_in_the_order_of_all(void **state)
{
	(void)state;
	int64_t first, second;

	assert_int_equal(enrol("a", false), STORE_OK);
	assert_int_equal(publish("a", "1", &first), STORE_OK);
	assert_int_equal(unregister("a"), STORE_OK);
	assert_int_equal(publish("a", "2", &second), STORE_NOT_REGISTERED);
	assert_int_equal(enrol("a", false), STORE_OK);
	assert_int_equal(publish("a", "3", &second), STORE_OK);
	assert_int_equal(second, first + 2);
	assert_string_equal(
		query(handle, "SELECT group_concat(kind || topic || coalesce(payload, '-'), ' ') "
			      "FROM events WHERE topic = 'a'"),
		"0a1 1a- 0a3");
	/* Registered or not, and past its expiry: sockets may still be there. */
	assert_int_equal(unregister("unknown"), STORE_OK);
	assert_int_equal(query_number(handle, "SELECT count(*) FROM events WHERE topic = 'unknown' "
					      "AND kind = 1"),
			 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(only_a_registered_topic_can_be_published_to),
		STORE_TEST(ids_rise_by_one),
		STORE_TEST(bytes_pass_unchanged),
		STORE_TEST(a_topic_past_its_expiry_is_gone_until_it_is_registered_again),
		STORE_TEST(registering_again_takes_the_new_expiry_and_access),
		STORE_TEST(unregistering_is_an_event_in_the_order_of_all),
	};

	return watch_files() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
