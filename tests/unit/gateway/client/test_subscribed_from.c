// needs: gateway/client/session.c gateway/client/delivery.c gateway/client/outbox.c
// needs: gateway/client/stream.c gateway/client/body.c gateway/client/answer.c
// needs: gateway/client/deadlines.c gateway/client/pending.c gateway/client/ending.c
// needs: gateway/client/conversation.c
// needs: gateway/events/fanout.c gateway/events/batch.c gateway/events/frame.c
// needs: gateway/events/audience.c gateway/events/subscriptions.c
/*
 * From where on a client is subscribed: from the look-up of its topic. Whatever is committed right
 * after that is new to it, whether it resumes or not, and wherever the feed has got to.
 */
#include "tests/unit/database_fixture.h"

#include "gateway/client/conversation.h"
#include "shared/database/registry.h"
#include "tests/unit/gateway/client/fanout_fixture.h"

static const char *after_look_up; /* what somebody commits then */

void presence_set_position(struct presence *presence, int64_t position)
{
	(void)presence;
	(void)position;
}

void presence_ask(struct presence *presence, enum presence_work work)
{
	(void)presence;
	(void)work;
}

enum database_status registry_find(struct registry *registry, const char *topic, size_t len,
				   const struct position *position, struct registered_topic *found)
{
	(void)registry;
	(void)topic;
	(void)len;
	*found = (struct registered_topic){
		.registered = true,
		.here = {.id = query_number(writer, "SELECT max(id) FROM events")},
		.can_recover = !position || position->id == 0,
	};
	execute(writer, after_look_up);
	return DATABASE_OK;
}

static void turn(void)
{
	const struct fanout_limits look = {.rows = 100, .bytes = 100000, .pushes = 100};
	struct fanout_step step;

	do {
		fanout_look(clients.fanout, look);
		while (fanout_next(clients.fanout, &step))
			for (size_t i = step.count; i-- > 0;)
				session_deliver(container_of(step.subscribers[i], struct session,
							     member.by_topic),
						step.batch);
	} while (fanout_has_more(clients.fanout));
}

/* Says that auth message; the feed has seen all that was committed before, or nothing of it. */
static struct lws *come_in(const char *auth, bool feed_is_behind)
{
	const struct newcomer newcomer = {.topic = "t", .topic_len = 1};
	struct lws *peer = &seats[0];

	peer->room = 100000;
	peer->session = session_new(&clients, peer, &newcomer);
	execute(writer, "INSERT INTO events (kind, topic, user_id, payload, created_ms) VALUES "
			"(0, 't', NULL, '\"before\"', 0)");
	if (!feed_is_behind)
		turn();
	conversation_on_message(peer->session, auth, strlen(auth), true, true);
	turn();
	return peer;
}

static bool has_got(const struct lws *peer, const char *text)
{
	return memmem(peer->wire.at, peer->wire.len, text, strlen(text)) != NULL;
}

static const char *const auths[] = {
	"{\"type\":\"auth\"}",
	"{\"type\":\"auth\",\"last_event_id\":null}",
	"{\"type\":\"auth\",\"last_event_id\":0}",
	"{\"type\":\"auth\",\"last_event_id\":9007199254740991}",
};

enum { AUTHS = sizeof(auths) / sizeof(auths[0]), REPLAYED = 2 };

static void assert_ended(const char *order, int code, const char *last_words)
{
	after_look_up = order;
	for (size_t i = 0; i < AUTHS * 2; i++) {
		struct lws *peer = come_in(auths[i / 2], i % 2);

		assert_true(has_got(peer, "auth_ok"));
		assert_true(has_got(peer, last_words));
		assert_int_equal(peer->close_code, code);
		vacate(peer);
	}
}

static void an_unregister_right_after_the_look_up_ends_it(void **state)
{
	(void)state;
	assert_ended("INSERT INTO events (kind, topic, user_id, payload, created_ms) VALUES "
		     "(1, 't', NULL, NULL, 0)",
		     CLOSE_NORMAL, MESSAGE_TOPIC_UNREGISTERED);
}

static void so_does_a_disconnect(void **state)
{
	(void)state;
	assert_ended("INSERT INTO events (kind, topic, user_id, payload, created_ms) VALUES "
		     "(2, 't', NULL, NULL, 0)",
		     CLOSE_POLICY, MESSAGE_DISCONNECTED);
}

static void a_push_right_after_the_look_up_reaches_it_and_one_before_does_not(void **state)
{
	(void)state;
	after_look_up = "INSERT INTO events (kind, topic, user_id, payload, created_ms) VALUES "
			"(0, 't', NULL, '\"after\"', 0)";
	for (size_t i = 0; i < AUTHS * 2; i++) {
		struct lws *peer = come_in(auths[i / 2], i % 2);

		assert_int_equal(has_got(peer, "after"), i / 2 != REPLAYED); /* it will get both */
		assert_false(has_got(peer, "before"));
		vacate(peer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_unregister_right_after_the_look_up_ends_it,
						open_behind_fanout, close_behind_fanout),
		cmocka_unit_test_setup_teardown(so_does_a_disconnect, open_behind_fanout,
						close_behind_fanout),
		cmocka_unit_test_setup_teardown(
			a_push_right_after_the_look_up_reaches_it_and_one_before_does_not,
			open_behind_fanout, close_behind_fanout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
