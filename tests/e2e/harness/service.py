"""One installation of wavelog-worker: a directory with config.yaml and state_dir, a gateway, an API."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from .process import GID, UID, Process, accepts, environment, free_port, give_to_user, log_faults, log_tail, wait_until

REPO = Path(__file__).resolve().parents[3]


def substitute(text, changes, name="text"):
    """Replaces each key by its value, everywhere. A key that is not in the text fails the test."""
    for old, new in changes.items():
        if old not in text:
            raise AssertionError(f"{name} does not hold {old!r} any more")
        text = text.replace(old, new)
    return text


def copy_with(source, target, changes):
    """Copies a file of the repository (`source` below its root) to `target`, with changes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(substitute((REPO / source).read_text(), changes, source))
    target.chmod(0o644)


def uncomment(line):
    """The change that takes the # away from a line, to be used as **uncomment("...")."""
    return {"#" + line: line}


BUILD = (REPO / os.environ.get("WORKER_BUILD", "build")).resolve()


class Service:
    """Keyword arguments become keys of config.yaml. With unix=True the gateway listens on a UNIX socket. `programs` is
    where those of another build are, `parent` where the directory is made.

    Nothing is started yet: start() starts both programs, start_gateway() and start_api() one of them;
    close() stops everything and returns what was wrong."""

    def __init__(self, unix=False, programs=BUILD, parent="/tmp", **config):
        self.dir = Path(tempfile.mkdtemp(prefix="wlw-", dir=parent))  # short: socket paths end at 107 bytes
        give_to_user(self.dir, 0o755)
        self.state_dir, self.log_dir, self.bin = self.dir / "state", self.dir / "log", self.dir / "bin"
        for path, mode in ((self.state_dir, 0o700), (self.log_dir, 0o755), (self.bin, 0o755)):
            path.mkdir()
            give_to_user(path, mode)
        for program in ("wavelog-worker-api", "wavelog-worker-gateway"):
            # A copy, because the unprivileged user may not reach the repository.
            shutil.copy(programs / program, self.bin / program)
        self.api_program = self.bin / "wavelog-worker-api"
        self.gateway_program = self.bin / "wavelog-worker-gateway"

        self.secret = secrets.token_hex(24)
        self.ws_port = free_port()
        self.ws_socket = self.dir / "gateway.sock" if unix else None
        self.ws_address = str(self.ws_socket) if unix else ("127.0.0.1", self.ws_port)
        self.api_socket = self.dir / "api.sock"
        self.config_file = self.dir / "config.yaml"
        self.config = {
            "worker_secret": self.secret,
            "state_dir": str(self.state_dir),
            "ws_bind": f"unix:{self.ws_socket}" if unix else "127.0.0.1",
            "ws_port": self.ws_port,
            **config,
        }
        self.write_config()
        self.environment = []  # what comes before a program: env and variables
        self.gateway = None
        self.api = []
        self.closers = []  # of the web servers in front, called before the programs stop

    @property
    def database(self):
        return self.state_dir / "worker.db"

    def write_config(self, **changes):
        """Writes config.yaml anew; programs that run keep what they read at their start."""
        self.config.update(changes)
        lines = [f"{key}: {json.dumps(value)}\n" for key, value in self.config.items()]  # JSON is YAML
        self.config_file.write_text("".join(lines))
        give_to_user(self.config_file, 0o600)

    def fake_clock(self):
        """Makes programs that are started later read how far their wall clock is off (seconds, as "+3600")
        from the file that is returned."""
        offset = self.dir / "clock-offset"
        offset.write_text("+0")
        offset.chmod(0o644)
        sanitizer = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
        linked = subprocess.run(["ldd", self.gateway_program], capture_output=True, text=True).stdout
        first = [os.path.realpath(sanitizer)] if "libasan" in linked else []
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        self.environment = [
            "env", f"LD_PRELOAD={' '.join([*first, str(library)])}", f"FAKETIME_TIMESTAMP_FILE={offset}",
            "FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_FAKE_MONOTONIC=1",
        ]  # fmt: skip
        return offset

    def start(self, api_processes=2):
        self.start_gateway()
        self.start_api(api_processes)
        return self

    def start_gateway(self, name="gateway"):
        gateway = self.gateway = self.spawn(name, self.gateway_program, self.log_dir / f"{name}.log")

        def ready():
            assert gateway.runs(), f"the gateway ended with {gateway.exit_code}\n{log_tail(self.log_dir)}"
            return accepts(self.ws_address)

        wait_until(ready, "the gateway accepts connections")
        return gateway

    def restart_gateway(self):
        fault = self.gateway.stop()
        assert fault is None, fault
        return self.start_gateway()

    def start_api(self, processes=2):
        """By spawn-fcgi, as behind nginx. It would send stderr to /dev/null: hence the shell."""
        command = ["spawn-fcgi", "-s", self.api_socket, "-M", "0660", "-F", str(processes)]
        if os.geteuid() == 0:
            command += ["-u", str(UID), "-g", str(GID), "-U", str(UID), "-G", str(GID)]
        shell = 'log=$1; shift; exec "$@" 2>>"$log"'
        log = self.log_dir / "api.log"
        log.touch()
        give_to_user(log, 0o644)
        command += ["--", "/bin/sh", "-c", shell, "sh", log, *self.environment, self.api_program]
        command += ["-c", self.config_file]
        reply = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True, cwd="/")
        pids = [int(pid) for pid in re.findall(r"PID: (\d+)", reply.stdout + reply.stderr)]
        assert len(pids) == processes, reply.stdout + reply.stderr
        self.api = [Process(f"api {pid}", pid) for pid in pids]

        # Until then it may still be the shell.
        wait_until(lambda: all(p.takes_sigterm() or not p.runs() for p in self.api), "the processes of the API start")
        return self.api

    def listen_api(self):
        """The listening socket that spawn_api() hands to its processes, where the web servers look for it."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.api_socket))
        give_to_user(self.api_socket, 0o660)
        listener.listen(128)
        return listener

    def spawn_api(self, listener, name="api"):
        """One API process on that socket. The service stops it in the end when it is in self.api."""
        return self.spawn(name, self.api_program, self.log_dir / "api.log", stdin=listener)

    def spawn(self, name, program, log, **options):
        return Process.start(name, [*self.environment, program, "-c", self.config_file], log, **options)

    def stop_api(self):
        """Stops the API's processes; returns what was wrong, a list of texts."""
        stopped = [process.stop() for process in self.api]
        self.api = []
        self.api_socket.unlink(missing_ok=True)
        return [fault for fault in stopped if fault]

    def close(self):
        """Stops everything, front to back; returns what was wrong, a list of texts."""
        faults = []
        for close in reversed(self.closers):
            faults += close()
        faults += self.stop_api()
        if self.gateway and self.gateway.exit_code is None:
            fault = self.gateway.stop()
            faults += [fault] if fault else []
        faults += log_faults(self.dir, self.secret)
        if not faults:
            shutil.rmtree(self.dir)
        else:
            faults.append(f"the logs are in {self.dir}")
        return faults
