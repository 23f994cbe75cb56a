// needs: api/command.c
/*
 * Any bytes as the body of each POST. A body that is taken must have a topic that the contract
 * allows and a payload that lies within it.
 */
#include "tests/fuzz/fuzz.h"

#include "api/command.h"

static void check(enum command_kind kind, const char *body, size_t len)
{
	struct command command;
	char fault[COMMAND_FAULT_SIZE];

	if (!command_read(kind, body, len, &command, fault)) {
		assert(memchr(fault, '\0', sizeof(fault)) && fault[0] != '\0');
		return;
	}
	assert(!topic_name_fault(command.topic, command.topic_len));
	if (kind == COMMAND_PUBLISH)
		assert(command.payload.len > 0 && command.payload.at > body &&
		       command.payload.at + command.payload.len < body + len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check(COMMAND_REGISTER, (const char *)data, size);
	check(COMMAND_UNREGISTER, (const char *)data, size);
	check(COMMAND_PUBLISH, (const char *)data, size);
	return 0;
}
