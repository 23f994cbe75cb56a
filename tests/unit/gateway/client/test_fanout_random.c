// needs: gateway/client/session.c gateway/client/delivery.c gateway/client/outbox.c
// needs: gateway/client/stream.c gateway/client/body.c gateway/client/answer.c
// needs: gateway/client/deadlines.c gateway/client/pending.c gateway/client/ending.c
// needs: gateway/events/fanout.c gateway/events/batch.c gateway/events/frame.c
// needs: gateway/events/audience.c gateway/events/subscriptions.c
/*
 * From the feed to the wire, by a fixed sequence of random steps: sessions come and go, pushes and
 * orders are committed, turns of the fan-out end anywhere, and kernels take as much as they like.
 * Each client, WebSocket or stream, gets, byte for byte, what a naive reading of the events table
 * says; and a pong of libwebsockets never comes between the two halves of a frame.
 */
#include "tests/unit/database_fixture.h"

#include "tests/unit/gateway/client/fanout_fixture.h"
#include "tests/unit/numbers.h"

enum { TOPICS = 3, STEPS = 8000, LONG = 40000, EVENTS_MAX = 10000 };

/* What was committed, with id first_id + its index + 1. */
static struct {
	enum event_kind kind;
	int topic;
	int64_t user_id; /* 0: of a disconnect of all */
	size_t len;
} events[EVENTS_MAX];
static size_t event_count;
static int64_t first_id;

static const char *const topics[TOPICS] = {"a", "b", "c"};
static unsigned short random_state[3] = {1847};

static size_t chance(size_t of)
{
	return (size_t)nrand48(random_state) % of;
}

void presence_set_position(struct presence *presence, int64_t position)
{
	(void)presence;
	assert_int_equal(position, feed_position(clients.feed));
}

/* The model. */

static const struct lws *reader; /* the one that is to get it */

static void append_frame(struct bytes *bytes, struct frame *text)
{
	size_t len;
	struct frame *frame = reader->is_stream ? frame_of_event(text) : frame_hold(text);
	const char *wire = frame_wire(frame, &len);

	append(bytes, wire, len);
	frame_release(frame);
	frame_release(text);
}

static void append_push(struct bytes *bytes, size_t index, bool with_id)
{
	char *payload = xcalloc(events[index].len + 1, 1);

	memset(payload, '0' + (int)(index % 10), events[index].len);
	append_frame(bytes, frame_of_push(number_id(with_id ? first_id + (int64_t)index + 1 : 0),
					  payload, events[index].len));
	free(payload);
}

/* What that client is to get in all. */
static struct bytes expected_by(const struct lws *peer)
{
	struct bytes bytes = {0};
	char text[MESSAGE_RESUMED_SIZE + 1] = MESSAGE_AUTH_OK;
	static const char head[] = "HTTP/1.1 200 OK\r\n"
				   "Content-Type: text/event-stream\r\n"
				   "Cache-Control: no-store\r\n"
				   "X-Accel-Buffering: no\r\n"
				   "X-Content-Type-Options: nosniff\r\n"
				   "Connection: close\r\n"
				   "Some: line\r\n\r\n";

	reader = peer;
	if (peer->is_stream)
		append(&bytes, head, strlen(head));
	if (peer->with_id)
		text[message_resumed_write(text, number_position(peer->joined_at), true)] = '\0';
	append_frame(&bytes, frame_of_text(text));
	for (size_t i = (size_t)(peer->joined_at - first_id); i < event_count; i++) {
		bool is_for_user = !events[i].user_id || events[i].user_id == peer->user_id;

		if (events[i].topic != peer->topic)
			continue;
		if (events[i].kind == EVENT_PUSH) {
			append_push(&bytes, i, peer->with_id);
		} else if (events[i].kind == EVENT_UNREGISTER) {
			append_frame(&bytes, frame_of_text(MESSAGE_TOPIC_UNREGISTERED));
			break;
		} else if (is_for_user) {
			append_frame(&bytes, frame_of_text(MESSAGE_DISCONNECTED));
			break;
		}
	}
	return bytes;
}

static size_t frame_len(const unsigned char *frame, size_t left)
{
	size_t len = left > 1 ? frame[1] : 0;

	if (left > 4 && len == 126)
		return 4 + ((size_t)frame[2] << 8 | frame[3]);
	if (left > 10 && len == 127)
		return 10 + ((size_t)frame[7] << 16 | (size_t)frame[8] << 8 | frame[9]);
	return 2 + len;
}

/* What came is a beginning of what is expected, or all of it, with pongs between whole frames. */
static void check(const struct lws *peer, bool is_all)
{
	struct bytes expected = expected_by(peer);
	size_t at = 0;

	if (peer->is_stream) {
		assert_true(peer->wire.len <= expected.len);
		assert_memory_equal(peer->wire.at, expected.at, peer->wire.len);
		at = peer->wire.len;
	}
	for (size_t i = 0; i < peer->wire.len && !peer->is_stream;) {
		const unsigned char *frame = (const unsigned char *)peer->wire.at + i;
		size_t left = peer->wire.len - i, len = frame_len(frame, left);

		len = len < left ? len : left;
		if (*frame != 0x8A) {
			assert_true(at + len <= expected.len);
			assert_memory_equal(frame, expected.at + at, len);
			at += len;
		}
		i += len;
	}
	if (is_all)
		assert_int_equal(at, expected.len);
	free(expected.at);
}

/* The steps. */

static void sit_down(struct lws *peer)
{
	struct newcomer newcomer = {.topic_len = 1, .cors = "Some: line\r\n"};
	struct message message = {.kind = MESSAGE_AUTH};
	struct grant grant = {.found.here.id = first_id + (int64_t)event_count};

	peer->topic = (int)chance(TOPICS);
	peer->with_id = chance(3) == 0;
	peer->is_stream = chance(3) == 0;
	newcomer.transport = peer->is_stream ? TRANSPORT_STREAM : TRANSPORT_WEBSOCKET;
	peer->user_id = grant.claims.user_id = (int64_t)chance(3);
	peer->joined_at = grant.found.here.id;
	peer->room = chance(2) ? chance(2000) : LONG * 2;
	newcomer.topic = topics[peer->topic];
	if (peer->with_id)
		message.resume = MESSAGE_RESUME_FROM_NOW;
	peer->session = session_new(&clients, peer, &newcomer);
	session_open(peer->session, &message, &grant);
}

static void get_up(struct lws *peer, bool has_all)
{
	check(peer, has_all);
	vacate(peer);
}

static void commit(enum event_kind kind)
{
	static const size_t lens[] = {1, 30, 200, 200, 2000, LONG};
	int topic = (int)chance(TOPICS);
	int64_t user_id = kind == EVENT_DISCONNECT ? (int64_t)chance(3) : 0;
	size_t len = chance(20) ? 1 + chance(200) : lens[chance(6)];
	char user[24] = "NULL", sql[512];

	if (user_id > 0)
		snprintf(user, sizeof(user), "%d", (int)user_id);
	snprintf(sql, sizeof(sql),
		 "INSERT INTO events (kind, topic, user_id, payload, created_ms) VALUES "
		 "(%d, '%s', %s, replace(hex(zeroblob(%zu)), '00', '%zu'), 0)",
		 (int)kind, topics[topic], user, len, event_count % 10);
	execute(writer, sql);
	events[event_count].kind = kind;
	events[event_count].topic = topic;
	events[event_count].user_id = user_id;
	events[event_count++].len = len;
}

static struct session *session_of(const struct fanout_step *step, size_t i)
{
	return step->batch->topic_len > 0
		       ? container_of(step->subscribers[i], struct session, member.by_topic)
		       : container_of(step->subscribers[i], struct session, member.by_user);
}

/* A turn of the fan-out that ends after that many steps. */
static void turn(size_t most)
{
	const struct fanout_limits look = {
		.rows = 1 + (int)chance(60), .bytes = 1 + chance(LONG), .pushes = 1 + chance(40)};
	struct fanout_step step;

	fanout_look(clients.fanout, look);
	for (size_t n = 0; n < most && fanout_next(clients.fanout, &step); n++)
		for (size_t i = step.count; i-- > 0;)
			session_deliver(session_of(&step, i), step.batch);
}

static void act(size_t step)
{
	struct lws *peer = &seats[chance(SEATS)];
	size_t mood = step / 500 % 3; /* now and then nobody looks for a while */

	switch (chance(8)) {
	case 0:
		if (!peer->session)
			sit_down(peer);
		break;
	case 1:
		if (peer->session && chance(40) == 0)
			get_up(peer, false);
		break;
	case 2:
	case 3:
		execute(writer, "BEGIN");
		for (size_t n = chance(mood == 1 ? 12 : 3); n > 0; n--)
			commit(EVENT_PUSH);
		if (chance(100) == 0)
			commit(chance(2) ? EVENT_UNREGISTER : EVENT_DISCONNECT);
		execute(writer, "COMMIT");
		break;
	case 4:
		turn(mood == 1 ? chance(2) : chance(6));
		break;
	default:
		if (!peer->session)
			break;
		drain(peer, chance(10) ? chance(900) : chance(2 * LONG));
		if (!peer->is_paused && !peer->is_stream && chance(4) == 0)
			peer->owes_pong = true; /* for a ping that comes in */
		break;
	}
	if (peer->session && peer->is_closed)
		get_up(peer, true);
}

static int open_room(void **state)
{
	if (open_behind_fanout(state) != 0)
		return -1;
	execute(writer, "PRAGMA synchronous=OFF");
	first_id = query_number(writer, "SELECT max(id) FROM events");
	return 0;
}

static void each_client_gets_what_the_table_says(void **state)
{
	(void)state;
	for (size_t step = 0; step < STEPS && event_count < EVENTS_MAX - 20; step++)
		act(step);
	do
		turn(SIZE_MAX);
	while (fanout_has_more(clients.fanout));
	for (size_t i = 0; i < SEATS; i++) {
		while (seats[i].session &&
		       (seats[i].wants_write || seats[i].held.len > 0 || seats[i].owes_pong))
			drain(&seats[i], 100000);
		if (seats[i].session)
			get_up(&seats[i], true);
	}
	assert_int_equal(clients.pool.bytes, 0);
	assert_int_equal(counters.counts[COUNT_DROP_OUTBOX_FULL], 0);
	assert_in_range(counters.counts[COUNT_DELIVERIES], 10000, INT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_client_gets_what_the_table_says, open_room,
						close_behind_fanout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
