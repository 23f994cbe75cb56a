// needs: gateway/client/outbox.c gateway/events/frame.c
/*
 * The queues of connections that are behind, and the pool of all of them, against arrays by a fixed
 * sequence of random steps.
 */
#include "tests/unit/gateway/client/outbox_fixture.h"

/* The model of one outbox: its frames in order, a number each. */
enum { STEPS = 100000, MOST = 200, OUTBOXES = 3 };

struct model {
	struct outbox *outbox;
	size_t count, bytes;
	struct frame *frames[MOST];
};

static struct model models[OUTBOXES];

static void forget(struct model *model, size_t at)
{
	model->bytes -= model->frames[at]->len;
	model->count--;
	memmove(&model->frames[at], &model->frames[at + 1],
		(model->count - at) * sizeof(struct frame *));
}

static void model_push(struct model *model, struct frame *frame)
{
	if (model->count == MOST)
		return;
	outbox_push(model->outbox, frame);
	model->frames[model->count++] = frame;
	model->bytes += frame->len;
}

static void model_pop(struct model *model)
{
	struct frame *frame = outbox_pop(model->outbox);

	assert_ptr_equal(frame, model->count > 0 ? model->frames[0] : NULL);
	if (frame)
		forget(model, 0);
	frame_release(frame);
}

static void model_drop(struct model *model)
{
	size_t at = 0;

	while (at < model->count && !model->frames[at]->is_push)
		at++;
	bool has_push = at < model->count;
	if (has_push)
		forget(model, at);
	assert_int_equal(outbox_drop_oldest_push(model->outbox), has_push);
}

static size_t model_pushes(const struct model *model)
{
	size_t pushes = 0;

	for (size_t i = 0; i < model->count; i++)
		pushes += model->frames[i]->is_push;
	return pushes;
}

/* What the pool must say: each frame that waits anywhere once. */
static size_t pool_of_models(void)
{
	size_t bytes = 0;

	for (size_t i = 0; i < OUTBOXES; i++) {
		for (size_t j = 0; j < models[i].count; j++) {
			struct frame *frame = models[i].frames[j];
			bool seen = false;

			for (size_t k = 0; k < i && !seen; k++)
				for (size_t l = 0; l < models[k].count && !seen; l++)
					seen = models[k].frames[l] == frame;
			for (size_t l = 0; l < j && !seen; l++)
				seen = models[i].frames[l] == frame;
			bytes += seen ? 0 : frame->len;
		}
	}
	return bytes;
}

static void random_steps_agree_with_arrays(void **state)
{
	unsigned short random_state[3] = {1981};

	(void)state;
	for (size_t i = 0; i < OUTBOXES; i++)
		models[i] = (struct model){.outbox = outbox_new(&pool)};
	for (size_t step = 0; step < STEPS; step++) {
		size_t mood = step / 1000 % 9 + 1; /* fills, empties, fills */
		size_t chance = (size_t)nrand48(random_state);
		struct model *model = &models[chance / 10 % OUTBOXES];

		if (chance % 10 < mood) {
			struct frame *frame =
				new_frame('r', 1 + chance / 100 % 60, chance % 7 != 0);

			for (size_t i = 0; i < 1 + chance / 1000 % OUTBOXES; i++)
				model_push(&models[(chance / 10 + i) % OUTBOXES], frame);
			frame_release(frame);
		} else if (chance % 2) {
			model_pop(model);
		} else {
			model_drop(model);
		}
		assert_int_equal(outbox_count(model->outbox), model->count);
		assert_int_equal(outbox_bytes(model->outbox), model->bytes);
		assert_int_equal(outbox_count_pushes(model->outbox), model_pushes(model));
		if (step % 97 == 0)
			assert_int_equal(pool.bytes, pool_of_models());
	}
	for (size_t i = 0; i < OUTBOXES; i++)
		outbox_free(models[i].outbox);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OUTBOX_TEST(random_steps_agree_with_arrays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
