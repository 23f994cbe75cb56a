/*
 * Listening and accepting, see listener.h. State: the socket, its poll handle, and a timer for the
 * pause. Never blocks. A connection that fails while it is accepted is nobody's fault: the next one
 * is taken.
 */
#include "gateway/door/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>
#include <uv.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log_repeat.h"

enum {
	BATCH = 64, /* connections a turn of the loop */
	PAUSE_MS = 100
};

struct listener {
	uv_poll_t poll;
	uv_timer_t pause;
	int open_handles;
	int fd;
	const char *path; /* of a UNIX socket, else NULL */
	struct log_repeat shortage; /* of descriptors or memory */
	listener_accepted *accepted;
	void *context;
	char address[LISTEN_ADDRESS_SIZE];
};

static void on_readable(uv_poll_t *poll, int status, int events);

static void resume(uv_timer_t *timer)
{
	struct listener *listener = timer->data;

	uv_poll_start(&listener->poll, UV_READABLE, on_readable);
}

/* Whoever waits stays in the kernel's queue meanwhile. */
static void pause_accepting(struct listener *listener, int error)
{
	log_repeat_event(&listener->shortage, clock_monotonic_ms(),
			 log_text("why", strerror(error)));
	uv_poll_stop(&listener->poll);
	uv_timer_start(&listener->pause, resume, PAUSE_MS, 0);
}

static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

enum accepted { ACCEPTED, NOBODY, SHORT };

static enum accepted accept_one(struct listener *listener)
{
	for (;;) {
		struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
		socklen_t len = sizeof(peer);
		int fd = accept4(listener->fd, (struct sockaddr *)&peer, &len,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			listener->accepted(listener->context, fd, (struct sockaddr *)&peer);
			return ACCEPTED;
		}
		if (is_shortage(errno))
			return SHORT;
		if (errno == EAGAIN || errno == EBADF || errno == EINVAL)
			return NOBODY;
		/* else it was gone before it was here */
	}
}

static void note_no_shortage(struct listener *listener)
{
	struct log_repeat *shortage = &listener->shortage;
	int64_t now_ms;

	if (!shortage->is_on && shortage->unsaid == 0)
		return;
	now_ms = clock_monotonic_ms();
	log_repeat_ends(shortage, now_ms, "connections are accepted again");
	log_repeat_tick(shortage, now_ms);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct listener *listener = poll->data;
	enum accepted result = ACCEPTED;

	(void)status;
	(void)events;
	for (int i = 0; i < BATCH && result == ACCEPTED; i++)
		result = accept_one(listener);
	if (result == SHORT)
		pause_accepting(listener, errno);
	else
		note_no_shortage(listener);
}

static void forget_handle(uv_handle_t *handle)
{
	struct listener *listener = handle->data;

	if (--listener->open_handles == 0)
		free(listener);
}

struct listener *listener_open(const struct config *config, int fd, struct uv_loop_s *loop,
			       listener_accepted *accepted, void *context)
{
	struct listener *listener = xcalloc(1, sizeof(*listener));
	const int on = 1;

	listener->fd = fd;
	listener->path = listen_socket_path(config);
	listen_socket_describe(config, fd, listener->address);
	if (!listener->path) /* what is accepted inherits it */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	listener->accepted = accepted;
	listener->shortage = (struct log_repeat){.level = LOG_WARN,
						 .message = "cannot accept connections for now"};
	listener->context = context;
	uv_poll_init(loop, &listener->poll, listener->fd);
	uv_timer_init(loop, &listener->pause);
	listener->poll.data = listener->pause.data = listener;
	listener->open_handles = 2;
	uv_poll_start(&listener->poll, UV_READABLE, on_readable);
	return listener;
}

static void let_go(struct listener *listener)
{
	uv_poll_stop(&listener->poll);
	close(listener->fd);
	uv_close((uv_handle_t *)&listener->poll, forget_handle);
	uv_close((uv_handle_t *)&listener->pause, forget_handle);
}

static void empty_queue(struct listener *listener)
{
	for (int i = 0; i < LISTEN_BACKLOG && accept_one(listener) == ACCEPTED; i++)
		;
}

void listener_close(struct listener *listener)
{
	if (!listener)
		return;
	if (listener->path)
		unlink(listener->path);
	else
		listen(listener->fd, 0); /* nobody new joins the queue */
	empty_queue(listener);
	let_go(listener);
}

void listener_leave(struct listener *listener)
{
	empty_queue(listener);
	let_go(listener);
}

int listener_fd(const struct listener *listener)
{
	return listener->fd;
}

const char *listener_address(const struct listener *listener)
{
	return listener->address;
}
