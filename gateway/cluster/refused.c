/* What was not taken, see refused.h. State: a log line for each cause. Never blocks. */
#include "gateway/cluster/refused.h"

#include "shared/base/clock.h"

void refused_init(struct refused *refused, struct counters *counters)
{
	*refused = (struct refused){.counters = counters};
	for (size_t i = 0; i < REFUSED_CAUSES; i++)
		refused->lines[i] = (struct log_repeat){
			.level = LOG_WARN,
			.message = "refused what stood in Redis",
			.key = "cause",
			.cause = counter_names[REFUSED_FIRST + i].label,
		};
}

void refused_count(struct refused *refused, enum counter cause, const char *where)
{
	refused->counters->counts[cause]++;
	log_repeat_event(&refused->lines[cause - REFUSED_FIRST], clock_monotonic_ms(),
			 log_text("where", where));
}

void refused_tick(struct refused *refused, bool is_last)
{
	for (size_t i = 0; i < REFUSED_CAUSES; i++)
		log_repeat_tick(&refused->lines[i], clock_monotonic_ms(), is_last);
}
