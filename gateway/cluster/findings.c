/*
 * Asking Redis how it stands, see findings.h. State: in the struct. Never blocks. All is asked at
 * one moment, in a transaction, when the subscriber hears everything already.
 */
#include "gateway/cluster/findings.h"

#include <stdio.h>
#include <string.h>

#include "gateway/cluster/cluster_internal.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

enum { LOG_TYPE, JOINED, MARKER_MADE, MARKER, NAMESAKES, LOG_STATE, LOG_ENTRY, QUESTIONS };

static bool read_position(const redisReply *reply, struct log_position *out)
{
	return reply && reply->str && log_position_read(redis_bytes(reply), out);
}

/* Of XINFO STREAM; without a log that is an error. */
static bool read_log_state(const redisReply *reply, struct log_findings *log)
{
	const redisReply *first = redis_member(reply, "first-entry");

	log->has_first =
		first && first->elements > 0 && read_position(first->element[0], &log->first);
	return !log->has_log ||
	       read_position(redis_member(reply, "last-generated-id"), &log->newest);
}

static void refuse(struct findings *findings, const redisReply *reply)
{
	char why[REDIS_WHY_SIZE];

	redis_why(reply, why);
	findings->on_found(findings->cluster, why);
}

/* True for an answer of that type. No answer: the connection has ended, and its owner hears of
 * that. */
static bool takes(struct findings *findings, const redisReply *reply, int type)
{
	if (reply && reply->type == type)
		return true;
	if (reply)
		refuse(findings, reply);
	return false;
}

/* Of what may be answered by anything but an error. */
static void on_done(void *context, const redisReply *reply)
{
	if (reply && reply->type == REDIS_REPLY_ERROR)
		refuse(context, reply);
}

/* Is all there as this node left it? */
static void look_at(struct findings *findings, redisReply *const *answers)
{
	struct log_findings *log = &findings->log;
	const char *why = NULL;

	log->has_entry = answers[LOG_ENTRY]->elements > 0;
	findings->is_alone = redis_named_number(answers[NAMESAKES]) <= 1; /* its own connection */
	snprintf(findings->marker, sizeof(findings->marker), "%s", answers[MARKER]->str);
	if (!redis_is_text(answers[MARKER], findings->marker) || !findings->marker[0])
		why = "the key " CLUSTER_MARKER " is another program's";
	else if (!read_log_state(answers[LOG_STATE], log))
		why = "Redis gave an answer that is none";
	findings->on_found(findings->cluster, why);
}

static void on_answers(void *context, const redisReply *reply)
{
	static const int types[QUESTIONS] = {
		[JOINED] = REDIS_REPLY_INTEGER,
		[MARKER] = REDIS_REPLY_STRING,
		[NAMESAKES] = REDIS_REPLY_ARRAY,
		[LOG_ENTRY] = REDIS_REPLY_ARRAY,
	};
	struct findings *findings = context;

	if (!takes(findings, reply, REDIS_REPLY_ARRAY))
		return;
	findings->log.has_log =
		reply->elements == QUESTIONS && redis_is_text(reply->element[LOG_TYPE], "stream");
	if (reply->elements != QUESTIONS) {
		refuse(findings, reply);
	} else if (!findings->log.has_log && !redis_is_text(reply->element[LOG_TYPE], "none")) {
		findings->on_found(findings->cluster,
				   "the key " CLUSTER_LOG " is another program's: it is no stream");
	} else {
		for (size_t i = 0; i < QUESTIONS; i++)
			if (types[i] && !takes(findings, reply->element[i], types[i]))
				return;
		look_at(findings, reply->element);
	}
}

/* Redis 5 and an access list may know nothing of it: then changes are seen later. */
static void on_tracking(void *context, const redisReply *reply)
{
	struct findings *findings = context;

	if (!reply)
		return;
	findings->has_tracking = reply->type == REDIS_REPLY_STATUS;
	if (!findings->has_tracking && !findings->has_said_so)
		log_event(LOG_WARN, "Redis does not say which topics change",
			  log_text("why", "it is older than 6, or its access list lacks "
					  "+client|tracking"));
	findings->has_said_so |= !findings->has_tracking;
}

static void on_listening(void *context, const redisReply *reply)
{
	struct findings *findings = context;
	struct redis *redis = findings->commands;
	struct cluster *cluster = findings->cluster;
	const struct cluster_state *state = cluster_store_state(cluster->store);
	char drawn[CLUSTER_MARKER_SIZE], position[LOG_POSITION_SIZE];

	if (!takes(findings, reply, REDIS_REPLY_ARRAY))
		return;
	snprintf(drawn, sizeof(drawn), "%.15s%08x", cluster->instance, (unsigned)clock_wall_us());
	log_position_write(state->reached.position, position);
	redis_ask(redis, on_tracking, findings,
		  "CLIENT TRACKING ON REDIRECT %lld BCAST PREFIX wavelog:topic: NOLOOP",
		  findings->client_id);
	redis_ask(redis, on_done, findings, "MULTI");
	/* In the order in which they are listed above. */
	redis_ask(redis, on_done, findings, "TYPE " CLUSTER_LOG);
	redis_ask(redis, on_done, findings, "SADD " CLUSTER_LOG_NODES " %s", state->node);
	redis_ask(redis, on_done, findings, "SET " CLUSTER_MARKER " %s NX", drawn);
	redis_ask(redis, on_done, findings, "GET " CLUSTER_MARKER);
	redis_ask(redis, on_done, findings, "PUBSUB NUMSUB %s", findings->channel);
	redis_ask(redis, on_done, findings, "XINFO STREAM " CLUSTER_LOG);
	redis_ask(redis, on_done, findings, "XRANGE " CLUSTER_LOG " %s %s", position, position);
	redis_ask(redis, on_answers, findings, "EXEC");
}

static void on_client_id(void *context, const redisReply *reply)
{
	struct findings *findings = context;

	if (takes(findings, reply, REDIS_REPLY_INTEGER))
		findings->client_id = reply->integer;
}

void findings_ask(struct findings *findings, struct redis *commands, struct redis *subscriber)
{
	findings->log = (struct log_findings){0};
	findings->commands = commands;
	redis_ask(subscriber, on_client_id, findings, "CLIENT ID");
	redis_ask(subscriber, on_done, findings, "SUBSCRIBE " CLUSTER_EVENTS);
	redis_ask(subscriber, on_done, findings, "SUBSCRIBE " CLUSTER_INVALIDATED);
	redis_ask(subscriber, on_listening, findings, "SUBSCRIBE %s", findings->channel);
}
