// needs: api/store.c
/*
 * The API's SQL: each operation on a real database, and what is only read. What happens when
 * nothing can be written is in test_store_unavailable.c.
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

	assert_int_equal(publish("a", "1", &id), REFUSED);
	assert_int_equal(enrol("a", false), DONE);
	assert_int_equal(publish("A", "1", &id), REFUSED);
	assert_int_equal(publish("ab", "1", &id), REFUSED);
	assert_int_equal(query_number(handle, "SELECT count(*) FROM events"), events);
	assert_int_equal(publish("a", "1", &id), DONE);
	assert_int_equal(publish(TOPIC_STATUS, "1", &id), DONE); /* it always exists */
	assert_int_equal(query_number(handle, "SELECT count(*) FROM events"), events + 2);
}

static void ids_rise_by_one(void **state)
{
	(void)state;
	int64_t before = query_number(handle, "SELECT max(id) FROM events");
	int64_t id = 0;

	assert_int_equal(enrol("a", false), DONE);
	for (int64_t i = 1; i <= 20; i++) {
		assert_int_equal(publish("a", "1", &id), DONE);
		assert_int_equal(id, before + i);
		assert_int_equal(publish("unknown", "1", &id), REFUSED);
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

	assert_int_equal(enrol(topic, true), DONE);
	assert_int_equal(publish(topic, payload, &id), DONE);
	assert_string_equal(query(handle, "SELECT topic FROM events ORDER BY id DESC"), topic);
	assert_string_equal(query(handle, "SELECT payload FROM events ORDER BY id DESC"), payload);
	assert_int_equal(query_number(handle, "SELECT kind FROM events ORDER BY id DESC"),
			 EVENT_PUSH);
	assert_true(llabs(query_number(handle, "SELECT created_ms FROM events ORDER BY id DESC") -
			  clock_wall_ms()) < 60000);
	/* Of just this length: what comes after it in memory is not touched. */
	memset(big, 'x', big_len);
	assert_int_equal(publish_bytes(topic, big, big_len, &id), DONE);
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
	assert_int_equal(enrol("a", false), DONE);
	execute(handle, "UPDATE topics SET registered_ms = 5, expires_ms = 1000 WHERE topic = 'a'");
	assert_int_equal(publish("a", "1", &id), REFUSED);
	assert_int_equal(enrol("a", false), DONE);
	assert_int_equal(publish("a", "1", &id), DONE);
	/* It is not the registration of old that goes on. */
	assert_true(query_number(handle, "SELECT registered_ms FROM topics WHERE topic = 'a'") > 5);
}

static void registering_again_takes_the_new_expiry_and_access(void **state)
{
	(void)state;
	config.topic_ttl_ms = 1000000;
	assert_int_equal(enrol("a", false), DONE);
	int64_t now_ms = clock_wall_ms();
	assert_in_range(query_number(handle, "SELECT expires_ms FROM topics WHERE topic = 'a'"),
			now_ms + 1000000 - 60000, now_ms + 1000000);
	assert_int_equal(query_number(handle, "SELECT require_token FROM topics WHERE topic = 'a'"),
			 0);
	execute(handle, "UPDATE topics SET registered_ms = 5, expires_ms = expires_ms - 900000 "
			"WHERE topic = 'a'");
	assert_int_equal(enrol("a", true), DONE);
	assert_in_range(query_number(handle, "SELECT expires_ms FROM topics WHERE topic = 'a'"),
			now_ms + 1000000 - 60000, now_ms + 1000000 + 60000);
	assert_int_equal(query_number(handle, "SELECT require_token FROM topics WHERE topic = 'a'"),
			 1);
	assert_int_equal(query_number(handle, "SELECT registered_ms FROM topics WHERE topic = 'a'"),
			 5);
	assert_int_equal(enrol("a", false), DONE);
	assert_int_equal(query_number(handle, "SELECT require_token FROM topics WHERE topic = 'a'"),
			 0);
	assert_int_equal(query_number(handle, "SELECT count(*) FROM topics"), 2);
}

static void unregistering_is_an_event_in_the_order_of_all(void **state)
{
	(void)state;
	int64_t first = 0, second = 0;

	assert_int_equal(enrol("a", false), DONE);
	assert_int_equal(publish("a", "1", &first), DONE);
	assert_int_equal(unregister("a"), DONE);
	assert_int_equal(publish("a", "2", &second), REFUSED);
	assert_int_equal(enrol("a", false), DONE);
	assert_int_equal(publish("a", "3", &second), DONE);
	assert_int_equal(second, first + 2);
	assert_string_equal(
		query(handle, "SELECT group_concat(kind || topic || coalesce(payload, '-'), ' ') "
			      "FROM events WHERE topic = 'a'"),
		"0a1 1a- 0a3");
	/* Registered or not, and past its expiry: sockets may still be there. */
	assert_int_equal(unregister("unknown"), DONE);
	assert_int_equal(query_number(handle, "SELECT count(*) FROM events WHERE topic = 'unknown' "
					      "AND kind = 1"),
			 1);
}

/* What waits to be told to Redis. */
static const char *to_relay(void)
{
	return query(handle, "SELECT group_concat(topic || changes, ' ') FROM "
			     "(SELECT * FROM topics_to_relay ORDER BY topic)");
}

static void in_a_cluster_redis_is_told_of_topics(void **state)
{
	(void)state;
	int64_t id;

	assert_int_equal(enrol("a", false), DONE);
	assert_int_equal(unregister("a"), DONE);
	assert_string_equal(to_relay(), "(null)"); /* there is no cluster */
	config.redis_url = (char[]){"redis://localhost"};
	assert_int_equal(enrol("a", false), DONE);
	assert_int_equal(enrol("a", true), DONE); /* it refreshes the key */
	assert_int_equal(enrol("b", false), DONE);
	assert_int_equal(publish("b", "1", &id), DONE);
	assert_int_equal(unregister("c"), DONE);
	assert_string_equal(to_relay(), "a2 b1 c1");
	assert_int_equal(unregister("b"), DONE);
	assert_string_equal(to_relay(), "a2 b2 c1");
	config.max_topics = 2;
	assert_int_equal(enrol("d", false), DONE);
	assert_int_equal(enrol("e", false), REFUSED);
	assert_int_equal(query_number(handle, "SELECT count(*) FROM topics WHERE topic = 'e'"), 0);
}

/* Redis is away for weeks. */
static void what_redis_is_to_be_told_has_a_bound(void **state)
{
	(void)state;
	config.redis_url = (char[]){"redis://localhost"};
	config.max_topics = 3;
	assert_int_equal(enrol("a", false), DONE);
	assert_int_equal(unregister("b"), DONE);
	assert_int_equal(unregister("c"), DONE);
	assert_string_equal(to_relay(), "a1 b1 c1");
	assert_int_equal(enrol("d", false), DONE);
	assert_string_equal(to_relay(), "a1 d1"); /* no topic that is there is forgotten */
	assert_int_equal(unregister("a"), DONE);
	assert_string_equal(to_relay(), "a2 d1");
}

/* Both or neither: the topic, and the note about it. */
static void a_topic_and_what_redis_is_told_are_one_transaction(void **state)
{
	(void)state;
	config.redis_url = (char[]){"redis://localhost"};
	assert_int_equal(enrol("a", false), DONE);
	execute(handle, "DROP TABLE topics_to_relay");
	assert_int_equal(enrol("b", false), UNAVAILABLE);
	assert_int_equal(unregister("a"), UNAVAILABLE);
	assert_string_equal(query(handle, "SELECT group_concat(topic, ' ') FROM topics"),
			    "a worker.status");
	config.redis_url = (char[]){""};
	assert_int_equal(enrol("b", false), DONE); /* nobody else looks at the table */
	assert_int_equal(unregister("a"), DONE);
}

struct list {
	char text[256];
	size_t len;
};

static void append(void *context, const char *topic, size_t topic_len)
{
	struct list *list = context;

	list->len += (size_t)snprintf(list->text + list->len, sizeof(list->text) - list->len,
				      "%.*s ", (int)topic_len, topic);
}

static const char *topics(bool active, int64_t limit)
{
	static struct list list;

	list = (struct list){.len = 0};
	assert_int_equal(store_topics(store, active, limit, append, &list), DATABASE_OK);
	return list.text;
}

static void topics_are_listed_in_byte_order(void **state)
{
	(void)state;
	static const char *const names[] = {"b", "a", "B", "\xC3\xA9", "aa"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(enrol(names[i], false), DONE);
	execute(handle, "INSERT INTO topics VALUES ('expired', 0, 0, 1)");
	assert_string_equal(topics(false, -1), "B a aa b worker.status \xC3\xA9 ");
	assert_string_equal(topics(false, 1000), "B a aa b worker.status \xC3\xA9 ");
	assert_string_equal(topics(false, 2), "B a ");
	assert_string_equal(topics(false, 0), "");
}

static void what_is_read_together_is_of_one_moment(void **state)
{
	(void)state;
	struct gauges gauges;
	sqlite3 *person = open_by_hand();

	assert_int_equal(enrol("a", false), DONE);
	assert_int_equal(store_read_begin(store), DATABASE_OK);
	assert_string_equal(topics(false, -1), "a worker.status ");
	execute(person, "DELETE FROM topics WHERE topic = 'a'; DELETE FROM events");
	assert_string_equal(topics(false, -1), "a worker.status ");
	assert_int_equal(gauges_read_all(gauge_reader, &gauges), DATABASE_OK);
	assert_int_equal(gauges.event_rows, 1);
	store_read_end(store);
	assert_string_equal(topics(false, -1), "worker.status ");
	store_read_end(store); /* nothing was begun */
	assert_int_equal(enrol("b", false), DONE);
	sqlite3_close(person);
}

static void a_read_that_was_not_ended_is_ended_by_the_next_write(void **state)
{
	(void)state;
	assert_int_equal(store_read_begin(store), DATABASE_OK);
	assert_string_equal(topics(false, -1), "worker.status ");
	assert_int_equal(enrol("a", false), DONE);
	assert_string_equal(topics(false, -1), "a worker.status ");
	assert_int_equal(store_read_begin(store), DATABASE_OK);
	store_read_end(store);
}

static void active_topics_are_those_of_living_gateways(void **state)
{
	(void)state;
	struct liveness *gateway = liveness_open(state_dir);

	execute(handle, "INSERT INTO gateways (pid, version, address, started_ms, seen_ms, "
			"last_event_id, cluster_nodes) VALUES (11, '', '', 0, 0, 0, -1), "
			"(12, '', '', 0, 0, 0, -1);"
			"INSERT INTO sessions (gateway, slot, topic, user_id, address, "
			"connected_ms, expires_ms) VALUES (11, 0, 'b', 0, '', 0, NULL), "
			"(11, 1, 'b', 0, '', 0, NULL), (11, 2, 'a', 0, '', 0, NULL), "
			"(12, 0, 'dead', 0, '', 0, NULL)");
	assert_string_equal(topics(true, -1), "");
	assert_true(liveness_claim_pid(gateway, 11));
	assert_string_equal(topics(true, -1), "a b ");
	assert_string_equal(topics(true, 1), "a ");
	liveness_close(gateway);
	assert_string_equal(topics(true, -1), "");
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
		STORE_TEST(in_a_cluster_redis_is_told_of_topics),
		STORE_TEST(what_redis_is_to_be_told_has_a_bound),
		STORE_TEST(a_topic_and_what_redis_is_told_are_one_transaction),
		STORE_TEST(topics_are_listed_in_byte_order),
		STORE_TEST(what_is_read_together_is_of_one_moment),
		STORE_TEST(a_read_that_was_not_ended_is_ended_by_the_next_write),
		STORE_TEST(active_topics_are_those_of_living_gateways),
	};

	return watch_files() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
