/*
 * Counting who is connected, see census.h. State: prepared statements. Reads never wait for writers
 * (WAL).
 *
 * A gateway that is alone has counted already. Over several of them (workers, or a predecessor that
 * drains) users and topics can be the same, so their sockets are looked at one by one.
 */
#include "shared/counters/census.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/counters/distinct.h"

struct census {
	struct liveness *liveness;
	sqlite3_stmt *gateways, *topics, *sessions;
	struct distinct *active_topics, *users;
};

static void gateway_alive(sqlite3_context *context, int count, sqlite3_value **values)
{
	struct liveness *liveness = sqlite3_user_data(context);

	(void)count;
	sqlite3_result_int(context, liveness_check(liveness, sqlite3_value_int64(values[0])));
}

struct census *census_new(struct database *database, struct liveness *liveness)
{
	struct census *census = xcalloc(1, sizeof(*census));

	sqlite3_create_function(database_handle(database), "gateway_alive", 1, SQLITE_UTF8,
				liveness, gateway_alive, NULL, NULL);
	census->liveness = liveness;
	census->gateways = database_prepare(
		database,
		"SELECT count(*), min(started_ms), max(cluster_nodes), min(sockets), "
		"max(active_topics), max(clients) FROM gateways WHERE gateway_alive(pid)");
	census->topics =
		database_prepare(database, "SELECT (SELECT topics FROM topic_count) - "
					   "(SELECT count(*) FROM topics WHERE expires_ms <= ?1)");
	/* Counted here: count(DISTINCT) takes several times as long. */
	census->sessions =
		database_prepare(database, "SELECT topic, user_id FROM " CENSUS_LIVE_SESSIONS);
	census->active_topics = distinct_new();
	census->users = distinct_new();
	return census;
}

void census_free(struct census *census)
{
	if (!census)
		return;
	sqlite3_finalize(census->gateways);
	sqlite3_finalize(census->topics);
	sqlite3_finalize(census->sessions);
	distinct_free(census->active_topics);
	distinct_free(census->users);
	free(census);
}

static enum database_status count_sessions(struct census *census, struct service_counts *counts)
{
	sqlite3_stmt *row = census->sessions;
	int64_t anonymous = 0;
	int result;

	counts->connected_sockets = 0;
	distinct_clear(census->active_topics);
	distinct_clear(census->users);
	while ((result = sqlite3_step(row)) == SQLITE_ROW) {
		const void *topic = sqlite3_column_text(row, 0);
		int64_t user_id = sqlite3_column_int64(row, 1);

		counts->connected_sockets++;
		distinct_add(census->active_topics, topic, (size_t)sqlite3_column_bytes(row, 0));
		if (user_id != 0)
			distinct_add(census->users, &user_id, sizeof(user_id));
		else
			anonymous++;
	}
	sqlite3_reset(row);
	counts->active_topics = distinct_count(census->active_topics);
	counts->connected_clients = distinct_count(census->users) + anonymous;
	return database_status_of(result);
}

enum database_status census_take(struct census *census, struct service_counts *counts)
{
	enum { COUNT, STARTED_MS, CLUSTER_NODES, SOCKETS, TOPICS, CLIENTS, NUMBERS };
	int64_t gateways[NUMBERS] = {0}, topics[1] = {0};
	int64_t now_ms = clock_wall_ms();
	enum database_status status = database_read_numbers(census->gateways, gateways, NUMBERS);
	int64_t up_ms = now_ms - gateways[STARTED_MS];

	*counts = (struct service_counts){.cluster_nodes = -1};
	if (status != DATABASE_OK || gateways[COUNT] == 0)
		return status;
	sqlite3_bind_int64(census->topics, 1, now_ms);
	status = database_read_numbers(census->topics, topics, 1);
	if (status != DATABASE_OK)
		return status;
	*counts = (struct service_counts){
		.gateway_alive = true,
		.uptime_s = up_ms > 0 ? up_ms / 1000 : 0, /* wall clocks step back */
		.registered_topics = topics[0],
		.cluster_nodes = gateways[CLUSTER_NODES],
		.connected_sockets = gateways[SOCKETS],
		.active_topics = gateways[TOPICS],
		.connected_clients = gateways[CLIENTS],
	};
	if (gateways[COUNT] > 1 || gateways[SOCKETS] < 0)
		status = count_sessions(census, counts);
	if (status != DATABASE_OK)
		*counts = (struct service_counts){.cluster_nodes = -1};
	return status;
}
