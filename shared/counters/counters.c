/*
 * The names of the counters, and the buckets of latencies: see counters.h. Const data, in the order
 * of the enumerators. Never blocks, never fails.
 */
#include "shared/counters/counters.h"

#include <inttypes.h>

const struct counter_name counter_names[COUNTERS] = {
	[COUNT_PUBLISHES] = {"publishes", NULL, "", "Events that were committed by a publish."},
	[COUNT_REGISTERS] = {"registers", NULL, "", "Topics registered, or registered again."},
	[COUNT_UNREGISTERS] = {"unregisters", NULL, "", "Requests to unregister a topic."},
	[COUNT_DISCONNECTS] = {"disconnects", NULL, "", "Requests to disconnect clients."},
	[COUNT_REFUSAL_400] = {"refusals", "status", "400",
			       "Requests to the internal API that were answered with an error."},
	[COUNT_REFUSAL_403] = {"refusals", "status", "403", NULL},
	[COUNT_REFUSAL_404] = {"refusals", "status", "404", NULL},
	[COUNT_REFUSAL_405] = {"refusals", "status", "405", NULL},
	[COUNT_REFUSAL_413] = {"refusals", "status", "413", NULL},
	[COUNT_REFUSAL_503] = {"refusals", "status", "503", NULL},
	[COUNT_REFUSAL_OTHER] = {"refusals", "status", "other", NULL},

	[COUNT_DELIVERIES] = {"deliveries", NULL, "", "Pushes written to a subscriber."},
	[COUNT_DROP_OUTBOX_FULL] = {"drops", "cause", "outbox_full",
				    "Pushes that a subscriber lost."},
	[COUNT_DROP_POOL_FULL] = {"drops", "cause", "all_outboxes_full", NULL},
	[COUNT_DROP_CLOSED] = {"drops", "cause", "connection_closed", NULL},
	[COUNT_DROP_PRUNED] = {"drops", "cause", "pruned", NULL},
	[COUNT_RESUME_RECOVERED] = {"resumes", "outcome", "recovered",
				    "Clients that asked for what they had missed."},
	[COUNT_RESUME_LOST] = {"resumes", "outcome", "lost", NULL},
	[COUNT_RESUME_FROM_NOW] = {"resumes", "outcome", "from_now", NULL},
	[COUNT_REPLAYED_EVENTS] = {"replayed_events", NULL, "",
				   "Pushes written to clients that had missed them."},

	[COUNT_CONNECTION_ACCEPTED] = {"connections", "outcome", "accepted",
				       "WebSockets by the outcome of their authentication."},
	[COUNT_CONNECTION_AUTH_REQUIRED] = {"connections", "outcome", "auth_required", NULL},
	[COUNT_CONNECTION_UNAUTHORIZED] = {"connections", "outcome", "unauthorized", NULL},
	[COUNT_CONNECTION_AUTH_EXPIRED] = {"connections", "outcome", "auth_expired", NULL},
	[COUNT_CONNECTION_TIMEOUT] = {"connections", "outcome", "timeout", NULL},
	[COUNT_CONNECTION_UNREGISTERED] = {"connections", "outcome", "topic_unregistered", NULL},
	[COUNT_CONNECTION_TOO_BIG] = {"connections", "outcome", "message_too_big", NULL},
	[COUNT_CONNECTION_NOT_UTF8] = {"connections", "outcome", "not_utf8", NULL},
	[COUNT_CONNECTION_TOO_MANY_MESSAGES] = {"connections", "outcome", "too_many_messages",
						NULL},
	[COUNT_CONNECTION_UNAVAILABLE] = {"connections", "outcome", "unavailable", NULL},
	[COUNT_CONNECTION_SHUTDOWN] = {"connections", "outcome", "shutdown", NULL},
	[COUNT_CONNECTION_PENDING_FULL] = {"connections", "outcome", "pending_full", NULL},
	[COUNT_CONNECTION_GONE] = {"connections", "outcome", "gone", NULL},

	[COUNT_CLOSE_GONE] = {"closes", "cause", "gone",
			      "Authenticated WebSockets by what ended them."},
	[COUNT_CLOSE_SILENT] = {"closes", "cause", "silent", NULL},
	[COUNT_CLOSE_SLOW] = {"closes", "cause", "slow", NULL},
	[COUNT_CLOSE_PRUNED] = {"closes", "cause", "pruned", NULL},
	[COUNT_CLOSE_UNREGISTERED] = {"closes", "cause", "topic_unregistered", NULL},
	[COUNT_CLOSE_DISCONNECTED] = {"closes", "cause", "disconnected", NULL},
	[COUNT_CLOSE_AUTH_EXPIRED] = {"closes", "cause", "auth_expired", NULL},
	[COUNT_CLOSE_UNAUTHORIZED] = {"closes", "cause", "unauthorized", NULL},
	[COUNT_CLOSE_AUTH_REQUIRED] = {"closes", "cause", "auth_required", NULL},
	[COUNT_CLOSE_TOO_BIG] = {"closes", "cause", "message_too_big", NULL},
	[COUNT_CLOSE_NOT_UTF8] = {"closes", "cause", "not_utf8", NULL},
	[COUNT_CLOSE_TOO_MANY_MESSAGES] = {"closes", "cause", "too_many_messages", NULL},
	[COUNT_CLOSE_UNAVAILABLE] = {"closes", "cause", "unavailable", NULL},
	[COUNT_CLOSE_SHUTDOWN] = {"closes", "cause", "shutdown", NULL},

	[COUNT_REFUSED_MALFORMED] = {"refused_connections", "cause", "malformed",
				     "Handshakes that did not become a WebSocket."},
	[COUNT_REFUSED_NOT_FOUND] = {"refused_connections", "cause", "not_found", NULL},
	[COUNT_REFUSED_BAD_TOPIC] = {"refused_connections", "cause", "bad_topic", NULL},
	[COUNT_REFUSED_NOT_REGISTERED] = {"refused_connections", "cause", "not_registered", NULL},
	[COUNT_REFUSED_NOT_UPGRADE] = {"refused_connections", "cause", "not_an_upgrade", NULL},
	[COUNT_REFUSED_ORIGIN] = {"refused_connections", "cause", "origin", NULL},
	[COUNT_REFUSED_FULL] = {"refused_connections", "cause", "full", NULL},
	[COUNT_REFUSED_ADDRESS_FULL] = {"refused_connections", "cause", "address_full", NULL},
	[COUNT_REFUSED_PENDING_FULL] = {"refused_connections", "cause", "pending_full", NULL},
	[COUNT_REFUSED_TIMEOUT] = {"refused_connections", "cause", "timeout", NULL},
	[COUNT_REFUSED_GONE] = {"refused_connections", "cause", "gone", NULL},
	[COUNT_REFUSED_UNAVAILABLE] = {"refused_connections", "cause", "unavailable", NULL},

	[COUNT_CLUSTER_RELAYED] = {"cluster_relayed", NULL, "",
				   "Events and orders that Redis has taken from this node."},
	[COUNT_CLUSTER_RECEIVED] = {"cluster_received", NULL, "",
				    "Events and orders that came from other nodes."},
	[COUNT_CLUSTER_REFUSED_TOO_BIG] = {"cluster_refused", "cause", "too_big",
					   "Entries found in Redis that were not taken."},
	[COUNT_CLUSTER_REFUSED_NOT_UTF8] = {"cluster_refused", "cause", "not_utf8", NULL},
	[COUNT_CLUSTER_REFUSED_NOT_JSON] = {"cluster_refused", "cause", "not_json", NULL},
	[COUNT_CLUSTER_REFUSED_MALFORMED] = {"cluster_refused", "cause", "malformed", NULL},
	[COUNT_CLUSTER_REFUSED_BAD_TOPIC] = {"cluster_refused", "cause", "bad_topic", NULL},
	[COUNT_CLUSTER_REFUSED_TOO_MANY_NODES] = {"cluster_refused", "cause", "too_many_nodes",
						  NULL},
	[COUNT_CLUSTER_RECONNECTS] = {"cluster_reconnects", NULL, "",
				      "Times that Redis was reached, the first one included."},
	[COUNT_CLUSTER_GAPS] = {"cluster_gaps", NULL, "",
				"Times that events of another node were missing."},
};

const struct latency_name latency_names[LATENCIES] = {
	[LATENCY_COMMIT] = {"commit", "Time a publish took to be committed, waiting included."},
	[LATENCY_DELIVERY] = {"delivery",
			      "Time from the publish until all subscribers were written to."},
	[LATENCY_FANOUT] = {"fanout", "Time it took to write one event to all its subscribers."},
};

enum counter counter_of_refusal(int status)
{
	enum counter refusal = COUNT_REFUSAL_400;

	while (refusal < COUNT_REFUSAL_OTHER &&
	       strtol(counter_names[refusal].label, NULL, 10) != status)
		refusal++;
	return refusal;
}

int64_t histogram_bound_us(int bucket)
{
	return bucket < HISTOGRAM_BOUNDS ? (int64_t)HISTOGRAM_FIRST_BOUND_US << bucket : INT64_MAX;
}

void histogram_add(struct histogram *histogram, int64_t us)
{
	const int64_t longest_us =
		(int64_t)24 * 3600 * 1000000; /* keeps the sum from overflowing */
	int bucket = 0;

	us = us < 0 ? 0 : us < longest_us ? us : longest_us;
	while (us > histogram_bound_us(bucket))
		bucket++;
	histogram->buckets[bucket]++;
	histogram->sum_us += us;
}

void counters_cell_name(size_t cell, struct counter_cell *name)
{
	const size_t per_latency = HISTOGRAM_BUCKETS + 1; /* the buckets, then the sum */
	size_t bucket = cell < COUNTERS ? 0 : (cell - COUNTERS) % per_latency;
	const char *family;

	if (cell < COUNTERS) {
		snprintf(name->name, sizeof(name->name), "%s", counter_names[cell].family);
		snprintf(name->label, sizeof(name->label), "%s", counter_names[cell].label);
		return;
	}
	family = latency_names[(cell - COUNTERS) / per_latency].family;
	snprintf(name->name, sizeof(name->name), "%s_us%s", family,
		 bucket < HISTOGRAM_BUCKETS ? "" : "_sum");
	snprintf(name->label, sizeof(name->label), "%s", bucket < HISTOGRAM_BUCKETS ? "more" : "");
	if (bucket < HISTOGRAM_BOUNDS)
		snprintf(name->label, sizeof(name->label), "%" PRId64,
			 histogram_bound_us((int)bucket));
}
