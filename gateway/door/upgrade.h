/*
 * From an accepted connection to a WebSocket: its request is read, judged (admission.h), and either
 * answered with a refusal or handed on to the transport. A slow client has `handshake_timeout` in
 * all for its request. When too many have not authenticated yet, some make room.
 */
#ifndef GATEWAY_UPGRADE_H
#define GATEWAY_UPGRADE_H

#include <stdbool.h>
#include <sys/socket.h>

#include "gateway/door/admission.h"

struct upgrades;
struct websockets;

/* All are borrowed. */
struct upgrades_parts {
	struct admission admission; /* without `trusted`, see upgrades_configure */
	struct uv_loop_s *loop;
	struct counters *counters;
	struct websockets *websockets;
};

struct upgrades *upgrades_open(const struct upgrades_parts *parts);

/* Closes those that are under way; the uv loop must run once more for each of them. NULL is
 * allowed. */
void upgrades_close(struct upgrades *upgrades);

/* The same, but more may come. */
void upgrades_end_all(struct upgrades *upgrades);

/* Takes the configuration as it is now. */
void upgrades_configure(struct upgrades *upgrades);

/* A listener_accepted; `context` is the upgrades. */
void upgrade_begin(void *context, int fd, const struct sockaddr *peer);

/* True while a handshake is under way. */
bool upgrades_pending(const struct upgrades *upgrades);

/* Ends those whose time is over, and writes the log lines that are due. */
void upgrades_on_tick(struct upgrades *upgrades);

#endif
