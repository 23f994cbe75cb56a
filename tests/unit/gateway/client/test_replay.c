// needs: gateway/client/replay.c gateway/events/batch.c gateway/events/frame.c
// links: uv
/*
 * When replays get their turn. What they send is in tests/e2e/test_resume.py and test_cluster*.py.
 */
#include "tests/unit/shared/database/feed_fixture.h"

#include <dlfcn.h>
#include <uv.h>

#include "gateway/client/client_internal.h"
#include "gateway/client/replay.h"

static char order[16]; /* L: a look at the live pushes; R: a replay's turn */
static int sent; /* pushes, each of which takes longer than a turn may */
static uint64_t now_ns; /* what replay.c takes for the time */
static uint64_t pause_ms; /* of the timer that was started last */
static uv_timer_t tap;
static uv_idle_t look;

/* What replay.c calls of files that are not linked. */

bool delivery_is_done(const struct session *session)
{
	(void)session;
	return true;
}

enum delivery delivery_send(struct session *session, struct frame *frame)
{
	(void)session;
	(void)frame;
	sent++;
	now_ns += 1000000;
	return DELIVERY_SENT;
}

uint64_t uv_hrtime(void)
{
	return now_ns;
}

int uv_timer_start(uv_timer_t *timer, uv_timer_cb on_timer, uint64_t timeout_ms, uint64_t repeat_ms)
{
	int (*real)(uv_timer_t *, uv_timer_cb, uint64_t, uint64_t) =
		(int (*)(uv_timer_t *, uv_timer_cb, uint64_t, uint64_t))dlsym(RTLD_NEXT, __func__);

	pause_ms = timeout_ms;
	return real(timer, on_timer, timeout_ms, repeat_ms);
}

static void on_look(uv_idle_t *handle)
{
	order[strlen(order)] = 'L';
	uv_idle_stop(handle);
}

/* As wakeup.c does it. */
static void on_tap(uv_timer_t *timer)
{
	(void)timer;
	uv_idle_start(&look, on_look);
}

static void on_turn(struct session *session)
{
	order[strlen(order)] = 'R';
	replay_stop(session->replay);
}

static void live_pushes_of_the_same_turn_of_the_loop_go_first(void **state)
{
	(void)state;
	struct session session = {0};
	uv_loop_t loop;

	assert_int_equal(uv_loop_init(&loop), 0);
	uv_timer_init(&loop, &tap);
	uv_idle_init(&loop, &look);
	struct replays *replays = replays_new(&loop, NULL, on_turn);
	session.replay = replay_start(replays, &session, 1, NULL);
	uv_timer_start(&tap, on_tap, 0, 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_string_equal(order, "LR");

	replays_free(replays);
	uv_close((uv_handle_t *)&tap, NULL);
	uv_close((uv_handle_t *)&look, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void proceed_once(struct session *session)
{
	enum delivery delivery;

	assert_int_equal(replay_proceed(session->replay, &delivery), REPLAY_GOES_ON);
	replay_stop(session->replay);
}

static void a_turn_sends_some_however_little_of_a_processor_there_is(void **state)
{
	struct topic *topic = calloc(1, sizeof(*topic) + sizeof("t"));
	struct counters counters = {0};
	struct clients clients = {.counters = &counters};
	struct session session = {.clients = &clients, .member.by_topic.topic = topic};
	uv_loop_t loop;

	(void)state;
	memcpy(topic->name, "t", sizeof("t"));
	topic->name_len = 1;
	add_pushes("t", 100);
	feed_close(feed);
	feed = feed_open(database, NULL, why);
	assert_int_equal(uv_loop_init(&loop), 0);
	struct replays *replays = replays_new(&loop, feed, proceed_once);
	session.replay = replay_start(replays, &session, first_id, NULL);
	sent = 0;
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(sent, 16);

	replays_free(replays);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	free(topic);
}

static void work_a_millisecond(struct session *session)
{
	(void)session;
	now_ns += 1000000;
}

static void who_is_behind_for_long_is_served_without_pauses(void **state)
{
	struct session session = {0};
	uv_loop_t loop;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	struct replays *replays = replays_new(&loop, NULL, work_a_millisecond);
	session.replay = replay_start(replays, &session, 1, NULL);
	for (int second = 0; second < 12; second++) {
		pause_ms = 100;
		while (pause_ms == 100)
			uv_run(&loop, UV_RUN_NOWAIT);
		assert_int_equal(pause_ms, second < 10 ? 1 : 0);
		now_ns += 999000000;
	}
	replay_stop(session.replay);
	session.replay = replay_start(replays, &session, 1, NULL);
	for (int turn = 0; turn < 4; turn++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(pause_ms, 1);

	replay_stop(session.replay);
	replays_free(replays);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FEED_TEST(a_turn_sends_some_however_little_of_a_processor_there_is),
		cmocka_unit_test(who_is_behind_for_long_is_served_without_pauses),
		cmocka_unit_test(live_pushes_of_the_same_turn_of_the_loop_go_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
