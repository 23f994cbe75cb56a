// needs: gateway/client/session.c gateway/client/delivery.c gateway/client/outbox.c
// needs: gateway/client/stream.c gateway/client/body.c gateway/client/answer.c
// needs: gateway/client/deadlines.c gateway/client/pending.c
// needs: gateway/events/batch.c gateway/events/frame.c
// needs: gateway/events/audience.c gateway/events/subscriptions.c
/*
 * Sessions that are behind, by a clock that the test moves: who is alive, what the pool of all
 * outboxes lets wait, and that nothing is written after the end. test_fanout_random.c has what
 * readers get in all, tests/e2e/test_outbox.py real ones.
 */
#include "tests/unit/gateway/client/session_fixture.h"

#include "shared/base/clock.h"

enum { SECOND = 1000, PUSH = 1000, LONG = 100000, PLENTY = 10000000 };

static int64_t now_ms;

int64_t clock_monotonic_ms(void)
{
	return now_ms;
}

int64_t clock_wall_ms(void)
{
	return now_ms;
}

int64_t clock_monotonic_us(void)
{
	return now_ms * 1000;
}

int64_t clock_wall_us(void)
{
	return now_ms * 1000;
}

static int begin(void **state)
{
	(void)state;
	now_ms = 1000000;
	counters = (struct counters){0};
	clients = (struct clients){0};
	open_clients();
	return 0;
}

/* Whoever goes leaves nothing in the pool. */
static int end(void **state)
{
	(void)state;
	for (size_t i = 0; i < SEATS; i++)
		if (seats[i].session)
			vacate(&seats[i]);
	assert_int_equal(clients.pool.bytes, 0);
	close_clients();
	return 0;
}

/* A client that is subscribed, and whose kernel takes `room` bytes from then on. */
static struct lws *sit_down(size_t seat, bool is_resumable, size_t room)
{
	const struct newcomer newcomer = {.topic = "t", .topic_len = 1};
	const struct message message = {.kind = MESSAGE_AUTH,
					.resume = is_resumable ? MESSAGE_RESUME_FROM_NOW
							       : MESSAGE_RESUME_NOT_ASKED};
	const struct grant grant = {0};
	struct lws *peer = &seats[seat];

	peer->room = PLENTY;
	peer->session = session_new(&clients, peer, &newcomer);
	session_open(peer->session, &message, &grant);
	peer->room = room;
	return peer;
}

/* Returns the length of its frame; the frame is this client's alone. */
static size_t push(struct lws *peer, size_t payload_len)
{
	char *payload = xcalloc(payload_len + 1, 1);
	struct frame *frame = frame_of_push(0, memset(payload, '7', payload_len), payload_len);
	size_t len = frame->len;

	session_send(peer->session, frame);
	frame_release(frame);
	free(payload);
	return len;
}

/* Time passes, a second at a time. */
static void pass(int seconds)
{
	struct deadline *due;

	for (; seconds > 0; seconds--) {
		now_ms += SECOND;
		while ((due = deadlines_pop(&clients.deadlines, now_ms)))
			session_on_deadline(container_of(due, struct session, deadline), now_ms);
	}
}

static void one_that_is_behind_is_alive_as_long_as_it_reads(void **state)
{
	struct lws *reads = sit_down(0, false, 0), *stands = sit_down(1, false, 0);

	(void)state;
	for (int i = 0; i < 1000; i++) {
		push(reads, PUSH);
		push(stands, PUSH);
	}
	for (int i = 0; i < 40; i++) {
		assert_false(reads->is_dropped);
		pass(5);
		drain(reads, PUSH / 3);
	}
	assert_true(reads->session->outbox != NULL);
	assert_true(stands->is_dropped);
	assert_int_equal(counters.counts[COUNT_CLOSE_SILENT], 1);
}

static void so_it_is_in_the_middle_of_a_long_push(void **state)
{
	struct lws *reads = sit_down(0, false, 0);

	(void)state;
	push(reads, LONG);
	for (int i = 0; i < 40; i++) {
		pass(5);
		drain(reads, LONG / 100);
		assert_false(reads->is_dropped);
	}
}

static void what_the_kernel_takes_at_once_shows_nothing(void **state)
{
	struct lws *silent = sit_down(0, false, PLENTY);

	(void)state;
	for (int i = 0; i < 12; i++) {
		assert_false(silent->is_dropped);
		push(silent, i % 2 ? LONG : PUSH);
		drain(silent, PLENTY);
		pass(5);
	}
	assert_true(silent->is_dropped);
}

static void a_ping_that_could_not_be_sent_comes_when_it_has_caught_up(void **state)
{
	struct lws *peer = sit_down(0, false, 0);

	(void)state;
	push(peer, PUSH);
	pass(31);
	assert_int_equal(peer->pings, 0);
	drain(peer, PLENTY);
	assert_int_equal(peer->pings, 1);
	drain(peer, PLENTY);
	peer->session->heard_ms = now_ms; /* it has answered */
	pass(28);
	assert_int_equal(peer->pings, 1);
	pass(2);
	assert_int_equal(peer->pings, 2);
}

static void one_that_ends_is_sent_no_ping(void **state)
{
	struct lws *peer = sit_down(0, false, 0);

	(void)state;
	push(peer, PUSH);
	pass(31);
	session_end(peer->session, ENDING_SHUTDOWN);
	drain(peer, PLENTY);
	assert_int_equal(peer->pings, 0);
	assert_int_equal(peer->close_code, CLOSE_GOING_AWAY);
}

static void a_frame_that_was_cut_is_counted_once(void **state)
{
	struct lws *direct = sit_down(0, false, 100), *behind = sit_down(1, false, 0);

	(void)state;
	clients.pool.max_bytes = push(direct, PUSH);
	assert_int_equal(direct->session->held, clients.pool.max_bytes);
	assert_int_equal(clients.pool.bytes, clients.pool.max_bytes);
	drain(direct, PLENTY);
	assert_int_equal(clients.pool.bytes, 0);
	push(behind, PUSH);
	drain(behind, 100);
	assert_int_equal(behind->session->held, clients.pool.max_bytes);
	assert_int_equal(clients.pool.bytes, clients.pool.max_bytes);
	assert_false(direct->is_dropped || behind->is_dropped);
}

static void nothing_follows_a_frame_that_was_cut_off(void **state)
{
	struct lws *peer = sit_down(0, false, 0);

	(void)state;
	for (int i = 0; i < 3; i++)
		push(peer, PUSH);
	clients.pool.max_bytes = 0; /* it was lowered: there is no room for the rest of a frame */
	drain(peer, 100);
	assert_true(peer->is_dropped);
	peer->wants_write = true;
	drain(peer, PLENTY); /* the fixture sees what is written */
	assert_int_equal(counters.counts[COUNT_CLOSE_GONE], 1);
}

static void nothing_follows_a_close_frame_of_the_transport(void **state)
{
	struct lws *peer = sit_down(0, false, PLENTY), *behind = sit_down(1, false, 0);
	size_t len = peer->wire.len;

	(void)state;
	push(behind, PUSH);
	session_on_closing(behind->session);
	session_on_closing(peer->session);
	behind->is_closed = peer->is_closed = true;
	drain(behind, PLENTY);
	assert_null(peer->session->member.by_topic.topic);
	pass(120);
	assert_int_equal(peer->wire.len, len);
	assert_int_equal(peer->pings, 0);
}

/* Fills the pool with what one waits for that nobody looks at any more. */
static struct lws *fill_pool(size_t seat)
{
	struct lws *peer = sit_down(seat, false, 0);

	clients.pool.max_bytes = push(peer, PUSH);
	return peer;
}

static void a_full_pool_takes_nothing_of_one_whose_kernel_is_full(void **state)
{
	struct lws *first = fill_pool(0);

	(void)state;
	for (size_t seat = 1; seat < 3; seat++) {
		struct lws *peer = sit_down(seat, seat == 2, 0);

		push(peer, PUSH);
		assert_int_equal(peer->close_code, CLOSE_TRY_AGAIN);
		assert_int_equal(clients.pool.bytes, clients.pool.max_bytes);
	}
	assert_int_equal(counters.counts[COUNT_CLOSE_SLOW], 2);
	assert_int_equal(counters.counts[COUNT_DROP_CLOSED], 2);
	assert_false(first->is_closed);
}

static void a_long_push_may_pass_by_a_full_pool_but_not_wait(void **state)
{
	struct lws *all = (fill_pool(0), sit_down(1, false, PLENTY));
	struct lws *half = sit_down(2, true, PLENTY), *none = sit_down(3, true, PLENTY);

	(void)state;
	push(all, LONG);
	drain(all, PLENTY);
	assert_int_equal(counters.counts[COUNT_DELIVERIES], 1);
	assert_false(all->is_closed || all->is_dropped);
	push(half, LONG);
	drain(half, LONG / 2);
	assert_true(half->is_dropped);
	push(none, LONG);
	none->room = 0;
	session_on_writable(none->session);
	assert_int_equal(none->close_code, CLOSE_TRY_AGAIN);
	vacate(half);
	assert_int_equal(clients.pool.bytes, clients.pool.max_bytes);
}

static void last_words_take_the_room_of_what_waits_before_them(void **state)
{
	struct lws *peer = fill_pool(0), *other = sit_down(1, false, 0);

	(void)state;
	session_end(peer->session, ENDING_UNREGISTERED);
	assert_in_range(clients.pool.bytes, 1, clients.pool.max_bytes);
	drain(peer, PLENTY);
	assert_int_equal(peer->close_code, CLOSE_NORMAL);
	assert_non_null(memmem(peer->wire.at, peer->wire.len, MESSAGE_TOPIC_UNREGISTERED,
			       strlen(MESSAGE_TOPIC_UNREGISTERED)));
	assert_int_equal(clients.pool.bytes, 0);

	/* And where there is none they are left out. */
	clients.pool.max_bytes = 10;
	session_end(other->session, ENDING_UNREGISTERED);
	assert_int_equal(other->close_code, CLOSE_NORMAL);
	assert_int_equal(clients.pool.bytes, 0);
}

#define SESSION_TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SESSION_TEST(one_that_is_behind_is_alive_as_long_as_it_reads),
		SESSION_TEST(so_it_is_in_the_middle_of_a_long_push),
		SESSION_TEST(what_the_kernel_takes_at_once_shows_nothing),
		SESSION_TEST(a_ping_that_could_not_be_sent_comes_when_it_has_caught_up),
		SESSION_TEST(one_that_ends_is_sent_no_ping),
		SESSION_TEST(a_frame_that_was_cut_is_counted_once),
		SESSION_TEST(nothing_follows_a_frame_that_was_cut_off),
		SESSION_TEST(nothing_follows_a_close_frame_of_the_transport),
		SESSION_TEST(a_full_pool_takes_nothing_of_one_whose_kernel_is_full),
		SESSION_TEST(a_long_push_may_pass_by_a_full_pool_but_not_wait),
		SESSION_TEST(last_words_take_the_room_of_what_waits_before_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
