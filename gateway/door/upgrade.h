/*
 * From an accepted connection to a WebSocket: its request is read, judged (admission.h), and either
 * answered with a refusal or handed on. A slow client has `handshake_timeout` in all for its
 * request.
 */
#ifndef GATEWAY_UPGRADE_H
#define GATEWAY_UPGRADE_H

#include <stdbool.h>
#include <sys/socket.h>

struct gateway;
struct pending;
struct upgrades;

struct upgrades *upgrades_new(struct gateway *gateway);

/* Closes those that are under way; the uv loop must run once more for each of them. NULL is
 * allowed. */
void upgrades_free(struct upgrades *upgrades);

/* A listener_accepted; `context` is the gateway. */
void upgrade_begin(void *context, int fd, const struct sockaddr *peer);

/* Ends the handshake in which `pending` is embedded, because others need its place. */
void upgrade_give_way(struct pending *pending);

/* True while a handshake is under way. */
bool upgrades_pending(const struct upgrades *upgrades);

/* Ends those whose time is over. */
void upgrades_on_deadlines(struct upgrades *upgrades);

#endif
