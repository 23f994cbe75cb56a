// needs: gateway/cluster/store.c gateway/cluster/intake.c gateway/cluster/rules.c
/*
 * The cluster's SQL on a real database: what comes from other nodes, what goes to them, and what of
 * it is there after a failure.
 */
#include "tests/unit/database_fixture.h"

#include "gateway/cluster/intake.h"
#include "gateway/cluster/store.h"
#include "shared/database/write_lock.h"

#define OTHER "00000000000000aa"
#define THIRD "00000000000000bb"

static struct database *database;
static struct cluster_store *store;
static struct intake *intake;
static struct counters counters;

static void open_store(void)
{
	char why[DATABASE_WHY_SIZE];

	database = open_database();
	counters = (struct counters){0};
	store = cluster_store_new(database, &counters);
	intake = intake_new(database);
	if (!database_is_prepared(database, why))
		fail_msg("%s", why);
	assert_int_equal(cluster_store_load(store), DATABASE_OK);
	assert_int_equal(intake_load(intake), DATABASE_OK);
}

static void close_store(void)
{
	cluster_store_free(store);
	intake_free(intake);
	database_close(database);
}

static sqlite3 *handle(void)
{
	return database_handle(database);
}

static struct log_entry entry_of(const char *origin, int64_t id, int64_t prev)
{
	struct log_entry entry = {.id = id, .prev = prev, .topic = {"t", 1}, .payload = {"1", 1}};

	memcpy(entry.origin, origin, sizeof(entry.origin));
	entry.created_ms = clock_wall_ms();
	return entry;
}

static enum database_status commit(const struct log_reached *reached)
{
	enum database_status status = cluster_store_end(store, intake_put(intake), reached);

	if (status != DATABASE_OK)
		assert_int_equal(intake_load(intake), DATABASE_OK);
	return status;
}

static enum entry_verdict judge(const struct log_entry *entry, bool may_miss)
{
	enum entry_verdict verdict;

	assert_int_equal(intake_judge(intake, entry, may_miss, &verdict), DATABASE_OK);
	return verdict;
}

/* Adds it by itself, as the reader would. */
static enum entry_verdict add(struct log_entry entry, bool may_miss)
{
	enum entry_verdict verdict = judge(&entry, may_miss);
	bool is_refused;

	if (verdict == ENTRY_KNOWN)
		return verdict;
	assert_int_equal(cluster_store_begin(store), DATABASE_OK);
	assert_int_equal(intake_add(intake, &entry, verdict, &is_refused), DATABASE_OK);
	assert_false(is_refused);
	assert_int_equal(commit(NULL), DATABASE_OK);
	return verdict;
}

static int64_t newest(void)
{
	return query_number(handle(), "SELECT max(id) FROM events");
}

static void a_node_joins_once_and_its_older_events_stay_at_home(void **state)
{
	int64_t joined_id;

	(void)state;
	open_store();
	joined_id = cluster_store_state(store)->joined_id;
	assert_int_equal(joined_id, newest());
	assert_int_equal(cluster_store_state(store)->reached.relayed_id, joined_id);
	execute(handle(),
		"INSERT INTO events (kind, topic, created_ms, payload) VALUES (0, 't', 1, '1')");
	close_store();
	open_store();
	assert_int_equal(cluster_store_state(store)->joined_id, joined_id);
	assert_int_equal(cluster_store_state(store)->reached.relayed_id, joined_id);
	assert_int_equal(strlen(cluster_store_state(store)->node), NODE_ID_LEN);
	close_store();
}

struct seen {
	int64_t ids[8], gone_id;
	size_t count, limit;
};

static bool see(void *context, const struct log_entry *event, int64_t gone_id)
{
	struct seen *seen = context;

	if (seen->count == seen->limit)
		return false;
	seen->ids[seen->count++] = event->id;
	seen->gone_id = gone_id;
	return true;
}

static void own_events_are_seen_in_order_and_those_of_others_passed_over(void **state)
{
	struct seen seen = {.limit = 2};
	int64_t first, looked_id;

	(void)state;
	open_store();
	first = newest();
	execute(handle(),
		"INSERT INTO events (kind, topic, user_id, created_ms, origin, payload) VALUES "
		"(0, 't', NULL, 5, NULL, '1'), (0, 't', NULL, 5, '" OTHER
		".0000000000000001', '2'), "
		"(1, 't', NULL, 5, NULL, NULL), (4, NULL, NULL, 5, NULL, NULL), "
		"(2, NULL, 7, 5, NULL, NULL), (5, NULL, NULL, 5, '" OTHER "', NULL)");
	assert_int_equal(cluster_store_look(store, first, see, &seen, &looked_id), DATABASE_OK);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.ids[0], first + 1);
	assert_int_equal(seen.ids[1], first + 3);
	assert_int_equal(looked_id, first + 4); /* the one that was not taken comes again */
	seen = (struct seen){.limit = 2};
	execute(handle(), "UPDATE cluster SET gone_id = 17");
	assert_int_equal(cluster_store_look(store, looked_id, see, &seen, &looked_id), DATABASE_OK);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.ids[0], first + 5);
	assert_int_equal(seen.gone_id, 17);
	assert_int_equal(looked_id, first + 6);
	assert_int_equal(cluster_store_look(store, looked_id, see, &seen, &looked_id), DATABASE_OK);
	assert_int_equal(seen.count, 1);
	close_store();
}

static void events_of_others_come_once_and_what_is_missing_is_marked(void **state)
{
	(void)state;
	open_store();
	assert_int_equal(add(entry_of(OTHER, 3, 0), false), ENTRY_NEW);
	assert_int_equal(add(entry_of(OTHER, 3, 0), false), ENTRY_KNOWN);
	assert_int_equal(add(entry_of(OTHER, 8, 7), false), ENTRY_AFTER_GAP);
	assert_int_equal(add(entry_of(THIRD, 8, 7), false), ENTRY_FIRST);
	assert_string_equal(query(handle(),
				  "SELECT group_concat(kind || ' ' || origin) FROM events "
				  "WHERE +origin IS NOT NULL"),
			    "0 " OTHER ".0000000000000003,5 " OTHER ".0000000000000007,0 " OTHER
			    ".0000000000000008,0 " THIRD ".0000000000000008");
	assert_string_equal(query(handle(), "SELECT group_concat(node || ' ' || last_id || ' ' || "
					    "missing_id) FROM nodes"),
			    OTHER " 8 7," THIRD " 8 7");
	close_store();
	open_store(); /* and it knows them again */
	assert_int_equal(add(entry_of(OTHER, 8, 7), false), ENTRY_KNOWN);
	close_store();
}

static void a_transaction_that_is_given_up_leaves_nothing(void **state)
{
	struct log_entry entry = entry_of(OTHER, 3, 0);
	const struct log_reached reached = {{9, 9}, INT64_MAX};
	bool is_refused;

	(void)state;
	open_store();
	assert_int_equal(cluster_store_begin(store), DATABASE_OK);
	assert_int_equal(intake_add(intake, &entry, ENTRY_NEW, &is_refused), DATABASE_OK);
	assert_int_equal(judge(&entry, false), ENTRY_KNOWN);
	cluster_store_end(store, DATABASE_BUSY, NULL);
	assert_int_equal(intake_load(intake), DATABASE_OK);
	assert_int_equal(judge(&entry, false), ENTRY_NEW);
	assert_int_equal(query_number(handle(), "SELECT count(*) FROM nodes"), 0);

	/* A commit that fails does not move the position, not even in memory. */
	assert_int_equal(cluster_store_begin(store), DATABASE_OK);
	assert_int_equal(intake_add(intake, &entry, ENTRY_NEW, &is_refused), DATABASE_OK);
	execute(handle(), "ROLLBACK; BEGIN; PRAGMA query_only = 1");
	assert_int_not_equal(commit(&reached), DATABASE_OK);
	execute(handle(), "PRAGMA query_only = 0");
	assert_int_equal(cluster_store_state(store)->reached.position.ms, 0);
	assert_int_not_equal(cluster_store_state(store)->reached.relayed_id, INT64_MAX);
	assert_int_equal(judge(&entry, false), ENTRY_NEW);
	assert_int_equal(add(entry, false), ENTRY_NEW);
	close_store();
}

static void a_busy_database_is_waited_for_a_moment(void **state)
{
	int lock;

	(void)state;
	open_store();
	lock = write_lock_open(path_of("write.lock"));
	assert_true(write_lock_try(lock));
	cluster_store_tell(store, 3, NULL);
	assert_int_equal(cluster_store_flush(store), DATABASE_BUSY);
	write_lock_release(lock);
	assert_int_equal(cluster_store_flush(store), DATABASE_OK);
	assert_int_equal(query_number(handle(), "SELECT cluster_nodes FROM cluster"), 3);
	close(lock);
	close_store();
}

static void the_row_says_since_when_and_why(void **state)
{
	int64_t since_ms;

	(void)state;
	open_store();
	assert_string_equal(query(handle(), "SELECT since_ms FROM cluster"), "(null)");
	cluster_store_tell(store, -1, "it is raining");
	since_ms = cluster_store_state(store)->since_ms;
	assert_true(since_ms > 0);
	cluster_store_state(store)->since_ms = 5; /* long ago */
	cluster_store_tell(store, -1, "it is snowing");
	assert_int_equal(cluster_store_flush(store), DATABASE_OK);
	assert_string_equal(query(handle(), "SELECT cluster_nodes || since_ms || why FROM cluster"),
			    "-15it is snowing");
	cluster_store_tell(store, 2, NULL);
	assert_true(cluster_store_state(store)->since_ms >= since_ms);
	counters.counts[COUNT_CLUSTER_GAPS] = 4;
	assert_int_equal(cluster_store_flush(store), DATABASE_OK);
	assert_string_equal(query(handle(), "SELECT why FROM cluster"), "(null)");
	assert_int_equal(
		query_number(handle(), "SELECT value FROM counters WHERE name = 'cluster_gaps'"),
		4);
	assert_int_equal(cluster_store_flush(store), DATABASE_OK); /* nothing: it takes no lock */
	close_store();
}

static void an_unregister_deletes_the_row_and_times_are_made_plausible(void **state)
{
	struct log_entry entry = entry_of(OTHER, 1, 0);
	int64_t now_ms = clock_wall_ms();

	(void)state;
	open_store();
	execute(handle(), "INSERT INTO topics VALUES ('t', 0, 0, 9e15)");
	entry.kind = EVENT_UNREGISTER;
	entry.payload = (struct slice){0};
	entry.created_ms = INT64_MAX;
	add(entry, false);
	assert_int_equal(query_number(handle(), "SELECT count(*) FROM topics WHERE topic = 't'"),
			 0);
	assert_true(query_number(handle(), "SELECT max(created_ms) FROM events") < now_ms + 60000);
	entry = entry_of(OTHER, 2, 1);
	entry.kind = EVENT_DISCONNECT;
	entry.topic = entry.payload = (struct slice){0};
	entry.has_user = true;
	entry.user = -3;
	entry.created_ms = 0;
	add(entry, false);
	assert_int_equal(query_number(handle(), "SELECT user_id FROM events ORDER BY id DESC"), -3);
	assert_true(query_number(handle(), "SELECT min(created_ms) FROM events") > now_ms - 120000);
	close_store();
}

static int give_up(void *context)
{
	(void)context;
	return 1;
}

static void there_are_not_too_many_nodes_and_a_dead_one_gives_way(void **state)
{
	struct log_entry entry = entry_of(OTHER, 1, 0);
	enum entry_verdict verdict;
	char origin[NODE_ID_LEN + 1];
	bool is_refused;

	(void)state;
	open_store();
	for (int i = 0; i < 32; i++) {
		snprintf(origin, sizeof(origin), "%016x", 0x1000 + i);
		add(entry_of(origin, 5, 0), false);
	}
	execute(handle(), "UPDATE nodes SET is_alive = 1");
	assert_int_equal(cluster_store_begin(store), DATABASE_OK);
	assert_int_equal(intake_add(intake, &entry, ENTRY_NEW, &is_refused), DATABASE_OK);
	assert_true(is_refused);
	assert_int_equal(commit(NULL), DATABASE_OK);
	/* First one that has no events here, then one that has some. */
	execute(handle(), "DELETE FROM events WHERE origin GLOB '0000000000001003.*'");
	execute(handle(),
		"UPDATE nodes SET started_ms = 1, is_alive = node NOT GLOB '000000000000100[13]'");
	assert_int_equal(add(entry, false), ENTRY_NEW);
	assert_string_equal(query(handle(),
				  "SELECT count(*) || ' ' || sum(node = '0000000000001003') || ' ' "
				  "|| sum(node = '0000000000001001') FROM nodes"),
			    "32 0 1");
	assert_int_equal(add(entry_of("00000000000000fe", 1, 0), false), ENTRY_NEW);
	assert_string_equal(query(handle(),
				  "SELECT count(*) || ' ' || sum(node = '0000000000001001') "
				  "FROM nodes"),
			    "32 0");
	/* What it published before is in the log still, perhaps, and here. */
	assert_int_equal(add(entry_of("0000000000001001", 5, 0), true), ENTRY_KNOWN);
	entry = entry_of("0000000000001001", 5, 0);
	sqlite3_progress_handler(handle(), 1, give_up, NULL);
	assert_int_equal(intake_judge(intake, &entry, true, &verdict), DATABASE_ERROR);
	sqlite3_progress_handler(handle(), 0, NULL, NULL);
	execute(handle(), "UPDATE nodes SET is_alive = 0");
	assert_int_equal(add(entry_of("0000000000001001", 6, 5), true), ENTRY_NEW);
	close_store();
}

static void a_process_that_was_overtaken_writes_nothing(void **state)
{
	struct log_entry entry = entry_of(OTHER, 3, 0);
	const struct log_reached reached = {{9, 9}, 7};
	bool is_refused;

	(void)state;
	open_store();
	execute(handle(), "UPDATE cluster SET log_position = '5-5'");
	assert_int_equal(cluster_store_begin(store), DATABASE_OK);
	assert_int_equal(intake_add(intake, &entry, ENTRY_NEW, &is_refused), DATABASE_OK);
	assert_int_equal(commit(&reached), DATABASE_BUSY);
	assert_true(cluster_store_state(store)->is_overtaken);
	assert_int_equal(query_number(handle(), "SELECT count(*) FROM nodes"), 0);
	assert_int_equal(cluster_store_load(store), DATABASE_OK);
	assert_false(cluster_store_state(store)->is_overtaken);
	assert_int_equal(cluster_store_state(store)->reached.position.ms, 5);
	add(entry, false);
	cluster_store_state(store)->reached = reached;
	assert_int_equal(cluster_store_flush(store), DATABASE_OK);
	cluster_store_state(store)->reached.position.ms++;
	assert_int_equal(cluster_store_flush(store), DATABASE_OK);
	assert_string_equal(
		query(handle(), "SELECT log_position || ' ' || relayed_id FROM cluster"), "10-9 7");
	close_store();
}

static void ids_jump_ahead_of_what_others_have_seen(void **state)
{
	bool is_unknown;
	int64_t before;

	(void)state;
	open_store();
	before = newest();
	assert_int_equal(cluster_store_meet(store, before + 100, &is_unknown), DATABASE_OK);
	assert_true(is_unknown && newest() > before + 100);
	before = newest();
	assert_int_equal(cluster_store_meet(store, before, &is_unknown), DATABASE_OK);
	assert_true(!is_unknown && newest() == before);
	unlink(path_of("worker.db")); /* it is put back, and opened again */
	assert_int_equal(cluster_store_meet(store, before + 100, &is_unknown), DATABASE_OK);
	assert_true(is_unknown && newest() > before + 100);
	close_store();
}

static void of_what_was_there_before_this_node_only_the_number_is_kept(void **state)
{
	struct log_entry entry = entry_of(OTHER, 7, 0);
	bool is_refused;

	(void)state;
	open_store();
	assert_int_equal(cluster_store_begin(store), DATABASE_OK);
	assert_int_equal(intake_add(intake, &entry, ENTRY_BEFORE_US, &is_refused), DATABASE_OK);
	assert_int_equal(commit(NULL), DATABASE_OK);
	assert_string_equal(query(handle(), "SELECT last_id || ' ' || missing_id || ' ' || (SELECT "
					    "count(*) FROM events WHERE +origin IS NOT NULL) "
					    "FROM nodes"),
			    "7 7 0");
	assert_int_equal(add(entry, false), ENTRY_KNOWN);
	assert_int_equal(add(entry_of(OTHER, 8, 7), false), ENTRY_NEW);
	close_store();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DATABASE_TEST(a_node_joins_once_and_its_older_events_stay_at_home),
		DATABASE_TEST(own_events_are_seen_in_order_and_those_of_others_passed_over),
		DATABASE_TEST(events_of_others_come_once_and_what_is_missing_is_marked),
		DATABASE_TEST(a_transaction_that_is_given_up_leaves_nothing),
		DATABASE_TEST(a_busy_database_is_waited_for_a_moment),
		DATABASE_TEST(the_row_says_since_when_and_why),
		DATABASE_TEST(an_unregister_deletes_the_row_and_times_are_made_plausible),
		DATABASE_TEST(there_are_not_too_many_nodes_and_a_dead_one_gives_way),
		DATABASE_TEST(a_process_that_was_overtaken_writes_nothing),
		DATABASE_TEST(ids_jump_ahead_of_what_others_have_seen),
		DATABASE_TEST(of_what_was_there_before_this_node_only_the_number_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
