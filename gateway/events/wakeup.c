/*
 * Datagram and timer, see wakeup.h. State: the socket and its uv handles. Never blocks. Each
 * failure costs at most a second of latency: the timer looks too.
 *
 * Whatever the reason to look, it is done after the turn's sockets (a uv_check_t, with an idle
 * handle so that the loop does not sleep first). Once the time of the next look is set, taps wait
 * for it.
 */
#include "gateway/events/wakeup.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "shared/base/alloc.h"
#include "shared/database/file_identity.h"
#include "shared/base/log.h"
#include "shared/base/unix_socket.h"

enum { HANDLES = 5, DRAIN_MAX = 1024 };

struct wakeup {
	uv_poll_t poll;
	uv_timer_t timer;
	uv_check_t turn; /* these two run while a look is due */
	uv_idle_t awake;
	uv_timer_t pause; /* runs while the time of the next look is set */
	int open_handles;
	int fd;
	bool is_ours; /* the path */
	struct file_identity file;
	wakeup_look *look;
	void *context;
	char path[UNIX_SOCKET_PATH_MAX + 1]; /* "": of a worker, which has none */
};

static void on_turn(uv_check_t *turn);
static void on_pause_over(uv_timer_t *pause);
static void on_readable(uv_poll_t *poll, int status, int events);

static void stay_awake(uv_idle_t *awake)
{
	(void)awake;
}

static void look_soon(struct wakeup *wakeup)
{
	if (uv_is_active((uv_handle_t *)&wakeup->pause))
		return;
	uv_check_start(&wakeup->turn, on_turn);
	uv_idle_start(&wakeup->awake, stay_awake);
}

static void on_turn(uv_check_t *turn)
{
	struct wakeup *wakeup = turn->data;
	int again_ms = wakeup->look(wakeup->context);

	if (again_ms == 0)
		return;
	uv_check_stop(&wakeup->turn);
	uv_idle_stop(&wakeup->awake);
	if (again_ms == WAKEUP_WHEN_TAPPED)
		return;
	uv_poll_stop(&wakeup->poll);
	uv_timer_start(&wakeup->pause, on_pause_over, (uint64_t)again_ms, 0);
}

static void on_pause_over(uv_timer_t *pause)
{
	struct wakeup *wakeup = pause->data;

	uv_poll_start(&wakeup->poll, UV_READABLE, on_readable);
	look_soon(wakeup);
}

/* Whoever taps may stay connected to this socket for as long as it is open. */
static void pass_on(const struct wakeup *wakeup)
{
	int fd = unix_datagram_connect(wakeup->path);

	if (fd < 0)
		return;
	send(fd, "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
}

/* Somebody has deleted the socket's file: nobody new can find it. */
static void mend(struct wakeup *wakeup)
{
	int fd = unix_datagram_bind(wakeup->path);

	if (fd < 0)
		return; /* again in a second */
	log_event(LOG_WARN, WAKEUP_SOCKET_NAME " was gone, made it anew");
	uv_poll_stop(&wakeup->poll);
	dup2(fd, wakeup->fd); /* whoever is connected to the old one will connect again */
	close(fd);
	fcntl(wakeup->fd, F_SETFD, FD_CLOEXEC);
	wakeup->file = file_identity_of(wakeup->path);
	if (!uv_is_active((uv_handle_t *)&wakeup->pause))
		uv_poll_start(&wakeup->poll, UV_READABLE, on_readable);
}

static void on_timer(uv_timer_t *timer)
{
	struct wakeup *wakeup = timer->data;

	look_soon(wakeup);
	if (wakeup->is_ours && !file_identity_same(wakeup->file, file_identity_of(wakeup->path)))
		mend(wakeup);
}

/* Taps that wait together count as one. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct wakeup *wakeup = poll->data;
	char tap[1];

	(void)status;
	(void)events;
	for (int i = 0; i < DRAIN_MAX && recv(wakeup->fd, tap, sizeof(tap), MSG_DONTWAIT) >= 0; i++)
		;
	if (!wakeup->is_ours && wakeup->path[0])
		pass_on(wakeup);
	look_soon(wakeup);
}

static struct wakeup *start(struct wakeup *wakeup, struct uv_loop_s *loop)
{
	uv_poll_init(loop, &wakeup->poll, wakeup->fd);
	uv_timer_init(loop, &wakeup->timer);
	uv_check_init(loop, &wakeup->turn);
	uv_idle_init(loop, &wakeup->awake);
	uv_timer_init(loop, &wakeup->pause);
	wakeup->poll.data = wakeup->timer.data = wakeup->turn.data = wakeup->awake.data =
		wakeup->pause.data = wakeup;
	wakeup->open_handles = HANDLES;
	uv_poll_start(&wakeup->poll, UV_READABLE, on_readable);
	uv_timer_start(&wakeup->timer, on_timer, WAKEUP_INTERVAL_MS, WAKEUP_INTERVAL_MS);
	return wakeup;
}

struct wakeup *wakeup_open(struct uv_loop_s *loop, const char *state_dir, wakeup_look *look_now,
			   void *context)
{
	struct wakeup *wakeup = xcalloc(1, sizeof(*wakeup));
	int len = snprintf(wakeup->path, sizeof(wakeup->path), "%s/%s", state_dir,
			   WAKEUP_SOCKET_NAME);

	errno = ENAMETOOLONG;
	wakeup->fd = len > 0 && (size_t)len < sizeof(wakeup->path)
			     ? unix_datagram_bind(wakeup->path)
			     : -1;
	if (wakeup->fd < 0) {
		free(wakeup);
		return NULL;
	}
	wakeup->is_ours = true;
	wakeup->file = file_identity_of(wakeup->path);
	wakeup->look = look_now;
	wakeup->context = context;
	return start(wakeup, loop);
}

struct wakeup *wakeup_inherit(struct uv_loop_s *loop, int fd, wakeup_look *look_now, void *context)
{
	struct wakeup *wakeup = xcalloc(1, sizeof(*wakeup));

	wakeup->fd = fd;
	wakeup->look = look_now;
	wakeup->context = context;
	return start(wakeup, loop);
}

static void forget_handle(uv_handle_t *handle)
{
	struct wakeup *wakeup = handle->data;

	if (--wakeup->open_handles == 0)
		free(wakeup);
}

void wakeup_hand_over(struct wakeup *wakeup)
{
	wakeup->is_ours = false;
	uv_timer_start(&wakeup->timer, on_timer, WAKEUP_DRAIN_MS, WAKEUP_DRAIN_MS);
}

void wakeup_close(struct wakeup *wakeup)
{
	if (!wakeup)
		return;
	uv_poll_stop(&wakeup->poll);
	if (wakeup->is_ours)
		unlink(wakeup->path);
	close(wakeup->fd);
	uv_close((uv_handle_t *)&wakeup->poll, forget_handle);
	uv_close((uv_handle_t *)&wakeup->timer, forget_handle);
	uv_close((uv_handle_t *)&wakeup->turn, forget_handle);
	uv_close((uv_handle_t *)&wakeup->awake, forget_handle);
	uv_close((uv_handle_t *)&wakeup->pause, forget_handle);
}
