/*
 * Judging a request, and adopting its connection: see admission.h. No state of its own: the limits,
 * the counts by address and the queue of those that wait are the gateway's. The checks run in the
 * order of the contract; whatever needs the database comes after whatever keeps a flood out.
 */
#include "gateway/door/admission.h"

#include "gateway/client/pending.h"
#include "gateway/client/websocket.h"
#include "gateway/door/forwarded_for.h"
#include "gateway/door/upgrade.h"
#include "gateway/gateway.h"
#include "shared/contract/origin.h"

/* Only browsers say where a page comes from. */
static bool is_from_elsewhere(const struct config *config, struct slice origin)
{
	return origin.at && *config->allowed_origins &&
	       !origin_is_listed(config->allowed_origins, origin.at, origin.len);
}

/* Clients whose address is not known (a UNIX socket, no X-Forwarded-For) are not one client. */
static bool has_too_many(struct gateway *gateway, const struct client_address *address)
{
	int64_t max = gateway->config->max_connections_per_address;

	return max > 0 && !client_address_is_unknown(address) &&
	       tally_of(gateway->tally, address) >= (size_t)max;
}

static bool is_full(struct gateway *gateway)
{
	int64_t max = gateway->config->max_connections;

	return clients_count(gateway->clients) >= gateway->limits.connections ||
	       (max > 0 && tally_connections(gateway->tally) >= (size_t)max);
}

static const struct refusal *judge_limits(struct gateway *gateway,
					  const struct handshake *handshake,
					  const struct client_address *address)
{
	if (is_from_elsewhere(gateway->config, handshake->origin))
		return &refusal_origin;
	if (is_full(gateway))
		return &refusal_full;
	return has_too_many(gateway, address) ? &refusal_address_full : NULL;
}

static const struct refusal *judge_topic(struct gateway *gateway, const char *topic,
					 size_t topic_len)
{
	struct registered_topic found;

	if (registry_find(gateway->registry, topic, topic_len, &found) != DATABASE_OK)
		return &refusal_unavailable;
	return found.registered ? NULL : &refusal_not_registered;
}

const struct refusal *admission_judge(struct gateway *gateway, int fd, struct client_address peer,
				      const struct handshake *handshake, const char *bytes,
				      size_t len)
{
	char topic[TOPIC_MAX_BYTES], request[HANDSHAKE_CANONICAL_SIZE + HANDSHAKE_MAX_BYTES];
	struct newcomer newcomer = {
		.topic = topic,
		.address = forwarded_for_resolve(gateway->trusted, peer, handshake->forwarded_for,
						 handshake->forwarded_len),
	};
	const struct refusal *refusal = handshake_topic(handshake, topic, &newcomer.topic_len);

	if (!refusal)
		refusal = judge_limits(gateway, handshake, &newcomer.address);
	if (!refusal)
		refusal = judge_topic(gateway, topic, newcomer.topic_len);
	if (!refusal)
		refusal = handshake_upgrade(handshake);
	if (refusal)
		return refusal;

	size_t request_len = handshake_canonical(handshake, request);
	size_t rest = len - handshake->head_len;
	memcpy(request + request_len, bytes + handshake->head_len, rest);
	websockets_adopt(gateway->websockets, fd, request, request_len + rest, &newcomer);
	return NULL;
}

void admission_make_room(struct gateway *gateway)
{
	struct pending_list *pending = clients_pending(gateway->clients);

	while (pending->count > gateway->limits.pending) {
		struct pending *first = pending_first(pending);

		if (first->kind == PENDING_HANDSHAKE)
			upgrade_give_way(first);
		else if (session_give_way(first))
			refusals_log(gateway->refusals, COUNT_REFUSED_PENDING_FULL);
	}
}
