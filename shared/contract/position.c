/* Positions, see position.h. No state. */
#include "shared/contract/position.h"

#include <inttypes.h>

#include "shared/base/slice.h"

enum { BASE = 36, DIGITS = 13, NODE_DIGITS = 16, NUMBER_DIGITS = 16 };

static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";

void position_set_number(struct position *position, int64_t id)
{
	position->node = 0;
	position->id = id;
	position->own = 0;
	position->count = 0;
}

/* Takes the number at the start of what is left, as put_number writes it. */
static bool take_number(const char **at, const char *end, uint64_t most, uint64_t *out)
{
	const char *start = *at, *digit;
	uint64_t value = 0;

	while (*at < end && **at && (digit = strchr(digits, **at))) {
		uint64_t more = (uint64_t)(digit - digits);

		if (value > (most - more) / BASE)
			return false;
		value = value * BASE + more;
		(*at)++;
	}
	*out = value;
	return *at > start && (*at == start + 1 || *start != '0');
}

/* The same, after a separator. */
static bool take_id(const char **at, const char *end, int64_t *out)
{
	uint64_t value;

	if (*at == end || *(*at)++ != '-' || !take_number(at, end, INT64_MAX, &value))
		return false;
	*out = (int64_t)value;
	return true;
}

bool position_parse(const char *text, size_t len, struct position *out)
{
	const char *at = text, *end = text + len;
	int64_t newest;
	uint64_t node;

	position_set_number(out, 0);
	if (!take_number(&at, end, UINT64_MAX, &out->node) || out->node == 0 ||
	    !take_id(&at, end, &out->id) || !take_id(&at, end, &out->own))
		return false;
	while (at < end) {
		if (out->count == POSITION_NODES || *at++ != '.' ||
		    !take_number(&at, end, UINT64_MAX, &node) || node == 0 || node == out->node ||
		    position_newest(out, node) > 0 || !take_id(&at, end, &newest) || newest == 0)
			return false;
		position_set(out, node, newest);
	}
	return true;
}

static char *put_number(char *at, char separator, uint64_t value)
{
	char text[DIGITS], *start = text + DIGITS;

	if (separator)
		*at++ = separator;
	do
		*--start = digits[value % BASE];
	while ((value /= BASE) > 0);
	return mempcpy(at, start, (size_t)(text + DIGITS - start));
}

size_t position_write(const struct position *position, char out[POSITION_TEXT_SIZE])
{
	char *at = out;

	if (position->node == 0)
		return (size_t)snprintf(out, POSITION_TEXT_SIZE, "%" PRId64, position->id);
	*at++ = '"';
	at = put_number(at, '\0', position->node);
	at = put_number(at, '-', (uint64_t)position->id);
	at = put_number(at, '-', (uint64_t)position->own);
	for (unsigned i = 0; i < position->count; i++) {
		if (position->others[i].newest == 0)
			continue;
		at = put_number(at, '.', position->others[i].node);
		at = put_number(at, '-', (uint64_t)position->others[i].newest);
	}
	*at++ = '"';
	*at = '\0';
	return (size_t)(at - out);
}

void position_origin(const char *text, size_t len, uint64_t *node, int64_t *number)
{
	uint64_t value = 0;
	int64_t count = 0;

	*node = 0;
	*number = 0;
	if (len != NODE_DIGITS && len != NODE_DIGITS + 1 + NUMBER_DIGITS)
		return;
	for (size_t i = 0; i < NODE_DIGITS; i++) {
		if (hex_digit(text[i]) < 0)
			return;
		value = value << 4 | (uint64_t)hex_digit(text[i]);
	}
	for (size_t i = NODE_DIGITS + 1; i < len; i++) {
		if (text[NODE_DIGITS] != '.' || text[i] < '0' || text[i] > '9')
			return;
		count = count * 10 + (text[i] - '0');
	}
	*node = value;
	*number = count;
}

int64_t position_newest(const struct position *position, uint64_t node)
{
	if (node == position->node)
		return position->own;
	for (unsigned i = 0; i < position->count; i++)
		if (position->others[i].node == node)
			return position->others[i].newest;
	return 0;
}

void position_set(struct position *position, uint64_t node, int64_t newest)
{
	unsigned i = 0;

	if (node == position->node) {
		position->own = newest;
		return;
	}
	while (i < position->count && position->others[i].node != node)
		i++;
	if (node == 0 || i == POSITION_NODES)
		return;
	position->others[i].node = node;
	position->others[i].newest = newest;
	if (i == position->count)
		position->count++;
}

void position_add(struct position *position, const struct position *other)
{
	if (position_newest(position, other->node) < other->own)
		position_set(position, other->node, other->own);
	for (unsigned i = 0; i < other->count; i++)
		if (position_newest(position, other->others[i].node) < other->others[i].newest)
			position_set(position, other->others[i].node, other->others[i].newest);
}

bool position_reaches(const struct position *position, const struct position *other)
{
	bool reaches = position_newest(position, other->node) >= other->own;

	for (unsigned i = 0; reaches && i < other->count; i++)
		reaches =
			position_newest(position, other->others[i].node) >= other->others[i].newest;
	return reaches;
}

void client_position_begin(struct client_position *client, const struct position *position,
			   uint64_t here, int64_t after_id, int64_t newest_id)
{
	bool given_here = position->node == here;

	position_set_number(&client->position, after_id);
	client->position.node = here;
	position_add(&client->position, position);
	client->nameless_id = given_here ? after_id : newest_id;
}

bool client_position_covers(const struct client_position *client, int64_t id, uint64_t node,
			    int64_t number)
{
	if (id <= client->position.id)
		return true;
	return number > 0 ? number <= position_newest(&client->position, node)
			  : id <= client->nameless_id;
}
