/*
 * What the body of a POST asks for, read in one pass. Pure functions: body bytes in, a command or
 * an error text out.
 */
#ifndef API_COMMAND_H
#define API_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/contract/topic_name.h"
#include "shared/json/json.h"

enum command_kind { COMMAND_REGISTER, COMMAND_UNREGISTER, COMMAND_PUBLISH, COMMAND_DISCONNECT };

enum { COMMAND_FAULT_SIZE = 128 };

struct command {
	enum command_kind kind;
	bool has_topic; /* always true, except perhaps for a disconnect */
	char topic[TOPIC_MAX_BYTES]; /* valid; without a NUL */
	size_t topic_len;
	bool require_token; /* register */
	struct json_value payload; /* publish: points into the body */
	bool has_user; /* disconnect: of the topic, of the user, or of that user on that topic */
	int64_t user_id;
};

/* Reads `body` of `len` bytes as a command of that kind; members of other kinds are not looked at.
 * Returns false with the text of the answer (status 400) in `fault`; *command then says nothing. */
bool command_read(enum command_kind kind, const char *body, size_t len, struct command *command,
		  char fault[COMMAND_FAULT_SIZE]);

#endif
