// needs: gateway/events/frame.c
/*
 * Any bytes as what a client says, as the payload of a push, and as the numbers of the other
 * frames. A frame that the gateway makes is one JSON object that holds just what was put into it.
 */
#include "tests/fuzz/fuzz.h"

#include "shared/contract/message.h"
#include "gateway/events/frame.h"
#include "shared/json/json.h"
#include "shared/base/utf8.h"

static void check_resume(const struct message *message, struct json_value value)
{
	char text[POSITION_TEXT_SIZE], again[POSITION_TEXT_SIZE];
	int64_t id = -1;
	size_t len = 0;
	bool is_number = json_int64(value, &id) && id >= 0;
	bool is_position = message->resume == MESSAGE_RESUME_AFTER;

	assert((message->resume == MESSAGE_RESUME_NOT_ASKED) == (value.kind == JSON_ABSENT));
	assert((message->resume == MESSAGE_RESUME_FROM_NOW) == (value.kind == JSON_NULL));
	assert(!is_number || is_position);
	assert(!is_position || is_number || value.kind == JSON_STRING);
	if (is_number) {
		assert(message->last_event_id.node == 0 && message->last_event_id.id == id);
	} else if (is_position) { /* what it says is written in one way only */
		assert(json_string_decode(value, text, sizeof(text), &len));
		assert(position_write(&message->last_event_id, again) == len + 2);
		assert(memcmp(again + 1, text, len) == 0);
	} else {
		assert(message->last_event_id.node == 0 && message->last_event_id.id == 0);
	}
}

static void check_parse(const char *text, size_t len)
{
	struct json_member members[] = {
		{.name = "type"}, {.name = "token"}, {.name = "last_event_id"}};
	struct message message;
	size_t error_at;
	bool is_object = !json_object_members(text, len, members, 3, &error_at);

	message_parse(text, len, &message);
	assert((message.kind == MESSAGE_MALFORMED) == (!is_object || len > MESSAGE_MAX_BYTES));
	if (message.kind == MESSAGE_MALFORMED)
		return;
	assert((message.kind == MESSAGE_AUTH) == json_string_is(members[0].value, "auth"));
	assert((message.kind == MESSAGE_STATUS) == json_string_is(members[0].value, "status"));
	if (message.kind != MESSAGE_AUTH)
		return;
	check_resume(&message, members[2].value);
	if (message.token_state == MESSAGE_TOKEN_GIVEN) {
		assert(members[1].value.kind == JSON_STRING);
		assert(message.token_len > 0 && message.token_len <= members[1].value.len - 2);
		assert(utf8_valid(message.token, message.token_len));
	} else {
		assert(message.token_len == 0);
	}
}

static void check_push(const char *id, const char *payload, size_t len)
{
	struct json_member members[] = {{.name = "type"}, {.name = "id"}, {.name = "payload"}};
	struct frame *frame = frame_of_push(id, payload, len);
	size_t error_at, id_len = id ? strlen(id) : 0;

	assert(memcmp(frame->bytes + frame->len - 1 - len, payload, len) == 0);
	if (!json_object_members(payload, len, NULL, 0, &error_at)) {
		assert(!json_object_members(frame->bytes, frame->len, members, 3, &error_at));
		assert(json_string_is(members[0].value, "push"));
		assert(members[1].value.len == id_len);
		assert(!id || memcmp(members[1].value.at, id, id_len) == 0);
		assert(memmem(payload, len, members[2].value.at, members[2].value.len));
	}
	frame_release(frame);
}

static void check_resumed(const struct position *position, bool recovered)
{
	struct json_member members[] = {
		{.name = "type"}, {.name = "last_event_id"}, {.name = "recovered"}};
	char frame[MESSAGE_RESUMED_SIZE];
	char text[POSITION_TEXT_SIZE];
	size_t error_at, text_len = position_write(position, text);
	size_t len = message_resumed_write(frame, position, recovered);

	assert(len < sizeof(frame) && !json_object_members(frame, len, members, 3, &error_at));
	assert(json_string_is(members[0].value, "auth_ok"));
	assert(members[1].value.len == text_len);
	assert(memcmp(members[1].value.at, text, text_len) == 0);
	assert(members[2].value.kind == (recovered ? JSON_TRUE : JSON_FALSE));
}

static void check_number(struct json_value value, int64_t expected)
{
	int64_t number;

	assert(json_int64(value, &number) && number == expected);
}

static void check_status(const struct gauges *status)
{
	struct frame *frame = frame_of_status(status);
	struct json_member outer[] = {{.name = "type"}, {.name = "payload"}};
	struct json_member inner[] = {{.name = "uptime_seconds"},    {.name = "registered_topics"},
				      {.name = "active_topics"},     {.name = "connected_clients"},
				      {.name = "connected_sockets"}, {.name = "cluster_nodes"}};
	size_t error_at;

	assert(!json_object_members(frame->bytes, frame->len, outer, 2, &error_at));
	assert(json_string_is(outer[0].value, "status"));
	assert(!json_object_members(outer[1].value.at, outer[1].value.len, inner, 6, &error_at));
	check_number(inner[0].value, status->uptime_s > 0 ? status->uptime_s : 0);
	check_number(inner[1].value, status->registered_topics);
	check_number(inner[2].value, status->active_topics);
	check_number(inner[3].value, status->connected_clients);
	check_number(inner[4].value, status->connected_sockets);
	check_number(inner[5].value, status->cluster_nodes);
	frame_release(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct gauges status = {0};
	struct position position = {0};
	char id[POSITION_TEXT_SIZE];

	memcpy(&status, data, size < sizeof(status) ? size : sizeof(status));
	check_parse(text, size);
	if (!position_parse(text, size, &position))
		position_set_number(&position, status.uptime_s);
	position_write(&position, id);
	check_push(id, text, size);
	check_push(NULL, text, size);
	check_resumed(&position, size % 2 == 0);
	check_status(&status);
	return 0;
}
