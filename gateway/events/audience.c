/* Who is there, see audience.h. State: two indexes of members and a count. */
#include "gateway/events/audience.h"

#include "shared/base/alloc.h"

struct audience {
	struct presence *presence;
	struct subscriptions topics;
	struct subscriptions users; /* the name is the eight bytes of the user's id */
	size_t sockets;
};

struct audience *audience_new(struct presence *presence)
{
	struct audience *audience = xcalloc(1, sizeof(*audience));

	audience->presence = presence;
	return audience;
}

void audience_free(struct audience *audience)
{
	if (!audience)
		return;
	subscriptions_clear(&audience->topics);
	subscriptions_clear(&audience->users);
	free(audience);
}

/* A client is a user, or an anonymous socket; all of these are of user 0. */
static void tell_presence(const struct audience *audience)
{
	const struct topic *anonymous = audience_of_user(audience, 0);
	size_t clients = audience->users.count + (anonymous ? anonymous->count - 1 : 0);
	struct presence_audience now = {
		.sockets = (int64_t)audience->sockets,
		.topics = (int64_t)audience->topics.count,
		.clients = (int64_t)clients,
	};

	presence_set_audience(audience->presence, now);
}

void audience_join(struct audience *audience, struct member *member, const char *topic,
		   size_t topic_len, int64_t expires_s, const struct client_address *address,
		   enum transport transport)
{
	subscriptions_add(&audience->topics, &member->by_topic, topic, topic_len);
	subscriptions_add(&audience->users, &member->by_user, (const char *)&member->user_id,
			  sizeof(member->user_id));
	audience->sockets++;
	/* Presence borrows the topic for as long as the member is there. */
	member->slot = presence_join(audience->presence, member->by_topic.topic->name, topic_len,
				     member->user_id, expires_s, address, transport);
	tell_presence(audience);
}

void audience_leave(struct audience *audience, struct member *member)
{
	if (!member->by_topic.topic)
		return;
	presence_leave(audience->presence, member->slot);
	subscriptions_remove(&audience->topics, &member->by_topic);
	subscriptions_remove(&audience->users, &member->by_user);
	audience->sockets--;
	tell_presence(audience);
}

struct topic *audience_of_topic(const struct audience *audience, const char *topic, size_t len)
{
	return subscriptions_find(&audience->topics, topic, len);
}

struct topic *audience_of_user(const struct audience *audience, int64_t user_id)
{
	return subscriptions_find(&audience->users, (const char *)&user_id, sizeof(user_id));
}
