/*
 * What a client missed, streamed to it from the database: in batches of bounded work, for at most a
 * third of the loop's time, and only as fast as the client takes it. So a replay, however long,
 * neither delays other pushes by more than a batch nor fills an outbox.
 *
 * While a session has a replay, the fan-out passes it by: the replay reads on until it has caught
 * up with the feed, in the same thread, so nothing falls between the two.
 */
#ifndef GATEWAY_REPLAY_H
#define GATEWAY_REPLAY_H

#include <stdint.h>

#include "gateway/client/delivery.h"

struct feed;
struct replay;
struct replays;
struct session;
struct uv_loop_s;

/* Called from the loop for a session whose replay can go on: it calls replay_proceed. */
typedef void replay_turn(struct session *session);

/* All replays. `feed` and `loop` are borrowed. The timer closes with the loop's next turn. */
struct replays *replays_new(struct uv_loop_s *loop, struct feed *feed, replay_turn *turn);

/* NULL is allowed. */
void replays_free(struct replays *replays);

/* The session, which has just been told auth_ok, gets the pushes after `position`. */
struct replay *replay_start(struct replays *replays, struct session *session, int64_t position);

enum replay_outcome {
	REPLAY_GOES_ON, /* with the next turn, or after replay_continue */
	REPLAY_DONE, /* it has caught up with the feed */
	REPLAY_GAP, /* events that it had not reached were pruned */
	REPLAY_UNAVAILABLE /* the database cannot be read */
};

/* One batch. *delivery is what became of the last push sent. */
enum replay_outcome replay_proceed(struct replay *replay, enum delivery *delivery);

/* The client has taken what it was sent. */
void replay_continue(struct replay *replay);

/* NULL is allowed. */
void replay_stop(struct replay *replay);

#endif
