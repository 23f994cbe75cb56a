/* The values of wavelog:nodes, see node_info.h. No state, no allocation, never blocks. */
#include "gateway/cluster/node_info.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/cluster/envelope.h"
#include "shared/contract/duration.h"
#include "shared/contract/topic_name.h"
#include "shared/json/json.h"

enum { TIME_SIZE = 40 };

static void write_time(int64_t unix_ms, char out[TIME_SIZE])
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm parts;

	gmtime_r(&seconds, &parts);
	strftime(out, TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

/* "Z", "+02:00" or "-05:30". */
static bool read_offset(const char *text, int64_t *minutes)
{
	*minutes = 0;
	if (strcmp(text, "Z") == 0)
		return true;
	if (strlen(text) != strlen("+00:00") || !strchr("+-", text[0]) || text[3] != ':')
		return false;
	for (int i = 1; i < 6; i++)
		if (i != 3 && !isdigit((unsigned char)text[i]))
			return false;
	*minutes = strtol(text + 1, NULL, 10) * 60 + strtol(text + 4, NULL, 10);
	*minutes *= text[0] == '-' ? -1 : 1;
	return true;
}

/* RFC 3339, as Go writes it: with a fraction of any length, or none, and any offset. */
static bool read_time(struct json_value value, int64_t *unix_ms)
{
	char text[TIME_SIZE];
	struct tm parts = {0};
	int64_t offset_minutes;
	size_t len;

	if (!json_string_decode(value, text, sizeof(text) - 1, &len))
		return false;
	text[len] = '\0';
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
	if (!rest)
		return false;
	if (*rest == '.')
		rest += 1 + strspn(rest + 1, "0123456789");
	if (!read_offset(rest, &offset_minutes))
		return false;
	*unix_ms = ((int64_t)timegm(&parts) - offset_minutes * 60) * 1000;
	return true;
}

/* A name or a version. */
static bool read_text(struct json_value value, char *out, size_t max)
{
	size_t len = 0;

	if (value.kind != JSON_ABSENT && !json_string_decode(value, out, max, &len))
		return false;
	out[len] = '\0';
	return len == 0 || !topic_name_fault(out, len); /* the same characters */
}

static bool read_count(struct json_value value, int64_t *out)
{
	return value.kind == JSON_ABSENT || (json_int64(value, out) && *out >= 0);
}

bool node_info_read(struct slice id, struct slice value, struct node_info *out)
{
	enum { ID, NAME, VERSION, STARTED, SEEN, TOPICS, CLIENTS, SOCKETS, ALIVE, MEMBERS };
	struct json_member members[MEMBERS] = {
		[ID] = {.name = "id"},
		[NAME] = {.name = "name"},
		[VERSION] = {.name = "version"},
		[STARTED] = {.name = "started_at"},
		[SEEN] = {.name = "seen_at"},
		[TOPICS] = {.name = "active_topics"},
		[CLIENTS] = {.name = "connected_clients"},
		[SOCKETS] = {.name = "connected_sockets"},
		[ALIVE] = {.name = "alive"},
	};
	char own_id[NODE_ID_LEN];
	size_t len, error_at;

	*out = (struct node_info){0};
	if (!node_id_is_valid(id) || value.len > NODE_INFO_MAX ||
	    json_object_members(value.at, value.len, members, MEMBERS, &error_at) ||
	    !json_string_decode(members[ID].value, own_id, sizeof(own_id), &len) || len != id.len ||
	    memcmp(own_id, id.at, len) != 0)
		return false;
	out->is_alive = members[ALIVE].value.kind != JSON_FALSE;
	return read_text(members[NAME].value, out->name, NODE_NAME_MAX) &&
	       read_text(members[VERSION].value, out->version, NODE_VERSION_MAX) &&
	       read_time(members[STARTED].value, &out->started_ms) &&
	       read_time(members[SEEN].value, &out->seen_ms) &&
	       read_count(members[TOPICS].value, &out->topics) &&
	       read_count(members[CLIENTS].value, &out->clients) &&
	       read_count(members[SOCKETS].value, &out->sockets);
}

size_t node_info_write(const struct node_info *info, const char *id, char out[NODE_INFO_MAX])
{
	char name[2 * NODE_NAME_MAX + 1], started[TIME_SIZE], seen[TIME_SIZE];
	char uptime[DURATION_TEXT_SIZE];
	int64_t uptime_s = (info->seen_ms - info->started_ms) / 1000;

	name[envelope_escape(name, (struct slice){info->name, strlen(info->name)})] = '\0';
	write_time(info->started_ms, started);
	write_time(info->seen_ms, seen);
	duration_format(uptime_s, uptime);
	return (size_t)snprintf(
		out, NODE_INFO_MAX,
		"{\"id\":\"%s\",\"name\":\"%s\",\"version\":\"%s\",\"started_at\":\"%s\","
		"\"seen_at\":\"%s\",\"active_topics\":%lld,\"connected_clients\":%lld,"
		"\"connected_sockets\":%lld,\"alive\":%s,\"uptime\":\"%s\","
		"\"uptime_seconds\":%lld}",
		id, name, info->version, started, seen, (long long)info->topics,
		(long long)info->clients, (long long)info->sockets,
		info->is_alive ? "true" : "false", uptime,
		(long long)(uptime_s > 0 ? uptime_s : 0));
}
