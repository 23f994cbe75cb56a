/*
 * Messages of the channel and entries of the log, see envelope.h. No state, no allocation, never
 * blocks. Called on the cluster's thread for all that comes in; fuzzed by
 * tests/fuzz/fuzz_envelope.c.
 */
#include "gateway/cluster/envelope.h"

#include "shared/base/utf8.h"
#include "shared/json/json.h"

/* An id of an event, as browsers can have it in a double. */
static const int64_t largest_id = (INT64_C(1) << 53) - 1;

const char *const log_kinds[EVENT_DISCONNECT + 1] = {
	[EVENT_PUSH] = "push",
	[EVENT_UNREGISTER] = "unregister",
	[EVENT_DISCONNECT] = "disconnect",
};

enum counter envelope_counter(enum envelope_fault fault)
{
	return (enum counter)(COUNT_CLUSTER_REFUSED_TOO_BIG + (fault - ENVELOPE_TOO_BIG));
}

/* Of a text that the parser refuses. */
static enum envelope_fault json_fault(struct slice text)
{
	return utf8_valid(text.at, text.len) ? ENVELOPE_NOT_JSON : ENVELOPE_NOT_UTF8;
}

bool node_id_is_valid(struct slice id)
{
	if (id.len != NODE_ID_LEN)
		return false;
	for (size_t i = 0; i < id.len; i++)
		if (!memchr("0123456789abcdef", id.at[i], 16))
			return false;
	return true;
}

enum envelope_fault envelope_read(struct slice message, struct envelope *out)
{
	struct json_member members[] = {
		{.name = "origin_id", .in_any_case = true},
		{.name = "topic", .in_any_case = true},
		{.name = "payload", .in_any_case = true},
	};
	struct json_value payload;
	size_t len, error_at;

	if (message.len > ENVELOPE_MAX_BYTES)
		return ENVELOPE_TOO_BIG;
	if (json_object_members(message.at, message.len, members, 3, &error_at))
		return json_fault(message);
	if (!json_string_decode(members[0].value, out->origin, NODE_ID_LEN, &len) ||
	    !node_id_is_valid((struct slice){out->origin, len}))
		return ENVELOPE_MALFORMED;
	out->origin[len] = '\0';
	if (!json_string_decode(members[1].value, out->topic, sizeof(out->topic),
				&out->topic_len) ||
	    topic_name_fault(out->topic, out->topic_len))
		return ENVELOPE_BAD_TOPIC;
	payload = members[2].value;
	if (payload.len > ENVELOPE_PAYLOAD_MAX)
		return ENVELOPE_TOO_BIG;
	out->payload = payload.kind == JSON_ABSENT ? (struct slice){"null", 4}
						   : (struct slice){payload.at, payload.len};
	return ENVELOPE_GOOD;
}

size_t envelope_escape(char *out, struct slice text)
{
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] == '"' || text.at[i] == '\\')
			out[len++] = '\\';
		out[len++] = text.at[i];
	}
	return len;
}

size_t envelope_write_head(char out[ENVELOPE_HEAD_MAX], const char origin[NODE_ID_LEN],
			   struct slice topic)
{
	size_t len = (size_t)snprintf(out, ENVELOPE_HEAD_MAX,
				      "{\"origin_id\":\"%.*s\",\"topic\":\"", NODE_ID_LEN, origin);

	len += envelope_escape(out + len, topic);
	return len + (size_t)snprintf(out + len, ENVELOPE_HEAD_MAX - len, "\",\"payload\":");
}

const char *topic_value(bool require_token)
{
	return require_token ? "{\"require_token\":true}" : "{\"require_token\":false}";
}

enum envelope_fault topic_value_read(struct slice value, bool *require_token)
{
	struct json_member member = {.name = "require_token", .in_any_case = true};
	size_t error_at;

	*require_token = false;
	if (value.len > TOPIC_VALUE_MAX)
		return ENVELOPE_TOO_BIG;
	if (json_object_members(value.at, value.len, &member, 1, &error_at)) {
		if (!json_is_valid(value.at, value.len))
			return json_fault(value);
		/* Whatever else begins with an n is no JSON. */
		return value.at[error_at] == 'n' ? ENVELOPE_GOOD : ENVELOPE_MALFORMED;
	}
	*require_token = member.value.kind == JSON_TRUE;
	return member.value.kind <= JSON_TRUE ? ENVELOPE_GOOD : ENVELOPE_MALFORMED;
}

/* The one way to write a whole number. */
static bool read_number(struct slice text, int64_t least, int64_t most, int64_t *out)
{
	char again[24];

	/* Any other way, like "007", has more characters. */
	return text.len > 0 && text.len < sizeof(again) &&
	       json_int64((struct json_value){JSON_NUMBER, text.at, text.len}, out) &&
	       snprintf(again, sizeof(again), "%lld", (long long)*out) == (int)text.len &&
	       *out >= least && *out <= most;
}

static bool read_kind(struct slice text, enum event_kind *kind)
{
	for (*kind = EVENT_PUSH; *kind <= EVENT_DISCONNECT; ++*kind)
		if (slice_equals(text, log_kinds[*kind]))
			return true;
	return false;
}

enum envelope_fault log_entry_read(const struct slice *fields, size_t count, struct log_entry *out)
{
	enum { ORIGIN, ID, PREV, KIND, TOPIC, USER, CREATED, PAYLOAD, NAMES };
	static const char *const names[NAMES] = {"origin", "id",   "prev",    "kind",
						 "topic",  "user", "created", "payload"};
	struct slice values[NAMES] = {0};

	if (count % 2 != 0)
		return ENVELOPE_MALFORMED;
	for (size_t i = 0; i < count; i += 2)
		for (size_t j = 0; j < NAMES; j++)
			if (slice_equals(fields[i], names[j]))
				values[j] = fields[i + 1];
	*out = (struct log_entry){.topic = values[TOPIC], .has_user = values[USER].at};
	if (!node_id_is_valid(values[ORIGIN]))
		return ENVELOPE_MALFORMED;
	memcpy(out->origin, values[ORIGIN].at, NODE_ID_LEN);
	if (!read_kind(values[KIND], &out->kind) ||
	    !read_number(values[ID], 1, largest_id, &out->id) ||
	    !read_number(values[PREV], 0, out->id - 1, &out->prev) ||
	    !read_number(values[CREATED], 0, largest_id, &out->created_ms) ||
	    (out->has_user && !read_number(values[USER], INT64_MIN, INT64_MAX, &out->user)))
		return ENVELOPE_MALFORMED;
	if (out->kind != EVENT_DISCONNECT && out->has_user)
		return ENVELOPE_MALFORMED;
	if (out->topic.at ? topic_name_fault(out->topic.at, out->topic.len) != NULL
			  : out->kind != EVENT_DISCONNECT || !out->has_user)
		return ENVELOPE_BAD_TOPIC;
	if (out->kind == EVENT_UNREGISTER && topic_name_is_reserved(out->topic.at, out->topic.len))
		return ENVELOPE_BAD_TOPIC;
	if (out->kind != EVENT_PUSH)
		return ENVELOPE_GOOD;
	out->payload = values[PAYLOAD];
	if (out->payload.len > ENVELOPE_PAYLOAD_MAX)
		return ENVELOPE_TOO_BIG;
	if (!out->payload.at)
		return ENVELOPE_MALFORMED;
	return json_is_valid(out->payload.at, out->payload.len) ? ENVELOPE_GOOD
								: json_fault(out->payload);
}
