/*
 * The floor that the gateway is measured against: a bare epoll loop that accepts WebSocket
 * handshakes, says yes to each auth frame, and sends the body of each POST to every subscriber, one
 * send(2) each. It knows no topics, no tokens, no limits and no slow readers, and keeps nothing. A
 * subscriber that does not take a message whole is dropped, which the load generator notices.
 *
 *	bare_loop PORT
 */
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_END "\r\n\r\n"
#define KEY_HEADER "Sec-WebSocket-Key: "
#define TEXT ((char)0x81) /* the first byte of a frame that is a whole text */
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

enum {
	BACKLOG = 4096,
	EVENTS = 512,
	MOST_DESCRIPTORS = 65536,
	KEY_LEN = 24,
	SHA1_BYTES = 20,
	FRAME_HEADER_MAX = 10,
	BODY_MAX = 1 << 20
};

static int listener, epoll_fd;
static int subscribers[MOST_DESCRIPTORS]; /* descriptors */
static int
	places[MOST_DESCRIPTORS]; /* of each descriptor in `subscribers`, and 1; 0: no subscriber */
static int subscriber_count;

/* A request that is read, after room for the header of a frame: the body is sent from where it
 * lies. */
static char input[FRAME_HEADER_MAX + BODY_MAX];

static void watch(int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};

	if (fd >= MOST_DESCRIPTORS || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		err(EXIT_FAILURE, "cannot watch a connection");
}

static void accept_one(void)
{
	const int on = 1;
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	watch(fd);
}

static void drop(int fd)
{
	int place = places[fd];

	if (place > 0) {
		int last = subscribers[--subscriber_count];

		subscribers[place - 1] = last;
		places[last] = place;
		places[fd] = 0;
	}
	close(fd);
}

/* Writes the header right before `payload`; returns where the frame begins. */
static const char *frame(char *payload, size_t len)
{
	char *at = payload - (len <= 125 ? 2 : len <= 0xffff ? 4 : FRAME_HEADER_MAX);
	size_t digits = (size_t)(payload - at) - 2;

	at[0] = TEXT;
	at[1] = (char)(digits == 0 ? len : digits == 2 ? 126 : 127);
	for (size_t i = 0; i < digits; i++)
		payload[-1 - (ptrdiff_t)i] = (char)(len >> 8 * i & 0xff);
	return at;
}

static void fan_out(char *payload, size_t len)
{
	const char *bytes = frame(payload, len);
	size_t frame_len = len + (size_t)(payload - bytes);

	for (int i = subscriber_count; i-- > 0;)
		if (send(subscribers[i], bytes, frame_len, MSG_NOSIGNAL) != (ssize_t)frame_len)
			drop(subscribers[i]);
}

static void shake_hands(int fd, const char *key)
{
	unsigned char digest[EVP_MAX_MD_SIZE], accept[4 * (SHA1_BYTES + 2) / 3 + 1];
	char text[KEY_LEN + sizeof(GUID)], answer[256];

	snprintf(text, sizeof(text), "%.*s%s", KEY_LEN, key, GUID);
	if (!EVP_Digest(text, strlen(text), digest, NULL, EVP_sha1(), NULL))
		errx(EXIT_FAILURE, "no SHA-1");
	EVP_EncodeBlock(accept, digest, SHA1_BYTES);
	int len = snprintf(answer, sizeof(answer),
			   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
			   "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			   accept);
	if (send(fd, answer, (size_t)len, MSG_NOSIGNAL) != len) {
		drop(fd);
		return;
	}
	subscribers[subscriber_count++] = fd;
	places[fd] = subscriber_count;
}

/* A text is an auth frame, which is good whatever it says; anything else is not answered. */
static void answer_frame(int fd, const char *bytes)
{
	static const char auth_ok[] = "\x81\x12{\"type\":\"auth_ok\"}";

	if (bytes[0] == TEXT && send(fd, auth_ok, sizeof(auth_ok) - 1, MSG_NOSIGNAL) < 0)
		drop(fd);
}

/* The answer comes first, as the API's does. `got` bytes are there; the rest of the body is waited
 * for. */
static void publish(int fd, char *head_end, size_t got)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	const char *length = strcasestr(input + FRAME_HEADER_MAX, "\nContent-Length: ");
	char *body = head_end + sizeof(HEAD_END) - 1;
	size_t have = got - (size_t)(body - (input + FRAME_HEADER_MAX));
	size_t len = length ? strtoul(length + sizeof("\nContent-Length: ") - 1, NULL, 10) : 0;

	while (have < len && len < BODY_MAX - 4096) {
		ssize_t more = recv(fd, body + have, len - have, 0);

		if (more > 0)
			have += (size_t)more;
		else if (more == 0 || errno != EAGAIN)
			break;
	}
	if (have != len) {
		drop(fd);
		return;
	}
	if (send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) < 0)
		drop(fd);
	fan_out(body, len);
}

static void serve(int fd)
{
	char *request = input + FRAME_HEADER_MAX;
	ssize_t got = recv(fd, request, BODY_MAX - 1, 0);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		drop(fd);
		return;
	}
	if (places[fd] > 0) {
		answer_frame(fd, request);
		return;
	}
	request[got] = '\0';
	char *head_end = strstr(request, HEAD_END);
	const char *key = head_end ? strstr(request, KEY_HEADER) : NULL;
	if (head_end && strncmp(request, "POST ", 5) == 0)
		publish(fd, head_end, (size_t)got);
	else if (key)
		shake_hands(fd, key + sizeof(KEY_HEADER) - 1);
	else
		drop(fd);
}

static void start_listening(const char *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	const int on = 1;

	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	address.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(listener, BACKLOG) != 0)
		err(EXIT_FAILURE, "listen");
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	watch(listener);
}

static void end(int signal_number)
{
	(void)signal_number;
	_exit(EXIT_SUCCESS);
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	struct rlimit limit;

	if (argc != 2)
		errx(EXIT_FAILURE, "usage: bare_loop PORT");
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	signal(SIGTERM, end);
	start_listening(argv[1]);
	for (;;) {
		int count = epoll_wait(epoll_fd, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].data.fd == listener)
				accept_one();
			else
				serve(events[i].data.fd);
		}
	}
}
