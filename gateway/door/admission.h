/*
 * Who may come in: a request is judged by the contract, by the limits, by its origin and its topic.
 * Never blocks.
 */
#ifndef GATEWAY_ADMISSION_H
#define GATEWAY_ADMISSION_H

#include "gateway/client/clients.h"
#include "gateway/client/session.h"
#include "gateway/door/handshake.h"
#include "gateway/door/limits.h"

struct trusted_proxies;

/* What a request is judged by. All are borrowed. */
struct admission {
	const struct config *config; /* may change in place */
	const struct limits *limits;
	struct clients *clients;
	struct registry *registry;
	const struct tally *tally;
	const struct trusted_proxies *trusted;
};

/* NULL when the client may come in: then *newcomer says who it is, with its topic's bytes in
 * `topic`. Otherwise the refusal that it is to get. `peer` is who the connection is from. */
const struct refusal *admission_judge(const struct admission *admission, struct client_address peer,
				      const struct handshake *handshake,
				      char topic[TOPIC_MAX_BYTES], struct newcomer *newcomer);

#endif
