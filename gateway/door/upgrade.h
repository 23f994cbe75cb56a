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

#include "gateway/door/limits.h"

struct clients;
struct counters;
struct questions;
struct registry;
struct tally;
struct upgrades;
struct uv_loop_s;
struct transports;

/* All pointers are borrowed. */
struct upgrades_parts {
	const struct config *config; /* may change in place */
	struct limits limits;
	struct uv_loop_s *loop;
	struct clients *clients;
	struct registry *registry;
	struct cluster_reader *cluster; /* NULL: there is no redis_url */
	struct questions *questions; /* NULL likewise */
	const struct tally *tally;
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

/* True while a handshake is under way. */
bool upgrades_pending(const struct upgrades *upgrades);

/* Ends those whose time is over, and writes the log lines that are due. */
void upgrades_on_tick(struct upgrades *upgrades);

#endif
