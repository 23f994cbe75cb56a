/*
 * The command line, see options.h. No state; called first of all in main. Ends the process when
 * there is nothing to run: after an answer on stdout, or with a message on stderr (a bad command
 * line, a bad file when checked) or in the log (a bad file otherwise). May block on the disk and on
 * the user database.
 */
#include "shared/config/options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/state_dir.h"
#include "shared/base/version.h"

enum {
	OPTION_CHECK = 256,
	OPTION_VERSION,
	OPTION_HELP,
	OPTION_LISTEN,
	OPTION_PROCESSES,
	OPTION_SOCKET_MODE,
	WHY_SIZE = 320
};

static const struct option long_options[] = {
	{"config", required_argument, NULL, 'c'},
	{"check-config", no_argument, NULL, OPTION_CHECK},
	{"version", no_argument, NULL, OPTION_VERSION},
	{"help", no_argument, NULL, OPTION_HELP},
	{"listen", required_argument, NULL, OPTION_LISTEN},
	{"processes", required_argument, NULL, OPTION_PROCESSES},
	{"socket-mode", required_argument, NULL, OPTION_SOCKET_MODE},
	{0},
};

static const char help_text[] =
	"\n"
	"  -c, --config FILE  the configuration, a YAML file. Without it: $WAVELOG_WORKER_CONFIG,\n"
	"                     else config.yaml in the working directory if there is one,\n"
	"                     else /etc/wavelog-worker/config.yaml\n"
	"      --check-config print the configuration that would be used (without secrets), then\n"
	"                     FILE: ok, and end; what is wrong goes to stderr as FILE:LINE: ...\n"
	"                     Run by root it judges for the owner of the state_dir\n"
	"      --version      print the version and end\n"
	"      --help         print this and end\n"
	"\n"
	"Runs in the foreground and logs to stderr. SIGTERM and SIGINT end it cleanly.\n"
	"\n"
	"Exit codes: 0 ended as asked, 1 could not go on (the log says why), 64 bad command line,\n"
	"75 another one runs on this state_dir, 78 bad configuration.\n";

/* Ends the process, with a failure if there was no room for what was printed. */
static _Noreturn void end_after_printing(void)
{
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("cannot write to stdout");
		exit(EXIT_FAILURE);
	}
	exit(EXIT_SUCCESS);
}

static _Noreturn void usage_error(const struct program *program, const char *what)
{
	if (what)
		fprintf(stderr, "%s: %s\n", program->name, what);
	fprintf(stderr, "Try '%s --help'.\n", program->name);
	exit(EXIT_USAGE);
}

void options_log_finding(void *context, bool is_error, const char *file, size_t line,
			 const char *message)
{
	char at[LOG_LINE_MAX];

	(void)context;
	/* "file:line"; of line 0, with a precision of 0, there is nothing to be seen. */
	snprintf(at, sizeof(at), "%s%s%.0zu", file, line > 0 ? ":" : "", line);
	log_event(is_error ? LOG_ERROR : LOG_WARN, "configuration", log_text("why", message),
		  log_text("at", at));
}

static void print_finding(void *context, bool is_error, const char *file, size_t line,
			  const char *message)
{
	(void)context;
	fflush(stdout); /* on a terminal the two are one text */
	fprintf(stderr, "%s%s%.0zu: %s: %s\n", file, line > 0 ? ":" : "", line,
		is_error ? "error" : "warning", message);
}

/* --check-config: would a program start with this configuration? Judged for the user who asks.
 * Nothing is made or changed. */
static bool check(const char *path)
{
	struct config *config = geteuid() == 0 ? config_load(path, NULL, NULL) : NULL;
	const struct passwd *user = NULL;
	const char *from;
	char why[WHY_SIZE];
	struct stat info;
	bool is_good = false;

	/* Root can read and write everything: what counts is what the owner of the state_dir can.
	 */
	if (config && stat(config->state_dir, &info) == 0 && info.st_uid != 0)
		user = getpwuid(info.st_uid);
	config_free(config);
	if (user && (initgroups(user->pw_name, user->pw_gid) != 0 || setegid(user->pw_gid) != 0 ||
		     seteuid(user->pw_uid) != 0))
		user = NULL;
	config = config_load(path, print_finding, NULL);
	from = config && !config->has_file ? "environment" : path;
	if (config) {
		config_print(config, stdout);
		is_good = state_dir_check(config->state_dir, why, sizeof(why));
		if (!is_good)
			print_finding(NULL, true, from, 0, why);
		if (*config->redis_ca &&
		    faccessat(AT_FDCWD, config->redis_ca, R_OK, AT_EACCESS) != 0) {
			state_dir_explain(config->redis_ca, errno, why, sizeof(why));
			fprintf(stderr, "%s: error: redis_ca: cannot read it: %s\n", from, why);
			is_good = false;
		}
	}
	/* Root again may be traced: LeakSanitizer looks at the program when it ends. */
	if (user && seteuid(0) == 0 && setegid(0) == 0)
		prctl(PR_SET_DUMPABLE, 1);
	if (is_good)
		printf("%s: ok%s%s\n", from, user ? " for " : "", user ? user->pw_name : "");
	config_free(config);
	return is_good;
}

struct config *options_start(const struct program *program, int argc, char **argv)
{
	const char *file = NULL;
	struct config *config;
	bool is_check = false;
	int option;

	while ((option = getopt_long_only(argc, argv, "c:", long_options, NULL)) != -1) {
		switch (option) {
		case 'c':
			file = optarg;
			break;
		case OPTION_CHECK:
			is_check = true;
			break;
		case OPTION_VERSION:
			printf("%s %s\n", program->name, WORKER_VERSION);
			end_after_printing();
		case OPTION_HELP:
			printf("Usage: %s [-c FILE] [--check-config | --version | --help]\n\n%s%s",
			       program->name, program->summary, help_text);
			end_after_printing();
		case OPTION_LISTEN:
		case OPTION_PROCESSES:
		case OPTION_SOCKET_MODE:
			if (!program->listening)
				usage_error(program, "only the API listens by itself");
			*(option == OPTION_LISTEN      ? &program->listening->listen
			  : option == OPTION_PROCESSES ? &program->listening->processes
						       : &program->listening->socket_mode) = optarg;
			break;
		default:
			usage_error(program, NULL);
		}
	}
	if (optind < argc)
		usage_error(program, "there is one word too many: options begin with -");
	if (file && *file == '\0')
		usage_error(program, "-c needs the name of a file");
	if (is_check && check(config_path(file)))
		end_after_printing();
	if (is_check)
		exit(EXIT_CONFIGURATION);
	log_setup(program->short_name, LOG_INFO);
	config = config_load(config_path(file), options_log_finding, NULL);
	if (!config)
		exit(EXIT_CONFIGURATION);
	log_set_level(config->log_level);
	return config;
}
