/* Who is there, see audience.h. State: two indexes of sessions and a count. */
#include "gateway/events/audience.h"

#include "gateway/gateway.h"
#include "gateway/client/session_internal.h"

void audience_init(struct audience *audience)
{
	audience->topics = subscriptions_new();
	audience->users = subscriptions_new();
}

void audience_clear(struct audience *audience)
{
	subscriptions_free(audience->topics);
	subscriptions_free(audience->users);
}

/* Different users; each anonymous socket is one. */
static size_t count_clients(const struct audience *audience)
{
	size_t users = subscriptions_topics(audience->users);
	size_t anonymous = audience->anonymous_sockets;

	return anonymous > 0 ? users - 1 + anonymous : users;
}

static void tell_presence(struct gateway *gateway)
{
	const struct audience *audience = &gateway->audience;

	presence_headcount(gateway->presence,
			   (struct presence_headcount){
				   .sockets = (int64_t)audience->sockets,
				   .topics = (int64_t)subscriptions_topics(audience->topics),
				   .clients = (int64_t)count_clients(audience),
			   });
}

void audience_join(struct session *session)
{
	struct gateway *gateway = session->gateway;
	struct audience *audience = &gateway->audience;
	size_t topic_len;

	subscriptions_add(audience->topics, &session->subscriber, session->topic,
			  session->topic_len);
	subscriptions_add(audience->users, &session->by_user, (const char *)&session->user_id,
			  sizeof(session->user_id));
	audience->sockets++;
	audience->anonymous_sockets += session->user_id == 0;
	free(session->topic);
	session->topic = NULL;

	const char *topic = topic_name(session->subscriber.topic, &topic_len);
	session->slot = presence_join(gateway->presence, topic, topic_len, session->user_id,
				      session->expires_s, &session->address);
	tell_presence(gateway);
}

void audience_leave(struct session *session)
{
	struct gateway *gateway = session->gateway;
	struct audience *audience = &gateway->audience;

	if (!session->subscriber.topic)
		return;
	presence_leave(gateway->presence, session->slot); /* it borrows the topic */
	subscriptions_remove(audience->topics, &session->subscriber);
	subscriptions_remove(audience->users, &session->by_user);
	audience->sockets--;
	audience->anonymous_sockets -= session->user_id == 0;
	tell_presence(gateway);
}

struct subscriber *const *audience_of_user(const struct audience *audience, int64_t user_id,
					   size_t *count)
{
	const struct topic *user =
		subscriptions_find(audience->users, (const char *)&user_id, sizeof(user_id));

	*count = 0;
	return user ? topic_subscribers(user, count) : NULL;
}
