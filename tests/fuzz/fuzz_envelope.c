// needs: gateway/cluster/envelope.c gateway/cluster/node_info.c
/*
 * Any bytes as a message of the channel, as the value of a topic's key or of a node's field, and,
 * cut at each 0x1F, as the fields of an entry of the log. What is accepted keeps every rule, and a
 * message that is written from it reads the same.
 */
#include "tests/fuzz/fuzz.h"

#include "gateway/cluster/envelope.h"
#include "gateway/cluster/node_info.h"
#include "shared/json/json.h"

enum { FIELDS_MAX = 64, CUT = 0x1F };

static void check_payload(struct slice payload)
{
	assert(payload.len <= ENVELOPE_PAYLOAD_MAX && json_is_valid(payload.at, payload.len));
}

static void check_same(const struct envelope *envelope)
{
	struct slice topic = {envelope->topic, envelope->topic_len};
	size_t payload_len = envelope->payload.len;
	char *text = malloc(ENVELOPE_HEAD_MAX + payload_len + 1);
	struct envelope again;

	assert(text);
	size_t len = envelope_write_head(text, envelope->origin, topic);
	assert(len == strlen(text) && len < ENVELOPE_HEAD_MAX);
	memcpy(text + len, envelope->payload.at, payload_len);
	text[len + payload_len] = '}';
	assert(envelope_read((struct slice){text, len + payload_len + 1}, &again) == ENVELOPE_GOOD);
	assert(strcmp(again.origin, envelope->origin) == 0);
	assert(again.topic_len == topic.len && memcmp(again.topic, topic.at, topic.len) == 0);
	assert(again.payload.len == payload_len &&
	       memcmp(again.payload.at, envelope->payload.at, payload_len) == 0);
	free(text);
}

static void check_message(struct slice message)
{
	struct envelope envelope;
	size_t error_at;

	if (envelope_read(message, &envelope) != ENVELOPE_GOOD)
		return;
	assert(!json_object_members(message.at, message.len, NULL, 0, &error_at));
	assert(node_id_is_valid((struct slice){envelope.origin, strlen(envelope.origin)}));
	assert(!topic_name_fault(envelope.topic, envelope.topic_len));
	check_payload(envelope.payload);
	assert(slice_equals(envelope.payload, "null") ||
	       (envelope.payload.at > message.at &&
		envelope.payload.at + envelope.payload.len < message.at + message.len));
	check_same(&envelope);
}

static void check_entry(struct slice text)
{
	struct slice fields[FIELDS_MAX];
	struct log_entry entry;
	size_t count = 0;

	while (text.at && count < FIELDS_MAX)
		fields[count++] = slice_split(text, CUT, &text);
	if (log_entry_read(fields, count, &entry) != ENVELOPE_GOOD)
		return;
	assert(node_id_is_valid((struct slice){entry.origin, strlen(entry.origin)}));
	assert(entry.prev >= 0 && entry.prev < entry.id && entry.id < INT64_C(1) << 53);
	assert(entry.created_ms >= 0);
	assert(!entry.topic.at || !topic_name_fault(entry.topic.at, entry.topic.len));
	assert(entry.topic.at || (entry.kind == EVENT_DISCONNECT && entry.has_user));
	assert(!entry.has_user || entry.kind == EVENT_DISCONNECT);
	if (entry.kind == EVENT_PUSH)
		check_payload(entry.payload);
	else
		assert(entry.kind == EVENT_UNREGISTER || entry.kind == EVENT_DISCONNECT);
}

static void check_node(struct slice text)
{
	static const char id[] = "0123456789abcdef";
	struct node_info info;
	char again[NODE_INFO_MAX];

	if (!node_info_read((struct slice){id, strlen(id)}, text, &info))
		return;
	assert(info.name[0] == '\0' || !topic_name_fault(info.name, strlen(info.name)));
	assert(info.version[0] == '\0' || !topic_name_fault(info.version, strlen(info.version)));
	assert(info.topics >= 0 && info.clients >= 0 && info.sockets >= 0);
	if (strpbrk(info.version, "\"\\"))
		return; /* ours has none of these */
	size_t len = node_info_write(&info, id, again);
	assert(len < sizeof(again) && json_is_valid(again, len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = {(const char *)data, size};

	bool require_token;

	check_message(text);
	if (topic_value_read(text, &require_token) == ENVELOPE_GOOD)
		assert(text.len <= TOPIC_VALUE_MAX && json_is_valid(text.at, text.len));
	check_node(text);
	check_entry(text);
	return 0;
}
