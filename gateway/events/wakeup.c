/*
 * Datagram and timer, see wakeup.h. State: the socket and its uv handles. Never blocks. Each
 * failure costs at most a second of latency: the timer looks too.
 *
 * Whatever the reason to look, it is done before the loop waits for its sockets again (an idle
 * handle also keeps it from sleeping). Once the time of the next look is set, taps wait for it.
 */
#include "gateway/events/wakeup.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "shared/base/alloc.h"
#include "shared/base/held_file.h"
#include "shared/base/state_dir.h"
#include "shared/base/unix_socket.h"

enum { HANDLES = 3, DRAIN_MAX = 1024 };

struct wakeup {
	uv_poll_t poll; /* stopped while taps wait */
	uv_timer_t timer;
	uv_idle_t turn; /* runs while a look is due */
	int open_handles;
	int fd;
	int handed_fd; /* see wakeup_take_fd */
	uint64_t interval_ms;
	bool is_ours; /* the path */
	struct held_file file;
	wakeup_look *look;
	void *context;
	char path[STATE_DIR_PATH_SIZE]; /* "": of a worker, which has none */
};

static void on_timer(uv_timer_t *timer);

int wakeup_take_fd(struct wakeup *wakeup)
{
	int fd = wakeup->handed_fd;

	wakeup->handed_fd = -1;
	return fd;
}

static void on_turn(uv_idle_t *turn)
{
	struct wakeup *wakeup = turn->data;
	int again_ms = wakeup->look(wakeup->context);

	if (again_ms == 0)
		return;
	uv_idle_stop(&wakeup->turn);
	if (again_ms == WAKEUP_WHEN_TAPPED)
		return;
	uv_poll_stop(&wakeup->poll);
	uv_timer_start(&wakeup->timer, on_timer, (uint64_t)again_ms, wakeup->interval_ms);
}

/* Taps that wait together count as one. Whoever taps may stay connected to this socket for as long
 * as it is open: once the path is a successor's, taps are passed on. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct wakeup *wakeup = poll->data;
	bool is_worker = !wakeup->path[0];
	char tap[1];
	int fd = -1;

	(void)status;
	(void)events;
	for (int i = 0; i < DRAIN_MAX && (is_worker ? unix_receive_fd(wakeup->fd, &fd)
						    : recv(wakeup->fd, tap, 1, MSG_DONTWAIT) >= 0);
	     i++) {
		if (fd >= 0 && wakeup->handed_fd >= 0)
			close(wakeup->handed_fd);
		if (fd >= 0)
			wakeup->handed_fd = fd;
	}
	if (!wakeup->is_ours && !is_worker && (fd = unix_connect(wakeup->path, SOCK_DGRAM)) >= 0) {
		send(fd, "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		close(fd);
	}
	uv_idle_start(&wakeup->turn, on_turn);
}

static void on_timer(uv_timer_t *timer)
{
	struct wakeup *wakeup = timer->data;
	enum held_file_state state = HELD_FILE_IN_PLACE;
	int fd = -1;

	if (wakeup->is_ours) {
		state = held_file_look(&wakeup->file);
		held_file_note(&wakeup->file, state);
	}
	if (state != HELD_FILE_IN_PLACE) /* nobody new can find the socket */
		fd = unix_datagram_bind(wakeup->path);
	if (fd >= 0) { /* otherwise it is tried again in a second */
		uv_poll_stop(&wakeup->poll);
		dup3(fd, wakeup->fd, O_CLOEXEC); /* whoever has the old one will connect again */
		close(fd);
		held_file_take(&wakeup->file, wakeup->path, WAKEUP_SOCKET_NAME, 0600);
		held_file_note(&wakeup->file, HELD_FILE_IN_PLACE);
	}
	uv_poll_start(&wakeup->poll, UV_READABLE, on_readable);
	uv_idle_start(&wakeup->turn, on_turn);
}

static void run_timer(struct wakeup *wakeup, uint64_t interval_ms)
{
	wakeup->interval_ms = interval_ms;
	uv_timer_start(&wakeup->timer, on_timer, interval_ms, interval_ms);
}

struct wakeup *wakeup_open(struct uv_loop_s *loop, const char *state_dir, int fd, wakeup_look *look,
			   void *context)
{
	struct wakeup *wakeup = xcalloc(1, sizeof(*wakeup));

	wakeup->fd = fd;
	wakeup->handed_fd = -1;
	wakeup->look = look;
	wakeup->context = context;
	if (fd < 0) {
		if (state_dir_file(state_dir, WAKEUP_SOCKET_NAME, wakeup->path))
			wakeup->fd = unix_datagram_bind(wakeup->path);
		if (wakeup->fd < 0) {
			free(wakeup);
			return NULL;
		}
		wakeup->is_ours = true;
		held_file_take(&wakeup->file, wakeup->path, WAKEUP_SOCKET_NAME, 0600);
	}
	uv_poll_init(loop, &wakeup->poll, wakeup->fd);
	uv_timer_init(loop, &wakeup->timer);
	uv_idle_init(loop, &wakeup->turn);
	wakeup->poll.data = wakeup->timer.data = wakeup->turn.data = wakeup;
	wakeup->open_handles = HANDLES;
	uv_poll_start(&wakeup->poll, UV_READABLE, on_readable);
	run_timer(wakeup, WAKEUP_INTERVAL_MS);
	return wakeup;
}

void wakeup_hand_over(struct wakeup *wakeup)
{
	wakeup->is_ours = false;
	run_timer(wakeup, WAKEUP_DRAIN_MS);
}

static void forget_handle(uv_handle_t *handle)
{
	struct wakeup *wakeup = handle->data;

	if (--wakeup->open_handles > 0)
		return;
	held_file_release(&wakeup->file);
	free(wakeup);
}

void wakeup_close(struct wakeup *wakeup)
{
	if (!wakeup)
		return;
	uv_close((uv_handle_t *)&wakeup->poll, forget_handle);
	uv_close((uv_handle_t *)&wakeup->timer, forget_handle);
	uv_close((uv_handle_t *)&wakeup->turn, forget_handle);
	if (wakeup->is_ours)
		unlink(wakeup->path);
	close(wakeup->fd);
	if (wakeup->handed_fd >= 0)
		close(wakeup->handed_fd);
}
