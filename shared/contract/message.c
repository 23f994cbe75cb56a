/*
 * Client frames in, server frames out, see message.h. No state, no allocation, never blocks. Called
 * for each message of a client, with bytes that nobody has checked.
 */
#include "shared/contract/message.h"

#include <assert.h>

#include "shared/json/json.h"

enum { SECOND_US = 1000000 };

static bool parse_position(struct json_value value, struct position *out)
{
	char text[POSITION_TEXT_SIZE];
	int64_t id;
	size_t len;
	bool is_good = json_int64(value, &id) && id >= 0;

	if (is_good)
		out->id = id;
	else if (value.kind == JSON_STRING && json_string_decode(value, text, sizeof(text), &len))
		is_good = position_parse(text, len, out);
	if (!is_good)
		position_set_number(out, 0);
	return is_good;
}

void message_parse(const char *text, size_t len, struct message *out)
{
	enum { TYPE, TOKEN, LAST_EVENT_ID, MEMBERS };
	struct json_member members[MEMBERS] = {
		[TYPE] = {.name = "type"},
		[TOKEN] = {.name = "token"},
		[LAST_EVENT_ID] = {.name = "last_event_id"},
	};
	struct json_value type, token, resume;
	size_t error_at;

	out->kind = MESSAGE_MALFORMED;
	out->token_state = MESSAGE_TOKEN_LEFT_OUT;
	out->token_len = 0;
	out->resume = MESSAGE_RESUME_NOT_ASKED;
	position_set_number(&out->last_event_id, 0);
	if (len > MESSAGE_MAX_BYTES || json_object_members(text, len, members, MEMBERS, &error_at))
		return;
	type = members[TYPE].value;
	token = members[TOKEN].value;
	resume = members[LAST_EVENT_ID].value;
	out->kind = json_string_is(type, "status") ? MESSAGE_STATUS : MESSAGE_OTHER;
	if (!json_string_is(type, "auth"))
		return;
	out->kind = MESSAGE_AUTH;
	if (json_string_decode(token, out->token, sizeof(out->token), &out->token_len))
		out->token_state =
			out->token_len > 0 ? MESSAGE_TOKEN_GIVEN : MESSAGE_TOKEN_LEFT_OUT;
	else if (token.kind != JSON_ABSENT && token.kind != JSON_NULL)
		out->token_state = MESSAGE_TOKEN_NOT_TEXT;
	if (resume.kind == JSON_NULL)
		out->resume = MESSAGE_RESUME_FROM_NOW;
	else if (resume.kind != JSON_ABSENT)
		out->resume = parse_position(resume, &out->last_event_id)
				      ? MESSAGE_RESUME_AFTER
				      : MESSAGE_RESUME_MALFORMED;
}

size_t message_resumed_write(char out[MESSAGE_RESUMED_SIZE], const struct position *last_event_id,
			     bool recovered)
{
	char position[POSITION_TEXT_SIZE];

	position_write(last_event_id, position);
	int len = snprintf(out, MESSAGE_RESUMED_SIZE,
			   "{\"type\":\"auth_ok\",\"last_event_id\":%s,\"recovered\":%s}", position,
			   recovered ? "true" : "false");

	assert(len > 0 && len < MESSAGE_RESUMED_SIZE);
	return (size_t)len;
}

/* The account says until when the client has paid. Each message costs the time between two of them
 * at the allowed rate, and may be paid for MESSAGE_BURST_S in advance. */
bool message_rate_take(int64_t *paid_us, int64_t now_ms, int64_t per_second)
{
	int64_t now_us = now_ms * 1000;
	int64_t paid = *paid_us > now_us ? *paid_us : now_us;

	if (per_second == 0)
		return true;
	paid += SECOND_US / per_second;
	if (paid - now_us > (int64_t)MESSAGE_BURST_S * SECOND_US)
		return false;
	*paid_us = paid;
	return true;
}
