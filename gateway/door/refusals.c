/*
 * Who was turned away, and why: see refusals.h. State: the log lines that are held back. Called for
 * each connection that is refused; blocks only where log.h does.
 */
#include "gateway/door/refusals.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log_repeat.h"

/* The causes are counters that follow one another. */
enum {
	FIRST_CAUSE = COUNT_REFUSED_MALFORMED,
	CAUSES = COUNT_REFUSED_UNAVAILABLE - FIRST_CAUSE + 1
};

struct refusals {
	struct counters *counters;
	struct log_repeat lines[CAUSES];
};

/* What a client does is worth a line at info; that the service is full, or cannot read its
 * database, is a warning; that a port was looked at is neither. */
static enum log_level level_of(enum counter cause)
{
	switch (cause) {
	case COUNT_REFUSED_FULL:
	case COUNT_REFUSED_ADDRESS_FULL:
	case COUNT_REFUSED_PENDING_FULL:
	case COUNT_REFUSED_UNAVAILABLE:
		return LOG_WARN;
	case COUNT_REFUSED_GONE:
		return LOG_DEBUG;
	default:
		return LOG_INFO;
	}
}

struct refusals *refusals_new(struct counters *counters)
{
	struct refusals *refusals = xcalloc(1, sizeof(*refusals));

	refusals->counters = counters;
	for (int i = 0; i < CAUSES; i++)
		refusals->lines[i] = (struct log_repeat){
			.level = level_of(FIRST_CAUSE + i),
			.message = "refused a connection",
			.key = "cause",
			.cause = counter_names[FIRST_CAUSE + i].label,
		};
	return refusals;
}

void refusals_free(struct refusals *refusals)
{
	if (!refusals)
		return;
	for (int i = 0; i < CAUSES; i++)
		log_repeat_flush(&refusals->lines[i], clock_monotonic_ms());
	free(refusals);
}

void refusals_log(struct refusals *refusals, enum counter cause)
{
	log_repeat_event(&refusals->lines[cause - FIRST_CAUSE], clock_monotonic_ms());
}

void refusals_count(struct refusals *refusals, enum counter cause)
{
	refusals->counters->counts[cause]++;
	refusals_log(refusals, cause);
}

void refusals_tick(struct refusals *refusals)
{
	int64_t now_ms = clock_monotonic_ms();

	for (int i = 0; i < CAUSES; i++)
		log_repeat_tick(&refusals->lines[i], now_ms);
}
