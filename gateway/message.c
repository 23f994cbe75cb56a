/*
 * Client frames in, server frames out, see message.h. No state, no allocation, never blocks. Called
 * by sessions with bytes that nobody has checked, and by the fan-out, once for each push.
 */
#include "gateway/message.h"

#include <assert.h>
#include <inttypes.h>

#include "shared/duration.h"
#include "shared/json.h"
#include "shared/version.h"

static const char push_head[] = "{\"type\":\"push\",\"payload\":";
static const char push_tail[] = "}";

enum { PUSH_HEAD_LEN = sizeof(push_head) - 1, PUSH_TAIL_LEN = sizeof(push_tail) - 1 };

static enum message_token read_token(struct json_value token, struct message *out)
{
	if (token.kind == JSON_ABSENT || token.kind == JSON_NULL)
		return MESSAGE_TOKEN_LEFT_OUT;
	if (!json_string_decode(token, out->token, sizeof(out->token), &out->token_len))
		return MESSAGE_TOKEN_NOT_TEXT;
	return out->token_len > 0 ? MESSAGE_TOKEN_GIVEN : MESSAGE_TOKEN_LEFT_OUT;
}

void message_parse(const char *text, size_t len, struct message *out)
{
	struct json_member members[] = {{.name = "type"}, {.name = "token"}};
	struct json_value type;
	size_t error_at;

	out->kind = MESSAGE_MALFORMED;
	out->token_state = MESSAGE_TOKEN_LEFT_OUT;
	out->token_len = 0;
	if (len > MESSAGE_MAX_BYTES ||
	    json_object_members(text, len, members, sizeof(members) / sizeof(members[0]),
				&error_at))
		return;
	type = members[0].value;
	out->kind = MESSAGE_OTHER;
	if (json_string_is(type, "auth")) {
		out->kind = MESSAGE_AUTH;
		out->token_state = read_token(members[1].value, out);
	} else if (json_string_is(type, "status")) {
		out->kind = MESSAGE_STATUS;
	}
}

size_t message_push_len(size_t payload_len)
{
	return PUSH_HEAD_LEN + payload_len + PUSH_TAIL_LEN;
}

void message_push_write(char *out, const char *payload, size_t payload_len)
{
	memcpy(out, push_head, PUSH_HEAD_LEN);
	memcpy(out + PUSH_HEAD_LEN, payload, payload_len);
	memcpy(out + PUSH_HEAD_LEN + payload_len, push_tail, PUSH_TAIL_LEN);
}

size_t message_status_write(char out[MESSAGE_STATUS_SIZE], const struct message_status *status)
{
	int64_t uptime_s = status->uptime_s > 0 ? status->uptime_s : 0; /* the clock was set back */
	char uptime[DURATION_TEXT_SIZE];
	int len;

	duration_format(uptime_s, uptime);
	len = snprintf(out, MESSAGE_STATUS_SIZE,
		       "{\"type\":\"status\",\"payload\":{\"status\":\"ok\",\"version\":\"%s\","
		       "\"uptime\":\"%s\",\"uptime_seconds\":%" PRId64 ","
		       "\"registered_topics\":%" PRId64 ",\"active_topics\":%" PRId64 ","
		       "\"connected_clients\":%" PRId64 ",\"connected_sockets\":%" PRId64 ","
		       "\"cluster_nodes\":%" PRId64 "}}",
		       WORKER_VERSION, uptime, uptime_s, status->registered_topics,
		       status->active_topics, status->connected_clients, status->connected_sockets,
		       status->cluster_nodes);
	assert(len > 0 && len < MESSAGE_STATUS_SIZE); /* six numbers of 20 digits fit */
	return (size_t)len;
}
