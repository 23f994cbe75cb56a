/* Bodies, see body.h. State: the caller's. No allocation; never blocks. */
#include "gateway/client/body.h"

#include <ctype.h>

#include "shared/base/slice.h"

/* A chunk of one byte has five bytes of framing, and a body may consist of such chunks. */
enum { FRAMING_MAX = 32768, SIZE_DIGITS = 8 };

/* What the next byte is. */
enum place {
	NOWHERE, /* it is malformed */
	CONTENT, /* of a body without chunks */
	SIZE, /* a digit of a chunk's size, or what ends it */
	EXTENSION, /* after the size: not looked at */
	SIZE_END, /* the LF after it */
	CHUNK,
	CHUNK_CR,
	CHUNK_LF,
	TRAILER, /* the start of a line after the last chunk */
	TRAILER_LINE, /* not looked at */
	TRAILER_LF,
	LAST_LF,
	END
};

struct body body_of_length(uint32_t len)
{
	return (struct body){.place = len > 0 ? CONTENT : END, .left = len};
}

struct body body_in_chunks(void)
{
	return (struct body){.place = SIZE};
}

static enum place after_size(struct body *body, char c)
{
	int digit = hex_digit((char)tolower((unsigned char)c));

	if (digit >= 0 && body->digits < SIZE_DIGITS) {
		body->digits++;
		body->left = body->left << 4 | (uint32_t)digit;
		return SIZE;
	}
	if (body->digits == 0 || (c != '\r' && c != ';'))
		return NOWHERE;
	body->digits = 0;
	return c == '\r' ? SIZE_END : EXTENSION;
}

/* What the byte after `c`, which is framing, will be. */
static enum place after(struct body *body, char c)
{
	switch ((enum place)body->place) {
	case SIZE:
		return after_size(body, c);
	case SIZE_END:
		if (c != '\n')
			return NOWHERE;
		return body->left > 0 ? CHUNK : TRAILER;
	case CHUNK_CR:
		return c == '\r' ? CHUNK_LF : NOWHERE;
	case CHUNK_LF:
		return c == '\n' ? SIZE : NOWHERE;
	case TRAILER:
		if (c == '\r')
			return LAST_LF;
		return c == '\n' ? NOWHERE : TRAILER_LINE;
	case EXTENSION:
	case TRAILER_LINE:
		if (c == '\r')
			return body->place == EXTENSION ? SIZE_END : TRAILER_LF;
		return c == '\n' ? NOWHERE : (enum place)body->place;
	case TRAILER_LF:
		return c == '\n' ? TRAILER : NOWHERE;
	case LAST_LF:
		return c == '\n' ? END : NOWHERE;
	case NOWHERE:
	case CONTENT:
	case CHUNK:
	case END:
		break;
	}
	return NOWHERE;
}

enum body_state body_take(struct body *body, char *bytes, size_t *len)
{
	size_t end = *len;

	*len = 0;
	for (size_t i = 0; i < end && body->place != END;) {
		if (body->place == CONTENT || body->place == CHUNK) {
			size_t part = end - i < body->left ? end - i : body->left;

			memmove(bytes + *len, bytes + i, part);
			*len += part;
			i += part;
			body->left -= (uint32_t)part;
			if (body->left == 0)
				body->place = body->place == CHUNK ? CHUNK_CR : END;
			continue;
		}
		body->place = (uint8_t)after(body, bytes[i++]);
		if (body->place == NOWHERE || ++body->framing > FRAMING_MAX)
			return BODY_MALFORMED;
	}
	return body->place == END ? BODY_WHOLE : BODY_INCOMPLETE;
}
