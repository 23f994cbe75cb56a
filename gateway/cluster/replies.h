/*
 * Replies of Redis out of bytes, by hiredis' reader, which by itself would believe a stranger: here
 * the size, depth and number of elements of a reply are bounded, so that neither memory nor the
 * stack grows by what is only announced. Pure.
 */
#ifndef GATEWAY_REPLIES_H
#define GATEWAY_REPLIES_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>

#include "shared/base/slice.h"

enum {
	REPLY_MAX_BYTES = 64 * 1024 * 1024,
	REPLY_MAX_LINE = 64 * 1024, /* a status, an error */
	REPLY_MAX_ELEMENTS = 256 * 1024, /* of all its arrays */
	REPLY_MAX_DEPTH = 7,
	REDIS_CODE_SIZE = 24, /* of an error: "WRONGPASS" */
	REDIS_WHY_SIZE = 160
};

/* What is wrong with one that is too long begins with this. */
#define REPLY_FAULT "a reply "

struct replies;

struct replies *replies_new(void);

/* NULL is allowed. */
void replies_free(struct replies *replies);

/* Takes bytes as they came. False, like after each fault, when nothing more is to be expected. */
bool replies_feed(struct replies *replies, const char *bytes, size_t len);

/* The next whole reply, to be freed with freeReplyObject; NULL when there is none yet, or after a
 * fault. */
redisReply *replies_next(struct replies *replies);

/* What is wrong with the bytes, a constant; NULL: nothing. */
const char *replies_fault(const struct replies *replies);

/* The code that an error begins with ("WRONGPASS", "LOADING"), fit to be logged; "error" when there
 * is none. */
void redis_error_code(const redisReply *error, char code[REDIS_CODE_SIZE]);

/* Why an answer is not the one that one wanted, for people. */
void redis_why(const redisReply *reply, char why[REDIS_WHY_SIZE]);

/* Whether it is what one expects: a status or string of just these bytes. */
bool redis_is_text(const redisReply *reply, const char *text);

/* The bytes of a status, a string or an error. */
static inline struct slice redis_bytes(const redisReply *reply)
{
	return (struct slice){reply->str, reply->len};
}

/* The number in an answer of a name and a number, as to PUBSUB NUMSUB of one channel; -1: it is no
 * such answer. */
long long redis_named_number(const redisReply *reply);

/* The value of that name, where names and values come by turns; NULL: there is none. */
const redisReply *redis_member(const redisReply *reply, const char *name);

#endif
