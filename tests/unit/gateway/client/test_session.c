// needs: gateway/client/session.c gateway/client/delivery.c gateway/client/outbox.c
// needs: gateway/client/stream.c gateway/client/body.c gateway/client/answer.c
// needs: gateway/client/deadlines.c gateway/client/pending.c gateway/client/ending.c
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
static struct newcomer newcomer; /* by which transport they come */

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
	newcomer = (struct newcomer){.topic = "t", .topic_len = 1, .cors = ""};
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
	struct frame *frame = frame_of_push(NULL, memset(payload, '7', payload_len), payload_len);
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

static bool has_got(const struct lws *peer, const char *text)
{
	return memmem(peer->wire.at, peer->wire.len, text, strlen(text)) != NULL;
}

static void a_replay_that_waits_for_a_node_ends_with_a_ping_at_the_latest(void **state)
{
	const struct message message = {.kind = MESSAGE_AUTH, .resume = MESSAGE_RESUME_AFTER};
	const struct grant grant = {.found.can_recover = true};
	struct lws *peer = &seats[0];

	(void)state;
	peer->room = PLENTY;
	peer->session = session_new(&clients, peer, &newcomer);
	session_open(peer->session, &message, &grant);
	pass(31);
	assert_int_equal(peer->pings, 1);
	assert_non_null(peer->session->replay);
	peer->session->heard_ms = now_ms;
	checked = REPLAY_DONE;
	pass(30);
	checked = REPLAY_GOES_ON;
	assert_int_equal(peer->pings, 2);
	assert_null(peer->session->replay);
	assert_false(peer->is_dropped || peer->is_closed);
}

static struct lws *sit_down_to_stream(size_t seat, bool is_resumable, size_t room)
{
	newcomer.transport = TRANSPORT_STREAM;
	return sit_down(seat, is_resumable, room);
}

static void a_stream_is_alive_as_long_as_what_it_was_sent_is_taken(void **state)
{
	struct lws *takes = sit_down_to_stream(0, false, PLENTY);
	struct lws *slow = sit_down_to_stream(1, false, PLENTY);
	struct lws *stands = sit_down_to_stream(2, false, PLENTY);

	(void)state;
	stands->unread = 2;
	for (int i = 1; i <= 16; i++) {
		slow->unread = 1000 - i; /* a little less each time */
		pass(15);
		assert_false(takes->is_dropped || slow->is_dropped);
		assert_int_equal(takes->pings, i);
		assert_int_equal(stands->is_dropped, i >= 4);
	}
	assert_int_equal(counters.counts[COUNT_CLOSE_SILENT], 1);
}

static void what_a_stream_was_cut_in_the_middle_of_stays_in_its_outbox(void **state)
{
	struct lws *peer = sit_down_to_stream(0, true, 100);
	struct bytes all = {0};

	(void)state;
	push(peer, PUSH);
	assert_int_equal(peer->session->held, 0);
	pass(16);
	assert_int_equal(peer->pings, 0); /* not in the middle of an event */
	session_end(peer->session, ENDING_UNREGISTERED);
	for (int i = 0; i < 100 && !peer->is_closed; i++)
		drain(peer, 77);
	assert_true(peer->is_closed);
	append(&all, peer->wire.at, peer->wire.len);
	append(&all, "", 1);
	assert_non_null(strstr(all.at, "777}\n\ndata: " MESSAGE_TOPIC_UNREGISTERED "\n\n"));
	free(all.at);
}

static void a_stream_that_is_full_loses_the_oldest_or_ends(void **state)
{
	struct lws *plain = sit_down_to_stream(0, false, 100);
	struct lws *resumes = sit_down_to_stream(1, true, 100);

	(void)state;
	limits.outbox_max_frames = 2;
	for (int i = 0; i < 5; i++) {
		push(plain, PUSH);
		push(resumes, PUSH);
	}
	limits.outbox_max_frames = 1000000;
	assert_int_equal(counters.counts[COUNT_DROP_OUTBOX_FULL], 2);
	assert_int_equal(counters.counts[COUNT_CLOSE_SLOW], 1);
	assert_false(plain->is_dropped);
	drain(plain, PLENTY);
	assert_true(has_got(plain, "777}\n\ndata: {"));
	drain(resumes, PLENTY); /* what has begun is finished */
	assert_true(resumes->is_closed);
	assert_memory_equal(resumes->wire.at + resumes->wire.len - 4, "7}\n\n", 4);
}

/* Not a 200: what a stream that ends before it begins is told. */
static void before_it_begins_a_stream_gets_an_answer_by_its_cause(void **state)
{
	static const struct {
		enum ending ending;
		const char *line, *body;
	} causes[] = {
		{ENDING_AUTH_REQUIRED, "400 Bad Request", MESSAGE_AUTH_REQUIRED},
		{ENDING_NOT_UTF8, "400 Bad Request", MESSAGE_AUTH_REQUIRED},
		{ENDING_UNAUTHORIZED, "401 Unauthorized", MESSAGE_UNAUTHORIZED},
		{ENDING_AUTH_EXPIRED, "401 Unauthorized", MESSAGE_AUTH_EXPIRED},
		{ENDING_UNREGISTERED, "404 Not Found", "topic not registered\n"},
		{ENDING_AUTH_TIMEOUT, "408 Request Timeout", "request timeout\n"},
		{ENDING_TOO_BIG, "413 Content Too Large", "body too large\n"},
		{ENDING_TOO_MANY_MESSAGES, "429 Too Many Requests", "too many messages\n"},
		{ENDING_PENDING_FULL, "503 Service Unavailable",
		 "too many connections without authentication\n"},
		{ENDING_UNAVAILABLE, "503 Service Unavailable", "unavailable: database error\n"},
		{ENDING_SHUTDOWN, "503 Service Unavailable", "unavailable: shutting down\n"},
	};
	struct lws *peer = &seats[0];

	(void)state;
	newcomer.transport = TRANSPORT_STREAM;
	newcomer.cors = "Vary: Origin\r\n";
	for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
		peer->room = PLENTY;
		peer->session = session_new(&clients, peer, &newcomer);
		if (causes[i].ending == ENDING_PENDING_FULL)
			session_give_way(&peer->session->pending);
		else
			session_end(peer->session, causes[i].ending);
		assert_true(peer->is_closed);
		assert_memory_equal(peer->wire.at + strlen("HTTP/1.1 "), causes[i].line,
				    strlen(causes[i].line));
		assert_true(has_got(peer, "\r\nVary: Origin\r\n\r\n"));
		assert_memory_equal(peer->wire.at + peer->wire.len - strlen(causes[i].body),
				    causes[i].body, strlen(causes[i].body));
		vacate(peer);
	}
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
		SESSION_TEST(a_stream_is_alive_as_long_as_what_it_was_sent_is_taken),
		SESSION_TEST(what_a_stream_was_cut_in_the_middle_of_stays_in_its_outbox),
		SESSION_TEST(a_stream_that_is_full_loses_the_oldest_or_ends),
		SESSION_TEST(a_replay_that_waits_for_a_node_ends_with_a_ping_at_the_latest),
		SESSION_TEST(before_it_begins_a_stream_gets_an_answer_by_its_cause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
