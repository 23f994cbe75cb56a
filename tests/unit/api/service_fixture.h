/*
 * For tests of what the API answers: a service on a real database in a directory of its own, and
 * requests to it without a web server. Include it once, in the test program.
 */
#ifndef TESTS_UNIT_SERVICE_FIXTURE_H
#define TESTS_UNIT_SERVICE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <unistd.h>

#include "api/routes.h"
#include "shared/base/clock.h"
#include "tests/unit/gateway_rows.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define PREVIOUS_SECRET "fedcba9876543210fedcba9876543210"

#define DIRECTORY "/tmp/service-XXXXXX"

static char directory[] = DIRECTORY;
static struct config config = {
	.path = (char[]){"test"},
	.ws_bind = (char[]){""},
	.internal_bind = (char[]){""},
	.worker_secret = (char[]){SECRET},
	.worker_secret_previous = (char[]){PREVIOUS_SECRET},
	.redis_url = (char[]){""},
	.node_name = (char[]){""},
	.trusted_proxies = (char[]){""},
	.allowed_origins = (char[]){""},
	.topic_ttl_ms = 60000,
	.event_retention_ms = 60000,
	.event_limit = 1000,
	.busy_timeout_ms = 30,
	.max_topics = 1000,
	.database_max_bytes = 1 << 30,
	.state_dir = directory,
};
static struct service *service;
static struct response response;

static inline int open_service(void **state)
{
	(void)state;
	memcpy(directory, DIRECTORY, sizeof(directory));
	if (!mkdtemp(directory))
		return -1;
	service = service_open(&config, DATABASE_START_WAIT_MS);
	return service ? 0 : -1;
}

static inline int close_service(void **state)
{
	(void)state;
	char path[512];
	struct dirent *entry;
	DIR *dir;

	free(response.bytes);
	response = (struct response){0};
	service_close(service);
	dir = opendir(directory);
	while (dir && (entry = readdir(dir)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		unlink(path);
	}
	if (dir)
		closedir(dir);
	return rmdir(directory);
}

static inline void execute(const char *sql)
{
	assert_int_equal(sqlite3_exec(database_handle(service->database), sql, NULL, NULL, NULL),
			 SQLITE_OK);
}

/* The number that a query gives. */
static inline int64_t query_number(const char *sql)
{
	sqlite3_stmt *statement = NULL;
	int64_t number;

	assert_int_equal(
		sqlite3_prepare_v2(database_handle(service->database), sql, -1, &statement, NULL),
		SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	number = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return number;
}

static inline struct request request_to(const char *verb, const char *body)
{
	static char path[256];

	snprintf(path, sizeof(path), "/internal/%s", verb);
	return (struct request){
		.method = strcmp(verb, "status") == 0 ? "GET" : "POST",
		.script_name = path,
		.path_info = "",
		.uri = "",
		.query = "",
		.secret = SECRET,
		.authorization = "",
		.origin = "",
		.address = "",
		.forwarded_for = "",
		.body = body,
		.body_len = strlen(body),
	};
}

/* The body of the answer, which must have that status; "" is an empty one. */
static inline const char *answer(const struct request *request, int status)
{
	static char text[65536];

	routes_answer(service, request, &response);
	assert_true(response.len < sizeof(text));
	memcpy(text, response.bytes, response.len);
	text[response.len] = '\0';
	if (response.status != status)
		print_error("%s\n", text);
	assert_int_equal(response.status, status);
	return strstr(text, "\r\n\r\n") + 4;
}

static inline const char *post(const char *verb, const char *body, int status)
{
	struct request request = request_to(verb, body);

	return answer(&request, status);
}

#endif
