/*
 * One gateway process, made of its parts: see gateway.h. Setting up may block for seconds, while
 * another program migrates the database; serving (serve.c) never does. gateway_close is
 * gateway_open backwards.
 */
#include "gateway/gateway.h"

#include <errno.h>
#include <unistd.h>
#include <uv.h>

#include "gateway/door/listener.h"
#include "gateway/door/upgrade.h"
#include "gateway/events/wakeup.h"
#include "shared/base/alloc.h"
#include "shared/base/log.h"
#include "shared/database/feed.h"

static bool fail(const struct gateway *gateway, const char *what, const char *why)
{
	log_event(LOG_ERROR, what, log_text("state_dir", gateway->config->state_dir),
		  log_text("why", why));
	return false;
}

/* The right to serve comes first: only its holder may open the database. */
static bool open_state(struct gateway *gateway, int *exit_code)
{
	char why[DATABASE_WHY_SIZE];

	gateway->liveness = inheritance_claim(gateway->inheritance, gateway->config, exit_code);
	if (!gateway->liveness)
		return false;
	gateway->database = database_open(gateway->config, DATABASE_START_WAIT_MS, why);
	if (!gateway->database)
		return fail(gateway, "no database", why);
	if (!liveness_claim_pid(gateway->liveness, getpid()))
		return fail(gateway, "cannot lock gateway.lock", strerror(errno));
	if (*gateway->config->redis_url) {
		gateway->nodes = nodes_new(gateway->database);
		gateway->cluster_reader = cluster_reader_new(gateway->database);
	}
	gateway->registry = registry_new(gateway->database, gateway->nodes);
	gateway->feed = feed_open(gateway->database, gateway->nodes, why);
	return gateway->feed || fail(gateway, "no database", why);
}

static void on_gauges(void *context, const struct gauges *gauges)
{
	struct gateway *gateway = context;

	if (gauges && gateway->clients)
		clients_answer_status(gateway->clients, gauges);
}

/* Also tells the database that this process is there, at that address. */
static bool open_clients(struct gateway *gateway, const char *address)
{
	char why[DATABASE_WHY_SIZE];
	struct clients_parts parts = {
		.config = gateway->config,
		.loop = gateway->loop,
		.feed = gateway->feed,
		.registry = gateway->registry,
		.tally = gateway->tally,
		.counters = &gateway->counters,
	};

	gateway->presence = presence_new(gateway->loop, housekeeping_limits_of(gateway->config),
					 on_gauges, gateway);
	parts.presence = gateway->presence;
	gateway->database_thread = database_thread_open(gateway->config, gateway->liveness,
							gateway->presence, address, why);
	if (!gateway->database_thread)
		return fail(gateway, "no database", why);
	database_thread_start(gateway->database_thread);
	gateway->clients = clients_open(&parts);
	if (!gateway->clients)
		return false;
#ifndef WITHOUT_URANDOM
	if (access("/dev/urandom", R_OK) != 0) /* without it Debian's libwebsockets crashes */
		return fail(gateway, "cannot read /dev/urandom", strerror(errno));
#endif
	gateway->transports = transports_open(gateway->loop, gateway->clients);
	return gateway->transports ||
	       fail(gateway, "cannot set up libwebsockets",
		    "its libuv plugin (libwebsockets-evlib-uv), memory or descriptors are missing");
}

/* A wakeup_look: what is new may have to be relayed to other nodes too. */
static int look(void *context)
{
	struct gateway *gateway = context;

	cluster_tap(gateway->cluster);
	return clients_look(gateway->clients);
}

/* Nobody is accepted before the loop runs. */
static bool open_network(struct gateway *gateway, struct limits limits)
{
	struct inheritance *inheritance = gateway->inheritance;
	const struct config *config = gateway->config;
	int *fds = inheritance->listen_fds;
	char why[DATABASE_WHY_SIZE];

	while (inheritance->listen_count > 1) /* the predecessor had workers */
		close(fds[--inheritance->listen_count]);
	if (inheritance->listen_count == 0)
		fds[0] = listen_socket_open(config, true);
	if (fds[0] < 0)
		return false;
	inheritance->listen_count = 1; /* for a successor; it is the listener's */
	gateway->listener = listener_open(config, fds[0], gateway->loop);
	if (inheritance->worker == 0)
		listen_file_take(&gateway->listen_file, config);
	if (!open_clients(gateway, listener_address(gateway->listener)))
		return false;
	gateway->wakeup = wakeup_open(gateway->loop, config->state_dir, inheritance->wakeup_fd,
				      look, gateway);
	if (!gateway->wakeup)
		return fail(gateway, "cannot make wakeup.sock", strerror(errno));
	if (!cluster_open(&gateway->cluster, config, gateway->liveness, gateway->loop, why))
		return fail(gateway, "no cluster", why);
	cluster_start(gateway->cluster);
	struct upgrades_parts parts = {
		.judge = {.config = config,
			  .limits = limits,
			  .clients = gateway->clients,
			  .registry = gateway->registry,
			  .cluster = gateway->cluster_reader,
			  .tally = gateway->tally},
		.loop = gateway->loop,
		.questions = cluster_questions(gateway->cluster),
		.counters = &gateway->counters,
		.transports = gateway->transports,
	};
	gateway->upgrades = upgrades_open(&parts);
	listener_start(gateway->listener, gateway->upgrades);
	return true;
}

struct gateway *gateway_open(struct config *config, struct inheritance *inheritance, int *exit_code)
{
	struct gateway *gateway = xcalloc(1, sizeof(*gateway));

	*exit_code = EXIT_FAILURE;
	gateway->config = config;
	gateway->inheritance = inheritance;
	gateway->loop = xcalloc(1, sizeof(uv_loop_t));
	int fault = uv_loop_init(gateway->loop);
	if (fault != 0) {
		fail(gateway, "cannot make an event loop", uv_strerror(fault));
		free(gateway->loop);
		free(gateway);
		return NULL;
	}
	struct limits limits = limits_take(config, inheritance->workers);
	gateway->tally =
		inheritance->tally ? inheritance->tally : tally_new(1, limits_descriptors(config));
	if (gateway->tally) {
		tally_count_as(gateway->tally,
			       inheritance->worker > 0 ? (size_t)inheritance->worker : 1);
		if (open_state(gateway, exit_code) && open_network(gateway, limits)) {
			*exit_code = EXIT_SUCCESS;
			return gateway;
		}
	} else {
		fail(gateway, "cannot count connections", strerror(errno));
	}
	gateway_close(gateway);
	return NULL;
}

void gateway_close(struct gateway *gateway)
{
	if (!gateway)
		return;
	/* Until a successor serves, its predecessor does. */
	listen_file_release(&gateway->listen_file, gateway->inheritance->ready_fd >= 0);
	listener_close(gateway->listener);
	upgrades_close(gateway->upgrades);
	cluster_close(gateway->cluster);
	wakeup_close(gateway->wakeup);
	if (gateway->presence)
		presence_beat(gateway->presence, &gateway->counters, 0,
			      housekeeping_limits_of(gateway->config));
	database_thread_close(gateway->database_thread);
	transports_close(gateway->transports);
	clients_close(gateway->clients);
	presence_free(gateway->presence);
	cluster_reader_free(gateway->cluster_reader);
	registry_free(gateway->registry);
	nodes_free(gateway->nodes);
	feed_close(gateway->feed);
	liveness_close(gateway->liveness);
	database_close(gateway->database);
	tally_free(gateway->tally);
	uv_run(gateway->loop, UV_RUN_DEFAULT); /* the last handles close */
	uv_loop_close(gateway->loop);
	free(gateway->loop);
	free(gateway);
}
