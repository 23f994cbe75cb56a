/*
 * A POST body as a command, see command.h. No state, no allocation, never blocks. Called by
 * routes.c; fuzzed by tests/fuzz/fuzz_request.c. The payload is pointed at, never copied:
 * subscribers get its very bytes.
 */
#include "api/command.h"

/* A topic's byte takes at most six in JSON: \u0041. */
enum { ESCAPE_LEN = 6, DECODED_SIZE = TOPIC_MAX_BYTES * ESCAPE_LEN };
enum { TOPIC, PAYLOAD, META, REQUIRE_TOKEN, USER_ID, MEMBERS };

static bool refuse(char fault[COMMAND_FAULT_SIZE], const char *kind, const char *why)
{
	snprintf(fault, COMMAND_FAULT_SIZE, "%s%s", kind, why);
	return false;
}

static bool is_missing(struct json_value value)
{
	return value.kind == JSON_ABSENT || value.kind == JSON_NULL;
}

static bool read_topic(struct json_value value, struct command *command,
		       char fault[COMMAND_FAULT_SIZE])
{
	char decoded[DECODED_SIZE];
	size_t len = 0;
	const char *why;

	if (is_missing(value))
		return refuse(fault, "missing topic", "");
	if (value.kind != JSON_STRING)
		return refuse(fault, "bad topic: ", "not a string");
	if (value.len - 2 > DECODED_SIZE)
		return refuse(fault, "bad topic: ", "longer than 255 bytes");
	if (!json_string_decode(value, decoded, sizeof(decoded), &len))
		return refuse(fault, "bad topic: ", "not valid UTF-8"); /* a lone surrogate */
	why = topic_name_fault(decoded, len);
	if (why)
		return refuse(fault, "bad topic: ", why);
	if (command->kind == COMMAND_UNREGISTER && topic_name_is_reserved(decoded, len))
		return refuse(fault, "bad topic: ", TOPIC_STATUS " is reserved");
	memcpy(command->topic, decoded, len);
	command->topic_len = len;
	command->has_topic = true;
	return true;
}

/* The two places of require_token: its own, and in `meta`, where existing clients put it. */
static bool read_require_token(struct json_value meta, struct json_value plain,
			       struct command *command, char fault[COMMAND_FAULT_SIZE])
{
	struct json_member member = {.name = "require_token"};
	struct json_value *places[] = {&member.value, &plain};
	size_t error_at;

	if (!is_missing(meta) && meta.kind != JSON_OBJECT)
		return refuse(fault, "bad request: ", "meta is not an object");
	if (meta.kind == JSON_OBJECT)
		json_object_members(meta.at, meta.len, &member, 1, &error_at);
	for (size_t i = 0; i < 2; i++) {
		if (is_missing(*places[i]))
			continue;
		if (places[i]->kind != JSON_TRUE && places[i]->kind != JSON_FALSE)
			return refuse(fault, i == 0 ? "bad request: meta." : "bad request: ",
				      "require_token is not a boolean");
		command->require_token = places[i]->kind == JSON_TRUE;
	}
	if (!is_missing(member.value) && !is_missing(plain) && member.value.kind != plain.kind)
		return refuse(fault,
			      "bad request: ", "require_token and meta.require_token differ");
	return true;
}

bool command_read(enum command_kind kind, const char *body, size_t len, struct command *command,
		  char fault[COMMAND_FAULT_SIZE])
{
	struct json_member members[MEMBERS] = {
		[TOPIC] = {.name = "topic"},	 [PAYLOAD] = {.name = "payload"},
		[META] = {.name = "meta"},	 [REQUIRE_TOKEN] = {.name = "require_token"},
		[USER_ID] = {.name = "user_id"},
	};
	size_t error_at = 0;
	const char *why = json_object_members(body, len, members, MEMBERS, &error_at);

	*command = (struct command){.kind = kind, .payload = members[PAYLOAD].value};
	if (why) {
		snprintf(fault, COMMAND_FAULT_SIZE, "bad request: %s at byte %zu", why, error_at);
		return false;
	}
	if (kind == COMMAND_DISCONNECT) {
		bool has_topic = !is_missing(members[TOPIC].value);

		command->has_user = !is_missing(members[USER_ID].value);
		if (!has_topic && !command->has_user)
			return refuse(fault, "missing topic or user_id", "");
		if (command->has_user && !json_int64(members[USER_ID].value, &command->user_id))
			return refuse(fault, "bad request: ", "user_id is not an integer");
		return !has_topic || read_topic(members[TOPIC].value, command, fault);
	}
	if (!read_topic(members[TOPIC].value, command, fault))
		return false;
	if (kind == COMMAND_REGISTER)
		return read_require_token(members[META].value, members[REQUIRE_TOKEN].value,
					  command, fault);
	if (kind == COMMAND_PUBLISH && command->payload.kind == JSON_ABSENT)
		return refuse(fault, "missing payload", "");
	return true;
}
