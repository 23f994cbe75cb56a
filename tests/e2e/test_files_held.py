"""Files of the database that go away again and again while those who have them open stand still, each since another
time. Whoever comes next goes on from what was opened last, whoever has that open, and be it a process that is stopped;
only what nobody has any more is lost, and then ids jump and nobody is told that it was recovered."""

import contextlib
import json
import shutil
import signal
import socket
from pathlib import Path

import pytest

from harness import sqlite
from harness.api import FastCgi
from harness.crowd import Crowd
from harness.process import flocks, give_to_user, wait_until

ALL = ["worker.db", "worker.db-wal", "worker.db-shm"]
PUBLISHES = 3

# What happens to which files: "rm"; "lock out", rm after chmod 000; "junk": something else is there; "move": the directory.
DEEDS = [
    ("rm", ["worker.db"]), ("rm", ["worker.db-wal"]), ("rm", ["worker.db-shm"]), ("rm", ALL), ("rm", [*ALL, "write.lock"]),
    ("rm", ["write.lock"]), ("junk", ["worker.db"]), ("junk", ["worker.db-wal"]), ("junk", ["worker.db-shm"]),
    ("junk", ["write.lock", *ALL]), ("lock out", ALL), ("lock out", [*ALL, "write.lock"]), ("move", ["."]),
]  # fmt: skip
# Who publishes, and "*" where it happens; those who are not named stand still. "d" starts anew.
SCRIPT = "a * a b * b * c a * d b * * c d a"


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


class Cast:
    """Processes by name, those of the API each with a socket of its own. `ids`: of what was answered with 200. In the end
    all of them go on."""

    def __init__(self, service, names):
        self.service, self.processes, self.ids = service, {}, []
        self.directories = set()  # their inodes
        if service.gateway:
            self.processes["gateway"] = service.gateway
        for name in names:
            self.start(name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.go_on()

    def go_on(self):
        for process in self.processes.values():
            process.send(signal.SIGCONT)

    def start(self, name):
        path = self.service.dir / f"{name}.sock"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            give_to_user(path, 0o660)
            listener.listen(8)
            self.processes[name] = self.service.spawn_api(listener, name)
        self.service.api.append(self.processes[name])

    def call(self, name, verb, body, **parameters):
        api = FastCgi(self.service.dir / f"{name}.sock", self.service.secret)
        return api.call(verb, json.dumps(body).encode(), **parameters)

    def publish(self, name, count=PUBLISHES):
        self.processes[name].send(signal.SIGCONT)
        if not self.ids:
            assert self.call(name, "register", {"topic": "t"}).status == 200
        for _ in range(count):
            answer = wait_until(
                lambda: (reply := self.call(name, "publish", {"topic": "t", "payload": 1})).status == 200 and reply,
                f"{name} publishes",
            )
            self.ids.append(json.loads(answer.body)["id"])

    def stand_still(self, name):
        """Without the write lock in its hand."""
        process = self.processes[name]
        with contextlib.suppress(FileNotFoundError):
            self.directories.add(self.service.state_dir.stat().st_ino)

        def holds_a_lock():
            return any(pid == process.pid and inode not in self.directories for waits, pid, inode in flocks() if not waits)

        def stands():
            process.send(signal.SIGSTOP)
            wait_until(lambda: state_of(process.pid) == "T", "it stops", interval_s=0.001)
            if not holds_a_lock():
                return True
            process.send(signal.SIGCONT)
            return False

        wait_until(stands, "it stands still")

    def kill(self, name):
        process = self.processes.pop(name)
        process.send(signal.SIGKILL)
        process.wait()
        self.service.api.remove(process)

    def deal(self, how, names):
        for name in names:
            path, other = self.service.state_dir / name, self.service.state_dir / "other"
            if how == "move":
                with contextlib.suppress(FileNotFoundError):
                    path.rename(self.service.dir / f"away{len(self.ids)}")
            elif how != "junk":
                with contextlib.suppress(FileNotFoundError):
                    path.chmod(0 if how == "lock out" else 0o600)
                    path.unlink()
            else:
                other.write_bytes(b"This is not what it was: " * 1000)
                give_to_user(other, 0o600)
                other.rename(path)


def resumed(cast, name, position):
    """Whether a client at that position is recovered, and the ids that it gets."""
    frame = {"type": "auth", "last_event_id": position}
    ids = []
    while True:
        answer = cast.call(name, "poll", frame, SCRIPT_NAME="/poll", REQUEST_URI="/poll", QUERY_STRING="topic=t")
        answer = json.loads(answer.body)
        ids += [push["id"] for push in answer["pushes"]]
        frame["last_event_id"] = answer["last_event_id"]
        if not answer.get("more"):
            return answer["recovered"], ids


def test_what_was_opened_last_is_put_back_whoever_has_it(make_service):
    service = make_service(log_level="warn")
    service.start_gateway()
    with Cast(service, "abc") as cast, Crowd() as crowd:
        cast.publish("a", 1)
        (member,) = crowd.follow(service.ws_address, "t", resume="always")
        for deed in DEEDS:
            for name in [*cast.processes]:
                cast.stand_still(name)
            for step in SCRIPT.split():
                if step == "*":
                    cast.deal(*deed)
                    continue
                if step not in cast.processes:
                    cast.start(step)
                cast.publish(step)
                cast.stand_still(step)
            cast.kill("d")
            cast.go_on()
            assert sorted(set(cast.ids)) == cast.ids, deed
            wait_until(lambda: member.ids and member.ids[-1] == cast.ids[-1], f"the gateway comes after {deed}")
            assert list(member.ids) == cast.ids[1:] and not member.closes, deed
        for name in "abc":
            wait_until(lambda: resumed(cast, name, cast.ids[0]) == (True, cast.ids[1:]), f"{name} has everything")
    assert sqlite.value(service.database, "PRAGMA integrity_check") == "ok"
    assert "lacks events" not in "".join(log.read_text() for log in service.log_dir.iterdir())


def killed_before_anybody_looked(cast):
    cast.publish("a")
    for name in "ab":
        cast.stand_still(name)
    cast.deal("rm", ["worker.db-wal", "worker.db-shm"])
    for name in "ab":
        cast.kill(name)


def killed_after_only_it_had_looked(cast):
    cast.stand_still("b")
    cast.deal("rm", ALL)
    cast.publish("a")
    cast.stand_still("a")
    cast.deal("rm", ALL)
    cast.kill("a")


def replaced_by_an_older_copy_while_nothing_ran(cast):
    database = cast.service.database
    saved = database.with_name("saved")
    sqlite.change(database, f"VACUUM INTO '{saved}'")
    give_to_user(saved, 0o600)
    cast.publish("a")
    assert cast.service.stop_api() == []
    cast.processes.clear()
    saved.rename(database)


def copied_back_as_a_whole_while_nothing_ran(cast):
    state_dir, backup = cast.service.state_dir, cast.service.dir / "backup"
    cast.publish("a")
    for name in "ab":
        cast.stand_still(name)
    shutil.copytree(state_dir, backup)
    cast.publish("a")
    cast.go_on()
    assert cast.service.stop_api() == []
    cast.processes.clear()
    shutil.rmtree(state_dir)
    shutil.copytree(backup, state_dir)
    for path in state_dir, *state_dir.iterdir():
        give_to_user(path, 0o700)


@pytest.mark.parametrize(
    "lose",
    [
        killed_before_anybody_looked, killed_after_only_it_had_looked, replaced_by_an_older_copy_while_nothing_ran,
        copied_back_as_a_whole_while_nothing_ran,
    ],
)  # fmt: skip
def test_what_nobody_has_any_more_is_told_of(make_service, lose):
    service = make_service(log_level="warn")
    with Cast(service, "ab") as cast:
        cast.publish("b", 1)
        cast.publish("a", 1)
        lose(cast)
        lost = cast.ids[-PUBLISHES:]
        cast.go_on()
        for name in "ab":
            if name not in cast.processes:
                cast.start(name)
        for name in "ab":
            wait_until(lambda: cast.call(name, "register", {"topic": "t"}).status == 200, "the database is there again")
        cast.publish("a", 1)
        assert cast.ids[-1] > lost[-1], "no id is used twice"
        for position in lost:
            assert resumed(cast, "b", position) == (False, [])
    log = (service.log_dir / "api.log").read_text()
    if lose is copied_back_as_a_whole_while_nothing_ran:
        assert log.count('msg="the database may lack events that have been in it"') == 1
    else:
        assert log.count('msg="the database lacks events that have been in it"') == 1 and f"known_id={lost[-1]}" in log
