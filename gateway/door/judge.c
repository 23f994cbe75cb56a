/* Who may come in, see judge.h. State: the words of one answer. */
#include "gateway/door/judge.h"

#include "gateway/client/clients.h"
#include "gateway/presence/tally.h"
#include "shared/contract/forwarded_for.h"
#include "shared/contract/origin.h"
#include "shared/database/cluster_reader.h"
#include "shared/database/registry.h"

#define REDIS_AWAY "unavailable: Redis away: "

/* The answer to GET /readyz. */
static const struct refusal *readiness(const struct judge *judge)
{
	static char text[STANDING_WHY_SIZE + sizeof(REDIS_AWAY)];
	static const struct refusal away = {.status = 503, .text = text};
	struct cluster_standing standing = {.is_away = false};
	struct registered_topic found;
	enum database_status status =
		registry_find(judge->registry, TOPIC_STATUS, strlen(TOPIC_STATUS), NULL, &found);

	if (status == DATABASE_OK && judge->cluster)
		status = cluster_reader_standing(judge->cluster, &standing);
	if (status != DATABASE_OK)
		return &refusal_unavailable;
	if (!standing.is_away)
		return &answer_ready;
	snprintf(text, sizeof(text), REDIS_AWAY "%s", standing.why);
	return &away;
}

const struct refusal *judge_request(const struct judge *judge, const struct handshake *handshake,
				    struct client_address peer, char topic[TOPIC_MAX_BYTES],
				    struct newcomer *newcomer)
{
	const struct config *config = judge->config;
	size_t most = (size_t)config->max_connections;
	size_t most_of_one = (size_t)config->max_connections_per_address;
	struct slice origin = handshake->origin; /* only browsers send it */
	struct registered_topic found;
	const struct refusal *refusal;

	if (handshake_is_for(handshake, "/readyz"))
		return readiness(judge);
	refusal = handshake_topic(handshake, topic, &newcomer->topic_len);
	if (refusal)
		return refusal;
	newcomer->transport =
		handshake_is_for(handshake, "/stream") ? TRANSPORT_STREAM : TRANSPORT_WEBSOCKET;
	newcomer->topic = topic;
	newcomer->address = forwarded_for_resolve(
		config->trusted_proxies, peer, handshake->forwarded_for, handshake->forwarded_len);
	if (!origin_is_allowed(config->allowed_origins, origin.at, origin.len))
		return &refusal_origin;
	if (clients_count(judge->clients) >= judge->limits.connections ||
	    (most > 0 && tally_connections(judge->tally) >= most))
		return &refusal_full;
	/* Clients of unknown address (a UNIX socket, no X-Forwarded-For) are not all one. */
	if (most_of_one > 0 && !client_address_is_unknown(&newcomer->address) &&
	    tally_of(judge->tally, &newcomer->address) >= most_of_one)
		return &refusal_address_full;
	if (registry_find(judge->registry, topic, newcomer->topic_len, NULL, &found) != DATABASE_OK)
		return &refusal_unavailable;
	if (!found.registered)
		return &refusal_not_registered;
	return newcomer->transport == TRANSPORT_STREAM ? handshake_body(handshake, &newcomer->body)
						       : handshake_upgrade(handshake);
}
