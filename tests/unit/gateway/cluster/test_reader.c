// needs: gateway/cluster/reader.c gateway/cluster/store.c gateway/cluster/intake.c
// needs: gateway/cluster/envelope.c gateway/cluster/refused.c gateway/cluster/replies.c
// needs: gateway/cluster/rules.c
// links: hiredis uv
/*
 * The log on its way into a real database. The link is this file's: it hands out answers, and may
 * be dropped.
 */
#include "tests/unit/database_fixture.h"

#include "gateway/cluster/cluster_internal.h"
#include "gateway/cluster/intake.h"
#include "gateway/cluster/link.h"
#include "gateway/cluster/reader.h"
#include "gateway/cluster/store.h"
#include "gateway/cluster/topics.h"
#include "shared/database/write_lock.h"

#define OTHER "00000000000000aa"

static struct cluster cluster;
static struct {
	redis_answer *answer;
	void *context;
} asked;
static bool is_up;
static size_t looked; /* at topics */

void redis_ask(struct redis *redis, redis_answer *answer, void *context, const char *format, ...)
{
	(void)redis;
	(void)format;
	assert_null(asked.answer); /* one question at a time */
	asked.answer = answer;
	asked.context = context;
}

struct redis *link_reader(struct link *link)
{
	(void)link;
	return is_up ? (struct redis *)&is_up : NULL;
}

const char *link_marker(const struct link *link)
{
	(void)link;
	return "marker";
}

void link_drop(struct link *link, const char *why)
{
	(void)link;
	(void)why;
	is_up = false;
	reader_on_link_lost(cluster.reader, false);
}

void link_refuse(struct link *link, const redisReply *reply)
{
	(void)reply;
	link_drop(link, "refused");
}

void topics_look(struct topics *topics, struct slice topic)
{
	(void)topics;
	(void)topic;
	looked++;
}

static void on_caught_up(struct cluster *of)
{
	(void)of;
}

static int begin(void **state)
{
	char why[DATABASE_WHY_SIZE];
	int result = make_base(state);

	memset(&cluster, 0, sizeof(cluster));
	asked.answer = NULL;
	is_up = true;
	uv_loop_init(&cluster.loop);
	cluster.database = open_database();
	cluster.store = cluster_store_new(cluster.database, &cluster.counters);
	cluster.intake = intake_new(cluster.database);
	cluster.notify = notify_new(state_dir);
	refused_init(&cluster.refused, &cluster.counters);
	assert_true(database_is_prepared(cluster.database, why));
	assert_int_equal(cluster_store_load(cluster.store), DATABASE_OK);
	cluster.reader = reader_new(&cluster, on_caught_up);
	reader_on_link(cluster.reader, LOG_GOES_ON, (struct log_position){0});
	return result;
}

static int end(void **state)
{
	reader_free(cluster.reader);
	uv_run(&cluster.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&cluster.loop), 0);
	cluster_store_free(cluster.store);
	intake_free(cluster.intake);
	notify_free(cluster.notify);
	database_close(cluster.database);
	return remove_base(state);
}

static sqlite3 *handle(void)
{
	return database_handle(cluster.database);
}

/* An answer to XREAD with one push of each origin (NULL behind the last), from position 1-0 on. */
struct push {
	const char *origin;
	int64_t id;
};

static void answer_with(const struct push *pushes)
{
	struct replies *replies = replies_new();
	redis_answer *answer = asked.answer;
	redisReply *reply;
	char text[2048], entry[512];
	int len = 0, count = 0;

	assert_non_null(answer);
	while (pushes[count].origin)
		count++;
	len = snprintf(text, sizeof(text), "*1\r\n*2\r\n+wavelog:log\r\n*%d\r\n", count);
	assert_true(replies_feed(replies, text, (size_t)len));
	for (int i = 0; i < count; i++) {
		char id[24];

		snprintf(id, sizeof(id), "%lld", (long long)pushes[i].id);
		len = snprintf(
			entry, sizeof(entry),
			"*2\r\n$3\r\n%d-0\r\n*14\r\n$6\r\norigin\r\n$16\r\n%s\r\n$2\r\nid\r\n"
			"$%zu\r\n%s\r\n$4\r\nprev\r\n$1\r\n0\r\n$4\r\nkind\r\n$4\r\npush\r\n"
			"$7\r\ncreated\r\n$1\r\n1\r\n$5\r\ntopic\r\n$1\r\nt\r\n"
			"$7\r\npayload\r\n$1\r\n1\r\n",
			i + 1, pushes[i].origin, strlen(id), id);
		assert_true(replies_feed(replies, entry, (size_t)len));
	}
	reply = replies_next(replies);
	assert_non_null(reply);
	asked.answer = NULL;
	answer(asked.context, reply);
	freeReplyObject(reply);
	replies_free(replies);
}

static void how_far_the_log_was_read_and_what_of_ours_is_in_it_is_one_commit(void **state)
{
	const struct cluster_state *of = cluster_store_state(cluster.store);
	char expected[64];
	int64_t own_id;

	(void)state;
	execute(handle(), "INSERT INTO events (kind, topic, created_ms) VALUES (0, 't', 1)");
	own_id = query_number(handle(), "SELECT max(id) FROM events");
	assert_true(of->reached.relayed_id < own_id);
	snprintf(expected, sizeof(expected), "2-0 %lld", (long long)own_id);
	answer_with((const struct push[]){{of->node, own_id}, {OTHER, 5}, {NULL, 0}});
	/* As somebody else would find it after a kill. */
	assert_string_equal(
		query(handle(), "SELECT log_position || ' ' || relayed_id FROM cluster"), expected);
}

static void note_timer(uv_handle_t *timer, void *due_ms)
{
	if (timer->type == UV_TIMER && uv_is_active(timer))
		*(int64_t *)due_ms = (int64_t)uv_timer_get_due_in((uv_timer_t *)timer);
}

/* When it asks again; -1: it does not. */
static int64_t retry_ms(void)
{
	int64_t due_ms = -1;

	uv_walk(&cluster.loop, note_timer, &due_ms);
	return due_ms;
}

static void what_cannot_be_written_is_asked_for_again_later_or_by_the_next_link(void **state)
{
	const struct push pushes[] = {{OTHER, 5}, {NULL, 0}};
	int lock = write_lock_open(path_of("write.lock"));

	(void)state;
	assert_true(write_lock_try(lock));
	answer_with(pushes);
	assert_in_range(retry_ms(), 1, 100);
	close(lock);
	uv_run(&cluster.loop, UV_RUN_ONCE);
	execute(handle(), "PRAGMA query_only = 1");
	answer_with(pushes);
	assert_in_range(retry_ms(), 500, 1000);
	execute(handle(), "PRAGMA query_only = 0");
	reader_on_link_lost(cluster.reader, false);
	assert_int_equal(retry_ms(), -1);
	reader_on_link(cluster.reader, LOG_GOES_ON, (struct log_position){0});
	/* Not even what has been read is known any more. */
	execute(handle(), "ALTER TABLE nodes RENAME TO elsewhere");
	answer_with(pushes);
	assert_false(is_up);
	assert_int_equal(retry_ms(), -1);
}

static void ids_of_years_ahead_are_not_taken_unless_this_clock_is_behind(void **state)
{
	const int64_t year_us = INT64_C(365) * 86400 * 1000000, now_us = clock_wall_us();
	const struct push pushes[] = {{OTHER, now_us + 11 * year_us}, {NULL, 0}};
	const int64_t *counts = cluster.counters.counts;

	(void)state;
	answer_with(pushes);
	assert_int_equal(counts[COUNT_CLUSTER_REFUSED_MALFORMED], 1);
	cluster_store_state(cluster.store)->reached.relayed_id = now_us + 2 * year_us;
	answer_with(pushes);
	assert_int_equal(counts[COUNT_CLUSTER_REFUSED_MALFORMED], 1);
	assert_int_equal(counts[COUNT_CLUSTER_RECEIVED], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			how_far_the_log_was_read_and_what_of_ours_is_in_it_is_one_commit, begin,
			end),
		cmocka_unit_test_setup_teardown(
			what_cannot_be_written_is_asked_for_again_later_or_by_the_next_link, begin,
			end),
		cmocka_unit_test_setup_teardown(
			ids_of_years_ahead_are_not_taken_unless_this_clock_is_behind, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
