/*
 * The command line that both programs share: -c FILE, --check-config, --version, --help
 * (getopt_long).
 */
#ifndef SHARED_OPTIONS_H
#define SHARED_OPTIONS_H

#include "shared/config/config.h"

/* Exit codes of sysexits.h that the programs use: 64 bad command line, 75 another one runs, 78 bad
 * configuration. */
enum { EXIT_USAGE = 64, EXIT_TEMPORARY = 75, EXIT_CONFIGURATION = 78 };

/* Further options of a program that listens by itself; NULL: not given. */
struct listen_options {
	const char *listen, *processes, *socket_mode;
};

struct program {
	const char *name; /* "wavelog-worker-gateway" */
	const char *short_name; /* for the log: "gateway" */
	const char *summary; /* what it is and how to start it, for --help, a few lines */
	struct listen_options *listening; /* to be filled; NULL: it has no such options */
};

/* Does what the command line asks. Returns the loaded configuration (free with config_free), with
 * the log set up, when the program is to run; otherwise ends the process with the right code: 0
 * after --help, --version and a good --check-config, 64, 78. Configuration findings go to stderr as
 * `file:line: message` for --check-config, as log lines otherwise. */
struct config *options_start(const struct program *program, int argc, char **argv);

/* A config_report that logs. */
void options_log_finding(void *context, bool is_error, const char *file, size_t line,
			 const char *message);

#endif
