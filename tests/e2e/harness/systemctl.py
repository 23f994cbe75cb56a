#!/usr/bin/python3
"""A stand-in for systemd, for the sandbox in which the commands of the documentation run: `systemctl.py serve LOG` is the
manager, and under the name systemctl it asks the manager. Knows as much as our units need; what it does not know is an
error, so that a slip of the pen in a unit is found. nginx and apache2 are asked by their own commands."""

import configparser
import grp
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

UNITS = Path("/etc/systemd/system")
CONTROL = "/run/systemctl.sock"
READY_LIMIT_S = 20
KNOWN = {
    "Unit": "Description Requires After StartLimitIntervalSec",
    "Socket": "ListenStream SocketGroup SocketMode",
    "Service": "Type NotifyAccess User Group ExecStart ExecReload "
    "Restart RestartSec RestartPreventExitStatus StateDirectory StateDirectoryMode RuntimeDirectory "
    "RuntimeDirectoryPreserve NoNewPrivileges ProtectSystem ProtectHome PrivateTmp",
    "Install": "WantedBy",
}
OWN_COMMANDS = {
    "apache2": {"restart": "apache2ctl restart", "reload": "apache2ctl graceful"},
    "nginx": {"restart": "nginx", "reload": "nginx -s reload"},
}
PID_FILES = {"apache2": "/run/apache2/apache2.pid", "nginx": "/run/nginx.pid"}
LEAVING_S = 1


def full_name(name):
    return name if name.endswith((".service", ".socket")) else name + ".service"


def read_unit(name):
    """Its sections."""
    file = UNITS / name
    unit = configparser.RawConfigParser(comment_prefixes=("#",), delimiters=("=",), strict=True)
    unit.optionxform = str
    unit.read_string(file.read_text())
    for section in unit.sections():
        unknown = set(unit[section]) - set(KNOWN[section].split())
        assert not unknown, f"{file}: {unknown}"
    return unit


def children_of(name):
    """Of nginx or Apache; those that have ended and are not yet reaped too."""
    try:
        pid = int(Path(PID_FILES[name]).read_text())
        return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    except (OSError, ValueError):
        return set()


class Manager:
    def __init__(self, log):
        self.log = open(log, "ab")
        self.sockets = {}  # unit -> the socket
        self.children = {}  # unit -> the first process
        self.main_pid = {}  # unit -> the pid, as far as we have been told
        self.ready = {}  # unit -> an event: it has told us since it was started

    def listen(self, name):
        settings = read_unit(name)["Socket"]
        path = Path(settings["ListenStream"])
        path.parent.mkdir(parents=True, exist_ok=True)
        self.sockets[name] = listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        os.chown(path, 0, grp.getgrnam(settings["SocketGroup"]).gr_gid)
        path.chmod(int(settings["SocketMode"], 8))
        listener.listen(128)

    def make_directories(self, settings, user, group):
        for key, parent in (("StateDirectory", "/var/lib"), ("RuntimeDirectory", "/run")):
            if key in settings:
                path = Path(parent, settings[key])
                path.mkdir(exist_ok=True)
                path.chmod(int(settings.get(key + "Mode", "0755"), 8))
                os.chown(path, user, group)

    def start(self, name):
        if name.endswith(".socket"):
            self.listen(name)
            return
        settings = read_unit(name)["Service"]
        account = pwd.getpwnam(settings["User"])
        group = grp.getgrnam(settings["Group"]).gr_gid if "Group" in settings else account.pw_gid
        self.make_directories(settings, account.pw_uid, group)
        listener = self.sockets.get(name.replace(".service", ".socket"))
        command, inherited = settings["ExecStart"].split(), {}
        if listener:  # sd_listen_fds(3): descriptor 3, for this very process
            command = ["/bin/sh", "-c", f'exec 3<&{listener.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "sh", *command]
            inherited = {"pass_fds": [listener.fileno()]}
        self.expect_news(name)
        self.children[name] = child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            cwd="/", env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": "@" + name}, user=account.pw_uid, group=group,
            extra_groups=[], **inherited,
        )  # fmt: skip
        self.main_pid[name] = child.pid
        if settings.get("Type") == "notify":
            assert self.ready[name].wait(READY_LIMIT_S), f"{name} did not come up"

    def expect_news(self, name):
        if name not in self.ready:
            self.ready[name] = threading.Event()
            notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            notify.bind("\0" + name)
            threading.Thread(target=self.hear, args=(name, notify), daemon=True).start()
        self.ready[name].clear()

    def hear(self, name, notify):
        while True:
            self.main_pid[name] = int(re.search(rb"MAINPID=(\d+)", notify.recv(4096))[1])
            self.ready[name].set()

    def stop(self, name):
        child = self.children.pop(name)
        child.send_signal(signal.SIGTERM)
        assert child.wait(READY_LIMIT_S) == 0, f"{name} ended with {child.returncode}"

    def disable(self, name):
        if name.endswith(".socket"):
            self.sockets.pop(name).close()
        else:
            self.stop(name)

    def ask_server(self, verb, name):
        """Both reload in the background: until others have taken the place of all its children, or those that are left may
        have clients that stay."""
        before, deadline = children_of(name), time.monotonic() + LEAVING_S
        subprocess.run(OWN_COMMANDS[name][verb].split(), check=True, stdout=self.log, stderr=self.log)
        while time.monotonic() < deadline and (not children_of(name) or children_of(name) & before):
            time.sleep(0.01)

    def restart(self, name):
        self.stop(name)
        self.start(name)

    def reload(self, name):
        command = read_unit(name)["Service"]["ExecReload"]
        self.ready[name].clear()
        subprocess.run(command.replace("$MAINPID", str(self.main_pid[name])).split(), check=True)
        if "-USR2" in command:
            self.wait_for_successor(name)

    def kill(self, number, name):
        self.ready[name].clear()
        os.kill(self.main_pid[name], signal.Signals["SIG" + number])
        if number == "USR2":
            self.wait_for_successor(name)

    def wait_for_successor(self, name):
        """Another process, or the same with another program, tells us that it serves."""
        assert self.ready[name].wait(READY_LIMIT_S), f"{name}: no successor"

    def obey(self, arguments):
        verb, *names = arguments
        if verb == "daemon-reload":
            for file in UNITS.glob("wavelog-worker*"):
                read_unit(file.name)
        elif verb == "enable" and names[0] == "--now":
            for name in names[1:]:
                assert "WantedBy" in read_unit(full_name(name))["Install"]
                self.start(full_name(name))
        elif verb == "disable" and names[0] == "--now":
            for name in names[1:]:
                self.disable(full_name(name))
        elif verb == "kill" and names[0] == "-s" and names[2] == "--kill-who=main":
            self.kill(names[1], full_name(names[3]))
        elif verb in ("restart", "reload"):
            for name in names:
                if name in OWN_COMMANDS:
                    self.ask_server(verb, name)
                else:
                    getattr(self, verb)(full_name(name))
        else:
            raise AssertionError(f"not known: {arguments}")

    def serve(self):
        control = socket.socket(socket.AF_UNIX)
        control.bind(CONTROL)
        control.listen()
        while True:
            client, _ = control.accept()
            try:
                self.obey(client.recv(65536).decode().split("\n"))
                answer = ""
            except Exception as error:
                answer = f"{type(error).__name__}: {error}"
            client.sendall(answer.encode())
            client.close()


def main():
    if sys.argv[1:2] == ["serve"]:
        Manager(sys.argv[2]).serve()
    with socket.socket(socket.AF_UNIX) as manager:
        manager.connect(CONTROL)
        manager.sendall("\n".join(sys.argv[1:]).encode())
        sys.exit(manager.recv(65536).decode() or None)


if __name__ == "__main__":
    main()
