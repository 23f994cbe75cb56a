/*
 * wavelog-worker-gateway: holds the browsers' WebSockets and pushes to them what the API has
 * committed. A checklist: set up, serve until told to end, tear down in reverse.
 */
#include "gateway/gateway.h"
#include "shared/log.h"
#include "shared/options.h"

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
	struct config *config = options_start(&program, argc, argv);
	int code;
	struct gateway *gateway = gateway_open(config, argv, &code);

	if (gateway) {
		code = gateway_run(gateway);
		gateway_close(gateway);
		log_event(LOG_INFO, "ended");
	}
	config_free(config);
	return code;
}
