// needs: gateway/cluster/replies.c
// links: hiredis
/*
 * Any bytes as what Redis sends. In one piece and in pieces of any length they are the same
 * replies, then the same fault or none; no reply is deeper or has more elements than is allowed,
 * and each of its elements is there.
 */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/cluster/replies.h"

/* Writes what it says, returns its elements, itself included. */
static size_t write_reply(FILE *out, const redisReply *reply, size_t depth)
{
	size_t elements = 1;

	assert(reply && depth <= REPLY_MAX_DEPTH);
	fprintf(out, "<%d %lld %zu ", reply->type, reply->integer, reply->elements);
	if (reply->str) {
		assert(reply->str[reply->len] == '\0');
		fwrite(reply->str, 1, reply->len, out);
	}
	for (size_t i = 0; i < reply->elements; i++)
		elements += write_reply(out, reply->element[i], depth + 1);
	fputc('>', out);
	return elements;
}

/* What comes out of it, to be freed. */
static char *read_all(const char *bytes, size_t len, size_t piece, size_t *out_len)
{
	struct replies *replies = replies_new();
	char *text = NULL;
	FILE *out = open_memstream(&text, out_len);

	for (size_t at = 0; at < len && !replies_fault(replies); at += piece) {
		redisReply *reply;

		replies_feed(replies, bytes + at, len - at < piece ? len - at : piece);
		while ((reply = replies_next(replies))) {
			assert(write_reply(out, reply, 0) <= REPLY_MAX_ELEMENTS + 1);
			freeReplyObject(reply);
		}
	}
	if (replies_fault(replies)) {
		fputs(replies_fault(replies), out);
		assert(!replies_feed(replies, "+\r\n", 3) && !replies_next(replies));
	}
	replies_free(replies);
	fclose(out);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t whole_len, pieces_len;
	char *whole;

	if (size == 0 || size > REPLY_MAX_LINE)
		return 0;
	whole = read_all((const char *)data, size, size, &whole_len);
	for (size_t piece = 1; piece <= 64; piece *= 4) {
		char *pieces = read_all((const char *)data, size, piece, &pieces_len);

		assert(whole_len == pieces_len && memcmp(whole, pieces, whole_len) == 0);
		free(pieces);
	}
	free(whole);
	return 0;
}
