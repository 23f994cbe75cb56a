/* What the cluster decides without asking anybody: see rules.h. */
#include "gateway/cluster/rules.h"

#include <inttypes.h>
#include <stdio.h>

int64_t backoff_ms(unsigned failures, uint64_t random)
{
	int64_t most_ms = BACKOFF_FIRST_MS;

	for (unsigned i = 1; i < failures && most_ms < BACKOFF_MOST_MS; i++)
		most_ms *= 2;
	if (most_ms > BACKOFF_MOST_MS)
		most_ms = BACKOFF_MOST_MS;
	return most_ms - (int64_t)(random % (uint64_t)(most_ms / 4));
}

static bool read_number(struct slice text, uint64_t *out)
{
	uint64_t number = 0;

	if (text.len == 0 || text.len > 20)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		unsigned digit = (unsigned)(unsigned char)text.at[i] - '0';

		if (digit > 9 || number > (UINT64_MAX - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*out = number;
	return true;
}

bool log_position_read(struct slice text, struct log_position *out)
{
	struct slice number, ms = slice_split(text, '-', &number);
	struct log_position position;

	if (!number.at || !read_number(ms, &position.ms) || !read_number(number, &position.number))
		return false;
	*out = position;
	return true;
}

void log_position_write(struct log_position position, char out[LOG_POSITION_SIZE])
{
	snprintf(out, LOG_POSITION_SIZE, "%" PRIu64 "-%" PRIu64, position.ms, position.number);
}

int log_position_compare(struct log_position a, struct log_position b)
{
	if (a.ms != b.ms)
		return a.ms < b.ms ? -1 : 1;
	return a.number < b.number ? -1 : a.number > b.number;
}

enum log_verdict log_judge(const struct log_findings *findings, struct log_position position)
{
	enum log_verdict good = findings->is_unread ? LOG_UNREAD : LOG_GOES_ON;
	enum log_verdict trimmed = findings->is_unread ? LOG_UNREAD : LOG_TRIMMED;

	if (findings->is_new_here)
		return LOG_FIRST_TIME;
	if (!findings->has_marker)
		return LOG_LOST;
	if (position.ms == 0 && position.number == 0) /* there was none, and all of it is new */
		return good;
	if (!findings->has_log || log_position_compare(findings->newest, position) < 0)
		return LOG_LOST;
	if (findings->has_entry)
		return good;
	return findings->has_first && log_position_compare(findings->first, position) < 0 ? LOG_LOST
											  : trimmed;
}

enum entry_verdict entry_judge(int64_t last_id, int64_t id, int64_t prev, bool may_miss)
{
	if (id <= last_id)
		return ENTRY_KNOWN;
	if (prev <= last_id)
		return ENTRY_NEW;
	return last_id == 0 && !may_miss ? ENTRY_FIRST : ENTRY_AFTER_GAP;
}

int64_t prev_of(int64_t last_id, int64_t gone_id, int64_t joined_id)
{
	int64_t prev = gone_id > last_id ? gone_id : last_id;

	return prev > joined_id ? prev : 0;
}

unsigned read_count(unsigned count, size_t bytes, size_t largest)
{
	size_t most = largest > READ_BYTES_MOST / READ_COUNT_MOST ? READ_BYTES_MOST / largest
								  : READ_COUNT_MOST;

	if (bytes > READ_BYTES)
		count /= 2;
	else if (bytes < READ_BYTES / 4)
		count *= 2;
	if (count > most)
		count = (unsigned)most;
	return count > 0 ? count : 1;
}
