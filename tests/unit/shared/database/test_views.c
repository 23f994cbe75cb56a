/*
 * The views of sql/: what a person reads who looks into the database, with times and words in the
 * place of numbers.
 */
#include "tests/unit/database_fixture.h"

static void topics_are_readable(void **state)
{
	(void)state;
	struct database *database = open_database();
	sqlite3 *handle = database_handle(database);

	execute(handle,
		"INSERT INTO topics VALUES ('club', 0, 1700000000123, 1700086400999);"
		"INSERT INTO sessions (gateway, slot, topic, user_id, address, connected_ms, "
		"expires_ms) VALUES (1, 0, 'club', 7, 'a', 0, NULL), (1, 1, 'club', 0, "
		"'a', 0, 1);"
		"INSERT INTO events (kind, topic, payload, created_ms) VALUES (0, 'club', '1', 1),"
		" (0, 'club', '2', 1700000001500), (1, 'club', NULL, 1800000000000)");
#define ROW(columns, topic) "SELECT " columns " FROM topic_overview WHERE topic = '" topic "'"
	assert_string_equal(
		query(handle, ROW("access || '|' || registered || '|' || expires", "club")),
		"open|2023-11-14 22:13:20|2023-11-15 22:13:20");
	assert_string_equal(
		query(handle, ROW("subscribers || '|' || pushes_kept || '|' || last_push", "club")),
		"2|2|2023-11-14 22:13:21.500");
	assert_string_equal(
		query(handle,
		      ROW("access || '|' || expires || '|' || subscribers || '|' || pushes_kept",
			  "worker.status")),
		"token|never|0|0");
	assert_string_equal(query(handle, ROW("registered", "worker.status")), "(null)");
	assert_string_equal(query(handle, ROW("last_push", "worker.status")), "(null)");
	database_close(database);
}

static void sessions_and_gateways_are_readable(void **state)
{
	(void)state;
	struct database *database = open_database();
	sqlite3 *handle = database_handle(database);

	execute(handle,
		"INSERT INTO sessions (gateway, slot, topic, user_id, address, connected_ms, "
		"expires_ms, transport) VALUES (4711, 0, 'b', 7, '192.0.2.1', 1700000000999, "
		"1700000060000, 1),"
		" (4711, 1, 'a', 0, '::1', 1700000000000, NULL, 0);"
		"INSERT INTO gateways (pid, version, address, started_ms, seen_ms, last_event_id, "
		"cluster_nodes) SELECT 4711, '0.1.0', '0.0.0.0:9000', 1700000000000, "
		"1700000005000, max(id) - 2, -1 FROM events");
	assert_string_equal(query(handle,
				  "SELECT topic || '|' || user_id || '|' || address || '|' || "
				  "transport || '|' || "
				  "connected || '|' || coalesce(token_expires, 'none') || '|' "
				  "|| gateway FROM session_overview"),
			    "a|0|::1|websocket|2023-11-14 22:13:20|none|4711");
	assert_string_equal(
		query(handle, "SELECT transport || '|' || connected || '|' || token_expires FROM "
			      "session_overview WHERE topic = 'b'"),
		"stream|2023-11-14 22:13:20|2023-11-14 22:14:20");
	assert_string_equal(
		query(handle, "SELECT pid || '|' || version || '|' || address || '|' || started "
			      "|| '|' || seen || '|' || sockets || '|' || events_behind "
			      "FROM gateway_overview"),
		"4711|0.1.0|0.0.0.0:9000|2023-11-14 22:13:20|2023-11-14 22:13:25|2|2");
	database_close(database);
}

static void events_are_readable(void **state)
{
	(void)state;
	struct database *database = open_database();
	sqlite3 *handle = database_handle(database);

	execute(handle,
		"INSERT INTO events (kind, topic, payload, created_ms, user_id, origin) VALUES "
		"(0, 'a', '\"' || char(233) || '\"', 1700000000042, NULL, 'beef'),"
		"(1, 'a', NULL, 0, NULL, NULL), (2, NULL, NULL, 0, 7, NULL),"
		"(0, 'b', hex(zeroblob(500)), 0, NULL, NULL)");
	assert_string_equal(query(handle, "SELECT group_concat(kind) FROM event_overview"),
			    "database made,push,unregister,disconnect,push");
	assert_string_equal(query(handle,
				  "SELECT topic || '|' || bytes || '|' || payload_begins || "
				  "'|' || created || '|' || origin FROM event_overview "
				  "WHERE origin = 'beef'"),
			    "a|4|\"\xC3\xA9\"|2023-11-14 22:13:20.042|beef");
	assert_string_equal(query(handle, "SELECT user_id || '|' || origin FROM event_overview "
					  "WHERE kind = 'disconnect'"),
			    "7|here");
	assert_string_equal(query(handle, "SELECT bytes || '|' || length(payload_begins) FROM "
					  "event_overview WHERE topic = 'b' AND kind = 'push'"),
			    "1000|60");
	database_close(database);
}

static void nodes_and_what_came_from_them_are_readable(void **state)
{
	(void)state;
	struct database *database = open_database();
	sqlite3 *handle = database_handle(database);

	assert_string_equal(query(handle, "SELECT * FROM node_overview"), "(none)");
	execute(handle,
		"UPDATE cluster SET node = '00000000000000aa', since_ms = 1700000000123, "
		"relayed_id = (SELECT max(id) FROM events), log_position = '17-1', why = 'it "
		"hangs';"
		"INSERT INTO nodes (node, name, is_alive, last_id, started_ms, sockets) VALUES "
		"('00000000000000bb', 'east', 1, 7, 1700000000123, 5), "
		"('00000000000000cc', '', 0, 0, NULL, 0);"
		"INSERT INTO events (kind, topic, created_ms, origin) VALUES (0, 'a', 0, NULL), "
		"(1, 'a', 0, NULL), (5, NULL, 0, '00000000000000bb'), "
		"(0, 'a', 0, '00000000000000bb.0000000000000007'), (0, 'a', 0, "
		"'00000000000000cc')");
	assert_string_equal(
		query(handle,
		      "SELECT group_concat(name || '|' || redis || '|' || ifnull(since, '') "
		      "|| '|' || ifnull(lag_events, '') || '|' || ifnull(log_position, ''), "
		      "' ') FROM node_overview"),
		"this one|away: it hangs|2023-11-14 22:13:20|2|17-1 "
		"east|alive|2023-11-14 22:13:20|| |gone|||");
	assert_string_equal(query(handle,
				  "SELECT group_concat(kind || '|' || origin || '|' || "
				  "ifnull(origin_id, ''), ' ') FROM event_overview WHERE id > "
				  "(SELECT min(id) FROM events)"),
			    "push|here| unregister|here| events missing|east| push|east|7 "
			    "push|00000000000000cc|");
	database_close(database);
}

static void no_time_is_too_far_for_a_view(void **state)
{
	(void)state;
	struct database *database = open_database();
	sqlite3 *handle = database_handle(database);

	execute(handle,
		"INSERT INTO topics VALUES ('far', 1, -1, 9223372036854775806);"
		"INSERT INTO sessions (gateway, slot, topic, user_id, address, connected_ms, "
		"expires_ms) VALUES (1, 0, 'far', 7, 'a', -9223372036854775807, "
		"9223372036854775807)");
	assert_string_equal(query(handle, "SELECT coalesce(expires, 'beyond') FROM topic_overview "
					  "WHERE topic = 'far'"),
			    "beyond");
	assert_string_equal(query(handle, "SELECT coalesce(token_expires, 'beyond') FROM "
					  "session_overview"),
			    "beyond");
	database_close(database);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DATABASE_TEST(topics_are_readable),
		DATABASE_TEST(sessions_and_gateways_are_readable),
		DATABASE_TEST(events_are_readable),
		DATABASE_TEST(nodes_and_what_came_from_them_are_readable),
		DATABASE_TEST(no_time_is_too_far_for_a_view),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
