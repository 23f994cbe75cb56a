/*
 * From an accepted connection to a WebSocket: its request is read and judged by the contract, by
 * the limits, by its origin and its topic, and either answered with a refusal or handed on to the
 * transport. A slow client has `handshake_timeout` in all for its request. When too many have not
 * authenticated yet, some make room.
 */
#ifndef GATEWAY_UPGRADE_H
#define GATEWAY_UPGRADE_H

#include <stdbool.h>
#include <sys/socket.h>

#include "gateway/door/judge.h"

struct counters;
struct questions;
struct upgrades;
struct uv_loop_s;
struct transports;

/* All pointers are borrowed. */
struct upgrades_parts {
	struct judge judge;
	struct uv_loop_s *loop;
	struct questions *questions; /* NULL: there is no redis_url */
	struct counters *counters;
	struct transports *transports;
};

struct upgrades *upgrades_open(const struct upgrades_parts *parts);

/* Closes those that are under way; the uv loop must run once more for each of them. NULL is
 * allowed. */
void upgrades_close(struct upgrades *upgrades);

/* The same, but more may come. */
void upgrades_end_all(struct upgrades *upgrades);

/* `fd` now belongs to the callee: non-blocking, close-on-exec, without delay. */
void upgrade_begin(struct upgrades *upgrades, int fd, const struct sockaddr *peer);

/* True while any handshake is under way. */
bool upgrades_pending(const struct upgrades *upgrades);

/* Ends those whose time is over, and writes the log lines that are due. */
void upgrades_on_tick(struct upgrades *upgrades);

#endif
