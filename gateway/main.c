/*
 * wavelog-worker-gateway: holds the browsers' WebSockets and pushes to them what the API has
 * committed. A checklist: set up, serve until told to end, tear down in reverse. With
 * gateway_processes above 1 the first process supervises and its children serve.
 */
#include <signal.h>

#include "gateway/gateway.h"
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

static int serve(struct config *config, char **argv, const struct inheritance *inheritance)
{
	int code;
	struct gateway *gateway = gateway_open(config, argv, inheritance, &code);

	if (gateway) {
		code = gateway_run(gateway);
		gateway_close(gateway);
		log_event(LOG_INFO, "ended");
	}
	return code;
}

int main(int argc, char **argv)
{
	log_open();
	gateway_hold_signals(true); /* until there is somebody to take them */
	signal(SIGPIPE, SIG_IGN); /* whoever went away is an error of write(2) */

	struct config *config = options_start(&program, argc, argv);
	struct inheritance inheritance = inheritance_take(config);
	size_t workers = supervisor_workers(config, &inheritance);
	int code = workers > 1 ? supervisor_run(config, argv, &inheritance, workers)
			       : serve(config, argv, &inheritance);

	config_free(config);
	return code;
}
