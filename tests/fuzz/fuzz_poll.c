// needs: api/routes.c api/poll_handler.c api/polls.c api/status_handler.c api/metrics_handler.c
// needs: api/command.c api/response.c api/service.c api/store.c api/autostart.c
/*
 * Any bytes as a poll: the lines of an input are its query, its origin and the address it comes
 * from, the rest is its body. Whatever it is, the answer is one of the contract's, in proper HTTP;
 * it brings pushes of the topic alone, and of the closed topic only to its token.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "api/routes.h"
#include "shared/base/log.h"

#define SECRET "0123456789abcdef0123456789abcdef"

/* For topic c, without an expiry. */
#define TOKEN                                                                                      \
	"7b22746f706963223a2263222c2265787069726573223a393030373139393235343734303939317d."        \
	"383ba7a75ad277c2b85838d2126e07012ef3d7fe5c6d972b69beab313e9498b0"

enum { FIRST_ID = 1000, PUSHES = 150, LINES = 3 };

static char directory[] = "/tmp/fuzz-poll-XXXXXX";
static struct config config = {
	.path = (char[]){"test"},
	.worker_secret = (char[]){SECRET},
	.worker_secret_previous = (char[]){""},
	.redis_url = (char[]){""},
	.trusted_proxies = (char[]){""},
	.allowed_origins = (char[]){"https://a.example"},
	.topic_ttl_ms = 60000,
	.event_retention_ms = 60000,
	.event_limit = 1000,
	.busy_timeout_ms = 30,
	.max_topics = 1000,
	.poll_rate = 100000,
	.database_max_bytes = 1 << 30,
	.state_dir = directory,
};
static struct service *service;
static int64_t newest;

static void end(void)
{
	char path[512];
	struct dirent *entry;
	DIR *dir = opendir(directory);

	service_close(service);
	while (dir && (entry = readdir(dir)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		unlink(path);
	}
	if (dir)
		closedir(dir);
	rmdir(directory);
}

/* Topic t is open, c is closed. */
static void begin(void)
{
	char sql[512];

	log_set_level(LOG_ERROR);
	assert(mkdtemp(directory));
	service = service_open(&config, 1000);
	assert(service);
	atexit(end);
	snprintf(sql, sizeof(sql),
		 "DELETE FROM events; INSERT INTO events (id, kind, created_ms) VALUES (%d, 3, 0);"
		 "INSERT INTO topics VALUES ('t', 0, 0, 9e18), ('c', 1, 0, 9e18);"
		 "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
		 "INSERT INTO events (kind, topic, created_ms, payload) "
		 "SELECT 0, CASE i %% 3 WHEN 0 THEN 'c' ELSE 't' END, 0, "
		 "CASE i %% 3 WHEN 0 THEN '\"c\"' ELSE '\"t\"' END FROM n",
		 FIRST_ID, PUSHES);
	assert(sqlite3_exec(database_handle(service->database), sql, NULL, NULL, NULL) ==
	       SQLITE_OK);
	newest = sqlite3_last_insert_rowid(database_handle(service->database));
}

/* Returns where the body begins. */
static size_t check_head(const struct response *response, bool is_listed)
{
	size_t len = response->header_len;

	assert(len > 4 && len <= response->len);
	assert(memcmp(response->bytes + len - 4, "\r\n\r\n", 4) == 0);
	for (size_t i = 0; i + 4 < len; i++) {
		unsigned char byte = (unsigned char)response->bytes[i];

		assert(byte < 0x7F && (byte >= ' ' || byte == '\r' || byte == '\n'));
		assert((byte == '\r') == (response->bytes[i + 1] == '\n'));
		assert(memcmp(response->bytes + i, "\r\n\r\n", 4) != 0);
	}
	assert(!memmem(response->bytes, len, "Allow-Origin", 12) == !is_listed);
	return len;
}

static void check_answer(const char *body, size_t len, bool has_token)
{
	struct json_member members[] = {{.name = "type"},
					{.name = "last_event_id"},
					{.name = "recovered"},
					{.name = "pushes"},
					{.name = "more"}};
	size_t error_at;
	int64_t position;

	assert(!json_object_members(body, len, members, 5, &error_at));
	assert(json_string_is(members[0].value, "auth_ok"));
	assert(json_int64(members[1].value, &position) && position <= newest);
	assert(members[2].value.kind == JSON_TRUE || members[2].value.kind == JSON_FALSE);
	assert(members[3].value.kind == JSON_ARRAY);
	assert((members[4].value.kind == JSON_TRUE) == (position < newest));
	if (members[2].value.kind == JSON_FALSE)
		assert(members[3].value.len == 2 && position == newest);
	bool has_open = memmem(body, len, ":\"t\"}", 5),
	     has_closed = memmem(body, len, ":\"c\"}", 5);
	assert(!has_closed || (has_token && !has_open));
}

static void check(const struct response *response, const struct request *request)
{
	bool is_listed = strcasecmp(request->origin, "https://a.example") == 0 ||
			 strcasecmp(request->origin, "https://a.example:443") == 0;
	const char *body = response->bytes + check_head(response, is_listed);
	size_t len = response->len - response->header_len, error_at;
	struct message message;
	char length[64];

	message_parse(request->body, request->body_len, &message);
	bool has_token = message.token_len == strlen(TOKEN) &&
			 memcmp(message.token, TOKEN, strlen(TOKEN)) == 0;
	snprintf(length, sizeof(length), "\r\nContent-Length: %zu\r\n", len);
	assert(!memmem(response->bytes, response->header_len, length, strlen(length)) ==
	       (response->status == 204));
	assert(response->status != 403 || (*request->origin && !is_listed));
	switch (response->status) {
	case 200:
		check_answer(body, len, has_token);
		return;
	case 204: /* the last one is of topic c, the one before of topic t */
		assert(len == 0 && message.resume == MESSAGE_RESUME_AFTER);
		assert(message.last_event_id.id >= newest - !has_token);
		assert(message.last_event_id.id <= newest);
		return;
	case 401:
		assert(!json_object_members(body, len, NULL, 0, &error_at));
		return;
	case 400:
		if (*body == '{') {
			assert(!json_object_members(body, len, NULL, 0, &error_at));
			return;
		}
		break;
	case 403:
	case 404:
	case 413:
	case 429:
		break;
	default:
		assert(response->status == 0);
	}
	assert(len > 1 && body[len - 1] == '\n' && !memchr(body, '\n', len - 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct response response;
	char *lines[LINES] = {0}, *copy = malloc(size + 1), *at = copy;
	struct request request = {
		.method = "POST",
		.script_name = "/poll",
		.path_info = "",
		.uri = "",
		.secret = "",
		.authorization = "",
		.forwarded_for = "",
	};

	if (!service)
		begin();
	assert(copy);
	memcpy(copy, data, size);
	copy[size] = '\0';
	for (size_t i = 0; i < LINES; i++) {
		char *line_end = strchr(at, '\n');

		lines[i] = at;
		if (!line_end) {
			free(copy);
			return -1;
		}
		*line_end = '\0';
		at = line_end + 1;
	}
	request.query = lines[0];
	request.origin = lines[1];
	request.address = lines[2];
	request.body_len = size - (size_t)(at - copy);
	request.body = malloc(request.body_len + !request.body_len); /* of just its length */
	assert(request.body);
	memcpy((char *)request.body, at, request.body_len);
	routes_answer(service, &request, &response);
	check(&response, &request);
	free((char *)request.body);
	free(copy);
	return 0;
}
