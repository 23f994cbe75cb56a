/*
 * What a client missed, streamed to it from the database: in batches of bounded work, for at most a
 * third of the loop's time unless that has not been enough for long, and only as fast as the client
 * takes it. So a replay, however long, neither delays other pushes by more than a batch nor fills
 * an outbox.
 *
 * While a session has a replay, the fan-out passes it by: the replay reads on until it has caught
 * up with the feed, in the same thread, so nothing falls between the two. But see replay_pass.
 */
#ifndef GATEWAY_REPLAY_H
#define GATEWAY_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/client/delivery.h"

struct client_position;
struct feed;
struct replay;
struct replays;
struct session;
struct uv_loop_s;

/* Called from the loop for a session whose replay can go on: it calls replay_proceed. */
typedef void replay_turn(struct session *session);

/* All replays. `feed` and `loop` are borrowed. The handles close with the loop's next turn. */
struct replays *replays_new(struct uv_loop_s *loop, struct feed *feed, replay_turn *turn);

/* NULL is allowed. */
void replays_free(struct replays *replays);

/* The session, which has just been told auth_ok, gets the pushes after event `after_id`; in a
 * cluster those that `client` does not cover, which the replay now owns (NULL: a single node). */
struct replay *replay_start(struct replays *replays, struct session *session, int64_t after_id,
			    struct client_position *client);

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

/* In a cluster a client may have had, elsewhere, what has yet to come here. Until it has come, the
 * replay stays, caught up with the feed, and lets through from the fan-out what the client has not
 * had: the pushes of `batch` from number `first` on. One that has not caught up yet is
 * REPLAY_GOES_ON: it will come to them. */
enum replay_outcome replay_pass(struct replay *replay, const struct batch *batch, size_t first,
				enum delivery *delivery);

/* REPLAY_DONE when a replay that has caught up has nothing left to wait for. */
enum replay_outcome replay_check(const struct replay *replay);

/* True when it stays only for what has yet to come. */
bool replay_has_caught_up(const struct replay *replay);

/* True when the client has had that event of another node. */
bool replay_covers(const struct replay *replay, uint64_t node, int64_t number);

/* NULL is allowed. */
void replay_stop(struct replay *replay);

#endif
