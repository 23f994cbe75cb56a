/* How many connections there may be, see limits.h. No state. */
#include "gateway/door/limits.h"

#include <errno.h>
#include <sys/resource.h>

#include "shared/base/log.h"

enum {
	/* The database's, libuv's, the listening socket and the like, and connections that have
	 * been dropped but are closed only a few turns of the loop later. */
	OWN_DESCRIPTORS = 288,
	OWN_SHARE = 4, /* where descriptors are few: at most a quarter of them, */
	FEWEST_OWN = 32, /* but without these nobody can be served */
	/* libwebsockets keeps a table of them, so "no limit" must become a number. */
	MOST_DESCRIPTORS = 65536,
	PENDING_SHARE = 8, /* an eighth of the connections may be pending */
	FEWEST_PENDING = 16,
	USUAL_DESCRIPTORS = 1024
};

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* What max_unauthenticated is when there may be that many connections. */
static size_t pending_of(const struct config *config, size_t connections)
{
	size_t share = connections / PENDING_SHARE;

	if (config->max_unauthenticated > 0)
		return (size_t)config->max_unauthenticated;
	return share > FEWEST_PENDING ? share : FEWEST_PENDING;
}

size_t limits_descriptors(const struct config *config)
{
	size_t connections = (size_t)config->max_connections;

	if (connections == 0)
		return MOST_DESCRIPTORS;
	return connections + pending_of(config, connections) + OWN_DESCRIPTORS;
}

struct limits limits_for(const struct config *config, size_t descriptors)
{
	size_t share = smaller(OWN_DESCRIPTORS, descriptors / OWN_SHARE);
	size_t own = share > FEWEST_OWN ? share : FEWEST_OWN;
	size_t room = descriptors > own + 2 ? descriptors - own : 2;
	size_t wanted = config->max_connections > 0 ? (size_t)config->max_connections : room;
	size_t pending = smaller(pending_of(config, smaller(wanted, room)), room / 2);

	return (struct limits){
		.connections = smaller(wanted, room - pending),
		.pending = pending,
	};
}

struct limits limits_take(const struct config *config, size_t workers)
{
	size_t wanted = limits_descriptors(config), descriptors;
	struct rlimit limit = {USUAL_DESCRIPTORS, USUAL_DESCRIPTORS};

	getrlimit(RLIMIT_NOFILE, &limit);
	descriptors = limit.rlim_cur;
	limit.rlim_cur = smaller(wanted, limit.rlim_max);
	if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
		descriptors = limit.rlim_cur;
	else
		log_event(LOG_WARN, "cannot raise the limit of descriptors",
			  log_text("why", strerror(errno)));
	struct limits limits = limits_for(config, descriptors);
	if (limits.connections < (size_t)config->max_connections)
		log_event(LOG_WARN, "the limit of descriptors is too low for max_connections",
			  log_number("descriptors", (int64_t)descriptors),
			  log_number("connections", (int64_t)limits.connections));
	else if (descriptors < smaller(wanted, USUAL_DESCRIPTORS))
		log_event(LOG_WARN, "the limit of descriptors is low",
			  log_number("descriptors", (int64_t)descriptors),
			  log_number("connections", (int64_t)limits.connections));
	limits.pending = limits_share(limits.pending, workers);
	return limits;
}

size_t limits_share(size_t all, size_t workers)
{
	size_t share = workers > 1 ? all / workers : all;

	return share > 0 ? share : 1;
}
