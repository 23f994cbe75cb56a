/*
 * Who is connected and authenticated, by topic and by user: each connection is in it once, from its
 * authentication until it ends. Presence is told too, so that the database shows the same. Belongs
 * to the event loop's thread; never blocks.
 */
#ifndef GATEWAY_AUDIENCE_H
#define GATEWAY_AUDIENCE_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/events/subscriptions.h"
#include "gateway/presence/presence.h"

/* Embedded in whatever is connected; zeroed before its first use. */
struct member {
	struct subscriber by_topic; /* its topic is NULL until it joins */
	struct subscriber by_user;
	int64_t user_id; /* 0: anonymous */
	uint32_t slot; /* presence's */
};

struct audience;

/* `presence` is borrowed. */
struct audience *audience_new(struct presence *presence);

/* Members that are still in it are left as they are. NULL is allowed. */
void audience_free(struct audience *audience);

/* member->user_id must be set. `expires_s` is its token's; 0 when it needed none. */
void audience_join(struct audience *audience, struct member *member, const char *topic,
		   size_t topic_len, int64_t expires_s, const struct client_address *address,
		   enum transport transport);

/* Does nothing when it has not joined. */
void audience_leave(struct audience *audience, struct member *member);

/* The members of a topic (their by_topic), or of a user (by_user; user 0: the anonymous ones). NULL
 * when there are none. */
struct topic *audience_of_topic(const struct audience *audience, const char *topic, size_t len);
struct topic *audience_of_user(const struct audience *audience, int64_t user_id);

#endif
