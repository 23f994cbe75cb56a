/*
 * Checking a configuration, see check.h. No state, but for the user that the process runs as. May
 * block on the disk and on the user database.
 */
#include "shared/config/check.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/state_dir.h"
#include "shared/config/config.h"

enum { WHY_SIZE = 320 };

static void print_finding(void *context, bool is_error, const char *file, size_t line,
			  const char *message)
{
	(void)context;
	fflush(stdout); /* on a terminal the two are one text */
	fputs(file, stderr);
	if (line > 0)
		fprintf(stderr, ":%zu", line);
	fprintf(stderr, ": %s: %s\n", is_error ? "error" : "warning", message);
}

/* Root can read and write everything: what counts is what the owner of the state_dir can. */
static const struct passwd *become_service_user(const char *state_dir)
{
	struct stat info;
	const struct passwd *user;

	if (geteuid() != 0 || stat(state_dir, &info) != 0 || info.st_uid == 0)
		return NULL;
	user = getpwuid(info.st_uid);
	if (!user || initgroups(user->pw_name, user->pw_gid) != 0 || setegid(user->pw_gid) != 0 ||
	    seteuid(user->pw_uid) != 0)
		return NULL;
	return user;
}

/* Root again, and one that may be traced: LeakSanitizer looks at the program when it ends. */
static void become_root_again(void)
{
	if (seteuid(0) == 0 && setegid(0) == 0)
		prctl(PR_SET_DUMPABLE, 1);
}

/* False with the reason in `why`. */
static bool can_read(const char *path, char why[WHY_SIZE])
{
	static const char start[] = "cannot open the file: ";

	if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0)
		return true;
	memcpy(why, start, sizeof(start));
	state_dir_explain(path, errno, why + strlen(start), WHY_SIZE - strlen(start));
	return false;
}

bool check_config(const char *path)
{
	struct config *config = config_load(path, print_finding, NULL);
	const struct passwd *user;
	char why[WHY_SIZE];
	bool is_good;

	if (!config)
		return false;
	config_print(config, stdout);
	user = become_service_user(config->state_dir);
	is_good = (!config->has_file || can_read(path, why)) &&
		  state_dir_check(config->state_dir, why, sizeof(why));
	if (user)
		become_root_again();
	if (is_good)
		printf("%s: ok%s%s\n", config->has_file ? path : "environment", user ? " for " : "",
		       user ? user->pw_name : "");
	else
		print_finding(NULL, true, config->has_file ? path : "environment", 0, why);
	config_free(config);
	return is_good;
}
