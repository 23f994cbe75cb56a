/*
 * The tap on the gateway's shoulder, see notify.h. State: the path and a connected datagram socket.
 * Called after each commit that the gateway should see. Never blocks; every failure is left to the
 * gateway's timer.
 */
#include "shared/base/notify.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/state_dir.h"
#include "shared/base/unix_socket.h"

struct notify {
	char path[STATE_DIR_PATH_SIZE];
	int fd; /* -1: not connected */
};

struct notify *notify_new(const char *state_dir)
{
	struct notify *notify = xcalloc(1, sizeof(*notify));

	/* Where it is too long no gateway can be listening either. */
	state_dir_file(state_dir, WAKEUP_SOCKET_NAME, notify->path);
	notify->fd = -1;
	return notify;
}

void notify_free(struct notify *notify)
{
	if (!notify)
		return;
	if (notify->fd >= 0)
		close(notify->fd);
	free(notify);
}

void notify_gateway(struct notify *notify)
{
	/* Twice: a connected socket stays with a gateway that has ended; its successor is found by
	 * the path. */
	for (int attempt = 0; attempt < 2; attempt++) {
		int unread = 0;

		if (notify->fd < 0)
			notify->fd = unix_connect(notify->path, SOCK_DGRAM);
		/* A tap that waits does for this commit too: the gateway looks after it. */
		if (notify->fd < 0 || (ioctl(notify->fd, SIOCOUTQ, &unread) == 0 && unread > 0))
			return;
		if (send(notify->fd, "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 || errno == EAGAIN ||
		    errno == ENOBUFS)
			return; /* a full queue is full of taps */
		close(notify->fd);
		notify->fd = -1;
	}
}
