// needs: gateway/client/session.c gateway/client/delivery.c gateway/client/outbox.c
// needs: gateway/client/stream.c gateway/client/body.c gateway/client/answer.c
// needs: gateway/client/deadlines.c gateway/client/pending.c gateway/client/ending.c
// needs: gateway/events/batch.c gateway/events/frame.c
// needs: gateway/events/audience.c gateway/events/subscriptions.c
/*
 * A batch that a session gets in one write, of which the kernel takes any number of bytes: each
 * push comes whole and once, and is counted once.
 */
#include "tests/unit/gateway/client/session_fixture.h"
#include "tests/unit/numbers.h"

enum { PUSHES = 4, FIRST_ID = 41, LONG = 40000, PLENTY = 1000000 };

static const size_t short_ones[PUSHES] = {1, 200, 40, 300};
static const size_t a_long_one[PUSHES] = {1, 200, LONG, 300};

static int begin(void **state)
{
	(void)state;
	clients = (struct clients){0};
	open_clients();
	return 0;
}

static int end(void **state)
{
	(void)state;
	assert_int_equal(clients.pool.bytes, 0);
	close_clients();
	return 0;
}

static struct batch *batch_of(const size_t lens[PUSHES])
{
	struct feed_event event = {.id = FIRST_ID, .topic = "t", .topic_len = 1};
	struct batch *batch = batch_new(&event);

	for (int i = 0; i < PUSHES; i++) {
		char *payload = xcalloc(lens[i], 1);

		event.id = FIRST_ID + i;
		event.payload = memset(payload, '0' + i, lens[i]);
		event.payload_len = lens[i];
		batch_add(batch, &event);
		free(payload);
	}
	return batch;
}

/* What the wire is to bring of it, from number `first` on. */
static struct bytes expected_of(const size_t lens[PUSHES], unsigned form, int first)
{
	struct bytes bytes = {0};

	for (int i = first; i < PUSHES; i++) {
		char *payload = xcalloc(lens[i], 1);
		struct frame *text =
			frame_of_push(number_id(form & PUSH_WITH_ID ? FIRST_ID + i : 0),
				      memset(payload, '0' + i, lens[i]), lens[i]);
		struct frame *frame =
			form & PUSH_AS_EVENT ? frame_of_event(text) : frame_hold(text);
		size_t len;
		const char *wire = frame_wire(frame, &len);

		append(&bytes, wire, len);
		frame_release(frame);
		frame_release(text);
		free(payload);
	}
	return bytes;
}

/* A client that has had everything before number `first`. */
static struct lws *sit_down(unsigned form, int first)
{
	const struct newcomer newcomer = {
		.transport = form & PUSH_AS_EVENT ? TRANSPORT_STREAM : TRANSPORT_WEBSOCKET,
		.topic = "t",
		.topic_len = 1,
		.cors = "",
	};
	const struct message message = {.kind = MESSAGE_AUTH,
					.resume = form & PUSH_WITH_ID ? MESSAGE_RESUME_FROM_NOW
								      : MESSAGE_RESUME_NOT_ASKED};
	const struct grant grant = {.found.here.id = FIRST_ID + first - 1};
	struct lws *peer = &seats[0];

	peer->room = PLENTY;
	peer->session = session_new(&clients, peer, &newcomer);
	session_open(peer->session, &message, &grant);
	peer->wire.len = 0;
	return peer;
}

static void deliver(const size_t lens[PUSHES], struct batch *batch, unsigned form, int first,
		    size_t room)
{
	struct bytes expected = expected_of(lens, form, first);
	struct lws *peer = sit_down(form, first);

	counters = (struct counters){0};
	peer->room = room;
	session_deliver(peer->session, batch);
	assert_int_equal(peer->session->after_id, FIRST_ID + PUSHES - 1);
	for (int turn = 0; peer->wants_write || peer->held.len > 0; turn++)
		drain(peer, turn % 2 ? 7 : 1 + room % 300);
	assert_int_equal(peer->wire.len, expected.len);
	assert_memory_equal(peer->wire.at, expected.at, expected.len);
	assert_int_equal(counters.counts[COUNT_DELIVERIES], PUSHES - first);
	assert_int_equal(counters.counts[COUNT_DROP_CLOSED], 0);
	session_deliver(peer->session, batch); /* it has had all of it */
	assert_int_equal(peer->wire.len, expected.len);
	free(expected.at);
	vacate(peer);
}

static void whatever_the_kernel_takes_of_it_the_rest_follows(void **state)
{
	struct batch *batch = batch_of(short_ones);

	(void)state;
	for (int first = 0; first < PUSHES; first++)
		for (size_t room = 0; room < 800; room++)
			for (unsigned form = 0; form < PUSH_FORMS; form++)
				deliver(short_ones, batch, form, first, room);
	batch_free(batch);
}

static void a_long_push_among_them_comes_whole_too(void **state)
{
	struct batch *batch = batch_of(a_long_one);

	(void)state;
	for (size_t room = 0; room < LONG + 1000; room += room < 400 ? 1 : 997)
		deliver(a_long_one, batch, (unsigned)(room % PUSH_FORMS), (int)(room % 3), room);
	batch_free(batch);
}

/* All of it in one write, and nothing is kept. */
static void one_who_keeps_up_needs_no_outbox(void **state)
{
	struct batch *batch = batch_of(short_ones);
	struct lws *peer = sit_down(PUSH_WITH_ID, 0);

	(void)state;
	peer->room = PLENTY;
	session_deliver(peer->session, batch);
	assert_null(peer->session->outbox);
	assert_false(peer->wants_write);
	assert_int_equal(peer->wire.len, batch_join(batch, PUSH_WITH_ID)->ends[PUSHES - 1]);
	vacate(peer);
	batch_free(batch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whatever_the_kernel_takes_of_it_the_rest_follows,
						begin, end),
		cmocka_unit_test_setup_teardown(a_long_push_among_them_comes_whole_too, begin, end),
		cmocka_unit_test_setup_teardown(one_who_keeps_up_needs_no_outbox, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
