// needs: gateway/events/batch.c gateway/events/frame.c
/*
 * Batches: what all who get the same form share, byte for byte, and what outlives them. What is
 * freed too early or never is found by the build with sanitizers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/events/batch.h"
#include "shared/base/alloc.h"

enum { FIRST_ID = 41 };

static struct feed_event event_of(enum event_kind kind, const char *topic, const char *payload)
{
	return (struct feed_event){
		.id = FIRST_ID,
		.kind = kind,
		.topic = topic,
		.topic_len = strlen(topic),
		.payload = payload,
		.payload_len = strlen(payload),
		.created_ms = 7,
	};
}

/* Ids from FIRST_ID on; the payloads are overwritten afterwards. */
static struct batch *batch_of(const char *const *payloads, size_t count)
{
	struct feed_event event = event_of(EVENT_PUSH, "t", "");
	struct batch *batch = batch_new(&event);

	for (size_t i = 0; i < count; i++) {
		char *payload = xstrndup(payloads[i], strlen(payloads[i]));

		event = event_of(EVENT_PUSH, "t", payload);
		event.id += (int64_t)i;
		batch_add(batch, &event);
		memset(payload, 'x', strlen(payload));
		free(payload);
	}
	assert_int_equal(batch->count, count);
	return batch;
}

/* The wire is that of the frames, one after another, and each ends where it says. */
static void assert_joined(const struct joined *joined, const char *const *texts, size_t count)
{
	size_t at = 0, len;

	for (size_t i = 0; i < count; i++) {
		const char *wire = frame_wire(joined->frames[i], &len);

		assert_int_equal(joined->frames[i]->len, strlen(texts[i]));
		assert_memory_equal(joined->frames[i]->bytes, texts[i], strlen(texts[i]));
		assert_memory_equal(joined->bytes + at, wire, len);
		at += len;
		assert_int_equal(joined->ends[i], at);
	}
}

static const char *const payloads[] = {"1", "{\"a\" : \"\xC3\xA9\"}", "[]", "null", "5"};
static const char *const plain[] = {"{\"type\":\"push\",\"payload\":1}",
				    "{\"type\":\"push\",\"payload\":{\"a\" : \"\xC3\xA9\"}}",
				    "{\"type\":\"push\",\"payload\":[]}",
				    "{\"type\":\"push\",\"payload\":null}",
				    "{\"type\":\"push\",\"payload\":5}"};
static const char *const with_id[] = {
	"{\"type\":\"push\",\"id\":41,\"payload\":1}",
	"{\"type\":\"push\",\"id\":42,\"payload\":{\"a\" : \"\xC3\xA9\"}}",
	"{\"type\":\"push\",\"id\":43,\"payload\":[]}",
	"{\"type\":\"push\",\"id\":44,\"payload\":null}",
	"{\"type\":\"push\",\"id\":45,\"payload\":5}"};

static const char *const as_event[] = {
	"data: {\"type\":\"push\",\"payload\":1}\n\n",
	"data: {\"type\":\"push\",\"payload\":{\"a\" : \"\xC3\xA9\"}}\n\n",
	"data: {\"type\":\"push\",\"payload\":[]}\n\n",
	"data: {\"type\":\"push\",\"payload\":null}\n\n",
	"data: {\"type\":\"push\",\"payload\":5}\n\n"};
static const char *const as_event_with_id[] = {
	"data: {\"type\":\"push\",\"id\":41,\"payload\":1}\nid: 41\n\n",
	"data: {\"type\":\"push\",\"id\":42,\"payload\":{\"a\" : \"\xC3\xA9\"}}\nid: 42\n\n",
	"data: {\"type\":\"push\",\"id\":43,\"payload\":[]}\nid: 43\n\n",
	"data: {\"type\":\"push\",\"id\":44,\"payload\":null}\nid: 44\n\n",
	"data: {\"type\":\"push\",\"id\":45,\"payload\":5}\nid: 45\n\n"};

static void pushes_are_joined_in_their_order_in_each_form(void **state)
{
	(void)state;
	for (size_t count = 1; count <= 5; count++) {
		struct batch *batch = batch_of(payloads, count);

		/* Whichever is asked for first. */
		if (count % 2)
			assert_joined(batch_join(batch, PUSH_WITH_ID), with_id, count);
		assert_joined(batch_join(batch, PUSH_PLAIN), plain, count);
		assert_joined(batch_join(batch, PUSH_WITH_ID), with_id, count);
		assert_joined(batch_join(batch, PUSH_AS_EVENT), as_event, count);
		assert_joined(batch_join(batch, PUSH_AS_EVENT | PUSH_WITH_ID), as_event_with_id,
			      count);
		batch_free(batch);
	}
}

static void they_are_joined_once_and_shared_by_all(void **state)
{
	struct batch *batch = batch_of(payloads, 3);

	(void)state;
	for (unsigned form = PUSH_PLAIN; form < PUSH_FORMS; form++) {
		const struct joined *joined = batch_join(batch, form);
		const char *bytes = joined->bytes;
		struct frame *first = joined->frames[0];

		for (size_t reader = 0; reader < 100; reader++) {
			assert_ptr_equal(batch_join(batch, form), joined);
			assert_ptr_equal(joined->bytes, bytes);
			assert_ptr_equal(joined->frames[0], first);
			assert_int_equal(first->references, 1);
		}
	}
	batch_free(batch);
}

static void the_frame_of_one_alone_is_not_copied(void **state)
{
	struct batch *batch = batch_of(payloads, 1);
	const struct joined *joined = batch_join(batch, PUSH_PLAIN);
	size_t len;

	(void)state;
	assert_ptr_equal(joined->bytes, frame_wire(joined->frames[0], &len));
	assert_int_equal(joined->ends[0], len);
	batch_free(batch);
}

/* As in the outbox of somebody who is behind. */
static void a_frame_that_is_held_outlives_its_batch(void **state)
{
	struct batch *batch = batch_of(payloads, 3);
	struct frame *held = frame_hold(batch_join(batch, PUSH_WITH_ID)->frames[1]);

	(void)state;
	batch_free(batch);
	assert_int_equal(held->references, 1);
	assert_memory_equal(held->bytes, with_id[1], held->len);
	frame_release(held);
}

static void one_long_push_makes_the_whole_long(void **state)
{
	enum { LONG = 40000 };
	char *text = xcalloc(LONG + 1, 1);
	const char *texts[] = {"1", text, "3"};

	(void)state;
	memset(text, '7', LONG);
	struct batch *batch = batch_of(texts, 3);
	assert_false(batch_join(batch, PUSH_PLAIN)->is_short);
	batch_free(batch);
	batch = batch_of(payloads, 3);
	assert_true(batch_join(batch, PUSH_PLAIN)->is_short);
	batch_free(batch);
	free(text);
}

static void whoever_has_had_some_gets_the_rest(void **state)
{
	struct batch *batch = batch_of(payloads, 3);

	(void)state;
	assert_int_equal(batch_first_after(batch, 0), 0);
	assert_int_equal(batch_first_after(batch, FIRST_ID - 1), 0);
	assert_int_equal(batch_first_after(batch, FIRST_ID), 1);
	assert_int_equal(batch_first_after(batch, FIRST_ID + 1), 2);
	assert_int_equal(batch_first_after(batch, FIRST_ID + 2), 3);
	assert_int_equal(batch_first_after(batch, INT64_MAX), 3);
	batch_free(batch);
}

static void an_order_is_a_batch_without_pushes(void **state)
{
	struct feed_event event = event_of(EVENT_UNREGISTER, "gone", "");
	struct batch *batch = batch_new(&event);

	(void)state;
	assert_int_equal(batch->kind, EVENT_UNREGISTER);
	assert_int_equal(batch->order_id, FIRST_ID);
	assert_int_equal(batch->topic_len, 4);
	assert_memory_equal(batch->topic, "gone", 4);
	assert_false(batch->is_for_user);
	assert_int_equal(batch->count, 0);
	assert_int_equal(batch_first_after(batch, 0), 0);
	batch_free(batch);

	event = event_of(EVENT_DISCONNECT, "t", "");
	event.has_user = true;
	event.user_id = 9;
	batch = batch_new(&event);
	assert_true(batch->is_for_user);
	assert_int_equal(batch->user_id, 9);
	batch_free(batch);

	event = event_of(EVENT_DISCONNECT, "", ""); /* user 0, of all topics */
	batch = batch_new(&event);
	assert_true(batch->is_for_user);
	assert_int_equal(batch->topic_len, 0);
	batch_free(batch);
	batch_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pushes_are_joined_in_their_order_in_each_form),
		cmocka_unit_test(they_are_joined_once_and_shared_by_all),
		cmocka_unit_test(the_frame_of_one_alone_is_not_copied),
		cmocka_unit_test(a_frame_that_is_held_outlives_its_batch),
		cmocka_unit_test(one_long_push_makes_the_whole_long),
		cmocka_unit_test(whoever_has_had_some_gets_the_rest),
		cmocka_unit_test(an_order_is_a_batch_without_pushes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
