/*
 * A run of publishers, see run.h. State: the run's own. Blocks in the event loop until all is
 * answered and delivered, or nothing has moved for a while: what is missing then is counted.
 */
#include "tests/bench/run.h"

#include "shared/base/alloc.h"
#include "tests/bench/fail.h"

static const int64_t second_ns = INT64_C(1000) * 1000 * 1000;
static const int64_t stall_ns = INT64_C(20) * 1000 * 1000 * 1000;

struct run {
	const struct run_options *options;
	struct publish_plan *plan;
	struct publisher *publishers;
	int64_t sent, start_ns, end_ns, interval_ns;
	struct samples completions; /* from a publish until the last subscriber has it */
};

static int64_t receipts(const struct run *run)
{
	int64_t sum = (int64_t)run->plan->answers.count;

	for (size_t i = 0; i < run->options->group_count; i++)
		sum += run->options->groups[i]->receipts;
	return sum;
}

static bool all_delivered(const struct publisher *publisher)
{
	return !publisher->group || group_all_delivered(publisher->group);
}

static bool may_send(const struct run *run, const struct publisher *publisher, int64_t now_ns)
{
	if (run->sent == run->options->count || publisher->is_busy)
		return false;
	if (run->options->until == RUN_DELIVERED && !all_delivered(publisher))
		return false;
	return run->interval_ns == 0 || now_ns >= publisher->due_ns;
}

/* A publisher that is late because the answer before was late says when it should have sent: its
 * subscribers wait since then. One that woke a little late says when it did. */
static void send_next(struct run *run, struct publisher *publisher, int64_t now_ns)
{
	bool was_held_up = run->interval_ns > 0 && now_ns - publisher->due_ns > run->interval_ns;

	publisher_send(publisher, was_held_up ? publisher->due_ns : now_ns);
	publisher->due_ns += run->interval_ns;
	run->sent++;
}

static void note_completion(struct run *run, struct publisher *publisher)
{
	if (!publisher->is_awaited || !all_delivered(publisher))
		return;
	publisher->is_awaited = false;
	samples_add(&run->completions, publisher->group->last_ns - publisher->sent_ns);
}

/* One look at all publishers; returns how many still wait for something. *wait_ns: until the next
 * one is due. */
static size_t step(struct run *run, int64_t *wait_ns)
{
	int64_t now_ns = loop_now_ns();
	size_t waiting = 0;

	*wait_ns = stall_ns;
	for (size_t i = 0; i < run->options->publishers; i++) {
		struct publisher *publisher = &run->publishers[i];

		note_completion(run, publisher);
		if (may_send(run, publisher, now_ns))
			send_next(run, publisher, now_ns);
		waiting += publisher->is_busy || !all_delivered(publisher);
		int64_t due_in_ns = publisher->due_ns - now_ns;
		if (run->interval_ns > 0 && run->sent < run->options->count &&
		    !publisher->is_busy && due_in_ns < *wait_ns)
			*wait_ns = due_in_ns > 0 ? due_in_ns : 0;
	}
	return waiting;
}

static void go(struct run *run)
{
	int64_t moved_ns = loop_now_ns(), before = -1, wait_ns;

	run->start_ns = moved_ns;
	for (size_t i = 0; i < run->options->publishers; i++)
		run->publishers[i].due_ns =
			run->start_ns +
			run->interval_ns * (int64_t)i / (int64_t)run->options->publishers;
	while (step(run, &wait_ns) > 0 || run->sent < run->options->count) {
		int64_t now = receipts(run);

		if (now != before)
			moved_ns = loop_now_ns();
		else if (loop_now_ns() - moved_ns > stall_ns)
			break;
		before = now;
		loop_turn(run->options->is_awake ? 0 : wait_ns);
	}
	run->end_ns = loop_now_ns();
}

static void print_groups(const struct run *run)
{
	int64_t missed = 0, repeated = 0, corrupt = 0, closed = 0, behind = 0;

	for (size_t i = 0; i < run->options->group_count; i++) {
		const struct group *group = run->options->groups[i];

		missed += group->missed;
		repeated += group->repeated;
		corrupt += group->corrupt;
		closed += group->closed;
		behind += group_behind(group);
	}
	printf(",\"missed\":%lld,\"repeated\":%lld,\"corrupt\":%lld,\"closed\":%lld,\"behind\":%"
	       "lld",
	       (long long)missed, (long long)repeated, (long long)corrupt, (long long)closed,
	       (long long)behind);
}

/* The deliveries of all groups as one. */
static void print_deliveries(const struct run *run)
{
	struct samples all = {0};

	for (size_t i = 0; i < run->options->group_count; i++) {
		const struct group *group = run->options->groups[i];

		for (size_t k = 0; k < group->deliveries.count; k++)
			samples_add(&all, group->deliveries.values[k]);
	}
	samples_print(&all, "deliveries");
	samples_free(&all);
}

static void print(struct run *run)
{
	const char *comma = "";

	printf("{\"sent\":%lld,\"seconds\":%.6f,\"answered_seconds\":%.6f,\"body_bytes\":%zu,"
	       "\"statuses\":{",
	       (long long)run->sent, (double)(run->end_ns - run->start_ns) / (double)second_ns,
	       (double)(run->plan->answered_ns - run->start_ns) / (double)second_ns,
	       run->plan->body_len);
	for (int status = 0; status < STATUSES; status++) {
		if (run->plan->statuses[status] == 0)
			continue;
		printf("%s\"%d\":%lld", comma, status, (long long)run->plan->statuses[status]);
		comma = ",";
	}
	printf("},");
	samples_print(&run->plan->answers, "answers");
	printf(",");
	samples_print(&run->completions, "completions");
	printf(",");
	print_deliveries(run);
	print_groups(run);
	printf("}\n");
}

void run(struct publish_plan *plan, const struct run_options *options)
{
	struct run run = {.options = options, .plan = plan};

	if (options->rate > 0)
		run.interval_ns = second_ns * (int64_t)options->publishers / options->rate;
	run.publishers = xcalloc(options->publishers, sizeof(struct publisher));
	for (size_t i = 0; i < options->group_count; i++)
		group_clear(options->groups[i]);
	for (size_t i = 0; i < options->publishers; i++)
		publisher_open(&run.publishers[i], plan,
			       options->group_count ? options->groups[i % options->group_count]
						    : NULL,
			       options->group_count ? (uint32_t)(i / options->group_count) : 0);
	go(&run);
	print(&run);
	for (size_t i = 0; i < options->publishers; i++)
		publisher_close(&run.publishers[i]);
	free(run.publishers);
	samples_free(&run.completions);
	samples_free(&plan->answers);
}
