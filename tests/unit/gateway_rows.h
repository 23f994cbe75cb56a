/* Rows of `gateways` as an older gateway wrote them: without a headcount of its own. */
#ifndef TESTS_UNIT_GATEWAY_ROWS_H
#define TESTS_UNIT_GATEWAY_ROWS_H

#define GATEWAY_COLUMNS                                                                            \
	"pid, version, address, started_ms, seen_ms, last_event_id, cluster_nodes, outbox_bytes"

#endif
