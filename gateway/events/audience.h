/*
 * Who is connected and authenticated, by topic and by user: each open session is in it once, from
 * authentication until it ends. Presence is told, so that the database shows the same. Belongs to
 * the event loop's thread; never blocks.
 */
#ifndef GATEWAY_AUDIENCE_H
#define GATEWAY_AUDIENCE_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/events/subscriptions.h"

struct gateway;
struct session;

struct audience {
	struct subscriptions *topics;
	struct subscriptions *users; /* the name is the eight bytes of the user's id */
	size_t sockets, anonymous_sockets;
};

void audience_init(struct audience *audience);

/* Sessions that are still in it are left as they are. */
void audience_clear(struct audience *audience);

/* The session's topic and user are known. It takes the name of its topic over. */
void audience_join(struct session *session);

/* Does nothing when it has not joined. */
void audience_leave(struct session *session);

/* The sockets of a user, to be walked as topic_subscribers says; session_of_user finds the session.
 * Those of user 0 are the anonymous ones. */
struct subscriber *const *audience_of_user(const struct audience *audience, int64_t user_id,
					   size_t *count);

#endif
