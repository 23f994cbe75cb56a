"""What somebody who has just cloned the repository meets: `make`, `make run`, `make install`, and how they take what is
odd about the machine: a short PATH, a clone that was moved, what a killed run left behind, a sudo that says no."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness import sqlite
from harness.api import InternalApi
from harness.process import GID, UID, Process, accepts, environment, free_port, give_to_user, log_tail, wait_until
from harness.service import BUILD, REPO

SHORT_PATH = "/usr/local/bin:/usr/bin:/bin"  # a plain user's on Debian: no sbin


class Clone:
    """What `make run` needs of a clone, on ports of its own."""

    def __init__(self):
        self.above = Path(tempfile.mkdtemp(prefix="wlw-", dir="/tmp"))
        self.terminal = self.above / "terminal.log"
        self.dir = self.above / "clone"
        shutil.copytree(REPO / "nginx", self.dir / "nginx")
        (self.dir / "build").mkdir()
        for program in ("wavelog-worker-api", "wavelog-worker-gateway"):
            shutil.copy(BUILD / program, self.dir / "build")
        for path in (self.above, self.dir):
            give_to_user(path, 0o755)
        self.ws_port, self.internal_port = free_port(), free_port()
        self.runs = []

    def start(self, **variables):
        """As a plain user; returns when it is up."""
        self.terminal.unlink(missing_ok=True)
        ports = {"WORKER_WS_PORT": str(self.ws_port), "WORKER_INTERNAL_PORT": str(self.internal_port)}
        process = Process.start("make run", [self.dir / "nginx/run"], self.terminal, env={**ports, **variables})
        self.runs.append(process)
        wait_until(lambda: "Ctrl-C" in self.said() or not process.runs(), "it is up", limit_s=60)
        assert process.runs(), log_tail(self.above)
        return process

    def said(self):
        return self.terminal.read_text()

    @property
    def state_dir(self):
        return Path(re.search(r'^state_dir: "(.*)"', (self.dir / "run/config.yaml").read_text(), re.M)[1])

    @property
    def api(self):
        secret = re.search(r'^worker_secret: "(.*)"', (self.dir / "run/config.yaml").read_text(), re.M)[1]
        return InternalApi(f"http://127.0.0.1:{self.internal_port}", secret)

    def is_silent(self):
        return not accepts(("127.0.0.1", self.ws_port)) and not accepts(("127.0.0.1", self.internal_port))

    def close(self):
        for process in self.runs:
            assert not process.runs() or process.stop() is None, log_tail(self.above)
        assert self.is_silent()
        shutil.rmtree(self.above)


@pytest.fixture
def clone():
    clone = Clone()
    yield clone
    clone.close()


# make run


def test_make_run_finds_nginx_for_a_user_whose_path_lacks_sbin(clone):
    clone.start(PATH=SHORT_PATH)
    assert clone.api.publish("demo", 1).status == 200


def test_make_run_takes_the_secret_from_the_environment_as_the_programs_do(clone):
    secret = "a secret of the environment, long enough"
    clone.start(WORKER_SECRET=secret)
    assert clone.api.publish("demo", 1).status == 403
    assert InternalApi(clone.api.url, secret).publish("demo", 1).status == 200


def test_a_clone_that_was_moved_keeps_its_events_and_leaves_nothing_where_it_was(clone):
    old = clone.dir
    process = clone.start()
    assert clone.api.publish("demo", "before").status == 200
    assert process.stop() is None
    clone.dir = clone.above / "moved"
    old.rename(clone.dir)
    clone.start()
    assert clone.api.publish("demo", "after").status == 200
    assert clone.state_dir == clone.dir / "run/state" and not old.exists()
    payloads = sqlite.ask(clone.state_dir / "worker.db", "SELECT payload FROM events WHERE kind = 0 ORDER BY id")
    assert [row["payload"] for row in payloads] == ['"before"', '"after"']


def test_a_state_dir_elsewhere_stays_what_it_is(clone):
    elsewhere = clone.above / "elsewhere"
    clone.start().stop()
    config = clone.dir / "run/config.yaml"
    config.write_text(config.read_text().replace(str(clone.state_dir), str(elsewhere)))
    clone.start()
    assert clone.state_dir == elsewhere and (elsewhere / "worker.db").exists()


def test_what_a_killed_run_left_behind_is_stopped_by_the_next(clone):
    clone.start().kill()
    assert not clone.is_silent(), "its programs go on"
    process = clone.start()
    assert "stopping what a run that was killed has left behind" in clone.said()
    assert clone.api.publish("demo", 1).status == 200
    assert process.stop() is None
    assert clone.is_silent()


def test_a_process_that_got_the_pid_of_an_old_one_is_left_alone(clone):
    """Also when the files of the last run name it: the pid is somebody else's by now."""
    clone.start().stop()
    other = subprocess.Popen(["sleep", "1000"])
    (clone.dir / "run/left").write_text(f"{other.pid} 1\n")
    try:
        clone.start().stop()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


# .ci/packages


@pytest.mark.parametrize("sudo", ["absent", "says no"])
def test_packages_says_what_to_install_when_it_may_not(clone, sudo):
    programs = clone.above / "programs"
    programs.mkdir()
    for name in ("sh", "id", "grep"):
        (programs / name).symlink_to(shutil.which(name))
    (programs / "dpkg-query").write_text("#!/bin/sh\nexit 1\n")
    if sudo == "says no":
        (programs / "sudo").write_text("#!/bin/sh\necho 'you are not in the sudoers file' >&2\nexit 1\n")
    for path in programs.iterdir():
        if not path.is_symlink():
            path.chmod(0o755)
    as_user = {"user": UID, "group": GID, "extra_groups": []} if os.geteuid() == 0 else {}
    shutil.copy(REPO / ".ci/packages", clone.above)
    done = subprocess.run(
        [clone.above / "packages", "build"], env={"PATH": str(programs)}, capture_output=True, text=True, **as_user
    )
    assert done.returncode == 1
    assert re.search(r"\n\tapt-get install --no-install-recommends gcc make .*libhiredis-dev\n$", done.stderr), done.stderr


# make


def make(*arguments):
    done = subprocess.run(["make", "-s", "-C", REPO, *arguments], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_flags_of_the_user_are_added_to_those_that_the_build_needs(tmp_path):
    flags = {"CPPFLAGS": "-DOF_THE_USER", "CFLAGS": "-O1", "LDFLAGS": "-Wl,--as-needed"}
    settings = [f"{name}={value}" for name, value in flags.items()]
    said = make(*settings, f"B={tmp_path}", "-n", "all")
    for line in said.splitlines():
        if " -c " in line:
            assert "-DOF_THE_USER" in line and "-D_GNU_SOURCE" in line and line.index("-O2") < line.index("-O1")
        elif " -o " in line:
            assert "--as-needed" in line and "relro" in line
    make(*settings, f"B={tmp_path}", f"{tmp_path}/shared/base/log.o", f"{tmp_path}/shared/json/json.o")


def files_below(directory):
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


def test_install_ships_what_people_need_and_uninstall_takes_all_of_it_away(tmp_path):
    where = [f"B={BUILD}", f"DESTDIR={tmp_path}", "PREFIX=/usr"]
    make(*where, "install")
    shipped = files_below(tmp_path)
    share, doc = "usr/share/wavelog-worker", "usr/share/doc/wavelog-worker"
    assert {"usr/bin/wavelog-worker-api", "usr/bin/wavelog-worker-gateway", f"{share}/demo.html",
            f"{share}/config.sample.yaml", f"{doc}/LICENSE", f"{doc}/nginx/wavelog-worker.conf",
            f"{doc}/nginx/snippets/wavelog-worker.conf", f"{doc}/apache/htaccess",
            f"{doc}/systemd/wavelog-worker-gateway.service"} <= shipped  # fmt: skip
    assert {f"{share}/{path.relative_to(REPO)}" for path in REPO.glob("sql/*.sql")} <= shipped
    scripts = {path.name for path in REPO.glob("gateway/client/wavelog-worker*")}
    assert {f"{share}/client/{name}" for name in scripts} <= shipped
    assert not [name for name in shipped if Path(name).name.startswith("run")]
    (tmp_path / "usr/bin/other").touch()
    make(*where, "uninstall")
    assert files_below(tmp_path) == {"usr/bin/other"}
