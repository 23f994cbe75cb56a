/*
 * wavelog-worker-api: takes the backend's requests from the web server by FastCGI, one at a time,
 * and commits them. A checklist: set up, serve until told to end, tear down in reverse. Any number
 * of these processes run on one database; the web server or spawn-fcgi starts and ends them.
 * Started by CGI it serves one request.
 */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/autostart.h"
#include "api/cgi.h"
#include "api/listener.h"
#include "api/processes.h"
#include "api/request.h"
#include "api/routes.h"
#include "api/service.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/config/options.h"
#include "shared/base/version.h"

static struct listen_options listening;

static const struct program program = {
	.name = "wavelog-worker-api",
	.short_name = "api",
	.summary =
		"Takes requests to register, publish and so on from the web server, by FastCGI or\n"
		"CGI. The web server or spawn-fcgi starts it, or it listens by itself:\n"
		"  --listen WHERE     unix:PATH or ADDRESS:PORT, for nginx or mod_proxy_fcgi\n"
		"  --processes N      so many (4), which are started again when they end\n"
		"  --socket-mode MODE permission bits of the UNIX socket (0660)\n"
		"Then SIGUSR2 goes on with the program that is on disk, and nobody is refused.\n",
	.listening = &listening,
};

/* The answer goes out before the tap, and the connection is closed before it too, for nginx passes
 * an answer on when it sees the end of the stream. That costs subscribers two system calls of
 * waiting; the other way round, the caller, who gives up after a second, could wait for a whole
 * fan-out if the gateway took the processor at once. */
static void serve(struct service *service, struct requests *requests, struct response *response)
{
	const struct request *request;
	enum requests_state state;
	int quiet_ms;

	while ((state = requests_next(requests, &request)) != REQUESTS_END) {
		service_refresh(service);
		if (state == REQUESTS_IDLE) {
			service_tick(service);
			continue;
		}
		routes_answer(service, request, response);
		requests_answer(requests, response->bytes, response->len);
		requests_done(requests);
		service_tap(service);
		/* Not in the way of the gateway, which now delivers, and of whoever comes next. */
		quiet_ms = service_upkeep_due(service);
		if (quiet_ms == 0 || (quiet_ms > 0 && listener_is_quiet(quiet_ms)))
			service_upkeep(service);
		autostart_look(service->config);
		/* One process that goes on is faster than several that take turns. */
		if (database_is_crowded(service->database))
			listener_stand_back();
	}
}

/* Nothing is done before the answer that can wait until after it. */
static int serve_cgi(struct config *config)
{
	const struct request *request = cgi_read();
	int64_t start_ms = clock_monotonic_ms();
	struct response response = {0};
	bool is_refused = routes_refuse(config, request, &response);
	struct service *service = is_refused ? NULL : service_open(config, config->busy_timeout_ms);

	if (is_refused) {
		cgi_answer(response.bytes, response.len);
	} else if (!service) {
		cgi_apologise(&response);
	} else {
		/* One deadline for both. */
		config->busy_timeout_ms -= clock_monotonic_ms() - start_ms;
		if (config->busy_timeout_ms < 1)
			config->busy_timeout_ms = 1;
		routes_answer(service, request, &response);
		cgi_answer(response.bytes, response.len);
		service_tap(service);
		log_open(); /* nothing is opened as 0 or 1, which are closed now */
		autostart_look(config);
		service_settle(service);
	}
	free(response.bytes);
	service_close(service);
	config_free(config);
	return service || is_refused ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	log_open();
	umask(077); /* our files are ours alone; and they are ours, whatever it was */
	listener_hold_signals();

	bool is_cgi = cgi_is_asked();
	struct config *config = options_start(&program, is_cgi ? 1 : argc, argv);
	struct service *service = NULL;
	struct requests *requests = NULL;
	struct response response = {0};
	int code = EXIT_FAILURE;

	if (is_cgi)
		return serve_cgi(config);
	if (processes_are_wanted(&listening)) {
		code = processes_run(&listening, argv);
		if (code != PROCESSES_CHILD)
			goto out;
		code = EXIT_FAILURE;
	}
	requests = requests_open();
	if (!requests || !listener_start()) {
		if (errno) {
			log_event(LOG_ERROR, "cannot wait for connections",
				  log_text("why", strerror(errno)));
			goto out;
		}
		fprintf(stderr,
			"%s: descriptor 0 is not a listening socket: this program is started by a "
			"web server (mod_fcgid, CGI) or by spawn-fcgi, or with --listen, see "
			"--help\n",
			program.name);
		code = EXIT_USAGE;
		goto out;
	}
	service = service_open(config, DATABASE_START_WAIT_MS);
	if (!service)
		goto out;
	log_event(LOG_INFO, "started", log_number("pid", getpid()),
		  log_text("version", WORKER_VERSION));
	serve(service, requests, &response);
	code = EXIT_SUCCESS;
	if (errno) {
		log_event(LOG_ERROR, "cannot accept connections", log_text("why", strerror(errno)));
		code = EXIT_FAILURE;
	}
	log_event(LOG_INFO, "ended", log_number("pid", getpid()));
out:
	free(response.bytes);
	requests_close(requests);
	service_close(service);
	config_free(config);
	return code;
}
