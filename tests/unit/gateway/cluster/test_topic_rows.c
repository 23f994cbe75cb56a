// needs: gateway/cluster/topic_rows.c
/*
 * Topics and their keys, on a real database: what is to be relayed, and which rows follow Redis.
 * What was changed here and Redis does not know yet is never overwritten.
 */
#include "tests/unit/database_fixture.h"

#include "gateway/cluster/topic_rows.h"

enum { MAX_TOPICS = 3, ROOM = 8 };

static struct database *database;
static struct topic_rows *rows;

static int setup(void **state)
{
	char why[DATABASE_WHY_SIZE];
	int result = make_base(state);

	database = open_database();
	rows = topic_rows_new(database);
	assert_true(database_is_prepared(database, why));
	return result;
}

static int teardown(void **state)
{
	topic_rows_free(rows);
	database_close(database);
	return remove_base(state);
}

static void run(const char *sql)
{
	execute(database_handle(database), sql);
}

static struct topic_row row_of(const char *name, bool require_token, int64_t left_ms)
{
	struct topic_row row = {
		.len = strlen(name),
		.is_registered = left_ms > 0,
		.require_token = require_token,
		.expires_ms = clock_wall_ms() + left_ms,
	};

	memcpy(row.name, name, row.len);
	return row;
}

static enum topic_verdict follow(struct topic_row row)
{
	enum topic_verdict verdict = topic_rows_judge(rows, &row, MAX_TOPICS);

	if (verdict == TOPIC_CHANGED)
		assert_int_equal(topic_rows_follow(rows, &row, MAX_TOPICS), DATABASE_OK);
	return verdict;
}

static int64_t number(const char *sql)
{
	return query_number(database_handle(database), sql);
}

static void a_row_follows_its_key(void **state)
{
	(void)state;
	assert_int_equal(follow(row_of("a", true, 60000)), TOPIC_CHANGED);
	assert_int_equal(number("SELECT require_token FROM topics WHERE topic = 'a'"), 1);
	assert_int_equal(follow(row_of("a", true, 60300)), TOPIC_SAME); /* it was on its way */
	assert_int_equal(follow(row_of("a", true, 62000)), TOPIC_CHANGED);
	assert_int_equal(follow(row_of("a", false, 62000)), TOPIC_CHANGED);
	assert_int_equal(follow(row_of("a", false, 500)), TOPIC_CHANGED);
	assert_int_equal(follow(row_of("a", false, 700)), TOPIC_CHANGED); /* much, of so little */

	struct topic_row never = row_of("a", false, 1);
	never.expires_ms = INT64_MAX;
	assert_int_equal(follow(never), TOPIC_CHANGED);
	assert_int_equal(follow(never), TOPIC_SAME);
	assert_int_equal(follow(row_of("a", false, 0)), TOPIC_CHANGED);
	assert_int_equal(follow(row_of("a", false, 0)), TOPIC_SAME);
	assert_int_equal(number("SELECT count(*) FROM topics"), 1);
	assert_int_equal(follow(row_of(TOPIC_STATUS, false, 0)), TOPIC_SAME);
	assert_int_equal(follow(row_of(TOPIC_STATUS, false, 500)), TOPIC_SAME);
}

static void there_is_room_for_so_many_topics(void **state)
{
	bool is_full;

	(void)state;
	for (int i = 0; i < MAX_TOPICS; i++)
		assert_int_equal(follow(row_of((char[]){(char)('a' + i), '\0'}, false, 60000)),
				 TOPIC_CHANGED);
	assert_false(topic_rows_wants(rows, "x", 1, MAX_TOPICS, &is_full));
	assert_true(is_full);
	assert_int_equal(follow(row_of("x", false, 60000)), TOPIC_ONE_TOO_MANY);
	struct topic_row row = row_of("x", false, 60000);
	assert_int_equal(topic_rows_follow(rows, &row, MAX_TOPICS), DATABASE_OK);
	assert_int_equal(number("SELECT count(*) FROM topics"), MAX_TOPICS + 1);
	assert_int_equal(follow(row_of("a", true, 60000)), TOPIC_CHANGED); /* it has its place */
	assert_int_equal(follow(row_of("b", true, 0)), TOPIC_CHANGED);
	assert_true(topic_rows_wants(rows, "x", 1, MAX_TOPICS, &is_full));
	assert_false(is_full);
	assert_false(topic_rows_wants(rows, "a", 1, MAX_TOPICS, &is_full));
	assert_false(is_full);
}

static void what_changed_here_goes_first(void **state)
{
	struct topic_row out[ROOM];
	size_t count;

	(void)state;
	follow(row_of("a", false, 60000));
	run("INSERT INTO topics_to_relay (topic) VALUES ('a'), ('gone')");
	assert_int_equal(follow(row_of("a", true, 0)), TOPIC_SAME);
	assert_int_equal(follow(row_of("gone", true, 60000)), TOPIC_SAME);
	struct topic_row row = row_of("gone", true, 60000);
	topic_rows_follow(rows, &row, MAX_TOPICS);
	row = row_of("a", true, 0);
	topic_rows_follow(rows, &row, MAX_TOPICS);
	assert_int_equal(number("SELECT group_concat(topic, '') = 'aworker.status' FROM topics"),
			 1);

	assert_int_equal(topic_rows_to_relay(rows, out, ROOM, &count), DATABASE_OK);
	assert_int_equal(count, 2);
	assert_true(out[0].is_registered && out[0].len == 1 && out[0].name[0] == 'a');
	assert_true(out[0].expires_ms > clock_wall_ms() && out[0].changes == 1);
	assert_true(!out[1].is_registered && out[1].len == 4);
	run("UPDATE topics_to_relay SET changes = 2 WHERE topic = 'a'"); /* while Redis was told */
	for (size_t i = 0; i < count; i++)
		assert_int_equal(topic_rows_relayed(rows, &out[i]), DATABASE_OK);
	assert_int_equal(topic_rows_to_relay(rows, out, ROOM, &count), DATABASE_OK);
	assert_true(count == 1 && out[0].changes == 2);
}

static void all_live_ones_are_given_and_walked_through_in_pieces(void **state)
{
	struct topic_row out[ROOM] = {0};
	size_t count;

	(void)state;
	run("INSERT INTO topics VALUES ('b', 1, 0, 9223372036854775807), ('a', 0, 0, "
	    "9223372036854775807), ('past', 0, 0, 5), ('c', 0, 0, 9223372036854775807)");
	run("INSERT INTO topics_to_relay VALUES ('b', 3)");
	assert_int_equal(topic_rows_give(rows, 1), DATABASE_OK);
	assert_int_equal(number("SELECT count(*) FROM topics_to_relay"), 1);
	assert_int_equal(topic_rows_give(rows, 0), DATABASE_OK);
	assert_int_equal(number("SELECT group_concat(topic || changes, ',') = 'a0,b3,c0' "
				"FROM topics_to_relay"),
			 1);
	assert_int_equal(topic_rows_walk(rows, &out[0], out, 2, &count), DATABASE_OK);
	assert_true(count == 2 && out[0].name[0] == 'a' && out[1].require_token);
	assert_int_equal(topic_rows_walk(rows, &out[1], out, 2, &count), DATABASE_OK);
	assert_true(count == 1 && out[0].name[0] == 'c');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_row_follows_its_key, setup, teardown),
		cmocka_unit_test_setup_teardown(there_is_room_for_so_many_topics, setup, teardown),
		cmocka_unit_test_setup_teardown(what_changed_here_goes_first, setup, teardown),
		cmocka_unit_test_setup_teardown(
			all_live_ones_are_given_and_walked_through_in_pieces, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
