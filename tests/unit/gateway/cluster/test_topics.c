// needs: gateway/cluster/topics.c gateway/cluster/topic_tasks.c gateway/cluster/topic_rows.c
// needs: gateway/cluster/store.c gateway/cluster/rules.c gateway/cluster/envelope.c
// needs: gateway/cluster/refused.c gateway/cluster/replies.c gateway/cluster/questions.c
// links: hiredis uv
/*
 * Which topics are given to Redis and looked at there, on a real database. Redis is this file's:
 * what it is asked is counted, and the scan is answered.
 */
#include "tests/unit/database_fixture.h"

#include "gateway/cluster/cluster_internal.h"
#include "gateway/cluster/dial.h"
#include "gateway/cluster/link.h"
#include "gateway/cluster/questions.h"
#include "gateway/cluster/redis.h"
#include "gateway/cluster/store.h"
#include "gateway/cluster/topics.h"
#include "gateway/cluster/topics_internal.h"

enum { MANY = 5000, DAY_MS = 86400000 };

static struct cluster cluster;
static struct topics *topics;
static redis_answer *scanned;

void redis_ask(struct redis *redis, redis_answer *answer, void *context, const char *format, ...)
{
	(void)redis;
	(void)context;
	if (strncmp(format, "SCAN", 4) == 0)
		scanned = answer;
}

struct redis *redis_open(struct uv_loop_s *loop, int socket, const struct redis_options *options,
			 const struct redis_handlers *handlers)
{
	(void)loop;
	(void)socket;
	(void)options;
	(void)handlers;
	return NULL;
}

void redis_close(struct redis *redis)
{
	(void)redis;
}

struct dial *dial_start(struct uv_loop_s *loop, const struct redis_url *url, size_t count,
			dial_done *done, void *context)
{
	(void)loop;
	(void)url;
	(void)count;
	(void)done;
	(void)context;
	return NULL;
}

void dial_close(struct dial *dial)
{
	(void)dial;
}

struct redis *link_commands(struct link *link)
{
	(void)link;
	return (struct redis *)&cluster;
}

bool link_has_tracking(const struct link *link)
{
	(void)link;
	return true;
}

void link_refuse(struct link *link, const redisReply *reply)
{
	(void)link;
	(void)reply;
	fail();
}

void link_done(void *link, const redisReply *reply)
{
	(void)link;
	(void)reply;
}

void link_look(struct link *link)
{
	(void)link;
}

bool link_is_marker(struct link *link, const redisReply *reply)
{
	(void)link;
	(void)reply;
	return true;
}

static int begin(void **state)
{
	char why[DATABASE_WHY_SIZE];
	int result = make_base(state);

	memset(&cluster, 0, sizeof(cluster));
	uv_loop_init(&cluster.loop);
	cluster.settings.max_topics = 2 * MANY;
	cluster.is_relay = true;
	cluster.database = open_database();
	cluster.store = cluster_store_new(cluster.database, &cluster.counters);
	cluster.questions = questions_new(NULL, NULL);
	cluster.topics = topics = topics_new(&cluster);
	refused_init(&cluster.refused, &cluster.counters);
	assert_true(database_is_prepared(cluster.database, why));
	return result;
}

static int end(void **state)
{
	topics_free(topics);
	uv_run(&cluster.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&cluster.loop), 0);
	questions_free(cluster.questions);
	cluster_store_free(cluster.store);
	database_close(cluster.database);
	return remove_base(state);
}

static sqlite3 *handle(void)
{
	return database_handle(cluster.database);
}

static void register_before(const char *topic, int64_t ms)
{
	char sql[160];

	snprintf(sql, sizeof(sql), "INSERT INTO topics VALUES ('%s', 0, %lld, 9e15)", topic,
		 (long long)(clock_wall_ms() - ms));
	execute(handle(), sql);
}

/* What a process gives to Redis that takes over. */
static const char *given(void)
{
	execute(handle(), "DELETE FROM topics_to_relay");
	topics->lost_ms = 0; /* it may run for weeks already */
	assert_int_equal(cluster_store_load(cluster.store), DATABASE_OK);
	topics_on_load(topics);
	assert_true(topics_give(topics, false));
	return query(handle(), "SELECT group_concat(topic) FROM topics_to_relay");
}

static void who_takes_over_gives_back_what_was_registered_just_before_redis_went(void **state)
{
	(void)state;
	register_before("old", DAY_MS);
	register_before("later", DAY_MS / 2 + 1000);
	assert_string_equal(given(), "(null)");
	register_before("new", 1000);
	assert_string_equal(given(), "new");
	assert_int_equal(cluster_store_load(cluster.store), DATABASE_OK);
	cluster_store_tell(cluster.store, -1, "it is raining");
	cluster_store_state(cluster.store)->since_ms -= DAY_MS / 2;
	assert_int_equal(cluster_store_flush(cluster.store), DATABASE_OK);
	assert_string_equal(given(), "later,new");
}

static void however_many_keys_an_answer_has_what_is_asked_is_bounded(void **state)
{
	struct replies *replies = replies_new();
	char text[64];
	redisReply *reply;

	(void)state;
	topics_on_link(topics);
	assert_non_null(scanned);
	snprintf(text, sizeof(text), "*2\r\n$1\r\n0\r\n*%d\r\n", MANY);
	assert_true(replies_feed(replies, text, strlen(text)));
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "$18\r\nwavelog:topic:%04d\r\n", i);
		assert_true(replies_feed(replies, text, strlen(text)));
	}
	reply = replies_next(replies);
	assert_non_null(reply);
	scanned(topics, reply);
	assert_in_range(topics->task_count, 1, MANY / 2);
	assert_int_equal(topics->comparing, TOPICS_HERE); /* once more, for the others */
	freeReplyObject(reply);
	replies_free(replies);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			who_takes_over_gives_back_what_was_registered_just_before_redis_went, begin,
			end),
		cmocka_unit_test_setup_teardown(
			however_many_keys_an_answer_has_what_is_asked_is_bounded, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
