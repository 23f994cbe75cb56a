/*
 * FastCGI 1.0, as a responder; see request.h. State: the connection in hand, and buffers for the
 * life of the process. Blocks on the web server: each byte has LISTENER_PEER_TIMEOUT_S to come, and
 * so has the last one since the first. A connection that does not speak proper FastCGI is closed,
 * and the next one taken.
 *
 * There is no library here: libfcgi believes whatever length a parameter claims (and ends the
 * program when there is no memory for it), and waits for ever for a request that comes drop by
 * drop.
 *
 * A record is a header of eight bytes (version, type, two of the request's id, two of the length,
 * one of the padding's, one unused), the content and the padding. A request is BEGIN_REQUEST, then
 * the streams PARAMS and STDIN, each in any number of records, of which the last one is empty.
 */
#include "api/request.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/listener.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum { VERSION = 1, RESPONDER = 1, HEADER_LEN = 8 };
enum { BEGIN_REQUEST = 1, ABORT_REQUEST = 2, END_REQUEST = 3, PARAMS = 4, STDIN = 5, STDOUT = 6 };
enum { INPUT_SIZE = 65536, PIECE_MAX = 65535 };

struct stream {
	unsigned char bytes[REQUEST_BODY_MAX + 1]; /* what is beyond that is not kept */
	size_t len;
};

struct requests {
	int fd; /* negative: no connection */
	int64_t deadline_ms;
	size_t taken, received; /* of what is in `input` */
	unsigned char id[2];
	struct request request;
	struct stream parameters, body;
	unsigned char input[INPUT_SIZE], output[PIECE_MAX + 4 * HEADER_LEN];
};

struct requests *requests_open(void)
{
	struct requests *requests = xcalloc(1, sizeof(*requests));

	requests->fd = -1;
	return requests;
}

void requests_close(struct requests *requests)
{
	if (!requests)
		return;
	requests_done(requests);
	free(requests);
}

/* The next `len` bytes, into `to` unless that is NULL. False when they do not come. */
static bool take(struct requests *requests, unsigned char *to, size_t len)
{
	while (len > 0) {
		size_t piece = requests->received - requests->taken;

		if (piece == 0) {
			ssize_t got = recv(requests->fd, requests->input, INPUT_SIZE, 0);

			if (got < 0 && errno == EINTR) /* stopped and continued */
				continue;
			if (got <= 0 || clock_monotonic_ms() > requests->deadline_ms)
				return false;
			requests->taken = 0;
			requests->received = (size_t)got;
			continue;
		}
		if (piece > len)
			piece = len;
		if (to) {
			memcpy(to, requests->input + requests->taken, piece);
			to += piece;
		}
		requests->taken += piece;
		len -= piece;
	}
	return true;
}

static size_t number(const unsigned char at[2])
{
	return (size_t)at[0] << 8 | at[1];
}

static bool read_begin(struct requests *requests)
{
	unsigned char record[2 * HEADER_LEN]; /* the content is as long as the header */

	if (!take(requests, record, sizeof(record)) || record[0] != VERSION ||
	    record[1] != BEGIN_REQUEST || number(record + 4) != HEADER_LEN ||
	    number(record + HEADER_LEN) != RESPONDER)
		return false;
	memcpy(requests->id, record + 2, sizeof(requests->id));
	return take(requests, NULL, record[6]);
}

/* To its end: a web server that cannot get rid of a body may not look at the answer. Records of
 * other kinds, and of other requests, are passed over. False when the end does not come. */
static bool read_stream(struct requests *requests, unsigned char type, struct stream *stream)
{
	unsigned char header[HEADER_LEN];

	stream->len = 0;
	while (take(requests, header, HEADER_LEN) && header[0] == VERSION &&
	       header[1] != ABORT_REQUEST) {
		size_t len = number(header + 4), room = sizeof(stream->bytes) - stream->len;
		bool is_ours = header[1] == type &&
			       memcmp(header + 2, requests->id, sizeof(requests->id)) == 0;
		size_t kept = !is_ours ? 0 : len < room ? len : room;

		if (!take(requests, stream->bytes + stream->len, kept) ||
		    !take(requests, NULL, len - kept + header[6]))
			return false;
		stream->len += kept;
		if (is_ours && len == 0)
			return true;
	}
	return false;
}

/* Takes a length, of one byte or of four, off the beginning of what is between *at and `end`. */
static bool read_length(unsigned char **at, const unsigned char *end, size_t *length)
{
	const unsigned char *bytes = *at;
	size_t size = bytes < end && bytes[0] >= 0x80 ? 4 : 1;

	if ((size_t)(end - bytes) < size)
		return false;
	*length = size == 1 ? bytes[0] : number(bytes) % 0x8000 << 16 | number(bytes + 2);
	*at += size;
	return true;
}

static bool read_parameters(struct requests *requests)
{
	unsigned char *at = requests->parameters.bytes, *end = at + requests->parameters.len;
	struct request *request = &requests->request;
	const struct {
		const char *name;
		const char **value;
	} wanted[] = {
		{"REQUEST_METHOD", &request->method},
		{"SCRIPT_NAME", &request->script_name},
		{"PATH_INFO", &request->path_info},
		{"REQUEST_URI", &request->uri},
		{"QUERY_STRING", &request->query},
		{"CONTENT_LENGTH", &request->content_length},
		{"HTTP_X_WORKER_SECRET", &request->secret},
		{"HTTP_AUTHORIZATION", &request->authorization},
	};
	size_t name_len, value_len;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		*wanted[i].value = "";
	for (; at < end; at += name_len + value_len) {
		if (!read_length(&at, end, &name_len) || !read_length(&at, end, &value_len) ||
		    name_len > (size_t)(end - at) || value_len > (size_t)(end - at) - name_len)
			return false;
		for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
			if (strlen(wanted[i].name) != name_len ||
			    memcmp(wanted[i].name, at, name_len) != 0 || **wanted[i].value)
				continue;
			/* The name, which has been read, makes room for a NUL. */
			memmove(at, at + name_len, value_len);
			at[value_len] = '\0';
			*wanted[i].value = (const char *)at;
		}
	}
	return requests->parameters.len <= REQUEST_BODY_MAX;
}

static void read_body(struct requests *requests)
{
	bool is_whole = read_stream(requests, STDIN, &requests->body);
	struct request *request = &requests->request;
	const char *text = request->content_length;
	char *end;
	/* ULLONG_MAX when it does not fit; 0 when it is not a number: not announced. */
	unsigned long long announced = strtoull(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0')
		announced = 0;
	request->body = (const char *)requests->body.bytes;
	request->body_len = requests->body.len;
	if (announced > REQUEST_BODY_MAX || request->body_len > REQUEST_BODY_MAX)
		request->body_state = REQUEST_BODY_TOO_LARGE;
	else if (!is_whole || request->body_len < announced)
		request->body_state = REQUEST_BODY_CUT_SHORT;
	else
		request->body_state = REQUEST_BODY_WHOLE;
}

enum requests_state requests_next(struct requests *requests, const struct request **next)
{
	*next = &requests->request;
	do {
		requests_done(requests);
		requests->fd = listener_accept();
		if (requests->fd < 0)
			return requests->fd == LISTENER_IDLE ? REQUESTS_IDLE : REQUESTS_END;
		requests->deadline_ms = clock_monotonic_ms() + LISTENER_PEER_TIMEOUT_S * 1000;
		requests->taken = requests->received = 0;
	} while (!read_begin(requests) || !read_stream(requests, PARAMS, &requests->parameters) ||
		 !read_parameters(requests));
	read_body(requests);
	return REQUESTS_ONE;
}

/* Returns where the next record goes. */
static unsigned char *put_record(const struct requests *requests, unsigned char *at,
				 unsigned char type, const char *content, size_t len)
{
	const unsigned char header[HEADER_LEN] = {VERSION,
						  type,
						  requests->id[0],
						  requests->id[1],
						  (unsigned char)(len >> 8),
						  (unsigned char)len};

	memcpy(at, header, HEADER_LEN);
	memcpy(at + HEADER_LEN, content, len);
	return at + HEADER_LEN + len;
}

void requests_answer(struct requests *requests, const char *answer, size_t len)
{
	static const char complete[HEADER_LEN] = {0};

	requests->deadline_ms = clock_monotonic_ms() + LISTENER_PEER_TIMEOUT_S * 1000;
	while (len > 0) {
		size_t piece = len < PIECE_MAX ? len : PIECE_MAX;
		unsigned char *at = requests->output;
		unsigned char *end = put_record(requests, at, STDOUT, answer, piece);

		answer += piece;
		len -= piece;
		if (len == 0) {
			end = put_record(requests, end, STDOUT, "", 0);
			end = put_record(requests, end, END_REQUEST, complete, sizeof(complete));
		}
		while (at < end) {
			ssize_t sent = send(requests->fd, at, (size_t)(end - at), MSG_NOSIGNAL);

			if (sent >= 0)
				at += sent;
			if ((sent < 0 && errno != EINTR) ||
			    clock_monotonic_ms() > requests->deadline_ms)
				return;
		}
	}
}

void requests_done(struct requests *requests)
{
	if (requests->fd >= 0)
		close(requests->fd);
	requests->fd = -1;
}
