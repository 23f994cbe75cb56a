/*
 * Bounded replies, see replies.h. hiredis asks a table of functions for each object: ours is a copy
 * of its own, with a function for arrays that looks at the bounds first. State: the reader, and
 * what has been taken for the reply that is being read. Never blocks.
 */
#include "gateway/cluster/replies.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/alloc.h"

/* How hiredis counts the elements of an array. */
#if HIREDIS_MAJOR >= 1
typedef size_t element_count;
#else
typedef int element_count;
#endif

/* The digits of a length, and its end of line. */
enum { LENGTH_MAX = 24 };

struct replies {
	redisReader *reader;
	redisReplyObjectFunctions functions;
	void *(*create_array)(const redisReadTask *task, element_count count); /* hiredis' own */
	size_t bytes, elements; /* since the last whole reply */
	const char *fault;
};

static void *create_array(const redisReadTask *task, element_count count)
{
	struct replies *replies = task->privdata;
	size_t depth = 0;

	for (const redisReadTask *parent = task->parent; parent; parent = parent->parent)
		depth++;
	if (depth == 0)
		replies->elements = 0;
	if (depth >= REPLY_MAX_DEPTH)
		replies->fault = REPLY_FAULT "is nested too deeply";
	else if ((size_t)count > REPLY_MAX_ELEMENTS - replies->elements)
		replies->fault = REPLY_FAULT "has too many elements";
	else
		replies->elements += (size_t)count;
	return replies->fault ? NULL : replies->create_array(task, count);
}

struct replies *replies_new(void)
{
	struct replies *replies = xcalloc(1, sizeof(*replies));

	replies->reader = redisReaderCreate();
	if (replies->reader) {
		replies->functions = *replies->reader->fn;
		replies->create_array = replies->functions.createArray;
		replies->functions.createArray = create_array;
		replies->reader->fn = &replies->functions;
		replies->reader->privdata = replies;
		return replies;
	}
	end_for_want_of("memory");
}

void replies_free(struct replies *replies)
{
	if (!replies)
		return;
	redisReaderFree(replies->reader);
	free(replies);
}

bool replies_feed(struct replies *replies, const char *bytes, size_t len)
{
	if (replies->fault)
		return false;
	if (len > REPLY_MAX_BYTES - replies->bytes)
		replies->fault = REPLY_FAULT "is too large";
	else if (redisReaderFeed(replies->reader, bytes, len) != REDIS_OK)
		replies->fault = "there is no memory for a reply";
	replies->bytes += len;
	return !replies->fault;
}

redisReply *replies_next(struct replies *replies)
{
	const redisReader *reader = replies->reader;
	void *reply = NULL;

	if (replies->fault)
		return NULL;
	if (redisReaderGetReply(replies->reader, &reply) != REDIS_OK) {
		if (!replies->fault)
			replies->fault = "what comes is not the protocol of Redis";
		return NULL;
	}
	if (reply)
		replies->bytes = reader->len - reader->pos;
	/* A string waits for its end behind a short line with its length. Any other line must end
	 * soon: hiredis searches it from its beginning whenever there is more of it. */
	else if (reader->len - reader->pos > REPLY_MAX_LINE &&
		 !memchr(reader->buf + reader->pos, '\n', LENGTH_MAX))
		replies->fault = "a line of a reply is too long";
	return reply;
}

const char *replies_fault(const struct replies *replies)
{
	return replies->fault;
}

void redis_error_code(const redisReply *error, char code[REDIS_CODE_SIZE])
{
	size_t len = 0;

	while (len < error->len && len < REDIS_CODE_SIZE - 1 && error->str[len] >= 'A' &&
	       error->str[len] <= 'Z')
		len++;
	snprintf(code, REDIS_CODE_SIZE, "%.*s", len > 0 ? (int)len : (int)strlen("error"),
		 len > 0 ? error->str : "error");
}

void redis_why(const redisReply *reply, char why[REDIS_WHY_SIZE])
{
	char code[REDIS_CODE_SIZE];

	redis_error_code(reply, code);
	if (reply->type == REDIS_REPLY_ERROR)
		snprintf(why, REDIS_WHY_SIZE, "Redis answers %s", code);
	else
		snprintf(why, REDIS_WHY_SIZE, "Redis gave an answer that is none");
}

bool redis_is_text(const redisReply *reply, const char *text)
{
	return reply && (reply->type == REDIS_REPLY_STATUS || reply->type == REDIS_REPLY_STRING) &&
	       reply->len == strlen(text) && memcmp(reply->str, text, reply->len) == 0;
}

long long redis_named_number(const redisReply *reply)
{
	bool is_it = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
		     reply->element[1]->type == REDIS_REPLY_INTEGER;

	return is_it && reply->element[1]->integer >= 0 ? reply->element[1]->integer : -1;
}

const redisReply *redis_member(const redisReply *reply, const char *name)
{
	for (size_t i = 0; i + 1 < reply->elements; i += 2)
		if (redis_is_text(reply->element[i], name))
			return reply->element[i + 1];
	return NULL;
}
