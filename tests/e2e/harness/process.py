"""A program under test: started as an unprivileged user, its stderr in a file, stopped by its own pid. Also what every
test needs around programs: waiting with a limit, free ports, and what no log may hold afterwards."""

import contextlib
import ctypes
import os
import pwd
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

LIMIT_S = 15.0  # for whatever should be quick: long enough for a loaded machine under sanitizers


def wait_until(condition, what, limit_s=LIMIT_S, interval_s=0.02, progress=None):
    """Asks condition() until it returns something true, and returns that. Fails with `what` at the limit, which begins anew
    whenever progress() returns something else."""
    deadline, before = time.monotonic() + limit_s, None
    while True:
        result = condition()
        if result:
            return result
        if progress and (now := progress()) != before:
            deadline, before = time.monotonic() + limit_s, now
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit_s:g} s: {what() if callable(what) else what}")
        time.sleep(interval_s)


# Below those that the kernel gives to clients, and for each worker of pytest-xdist its own: so that a server that is
# started again finds its port free.
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
_ports = random.sample(range(10240 + _worker * 2800, 10240 + (_worker + 1) * 2800), 2800)


def free_port():
    """A TCP port that nobody listens on now, and that was not given out before."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
            port = _ports.pop()
            probe.bind(("127.0.0.1", port))
            return port


def accepts(address):
    """True when somebody accepts connections: on ("127.0.0.1", port), or on the path of a UNIX socket."""
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True


class Connection:
    """A stream socket, closed at the end of a `with`. `address`: ("127.0.0.1", port) or the path of a UNIX socket; `source`:
    an address to come from."""

    def __init__(self, address, tls=None, hostname="localhost", source=None, receive_buffer=None):
        is_unix = not isinstance(address, tuple)
        self.socket = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(LIMIT_S)
        if source:
            self.socket.bind((source, 0))
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(str(address) if is_unix else address)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname=hostname)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


USER = "www-data" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
UID, GID = pwd.getpwnam(USER).pw_uid, pwd.getpwnam(USER).pw_gid

STOP_LIMIT_S = 20.0

# Read by the sanitizers of a build that has them.
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "LSAN_OPTIONS": "exitcode=99",
    "TSAN_OPTIONS": "exitcode=99:die_after_fork=0",
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
        """True once it is the program and no longer a shell: the program handles SIGTERM, or blocks it until it looks
        for it."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
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


FORBIDDEN_IN_LOGS = (
    b"ERROR: AddressSanitizer",
    b"runtime error:",
    b"LeakSanitizer",
    b"AddressSanitizer:DEADLYSIGNAL",
    b"UndefinedBehaviorSanitizer",
    b"ThreadSanitizer",
)


def log_faults(directory, secret):
    """Every log line below `directory` that must not be there, as text."""
    found = []
    for path in sorted(directory.rglob("*.log")):
        content = path.read_bytes()
        if any(word in content for word in FORBIDDEN_IN_LOGS):
            found.append(f"{path.name}: a sanitizer report:\n{content[-6000:].decode(errors='replace')}")
        for line in content.splitlines():
            if secret.encode() in line:
                found.append(f"{path.name}: the secret: {line.decode(errors='replace')}")
    return found


def flocks():
    """(whether it is waited for, pid, inode) of each flock(2) on the machine."""
    with open("/proc/locks") as lines:
        locks = [line.split() for line in lines if " FLOCK " in line]
    return [("->" in words, int(words[-4]), int(words[-3].rpartition(":")[2])) for words in locks]


def log_tail(directory, lines=25):
    """The ends of all logs, to show beside a failure."""
    parts = []
    for path in sorted(directory.rglob("*.log")):
        text = path.read_text(errors="replace").splitlines()
        if text:
            parts.append("\n".join([f"--- {path.name}", *text[-lines:]]))
    return "\n".join(parts)
