"""A program under test: started as an unprivileged user, its stderr in a file, stopped by its own pid."""

import ctypes
import os
import pwd
import signal
import subprocess
from pathlib import Path

from .waiting import wait_until

USER = "www-data" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
UID, GID = pwd.getpwnam(USER).pw_uid, pwd.getpwnam(USER).pw_gid

STOP_LIMIT_S = 20.0

# Read by the sanitizers of a build that has them.
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "LSAN_OPTIONS": "exitcode=99",
}


def adopt_orphans():
    """Makes this process the parent of what a forking starter such as spawn-fcgi leaves behind, so that
    an exit code can be waited for (prctl PR_SET_CHILD_SUBREAPER)."""
    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


def give_to_user(path, mode):
    """Makes the unprivileged user the owner of a file or directory."""
    os.chmod(path, mode)
    if os.geteuid() == 0:
        os.chown(path, UID, GID)


def environment(extra=None):
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
    return {**keep, **SANITIZER_ENV, **(extra or {})}


class Process:
    """`pid` may also be a program that something else started (see adopt_orphans)."""

    def __init__(self, name, pid):
        self.name = name
        self.pid = pid
        self.exit_code = None  # negative: the signal that ended it

    @classmethod
    def start(cls, name, argv, log, as_user=True, env=None, **options):
        if as_user and os.geteuid() == 0:
            options.update(user=UID, group=GID, extra_groups=[])
        with open(log, "ab") as stderr:
            give_to_user(log, 0o644)
            options = {"stdin": subprocess.DEVNULL, "cwd": "/", **options}
            child = subprocess.Popen(argv, stdout=stderr, stderr=stderr, env=environment(env), **options)
        process = cls(name, child.pid)
        process.popen = child
        return process

    def poll(self):
        """The exit code, or None while it runs."""
        if self.exit_code is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                raise AssertionError(f"{self.name} is not a child of the tests") from None
            if pid:
                self.exit_code = os.waitstatus_to_exitcode(status)
                if hasattr(self, "popen"):
                    self.popen.returncode = self.exit_code
        return self.exit_code

    def runs(self):
        return self.poll() is None

    def takes_sigterm(self):
        """True when it is the program, and no longer a shell: that has a handler for SIGTERM, or holds it back for the
        time when it looks for it."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except FileNotFoundError:
            return False
        masks = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigCgt:", "SigBlk:"))]
        return any(mask >> (signal.SIGTERM - 1) & 1 for mask in masks)

    def send(self, number):
        if self.runs():
            os.kill(self.pid, number)

    def wait(self, limit_s=STOP_LIMIT_S):
        """Waits for the end and returns the exit code."""
        wait_until(lambda: self.poll() is not None, f"{self.name} ends", limit_s)
        return self.exit_code

    def kill(self):
        self.send(signal.SIGKILL)
        self.wait()

    def stop(self, number=signal.SIGTERM):
        """Asks it to end; returns what was wrong with that, or None."""
        self.send(number)
        try:
            code = self.wait()
        except AssertionError as error:
            self.kill()
            return str(error)
        return None if code == 0 else f"{self.name} ended with {code}"
