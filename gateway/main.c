/*
 * wavelog-worker-gateway: holds the browsers' WebSockets and pushes to them what the API has
 * committed. A checklist: set up, serve until told to end, tear down in reverse. With
 * gateway_processes above 1 the first process supervises and its children serve.
 */
#include <signal.h>

#include "gateway/gateway.h"
#include "gateway/processes/signals.h"
#include "gateway/processes/supervisor.h"
#include "shared/base/log.h"
#include "shared/config/options.h"

static const struct program program = {
	.name = "wavelog-worker-gateway",
	.short_name = "gateway",
	.summary =
		"Holds the browsers' WebSockets (ws_bind, ws_port) and pushes to them what the\n"
		"API commits. Started once for each state_dir, by the system or by hand; runs in\n"
		"the foreground and logs to stderr.\n",
};

int main(int argc, char **argv)
{
	log_open();
	signals_hold(true); /* until somebody can deal with them */
	signal(SIGPIPE, SIG_IGN); /* when a peer has gone away, write(2) says so */

	struct program_start start = program_start_remember(argv);
	struct config *config = options_start(&program, argc, argv);
	struct inheritance inheritance = inheritance_take(config);
	size_t workers = supervisor_workers(config);
	int code = SUPERVISOR_WORKER;

	if (workers > 1)
		code = supervisor_run(config, &start, &inheritance, workers);
	struct gateway *gateway = code == SUPERVISOR_WORKER
					  ? gateway_open(config, &start, &inheritance, &code)
					  : NULL;
	if (gateway) {
		code = gateway_run(gateway);
		gateway_close(gateway);
		log_event(LOG_INFO, "ended");
	}
	config_free(config);
	program_start_clear(&start);
	return code;
}
