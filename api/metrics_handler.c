/*
 * GET /internal/metrics: counters and gauges, all from one moment, in Prometheus' text exposition
 * format, version 0.0.4. No state. Reads the database, so it never waits for writers.
 *
 * Only what is in the database is shown, not what this process has yet to add: another process may
 * answer next time, and a total must never seem to fall. Names, labels and help texts are ours:
 * nothing in here has to be escaped.
 */
#include <inttypes.h>

#include "api/handlers.h"
#include "shared/base/version.h"

#define PREFIX "wavelog_worker_"

static void put_head(FILE *out, const char *name, const char *suffix, const char *type,
		     const char *help)
{
	fprintf(out, "# HELP " PREFIX "%s%s %s\n", name, suffix, help);
	fprintf(out, "# TYPE " PREFIX "%s%s %s\n", name, suffix, type);
}

/* "0.000064": no rounding, and no locale's decimal comma. */
static void put_seconds(FILE *out, int64_t us)
{
	fprintf(out, "%" PRId64 ".%06d", us / 1000000, (int)(us % 1000000));
}

static void put_latency(FILE *out, const struct latency_name *name, const struct histogram *latency)
{
	int64_t count = 0;

	put_head(out, name->family, "_seconds", "histogram", name->help);
	for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		count += latency->buckets[i];
		fprintf(out, PREFIX "%s_seconds_bucket{le=\"", name->family);
		if (i < HISTOGRAM_BOUNDS)
			put_seconds(out, histogram_bound_us(i));
		else
			fputs("+Inf", out);
		fprintf(out, "\"} %" PRId64 "\n", count);
	}
	fprintf(out, PREFIX "%s_seconds_sum ", name->family);
	put_seconds(out, latency->sum_us);
	fprintf(out, "\n" PREFIX "%s_seconds_count %" PRId64 "\n", name->family, count);
}

/* `in_cluster`: those about the cluster too. */
static void put_gauges(FILE *out, const struct gauges *gauges, bool in_cluster)
{
	enum { NO_SAMPLE = -1, OF_CLUSTER = 4 }; /* unknown; how many rows are about the cluster */
	const struct {
		const char *name;
		int64_t value;
		const char *help;
	} rows[] = {
		{"api_processes", gauges->api_processes,
		 "Processes of the internal API, waiting ones included."},
		{"gateways", gauges->gateways, "Gateway processes that are alive."},
		{"sessions", gauges->connected_sockets, "Authenticated WebSockets."},
		{"clients", gauges->connected_clients,
		 "Distinct users; each anonymous WebSocket is one."},
		{"topics", gauges->registered_topics, "Live topics; 0 while no gateway is alive."},
		{"active_topics", gauges->active_topics, "Topics with a subscriber."},
		{"outbox_bytes", gauges->outbox_bytes,
		 "Bytes that wait for slow clients; what many wait for counts once."},
		{"event_rows", gauges->event_rows, "Events that are kept."},
		{"committed_event_id", gauges->committed_event_id,
		 "The newest event in the database."},
		{"delivered_event_id",
		 gauges->gateways > 0 ? gauges->delivered_event_id : NO_SAMPLE,
		 "The newest event that every living gateway has handed out."},
		{"database_bytes", gauges->database_bytes, "Size of the database."},
		{"wal_bytes", gauges->wal_bytes, "Size of the write-ahead log's file."},
		{"log_reader_pid", gauges->log_reader_pid,
		 "Process whose open transaction keeps a long log from being shortened; 0: none."},
		{"cluster_nodes", gauges->cluster_nodes,
		 "Nodes that listen at Redis, this one included."},
		{"cluster_lag_events", gauges->lag_events,
		 "Events and orders of this node that Redis does not have yet."},
		{"cluster_lag_seconds", gauges->lag_s, "The age of the oldest of them."},
		{"cluster_away_seconds", gauges->away_s,
		 "For how long Redis has been away; 0: it is there."},
	};
	size_t count = sizeof(rows) / sizeof(rows[0]) - (in_cluster ? 0 : OF_CLUSTER);

	for (size_t i = 0; i < count; i++) {
		put_head(out, rows[i].name, "", "gauge", rows[i].help);
		if (rows[i].value != NO_SAMPLE)
			fprintf(out, PREFIX "%s %" PRId64 "\n", rows[i].name, rows[i].value);
	}
}

void handle_metrics(struct service *service, const struct request *request,
		    struct response *response)
{
	struct counters totals = {0};
	struct gauges gauges = {0};
	size_t len = 0;
	char *text = NULL;
	enum database_status status = store_read_begin(service->store);

	(void)request;
	if (status == DATABASE_OK)
		status = totals_read(service->totals, &totals);
	if (status == DATABASE_OK)
		status = gauges_read_all(service->gauges, &gauges);
	store_read_end(service->store);
	if (!service_available(service, SERVICE_READ, status, response))
		return;

	FILE *out = open_memstream(&text, &len);
	if (out) {
		for (size_t i = 0; i < COUNTERS; i++) {
			const struct counter_name *name = &counter_names[i];

			if (name->help)
				put_head(out, name->family, "_total", "counter", name->help);
			fprintf(out, PREFIX "%s_total", name->family);
			if (name->key)
				fprintf(out, "{%s=\"%s\"}", name->key, name->label);
			fprintf(out, " %" PRId64 "\n", totals.counts[i]);
		}
		for (size_t i = 0; i < LATENCIES; i++)
			put_latency(out, &latency_names[i], &totals.latencies[i]);
		put_gauges(out, &gauges, service->cluster != NULL);
		put_head(out, "info", "", "gauge", "The version of the internal API's program.");
		fprintf(out, PREFIX "info{version=\"%s\"} 1\n", WORKER_VERSION);
	}
	if (out && fclose(out) == 0)
		response_body(response, 200, RESPONSE_METRICS, text, len);
	else
		response_error(response, 503, "unavailable: out of memory");
	free(text);
}
