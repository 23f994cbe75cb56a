/*
 * Judging a request, see admission.h. No state of its own. The checks run in the order of the
 * contract; whatever needs the database comes after whatever keeps a flood out.
 */
#include "gateway/door/admission.h"

#include "gateway/door/forwarded_for.h"
#include "gateway/events/registry.h"
#include "gateway/presence/tally.h"
#include "shared/contract/origin.h"

/* Only browsers say where a page comes from. */
static bool is_from_elsewhere(const struct config *config, struct slice origin)
{
	return origin.at && *config->allowed_origins &&
	       !origin_is_listed(config->allowed_origins, origin.at, origin.len);
}

/* Clients whose address is not known (a UNIX socket, no X-Forwarded-For) are not one client. */
static bool has_too_many(const struct admission *admission, const struct client_address *address)
{
	int64_t max = admission->config->max_connections_per_address;

	return max > 0 && !client_address_is_unknown(address) &&
	       tally_of(admission->tally, address) >= (size_t)max;
}

static bool is_full(const struct admission *admission)
{
	int64_t max = admission->config->max_connections;

	return clients_count(admission->clients) >= admission->limits->connections ||
	       (max > 0 && tally_connections(admission->tally) >= (size_t)max);
}

static const struct refusal *judge_limits(const struct admission *admission,
					  const struct handshake *handshake,
					  const struct client_address *address)
{
	if (is_from_elsewhere(admission->config, handshake->origin))
		return &refusal_origin;
	if (is_full(admission))
		return &refusal_full;
	return has_too_many(admission, address) ? &refusal_address_full : NULL;
}

static const struct refusal *judge_topic(const struct admission *admission, const char *topic,
					 size_t topic_len)
{
	struct registered_topic found;

	if (registry_find(admission->registry, topic, topic_len, &found) != DATABASE_OK)
		return &refusal_unavailable;
	return found.registered ? NULL : &refusal_not_registered;
}

const struct refusal *admission_judge(const struct admission *admission, struct client_address peer,
				      const struct handshake *handshake,
				      char topic[TOPIC_MAX_BYTES], struct newcomer *newcomer)
{
	const struct refusal *refusal = handshake_topic(handshake, topic, &newcomer->topic_len);

	newcomer->topic = topic;
	newcomer->address = forwarded_for_resolve(
		admission->trusted, peer, handshake->forwarded_for, handshake->forwarded_len);
	if (!refusal)
		refusal = judge_limits(admission, handshake, &newcomer->address);
	if (!refusal)
		refusal = judge_topic(admission, topic, newcomer->topic_len);
	return refusal ? refusal : handshake_upgrade(handshake);
}
