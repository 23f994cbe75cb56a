// needs: api/store.c api/store_read.c api/gauges.c
/*
 * The API's SQL on a real database: what each operation changes, and what it says and leaves when
 * the database is locked or the disk is full.
 */
#include "tests/unit/database_fixture.h"
#include "tests/unit/watched_files.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include "api/store.h"
#include "shared/alloc.h"
#include "shared/schema.h"
#include "shared/topic_name.h"

enum { NOT_ALLOWED = 77, SLACK_MS = 5000 };

static struct database *database;
static sqlite3 *handle;
static struct liveness *liveness;
static struct store *store;

static int open_store(void **state)
{
	memset(watch, 0, sizeof(*watch));
	if (make_base(state) != 0)
		return -1;
	database = open_database();
	handle = database_handle(database);
	liveness = liveness_open(state_dir);
	store = store_open(&config, database, liveness);
	return 0;
}

static int close_store(void **state)
{
	store_close(store);
	store_close(NULL);
	liveness_close(liveness);
	database_close(database);
	return remove_base(state);
}

#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, open_store, close_store)

static enum store_outcome enrol(const char *topic, bool require_token)
{
	return store_register(store, topic, strlen(topic), require_token);
}

static enum store_outcome publish(const char *topic, const char *payload, int64_t *id)
{
	return store_publish(store, topic, strlen(topic), payload, strlen(payload), id);
}

static enum store_outcome unregister(const char *topic)
{
	return store_unregister(store, topic, strlen(topic));
}

static void assert_unavailable(enum store_outcome outcome, const char *why)
{
	assert_int_equal(outcome, STORE_UNAVAILABLE);
	if (!strstr(store_why(store),
		    why)) /* the disk may be only one of the things that are full */
		fail_msg("\"%s\" does not say \"%s\"", store_why(store), why);
}

static void only_a_registered_topic_can_be_published_to(void **state)
{
	(void)state;
	int64_t id = 0;
	int64_t events = query_number(handle, "SELECT count(*) FROM events");

	assert_int_equal(publish("a", "1", &id), STORE_NOT_REGISTERED);
	assert_int_equal(enrol("a", false), STORE_OK);
	assert_int_equal(publish("A", "1", &id), STORE_NOT_REGISTERED);
	assert_int_equal(publish("ab", "1", &id), STORE_NOT_REGISTERED);
	assert_int_equal(query_number(handle, "SELECT count(*) FROM events"), events);
	assert_int_equal(publish("a", "1", &id), STORE_OK);
	assert_int_equal(publish(TOPIC_STATUS, "1", &id), STORE_OK); /* it always exists */
	assert_int_equal(query_number(handle, "SELECT count(*) FROM events"), events + 2);
}

static void ids_rise_by_one(void **state)
{
	(void)state;
	int64_t before = query_number(handle, "SELECT max(id) FROM events");
	int64_t id = 0;

	assert_int_equal(enrol("a", false), STORE_OK);
	for (int64_t i = 1; i <= 20; i++) {
		assert_int_equal(publish("a", "1", &id), STORE_OK);
		assert_int_equal(id, before + i);
		assert_int_equal(publish("unknown", "1", &id), STORE_NOT_REGISTERED);
	}
	assert_int_equal(query_number(handle, "SELECT max(id) FROM events"), id);
}

static void bytes_pass_unchanged(void **state)
{
	(void)state;
	static const char topic[] = "it's \"q\" 100% / caf\xC3\xA9 \xF0\x9F\x98\x80";
	static const char payload[] =
		"{\"n\":12345678901234567890.10,\"s\":\"\\u2028\\/' \xE2\x82\xAC\"}";
	size_t big_len = 900 * 1024;
	char *big = xcalloc(big_len, 1);
	int64_t id = 0;

	assert_int_equal(enrol(topic, true), STORE_OK);
	assert_int_equal(publish(topic, payload, &id), STORE_OK);
	assert_string_equal(query(handle, "SELECT topic FROM events ORDER BY id DESC"), topic);
	assert_string_equal(query(handle, "SELECT payload FROM events ORDER BY id DESC"), payload);
	assert_int_equal(query_number(handle, "SELECT kind FROM events ORDER BY id DESC"),
			 EVENT_PUSH);
	assert_true(llabs(query_number(handle, "SELECT created_ms FROM events ORDER BY id DESC") -
			  clock_wall_ms()) < 60000);
	/* Of just this length: what is behind it in memory is not touched. */
	memset(big, 'x', big_len);
	assert_int_equal(store_publish(store, topic, strlen(topic), big, big_len, &id), STORE_OK);
	assert_int_equal(
		query_number(handle, "SELECT length(payload) FROM events ORDER BY id DESC"),
		big_len);
	free(big);
}

static void a_topic_past_its_expiry_is_gone_until_it_is_registered_again(void **state)
{
	(void)state;
	int64_t id;

	config.topic_ttl_ms = 1000000;
	assert_int_equal(enrol("a", false), STORE_OK);
	execute(handle, "UPDATE topics SET registered_ms = 5, expires_ms = 1000 WHERE topic = 'a'");
	assert_int_equal(publish("a", "1", &id), STORE_NOT_REGISTERED);
	assert_int_equal(enrol("a", false), STORE_OK);
	assert_int_equal(publish("a", "1", &id), STORE_OK);
	/* It is not the registration of old that goes on. */
	assert_true(query_number(handle, "SELECT registered_ms FROM topics WHERE topic = 'a'") > 5);
}

static void registering_again_takes_the_new_expiry_and_access(void **state)
{
	(void)state;
	config.topic_ttl_ms = 1000000;
	assert_int_equal(enrol("a", false), STORE_OK);
	int64_t now_ms = clock_wall_ms();
	assert_in_range(query_number(handle, "SELECT expires_ms FROM topics WHERE topic = 'a'"),
			now_ms + 1000000 - 60000, now_ms + 1000000);
	assert_int_equal(query_number(handle, "SELECT require_token FROM topics WHERE topic = 'a'"),
			 0);
	execute(handle, "UPDATE topics SET registered_ms = 5, expires_ms = expires_ms - 900000 "
			"WHERE topic = 'a'");
	assert_int_equal(enrol("a", true), STORE_OK);
	assert_in_range(query_number(handle, "SELECT expires_ms FROM topics WHERE topic = 'a'"),
			now_ms + 1000000 - 60000, now_ms + 1000000 + 60000);
	assert_int_equal(query_number(handle, "SELECT require_token FROM topics WHERE topic = 'a'"),
			 1);
	assert_int_equal(query_number(handle, "SELECT registered_ms FROM topics WHERE topic = 'a'"),
			 5);
	assert_int_equal(enrol("a", false), STORE_OK);
	assert_int_equal(query_number(handle, "SELECT require_token FROM topics WHERE topic = 'a'"),
			 0);
	assert_int_equal(query_number(handle, "SELECT count(*) FROM topics"), 2);
}

static void unregistering_is_an_event_in_the_order_of_all(void **state)
{
	(void)state;
	int64_t first, second;

	assert_int_equal(enrol("a", false), STORE_OK);
	assert_int_equal(publish("a", "1", &first), STORE_OK);
	assert_int_equal(unregister("a"), STORE_OK);
	assert_int_equal(publish("a", "2", &second), STORE_NOT_REGISTERED);
	assert_int_equal(enrol("a", false), STORE_OK);
	assert_int_equal(publish("a", "3", &second), STORE_OK);
	assert_int_equal(second, first + 2);
	assert_string_equal(
		query(handle, "SELECT group_concat(kind || topic || coalesce(payload, '-'), ' ') "
			      "FROM events WHERE topic = 'a'"),
		"0a1 1a- 0a3");
	/* Registered or not, and past its expiry: sockets may still be there. */
	assert_int_equal(unregister("unknown"), STORE_OK);
	assert_int_equal(query_number(handle, "SELECT count(*) FROM events WHERE topic = 'unknown' "
					      "AND kind = 1"),
			 1);
}

/* Every operation while nothing can be written; none may take longer than its deadline. */
static void expect_a_locked_database(void)
{
	int64_t id, start_ms = clock_monotonic_ms();
	struct service_counts counts;

	config.busy_timeout_ms = 200;
	assert_unavailable(enrol("b", false), "database is locked");
	assert_in_range(clock_monotonic_ms(), start_ms + 150, start_ms + SLACK_MS);
	assert_unavailable(publish("a", "1", &id), "database is locked");
	assert_unavailable(unregister("a"), "database is locked");
	assert_unavailable(enrol("a", true), "database is locked");
	/* Reads go on: an unknown topic is told from a locked database. */
	assert_int_equal(publish("unknown", "1", &id), STORE_NOT_REGISTERED);
	assert_int_equal(store_counts(store, &counts), STORE_OK);
}

static void nothing_has_changed_and_all_works_again(int64_t events)
{
	int64_t id;

	assert_int_equal(query_number(handle, "SELECT count(*) FROM events"), events);
	assert_string_equal(
		query(handle, "SELECT group_concat(topic || require_token) FROM topics"),
		"a0,worker.status1");
	assert_int_equal(publish("a", "1", &id), STORE_OK);
	assert_int_equal(enrol("b", false), STORE_OK);
	assert_int_equal(unregister("b"), STORE_OK);
}

static void a_locked_database_is_unavailable_within_the_deadline(void **state)
{
	(void)state;
	struct database *other = open_database();
	int64_t events = query_number(handle, "SELECT count(*) FROM events");

	assert_int_equal(enrol("a", false), STORE_OK);
	assert_int_equal(database_write_try(other), DATABASE_OK);
	expect_a_locked_database();
	database_write_end(other);
	nothing_has_changed_and_all_works_again(events);
	database_close(other);
}

static void a_person_in_a_transaction_makes_it_unavailable_too(void **state)
{
	(void)state;
	sqlite3 *person = open_by_hand();
	int64_t events = query_number(handle, "SELECT count(*) FROM events");

	assert_int_equal(enrol("a", false), STORE_OK);
	execute(person, "BEGIN IMMEDIATE");
	expect_a_locked_database();
	execute(person, "ROLLBACK");
	nothing_has_changed_and_all_works_again(events);
	sqlite3_close(person);
}

static int64_t time_of_a_refusal(void)
{
	int64_t id, start_ms = clock_monotonic_ms();

	assert_unavailable(publish("a", "1", &id), "database is locked");
	return clock_monotonic_ms() - start_ms;
}

static void after_a_timeout_the_next_ones_wait_a_tenth(void **state)
{
	(void)state;
	struct database *other = open_database();
	int64_t id;

	assert_int_equal(enrol("a", false), STORE_OK);
	config.busy_timeout_ms = 400;
	for (int round = 0; round < 2; round++) {
		assert_int_equal(database_write_try(other), DATABASE_OK);
		assert_in_range(time_of_a_refusal(), 400, 400 + SLACK_MS);
		assert_in_range(time_of_a_refusal(), 40, 399);
		database_write_end(other);
		/* One that succeeds makes it patient again. */
		assert_int_equal(publish("a", "1", &id), STORE_OK);
	}
	database_close(other);
}

/* Publishes 100 KB until there is no room; at most `limit` times. */
static enum store_outcome fill(int limit)
{
	size_t len = 100 * 1024;
	char *payload = xcalloc(len, 1);
	enum store_outcome outcome = STORE_OK;
	int64_t id;

	memset(payload, 'x', len);
	for (int i = 0; i < limit && outcome == STORE_OK; i++)
		outcome = store_publish(store, "a", 1, payload, len, &id);
	free(payload);
	return outcome;
}

static void a_database_at_its_limit_is_full_and_then_works_again(void **state)
{
	(void)state;
	int64_t id;

	assert_int_equal(enrol("a", false), STORE_OK);
	execute(handle, "PRAGMA max_page_count = 200");
	assert_unavailable(fill(100), "disk is full");
	int64_t events = query_number(handle, "SELECT count(*) FROM events");
	int64_t newest = query_number(handle, "SELECT max(id) FROM events");
	assert_unavailable(fill(1), "disk is full");
	assert_int_equal(publish("unknown", "1", &id), STORE_NOT_REGISTERED);
	assert_int_equal(query_number(handle, "SELECT count(*) FROM events"), events);
	assert_string_equal(query(handle, "PRAGMA integrity_check"), "ok");

	execute(handle, "PRAGMA max_page_count = 100000");
	assert_int_equal(fill(1), STORE_OK);
	assert_int_equal(query_number(handle, "SELECT max(id) FROM events"), newest + 1);
}

static void on_a_full_disk_nothing_is_done_by_halves(void **state)
{
	(void)state;
	int64_t id;
	int64_t events = query_number(handle, "SELECT count(*) FROM events");

	assert_int_equal(enrol("a", false), STORE_OK);
	watch->disk_is_full = 1;
	assert_unavailable(unregister("a"), "disk is full");
	assert_unavailable(enrol("b", false), "disk is full");
	assert_unavailable(publish("a", "1", &id), "disk is full");
	assert_int_equal(publish("unknown", "1", &id), STORE_NOT_REGISTERED);
	watch->disk_is_full = 0;
	nothing_has_changed_and_all_works_again(events);
}

/* A disk of 2 MiB, a file on it that can be deleted, and nothing else but the database. */
static void fill_a_real_disk(void *argument)
{
	char ballast[64 * 1024] = {1};
	char why[DATABASE_WHY_SIZE];
	int64_t id;

	(void)argument;
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mkdir(path_of("disk"), 0700) != 0 ||
	    mount("none", path_of("disk"), "tmpfs", 0, "mode=0700,size=2m") != 0)
		_exit(NOT_ALLOWED);
	MUST(chdir(path_of("disk")) == 0);
	config.state_dir = (char[]){"."};
	int fd = open("ballast", O_WRONLY | O_CREAT, 0600);
	for (int i = 0; i < 8; i++)
		MUST(write(fd, ballast, sizeof(ballast)) == sizeof(ballast));
	close(fd);

	database = database_open(&config, why);
	MUST(database);
	store = store_open(&config, database, liveness);
	MUST(enrol("a", false) == STORE_OK);
	MUST(fill(100) == STORE_UNAVAILABLE && strstr(store_why(store), "disk is full"));
	while (publish("a", "1", &id) == STORE_OK) /* until there is no room for the least */
		;
	MUST(strstr(store_why(store), "disk is full"));
	MUST(publish("unknown", "1", &id) == STORE_NOT_REGISTERED);
	MUST(unlink("ballast") == 0);
	MUST(fill(1) == STORE_OK && unregister("a") == STORE_OK);
	MUST(strcmp(query(database_handle(database), "PRAGMA integrity_check"), "ok") == 0);
}

static void a_real_disk_that_is_full_is_one_too(void **state)
{
	(void)state;
	int status;
	pid_t child = start_child(fill_a_real_disk, NULL);

	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_ALLOWED)
		skip(); /* not root, or no mount allowed here */
	assert_int_equal(status, 0);
}

struct list {
	char text[256];
	size_t len;
};

static void append(void *context, const char *topic, size_t topic_len)
{
	struct list *list = context;

	list->len += (size_t)snprintf(list->text + list->len, sizeof(list->text) - list->len,
				      "%.*s ", (int)topic_len, topic);
}

static const char *topics(bool active, int64_t limit)
{
	static struct list list;

	list = (struct list){.len = 0};
	assert_int_equal(store_topics(store, active, limit, append, &list), STORE_OK);
	return list.text;
}

static void topics_are_listed_in_byte_order(void **state)
{
	(void)state;
	static const char *const names[] = {"b", "a", "B", "\xC3\xA9", "aa"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(enrol(names[i], false), STORE_OK);
	execute(handle, "INSERT INTO topics VALUES ('expired', 0, 0, 1)");
	assert_string_equal(topics(false, -1), "B a aa b worker.status \xC3\xA9 ");
	assert_string_equal(topics(false, 1000), "B a aa b worker.status \xC3\xA9 ");
	assert_string_equal(topics(false, 2), "B a ");
	assert_string_equal(topics(false, 0), "");
}

static void what_is_read_together_is_of_one_moment(void **state)
{
	(void)state;
	struct gauges gauges;
	sqlite3 *person = open_by_hand();

	assert_int_equal(enrol("a", false), STORE_OK);
	assert_int_equal(store_read_begin(store), STORE_OK);
	assert_string_equal(topics(false, -1), "a worker.status ");
	execute(person, "DELETE FROM topics WHERE topic = 'a'; DELETE FROM events");
	assert_string_equal(topics(false, -1), "a worker.status ");
	assert_int_equal(store_gauges(store, &gauges), STORE_OK);
	assert_int_equal(gauges.event_rows, 1);
	store_read_end(store);
	assert_string_equal(topics(false, -1), "worker.status ");
	store_read_end(store); /* nothing was begun */
	assert_int_equal(enrol("b", false), STORE_OK);
	sqlite3_close(person);
}

static void a_read_that_was_not_ended_is_ended_by_the_next_write(void **state)
{
	(void)state;
	assert_int_equal(store_read_begin(store), STORE_OK);
	assert_string_equal(topics(false, -1), "worker.status ");
	assert_int_equal(enrol("a", false), STORE_OK);
	assert_string_equal(topics(false, -1), "a worker.status ");
	assert_int_equal(store_read_begin(store), STORE_OK);
	store_read_end(store);
}

static void active_topics_are_those_of_living_gateways(void **state)
{
	(void)state;
	struct liveness *gateway = liveness_open(state_dir);

	execute(handle, "INSERT INTO gateways (pid, version, address, started_ms, seen_ms, "
			"last_event_id, cluster_nodes) VALUES (11, '', '', 0, 0, 0, -1), "
			"(12, '', '', 0, 0, 0, -1);"
			"INSERT INTO sessions VALUES (11, 0, 'b', 0, '', 0, NULL), "
			"(11, 1, 'b', 0, '', 0, NULL), (11, 2, 'a', 0, '', 0, NULL), "
			"(12, 0, 'dead', 0, '', 0, NULL)");
	assert_string_equal(topics(true, -1), "");
	assert_true(liveness_claim_pid(gateway, 11));
	assert_string_equal(topics(true, -1), "a b ");
	assert_string_equal(topics(true, 1), "a ");
	liveness_close(gateway);
	assert_string_equal(topics(true, -1), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(only_a_registered_topic_can_be_published_to),
		STORE_TEST(ids_rise_by_one),
		STORE_TEST(what_is_read_together_is_of_one_moment),
		STORE_TEST(a_read_that_was_not_ended_is_ended_by_the_next_write),
		STORE_TEST(bytes_pass_unchanged),
		STORE_TEST(a_topic_past_its_expiry_is_gone_until_it_is_registered_again),
		STORE_TEST(registering_again_takes_the_new_expiry_and_access),
		STORE_TEST(unregistering_is_an_event_in_the_order_of_all),
		STORE_TEST(a_locked_database_is_unavailable_within_the_deadline),
		STORE_TEST(a_person_in_a_transaction_makes_it_unavailable_too),
		STORE_TEST(after_a_timeout_the_next_ones_wait_a_tenth),
		STORE_TEST(a_database_at_its_limit_is_full_and_then_works_again),
		STORE_TEST(on_a_full_disk_nothing_is_done_by_halves),
		STORE_TEST(a_real_disk_that_is_full_is_one_too),
		STORE_TEST(topics_are_listed_in_byte_order),
		STORE_TEST(active_topics_are_those_of_living_gateways),
	};

	return watch_files() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
