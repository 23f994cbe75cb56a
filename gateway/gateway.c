/*
 * One gateway process, made of its parts: see gateway.h. Setting up may block for seconds, while
 * another program migrates the database; serving (serve.c) never does. gateway_close is
 * gateway_open backwards.
 */
#include "gateway/gateway.h"

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "gateway/door/listener.h"
#include "gateway/door/upgrade.h"
#include "gateway/events/feed.h"
#include "gateway/events/wakeup.h"
#include "shared/base/alloc.h"
#include "shared/base/log.h"
#include "shared/config/options.h"
#include "shared/config/reload.h"
#include "shared/base/state_dir.h"
#include "shared/base/unix_socket.h"

enum { USUAL_DESCRIPTORS = 1024 };

/* Asks for as many descriptors as `wanted`; returns how many there may be. */
static size_t raise_descriptor_limit(size_t wanted)
{
	struct rlimit limit, raised;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return USUAL_DESCRIPTORS;
	raised = limit;
	raised.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
		return (size_t)raised.rlim_cur;
	log_event(LOG_WARN, "cannot raise the limit of descriptors",
		  log_text("why", strerror(errno)));
	return (size_t)limit.rlim_cur;
}

/* Allows as many connections as the limits do. */
static void set_limits(struct gateway *gateway)
{
	const struct config *config = gateway->config;
	size_t descriptors = raise_descriptor_limit(limits_descriptors(config));

	gateway->limits = limits_for(config, descriptors);
	gateway->limits.pending =
		limits_share(gateway->limits.pending, gateway->inheritance.workers);
	if (gateway->limits.connections < (size_t)config->max_connections)
		log_event(LOG_WARN, "the limit of descriptors is too low for max_connections",
			  log_number("descriptors", (int64_t)descriptors),
			  log_number("connections", (int64_t)gateway->limits.connections));
}

static bool fail(const char *what, const char *why)
{
	log_event(LOG_ERROR, what, log_text("why", why));
	return false;
}

static bool fail_in_state_dir(const struct gateway *gateway, const char *what, const char *why)
{
	log_event(LOG_ERROR, what, log_text("state_dir", gateway->config->state_dir),
		  log_text("why", why));
	return false;
}

static bool open_tally(struct gateway *gateway)
{
	const struct inheritance *inheritance = &gateway->inheritance;

	gateway->tally =
		inheritance->tally ? inheritance->tally : tally_new(1, gateway->limits.connections);
	if (!gateway->tally)
		return fail("cannot count connections", strerror(errno));
	tally_count_as(gateway->tally, inheritance->worker > 0 ? (size_t)inheritance->worker : 1);
	return true;
}

/* The right to serve comes first: only its holder may open the database. */
static bool open_state(struct gateway *gateway, int *exit_code)
{
	const char *state_dir = gateway->config->state_dir;
	char why[DATABASE_WHY_SIZE];

	if (!state_dir_prepare(state_dir, why, sizeof(why)))
		return fail_in_state_dir(gateway, "no database", why);
	gateway->liveness = liveness_open(state_dir);
	if (!gateway->liveness)
		return fail_in_state_dir(gateway, "cannot open gateway.lock", strerror(errno));
	if (!liveness_inherit_service(gateway->liveness, gateway->inheritance.service_fd)) {
		*exit_code = EXIT_TEMPORARY;
		return fail_in_state_dir(gateway, "another gateway runs",
					 "it serves this state_dir");
	}
	gateway->database = database_open(gateway->config, why);
	if (!gateway->database)
		return fail_in_state_dir(gateway, "no database", why);
	if (!liveness_claim_pid(gateway->liveness, getpid()))
		return fail_in_state_dir(gateway, "cannot lock gateway.lock", strerror(errno));
	gateway->feed = feed_open(gateway->database, why);
	if (gateway->feed)
		gateway->registry = registry_open(gateway->database, why);
	return gateway->registry || fail_in_state_dir(gateway, "no database", why);
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
		return fail("no database", why);
	database_thread_start(gateway->database_thread);
	gateway->clients = clients_open(&parts);
	if (!gateway->clients)
		return false;
	if (access("/dev/urandom", R_OK) != 0) /* without it libwebsockets crashes */
		return fail("cannot read /dev/urandom", strerror(errno));
	gateway->websockets = websockets_open(gateway->loop, gateway->clients);
	return gateway->websockets ||
	       fail("cannot set up libwebsockets",
		    "its libuv plugin (libwebsockets-evlib-uv) or memory is missing");
}

static bool open_wakeup(struct gateway *gateway)
{
	gateway->wakeup =
		wakeup_open(gateway->loop, gateway->config->state_dir,
			    gateway->inheritance.wakeup_fd, clients_look, gateway->clients);
	return gateway->wakeup ||
	       fail_in_state_dir(gateway, "cannot make " WAKEUP_SOCKET_NAME, strerror(errno));
}

static void on_accepted(void *context, int fd, const struct sockaddr *peer)
{
	struct gateway *gateway = context;

	if (gateway->upgrades)
		upgrade_begin(gateway->upgrades, fd, peer);
	else
		close(fd); /* it ends without having served */
}

/* Nobody is accepted before the loop runs. */
static bool open_listener(struct gateway *gateway)
{
	const struct inheritance *inheritance = &gateway->inheritance;
	char address[LISTEN_ADDRESS_SIZE] = "";
	int fd = inheritance->listen_count > 0 ? inheritance->listen_fds[0]
					       : listen_socket_open(gateway->config, true, address);

	for (size_t i = 1; i < inheritance->listen_count; i++)
		close(inheritance->listen_fds[i]); /* the predecessor had workers */
	if (fd < 0) {
		log_event(LOG_ERROR, "cannot listen", log_text("address", address),
			  log_text("why", strerror(errno)));
		return false;
	}
	gateway->listener = listener_open(gateway->config, fd, gateway->loop, on_accepted, gateway);
	return true;
}

static bool open_network(struct gateway *gateway)
{
	if (!open_listener(gateway) ||
	    !open_clients(gateway, listener_address(gateway->listener)) || !open_wakeup(gateway))
		return false;
	struct upgrades_parts parts = {
		.admission = {.config = gateway->config,
			      .limits = &gateway->limits,
			      .clients = gateway->clients,
			      .registry = gateway->registry,
			      .tally = gateway->tally},
		.loop = gateway->loop,
		.counters = &gateway->counters,
		.websockets = gateway->websockets,
	};
	gateway->upgrades = upgrades_open(&parts);
	return true;
}

struct gateway *gateway_open(struct config *config, const struct program_start *start,
			     const struct inheritance *inheritance, int *exit_code)
{
	struct gateway *gateway = xcalloc(1, sizeof(*gateway));

	*exit_code = EXIT_FAILURE;
	gateway->config = config;
	gateway->start = start;
	gateway->reload = reload_new(config);
	gateway->inheritance = *inheritance;
	gateway->loop = xcalloc(1, sizeof(uv_loop_t));
	uv_loop_init(gateway->loop);
	set_limits(gateway);
	if (open_tally(gateway) && open_state(gateway, exit_code) && open_network(gateway)) {
		*exit_code = EXIT_SUCCESS;
		return gateway;
	}
	gateway_close(gateway);
	return NULL;
}

void gateway_reload(struct gateway *gateway)
{
	if (!reload_now(gateway->reload))
		return;
	upgrades_configure(gateway->upgrades);
	clients_configure(gateway->clients);
	presence_set_limits(gateway->presence, housekeeping_limits_of(gateway->config));
}

void gateway_close(struct gateway *gateway)
{
	if (!gateway)
		return;
	listener_close(gateway->listener);
	upgrades_close(gateway->upgrades);
	wakeup_close(gateway->wakeup);
	if (gateway->presence)
		presence_set_counters(gateway->presence, &gateway->counters, 0);
	database_thread_close(gateway->database_thread);
	websockets_close(gateway->websockets);
	clients_close(gateway->clients);
	presence_free(gateway->presence);
	registry_close(gateway->registry);
	feed_close(gateway->feed);
	liveness_close(gateway->liveness);
	database_close(gateway->database);
	tally_free(gateway->tally);
	reload_free(gateway->reload);
	uv_run(gateway->loop, UV_RUN_DEFAULT); /* the last handles close */
	uv_loop_close(gateway->loop);
	free(gateway->loop);
	free(gateway);
}
