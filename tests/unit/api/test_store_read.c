// needs: api/store.c
/*
 * What the API reads from a real database: lists of topics, all of them or those that somebody
 * listens to, and that what is read together is of one moment.
 */
#include "tests/unit/api/store_fixture.h"

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
	assert_int_equal(store_topics(store, active, limit, append, &list), STORE_OK);
	return list.text;
}

static void topics_are_listed_in_byte_order(void **state)
{
	(void)state;
	static const char *const names[] = {"b", "a", "B", "\xC3\xA9", "aa"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(enrol(names[i], false), STORE_OK);
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

	assert_int_equal(enrol("a", false), STORE_OK);
	assert_int_equal(store_read_begin(store), STORE_OK);
	assert_string_equal(topics(false, -1), "a worker.status ");
	execute(person, "DELETE FROM topics WHERE topic = 'a'; DELETE FROM events");
	assert_string_equal(topics(false, -1), "a worker.status ");
	assert_int_equal(store_all_gauges(store, &gauges), STORE_OK);
	assert_int_equal(gauges.event_rows, 1);
	store_read_end(store);
	assert_string_equal(topics(false, -1), "worker.status ");
	store_read_end(store); /* nothing was begun */
	assert_int_equal(enrol("b", false), STORE_OK);
	sqlite3_close(person);
}

static void a_read_that_was_not_ended_is_ended_by_the_next_write(void **state)
{
	(void)state;
	assert_int_equal(store_read_begin(store), STORE_OK);
	assert_string_equal(topics(false, -1), "worker.status ");
	assert_int_equal(enrol("a", false), STORE_OK);
	assert_string_equal(topics(false, -1), "a worker.status ");
	assert_int_equal(store_read_begin(store), STORE_OK);
	store_read_end(store);
}

static void active_topics_are_those_of_living_gateways(void **state)
{
	(void)state;
	struct liveness *gateway = liveness_open(state_dir);

	execute(handle, "INSERT INTO gateways (pid, version, address, started_ms, seen_ms, "
			"last_event_id, cluster_nodes) VALUES (11, '', '', 0, 0, 0, -1), "
			"(12, '', '', 0, 0, 0, -1);"
			"INSERT INTO sessions VALUES (11, 0, 'b', 0, '', 0, NULL), "
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
		STORE_TEST(topics_are_listed_in_byte_order),
		STORE_TEST(what_is_read_together_is_of_one_moment),
		STORE_TEST(a_read_that_was_not_ended_is_ended_by_the_next_write),
		STORE_TEST(active_topics_are_those_of_living_gateways),
	};

	return watch_files() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
