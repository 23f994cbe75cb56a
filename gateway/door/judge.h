/*
 * Who may come in: what the contract, the limits, the origin and the topic have to say about a
 * request, in that order. Reads the database; whatever needs it comes after whatever keeps a flood
 * out. Never blocks.
 */
#ifndef GATEWAY_JUDGE_H
#define GATEWAY_JUDGE_H

#include "gateway/client/session.h"
#include "gateway/door/handshake.h"
#include "gateway/door/limits.h"

struct clients;
struct cluster_reader;
struct registry;
struct tally;

/* What it looks at. All pointers are borrowed. */
struct judge {
	const struct config *config; /* may change in place */
	struct limits limits;
	struct clients *clients;
	struct registry *registry;
	struct cluster_reader *cluster; /* NULL: there is no redis_url */
	const struct tally *tally;
};

/* NULL when the client may come in: then *newcomer says who it is, with its topic's bytes in
 * `topic`. Otherwise the answer, good until the next call; to GET /readyz it need not be a refusal.
 * `peer`: the other end of the socket. */
const struct refusal *judge_request(const struct judge *judge, const struct handshake *handshake,
				    struct client_address peer, char topic[TOPIC_MAX_BYTES],
				    struct newcomer *newcomer);

#endif
