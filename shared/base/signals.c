/* Signals on a loop, see signals.h. No state; never blocks. */
#include "shared/base/signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/base/alloc.h"

int signals_open(void)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2, SIGCHLD};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaddset(&set, numbers[i]);
	pthread_sigmask(SIG_BLOCK, &set, NULL);

	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		end_for_want_of("descriptors");
	return fd;
}

int signals_next(int fd)
{
	struct signalfd_siginfo info;

	return read(fd, &info, sizeof(info)) == sizeof(info) ? (int)info.ssi_signo : 0;
}

void child_log(pid_t pid, int status, enum log_level level, const char *message)
{
	log_event(status == 0 ? LOG_INFO : level, message, log_number("pid", pid),
		  log_number("code", WIFEXITED(status) ? WEXITSTATUS(status) : 0),
		  log_number("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0));
}

bool child_reap(pid_t *pid, enum log_level level, const char *message)
{
	int status;

	if (*pid <= 0 || waitpid(*pid, &status, WNOHANG) != *pid)
		return false;
	child_log(*pid, status, level, message);
	*pid = 0;
	return true;
}
