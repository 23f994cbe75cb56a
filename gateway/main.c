/*
 * wavelog-worker-gateway: holds the browsers' WebSockets and pushes to them what the API has
 * committed. A checklist: set up, serve until told to end, tear down in reverse. With
 * gateway_processes above 1 the first process supervises and its children serve.
 */
#include <signal.h>
#include <sys/stat.h>

#include "gateway/gateway.h"
#include "gateway/processes/supervisor.h"
#include "shared/base/log.h"
#include "shared/base/signals.h"
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
	int code = EXIT_FAILURE;
	struct inheritance inheritance;

	log_open();
	umask(077); /* our files are for us alone, and always for us, whatever it was */
	int signals_fd = signals_open();
	signal(SIGPIPE, SIG_IGN); /* when a peer has gone away, write(2) says so */

	struct config *config = options_start(&program, argc, argv);
	if (inheritance_take(&inheritance, config, argv)) {
		inheritance.signals_fd = signals_fd;
		code = supervisor_run(config, &inheritance);
	}
	struct gateway *gateway =
		code == SUPERVISOR_WORKER ? gateway_open(config, &inheritance, &code) : NULL;
	if (gateway) {
		code = gateway_run(gateway);
		gateway_close(gateway);
		log_event(LOG_INFO, "ended");
	}
	inheritance_clear(&inheritance);
	config_free(config);
	return code;
}
