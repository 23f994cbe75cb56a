/*
 * What a client missed, streamed to it from the database: in batches of bounded work, for at most a
 * third of the loop's time, and only as fast as the client takes it. So a replay of any length
 * neither delays the pushes of others by more than a batch nor fills an outbox.
 *
 * While a session has a replay, the fan-out passes it by: the replay reads on until it has caught
 * up with the feed, in the same thread, so that nothing falls between the two.
 */
#ifndef GATEWAY_REPLAY_H
#define GATEWAY_REPLAY_H

#include <stdint.h>

struct gateway;
struct replay;
struct replays;
struct session;

/* All replays of a gateway. The timer closes with the loop's next turn. */
struct replays *replays_new(struct gateway *gateway);
void replays_free(struct replays *replays);

/* The session, which has just been told auth_ok, gets the pushes after `position`. */
struct replay *replay_start(struct replays *replays, struct session *session, int64_t position);

/* The client has taken what it was sent. */
void replay_continue(struct replay *replay);

/* The session ends. NULL is allowed. */
void replay_stop(struct replay *replay);

#endif
