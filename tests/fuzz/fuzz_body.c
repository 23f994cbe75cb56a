// needs: gateway/client/body.c
/*
 * Any bytes as a body in chunks. In one piece and in pieces of any length it comes to the same
 * content and the same end; it never grows; what is whole is so for a strict reader too: each
 * chunk is as long as it says, and its content is where it was.
 */
#include "tests/fuzz/fuzz.h"

#include "gateway/client/body.h"

enum { MOST = 65536 };

/* Takes it in pieces, and gathers the content in `out`. */
static enum body_state take(const char *text, size_t len, size_t piece, char *out, size_t *out_len)
{
	struct body body = body_in_chunks();
	enum body_state state = BODY_INCOMPLETE;

	*out_len = 0;
	for (size_t at = 0; at < len && state == BODY_INCOMPLETE; at += piece) {
		size_t part = len - at < piece ? len - at : piece, kept = part;

		memmove(out + *out_len, text + at, part);
		state = body_take(&body, out + *out_len, &kept);
		assert(kept <= part);
		*out_len += kept;
	}
	return state;
}

/* A second reader, of a whole body that is good: chunk by chunk. */
static size_t join(const char *text, char *out)
{
	size_t len = 0, size;
	char *end;

	while ((size = strtoul(text, &end, 16)) > 0) {
		text = strstr(end, "\r\n") + 2;
		memcpy(out + len, text, size);
		len += size;
		text += size + 2;
	}
	return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char whole[MOST], pieces[MOST], copy[MOST + 1], joined[MOST];
	const char *text = (const char *)data;
	size_t whole_len, pieces_len;

	if (size == 0 || size > MOST)
		return 0;
	enum body_state state = take(text, size, size, whole, &whole_len);
	for (size_t piece = 1; piece <= 64; piece *= 2) {
		enum body_state again = take(text, size, piece, pieces, &pieces_len);

		assert(again == state);
		if (state != BODY_MALFORMED)
			assert(pieces_len == whole_len && memcmp(pieces, whole, whole_len) == 0);
	}
	if (state != BODY_WHOLE)
		return 0;
	memcpy(copy, text, size);
	copy[size] = '\0';
	if (memchr(copy, '\0', size))
		return 0; /* the second reader reads texts */
	size_t joined_len = join(copy, joined);
	assert(joined_len == whole_len && memcmp(joined, whole, whole_len) == 0);
	return 0;
}
