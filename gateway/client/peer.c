/* Writing to one connection, see peer.h. No state of its own. */
#include "gateway/client/peer.h"

#include <errno.h>
#include <libwebsockets.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gateway/presence/presence.h"

static bool is_stream(struct lws *peer)
{
	return lws_get_protocol(peer)->id == TRANSPORT_STREAM;
}

bool peer_is_idle(struct lws *peer)
{
	return !lws_partial_buffered(peer);
}

/* The answer does not matter, only that somebody looked. */
void peer_prefetch(struct lws *peer)
{
	int ignored = lws_partial_buffered(peer);

	(void)ignored;
}

int peer_fd(struct lws *peer)
{
	return lws_get_socket_fd(peer);
}

/* Straight to the kernel: libwebsockets would build the same header again for each connection.
 * Straight by system call, without the two atomic operations that make glibc's send(2) a
 * cancellation point. */
ssize_t peer_write(int fd, const char *bytes, size_t len)
{
	ssize_t sent = syscall(SYS_sendto, fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);

	return sent < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : sent;
}

ssize_t peer_write_pieces(int fd, struct iovec *pieces, size_t count)
{
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
	ssize_t sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

	return sent < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : sent;
}

void peer_pause_reading(struct lws *peer, bool pause)
{
	if (!is_stream(peer))
		lws_rx_flow_control(peer, !pause);
}

bool peer_hold(struct lws *peer, const char *bytes, size_t len)
{
	return lws_write(peer, (unsigned char *)(uintptr_t)bytes, len, LWS_WRITE_RAW) >= 0;
}

/* With a payload, because libwebsockets does not tell of a pong without one. */
bool peer_ping(struct lws *peer)
{
	static const char comment[] = {':', '\n'};
	unsigned char buffer[LWS_PRE + 1] = {0};

	if (!peer_is_idle(peer))
		return true;
	if (is_stream(peer)) {
		ssize_t sent = peer_write(peer_fd(peer), comment, sizeof(comment));

		return sent == 0 || sent == sizeof(comment);
	}
	buffer[LWS_PRE] = '.';
	return lws_write(peer, buffer + LWS_PRE, 1, LWS_WRITE_PING) >= 0;
}

/* SIOCOUTQ by its other name, which needs no header of the kernel. */
int peer_unread(int fd)
{
	int bytes = 0;

	return ioctl(fd, TIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

void peer_want_write(struct lws *peer)
{
	lws_callback_on_writable(peer);
}

/* libwebsockets sends a Close frame of its own only when a receive callback ends the connection;
 * otherwise its Debian 12 build loses the frame. So we write it as it is on the wire (RFC 6455,
 * section 5.5.1). */
bool peer_close(struct lws *peer, uint16_t code, const char *reason)
{
	enum { FIN_CLOSE = 0x88, HEADER_LEN = 2, REASON_MAX = 123 };
	unsigned char buffer[LWS_PRE + HEADER_LEN + sizeof(code) + REASON_MAX] = {0};
	unsigned char *frame = buffer + LWS_PRE;
	size_t reason_len = strnlen(reason, REASON_MAX);
	size_t len = code == 0 ? 0 : sizeof(code) + reason_len;

	if (is_stream(peer))
		return shutdown(peer_fd(peer), SHUT_WR) == 0;
	frame[0] = FIN_CLOSE;
	frame[1] = (unsigned char)len;
	frame[2] = (unsigned char)(code >> 8);
	frame[3] = (unsigned char)(code & 0xFF);
	memcpy(frame + HEADER_LEN + sizeof(code), reason, reason_len);
	return lws_write(peer, frame, HEADER_LEN + len, LWS_WRITE_RAW) >= 0;
}

/* On libuv, libwebsockets looks at its timers only after it has served a socket: the second call
 * makes it serve its own pipe. */
void peer_drop(struct lws *peer)
{
	lws_set_timeout(peer, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
	lws_cancel_service(lws_get_context(peer));
}
