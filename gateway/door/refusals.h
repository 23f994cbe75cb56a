/*
 * Connections that do not become a session: what each is answered, and who was turned away,
 * counted and logged by cause. A cause that repeats is logged at most once a minute.
 */
#ifndef GATEWAY_REFUSALS_H
#define GATEWAY_REFUSALS_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/base/log_repeat.h"
#include "shared/counters/counters.h"

/* An answer that is neither an upgrade nor a stream. Constant. */
struct refusal {
	int status; /* answer.c has a row for each */
	const char *text; /* the body, without its newline */
	enum counter cause; /* 0: it is no refusal, and neither counted nor logged */
};

/* The request is at fault. */
extern const struct refusal refusal_malformed, refusal_too_long, refusal_has_body,
	refusal_body_too_large, refusal_bad_key, refusal_bad_version, refusal_not_an_upgrade,
	refusal_not_found, refusal_bad_method, refusal_missing_topic, refusal_bad_topic,
	refusal_not_registered;

/* It comes at a bad time, from a bad place, or too slowly. */
extern const struct refusal refusal_unavailable, refusal_origin, refusal_full, refusal_address_full,
	refusal_pending_full, refusal_timeout;

/* What GET /readyz is answered with when all is well. */
extern const struct refusal answer_ready;

/* The causes are counters that follow one another. */
enum { REFUSAL_CAUSES = COUNT_REFUSED_UNAVAILABLE - COUNT_REFUSED_MALFORMED + 1 };

struct refusals {
	struct counters *counters; /* borrowed */
	struct log_repeat lines[REFUSAL_CAUSES];
};

void refusals_init(struct refusals *refusals, struct counters *counters);

/* `cause` is one of COUNT_REFUSED_... */
void refusals_count(struct refusals *refusals, enum counter cause);

/* The log line alone, for what is counted elsewhere. */
void refusals_log(struct refusals *refusals, enum counter cause);

/* Logs what is due; if the program is ending (`is_last`), all that is held back. */
void refusals_tick(struct refusals *refusals, bool is_last);

#endif
