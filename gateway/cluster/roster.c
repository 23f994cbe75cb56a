/*
 * Who is in the cluster, see roster.h. State: the entries of the hash as they were last, and
 * prepared statements. An entry is alive when it has changed within ALIVE_MS; one that was not, and
 * that its own time calls older than KEPT_MS, or whose name a living one has, is removed by whoever
 * sees it. Never blocks, but for the database's write lock, a moment at a time.
 */
#include "gateway/cluster/roster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/cluster/cluster_internal.h"
#include "gateway/cluster/envelope.h"
#include "gateway/cluster/link.h"
#include "gateway/cluster/node_info.h"
#include "gateway/cluster/refused.h"
#include "gateway/cluster/store.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/version.h"
#include "shared/counters/gauges.h"

enum {
	BEAT_MS = 5000,
	ALIVE_MS = 15000,
	KEPT_MS = 15 * 60 * 1000,
	SAME_MS = 1500, /* two reckonings of the start */
	MEMBERS_MAX = 128 /* entries, and rows of other nodes */
};

#define NODES "wavelog:nodes"

enum statement { PUT, GONE, REMOVE, STATEMENTS };

/* ?1 is the node; or all that have an entry, one after the other. */
static const char *const sql[STATEMENTS] = {
	[PUT] = "INSERT INTO nodes (node, name, version, is_alive, started_ms, topics, clients, "
		"sockets) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (node) DO UPDATE SET "
		"name = ?2, version = ?3, is_alive = ?4, started_ms = ?5, topics = ?6, "
		"clients = ?7, sockets = ?8 WHERE "
		"(name, version, is_alive, started_ms, topics, clients, sockets) "
		"IS NOT (?2, ?3, ?4, ?5, ?6, ?7, ?8)",
	[GONE] = "UPDATE nodes SET is_alive = 0 WHERE is_alive AND instr(?1, node) = 0",
	/* One of ours whose events are here, or were, stays. */
	[REMOVE] = "DELETE FROM nodes WHERE last_id = 0 AND gone_id = 0 AND NOT is_alive AND "
		   "instr(?1, node) = 0",
};

struct member {
	char id[NODE_ID_LEN + 1];
	struct node_info info; /* alive: in fact */
	int64_t met_ms, changed_ms; /* monotonic */
	bool is_listed; /* in the hash, when it was read last */
};

struct roster {
	struct cluster *cluster;
	struct gauge_reader *gauges;
	sqlite3_stmt *statements[STATEMENTS];
	struct member members[MEMBERS_MAX];
	size_t count;
	int64_t started_ms, beat_ms;
	bool is_up;
};

static struct member *find(struct roster *roster, const char *id)
{
	for (size_t i = 0; i < roster->count; i++)
		if (memcmp(roster->members[i].id, id, NODE_ID_LEN) == 0)
			return &roster->members[i];
	return NULL;
}

/* What an entry says now. At first sight its clock is believed. */
static void update(struct roster *roster, const char *id, const struct node_info *info)
{
	struct member *member = find(roster, id);
	int64_t now_ms = clock_monotonic_ms(), age_ms = clock_wall_ms() - info->seen_ms;

	if (!member && roster->count == MEMBERS_MAX) {
		refused_count(&roster->cluster->refused, COUNT_CLUSTER_REFUSED_TOO_MANY_NODES,
			      "nodes");
		return;
	}
	if (!member) {
		member = &roster->members[roster->count++];
		*member = (struct member){.met_ms = now_ms};
		memcpy(member->id, id, NODE_ID_LEN);
		member->changed_ms = now_ms - (age_ms < ALIVE_MS ? 0 : ALIVE_MS);
	} else if (member->info.seen_ms != info->seen_ms) {
		member->changed_ms = now_ms;
	}
	member->info = *info;
	member->info.is_alive &= now_ms - member->changed_ms < ALIVE_MS;
	member->is_listed = true;
}

/* An entry that nobody needs any more. */
static bool is_left_over(const struct roster *roster, const struct member *member)
{
	const struct node_info *info = &member->info;

	if (info->is_alive || clock_monotonic_ms() - member->met_ms < ALIVE_MS)
		return false;
	if (clock_wall_ms() - info->seen_ms > KEPT_MS)
		return true;
	for (size_t i = 0; i < roster->count; i++)
		if (info->name[0] && roster->members[i].info.is_alive &&
		    strcmp(roster->members[i].info.name, info->name) == 0)
			return true;
	return info->name[0] && strcmp(info->name, roster->cluster->name) == 0;
}

/* If the key is another program's, nobody hears of the others, and that is all. */
static bool is_number(struct roster *roster, const redisReply *reply)
{
	char code[REDIS_CODE_SIZE] = "";

	if (reply && reply->type == REDIS_REPLY_ERROR)
		redis_error_code(reply, code);
	if (strcmp(code, "WRONGTYPE") == 0)
		refused_count(&roster->cluster->refused, COUNT_CLUSTER_REFUSED_MALFORMED, "nodes");
	else if (reply && reply->type != REDIS_REPLY_INTEGER)
		link_refuse(roster->cluster->link, reply);
	return reply && reply->type == REDIS_REPLY_INTEGER;
}

static void on_done(void *context, const redisReply *reply)
{
	is_number(context, reply);
}

static void remove_entry(struct roster *roster, const char *id)
{
	redis_ask(link_commands(roster->cluster->link), on_done, roster, "HDEL " NODES " %s", id);
}

static enum database_status put(struct roster *roster, const struct member *member)
{
	sqlite3_stmt *statement = roster->statements[PUT];
	const struct node_info *info = &member->info;
	const int64_t numbers[] = {info->is_alive, info->started_ms, info->topics, info->clients,
				   info->sockets};

	sqlite3_bind_text(statement, 1, member->id, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 2, info->name, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 3, info->version, -1, SQLITE_STATIC);
	for (int i = 0; i < 5; i++)
		sqlite3_bind_int64(statement, 4 + i, numbers[i]);
	return database_run(statement);
}

/* The rows become as the entries are; where they are, nothing is written. What fails is tried again
 * with the next beat. */
static void write_rows(struct roster *roster)
{
	struct cluster_store *store = roster->cluster->store;
	enum database_status status = cluster_store_begin(store);
	char listed[MEMBERS_MAX * (NODE_ID_LEN + 1) + 1] = "", *end = listed;

	if (status != DATABASE_OK)
		return;
	for (size_t i = 0; i < roster->count && status == DATABASE_OK; i++) {
		end = stpcpy(stpcpy(end, roster->members[i].id), " ");
		status = put(roster, &roster->members[i]);
	}
	for (enum statement which = GONE; which <= REMOVE && status == DATABASE_OK; which++) {
		sqlite3_bind_text(roster->statements[which], 1, listed, -1, SQLITE_STATIC);
		status = database_run(roster->statements[which]);
	}
	cluster_store_end(store, status, NULL);
}

/* Those that are not listed any more go, and with them the entries that nobody needs. */
static void tidy(struct roster *roster)
{
	size_t kept = 0;

	for (size_t i = 0; i < roster->count; i++) {
		if (is_left_over(roster, &roster->members[i]))
			remove_entry(roster, roster->members[i].id);
		else if (roster->members[i].is_listed)
			roster->members[kept++] = roster->members[i];
	}
	roster->count = kept;
}

static void on_entries(void *context, const redisReply *reply)
{
	struct roster *roster = context;
	struct node_info info;

	if (!link_takes(roster->cluster->link, reply, REDIS_REPLY_ARRAY))
		return;
	for (size_t i = 0; i < roster->count; i++)
		roster->members[i].is_listed = false;
	for (size_t i = 0; i + 1 < reply->elements; i += 2) {
		const redisReply *id = reply->element[i], *value = reply->element[i + 1];

		if (id->type == REDIS_REPLY_STRING && value->type == REDIS_REPLY_STRING &&
		    node_info_read(redis_bytes(id), redis_bytes(value), &info)) {
			if (strcmp(id->str, roster->cluster->node) != 0)
				update(roster, id->str, &info);
		} else {
			refused_count(&roster->cluster->refused, COUNT_CLUSTER_REFUSED_MALFORMED,
				      "nodes");
		}
	}
	tidy(roster);
	write_rows(roster);
}

/* All of it is read, unless it is more than any cluster has. */
static void on_length(void *context, const redisReply *reply)
{
	struct roster *roster = context;

	if (!is_number(roster, reply))
		return;
	if (reply->integer <= MEMBERS_MAX)
		redis_ask(link_commands(roster->cluster->link), on_entries, roster,
			  "HGETALL " NODES);
	else
		refused_count(&roster->cluster->refused, COUNT_CLUSTER_REFUSED_TOO_MANY_NODES,
			      "nodes");
}

static void beat(struct roster *roster)
{
	struct redis *redis = link_commands(roster->cluster->link);
	const char *id = roster->cluster->node;
	struct gauges gauges = {0};
	struct node_info info = {
		.version = WORKER_VERSION, .seen_ms = clock_wall_ms(), .is_alive = true};
	char text[NODE_INFO_MAX];

	roster->beat_ms = clock_monotonic_ms();
	gauges_read(roster->gauges, &gauges);
	snprintf(info.name, sizeof(info.name), "%s", roster->cluster->name);
	info.started_ms = info.seen_ms - gauges.uptime_s * 1000; /* up to a second later */
	if (llabs(info.started_ms - roster->started_ms) > SAME_MS)
		roster->started_ms = info.started_ms;
	info.started_ms = roster->started_ms;
	info.topics = gauges.active_topics;
	info.clients = gauges.connected_clients;
	info.sockets = gauges.connected_sockets;
	node_info_write(&info, id, text);
	redis_ask(redis, on_done, roster, "HSET " NODES " %s %s", id, text);
	redis_ask(redis, on_length, roster, "HLEN " NODES);
}

struct roster *roster_new(struct cluster *cluster)
{
	struct roster *roster = xcalloc(1, sizeof(*roster));

	roster->cluster = cluster;
	roster->gauges = gauge_reader_new(cluster->database, cluster->liveness, NULL);
	for (size_t i = 0; i < STATEMENTS; i++)
		database_prepare(cluster->database, &roster->statements[i], sql[i]);
	return roster;
}

void roster_free(struct roster *roster)
{
	if (roster)
		gauge_reader_free(roster->gauges);
	free(roster);
}

void roster_on_link(struct roster *roster)
{
	roster->is_up = true;
	beat(roster);
}

void roster_on_link_lost(struct roster *roster)
{
	roster->is_up = false;
}

/* While Redis is away, others are alive for as long as they would be with it. */
void roster_on_tick(struct roster *roster)
{
	int64_t now_ms = clock_monotonic_ms();

	if (!roster->cluster->is_relay || now_ms - roster->beat_ms < BEAT_MS)
		return;
	roster->beat_ms = now_ms;
	if (roster->is_up) {
		beat(roster);
		return;
	}
	for (size_t i = 0; i < roster->count; i++)
		roster->members[i].info.is_alive &=
			now_ms - roster->members[i].changed_ms < ALIVE_MS;
	write_rows(roster);
}

void roster_leave(struct roster *roster)
{
	if (roster->is_up)
		remove_entry(roster, roster->cluster->node);
}
