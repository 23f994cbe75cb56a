"""Files that go away while the programs run: backup tools, cleaners, slips. Whatever happens to a file in use, both
programs notice it within a second or so, say so in the log, and go on without anybody's help: no publish that was
answered with 200 is lost, and no second gateway can start."""

import concurrent.futures
import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from harness import sqlite
from harness.api import make_token
from harness.crowd import OPEN, Crowd
from harness.ledger import Ledger, Publisher
from harness.process import Process, flocks, log_tail, wait_until
from harness.web_servers import Nginx
from test_restart import server_pid

NOTICED_S = 1.5  # a second, and what a busy machine adds

# The name in the log, and which of the programs hold it open.
FILES = {
    "worker.db": ("api", "gateway"),
    "worker.db-wal": ("api", "gateway"),
    "worker.db-shm": ("api", "gateway"),
    "write.lock": ("api", "gateway"),
    "gateway.lock": ("api", "gateway"),
    "wakeup.sock": ("gateway",),
    "state_dir": ("api", "gateway"),
}
FULL = {"sync.lock": ("api",)}  # with durability: full


def remove(path):
    if path.is_dir():
        try:
            shutil.rmtree(path)
        except OSError:  # the programs have put a file back meanwhile
            shutil.rmtree(path)
    else:
        path.unlink()


def rename(path):
    path.rename(path.with_name(path.name + ".old"))


def replace(path):
    """By something else, as a whole."""
    other = path.with_name("other")
    if path.is_dir():
        owner = path.stat()
        rename(path)
        shutil.copytree(path.with_name(path.name + ".old"), other, ignore=lambda *_: ["wakeup.sock"])
        other.chmod(0o700)
        for each in other, *other.iterdir():
            shutil.chown(each, owner.st_uid, owner.st_gid)
        try:
            other.rename(path)
        except OSError:  # the programs have made it again already, and what is in it is newer
            shutil.rmtree(other)
        return
    other.write_bytes(b"This is not what it was: " * 1000)
    other.chmod(0o600)
    shutil.chown(other, path.parent.stat().st_uid, path.parent.stat().st_gid)
    other.rename(path)


def close(path):
    path.chmod(0)


ACTIONS = [remove, rename, replace, close]


def path_of(service, name):
    return service.state_dir if name == "state_dir" else service.state_dir / name


def links(directory):
    """Where the descriptors of a process lead."""
    found = []
    for entry in Path(directory).iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(entry))
    return found


def log_of(service, program):
    return (service.log_dir / f"{program}.log").read_text()


def says(service, program, name, action):
    """The lines in its log about it."""
    what = "gave it back" if action is close else "deleted or replaced"
    return [line for line in log_of(service, program).splitlines() if what in line and f'file="{name}"' in line]


def second_gateway(service):
    return service.spawn("second", service.gateway_program, service.log_dir / "second.log")


def go_through(make_service, certificates, name, action, **config):
    service = make_service(drain="100ms", **config)
    server = Nginx(service.start(), certificates)
    assert server.api.register("t").status == 200
    publisher = Publisher(server.api, ["t"], by=0, rate=300)
    gateway, api = service.gateway.pid, [process.pid for process in service.api]
    with Crowd() as crowd:
        members = crowd.follow(service.ws_address, "t", resume="always")
        members += crowd.follow(service.ws_address, "t", resume="no")
        publisher.start()
        wait_until(lambda: all(len(member.keys) > 30 for member in members), "pushes arrive")

        start = time.monotonic()
        action(path_of(service, name))
        programs = (FILES | FULL)[name] if action is not close else ("gateway",)  # whoever sees it first gives the mode back
        if action is close:
            wait_until(lambda: says(service, "gateway", name, close) or says(service, "api", name, close), "the log")
        else:
            for program in programs:
                wait_until(lambda: says(service, program, name, action), f"{program} says so: {log_tail(service.log_dir)}")
        assert time.monotonic() - start < NOTICED_S

        wait_until(lambda: path_of(service, name).exists(), "it is there again")
        wait_until(lambda: path_of(service, name).stat().st_mode & 0o600 == 0o600, "with its mode")
        wait_until(lambda: server.api.register("t").status == 200, "the API can write")
        wait_until(lambda: server.api.status().json["connected_sockets"] == 2, "the status is right")
        gone_on = publisher.count
        wait_until(lambda: publisher.count > gone_on + 100, "publishes go on")
        last = publisher.finish()["t"]
        wait_until(lambda: all(member.last_key == last for member in members), "the last publish comes")

        serves = (False, gateway, service.state_dir.stat().st_ino)
        wait_until(lambda: serves in flocks(), "it has the right to serve")
        assert second_gateway(service).wait() == 75, log_of(service, "second")
        assert (service.gateway.pid, [process.pid for process in service.api]) == (gateway, api)
        assert service.gateway.runs() and all(process.runs() for process in service.api)

    assert Ledger([publisher], members).faults() == []
    assert set(publisher.statuses) <= {200, 503}
    assert publisher.statuses[503] <= publisher.count / 10
    assert all(len(member.starts) == 1 for member in members), "nobody was sent away"
    assert sqlite.value(service.database, "PRAGMA integrity_check") == "ok"
    for program in programs:
        assert len(says(service, program, name, action)) <= 4, "once for each process"
        assert "in its place again" in log_of(service, program) or action is close


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("name", FILES)
def test_a_file_in_use(make_service, certificates, name, action):
    go_through(make_service, certificates, name, action)


@pytest.mark.parametrize("name", ["worker.db-shm", "gateway.lock", "wakeup.sock", "state_dir"])
def test_a_file_in_use_by_several_processes(make_service, certificates, name):
    go_through(make_service, certificates, name, remove, gateway_processes=3)


def workers_of(parent):
    return {int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()}


@contextlib.contextmanager
def followed(service, certificates):
    """A running service whose pushes arrive: its web server, who publishes, and two members who follow."""
    server = Nginx(service, certificates)
    assert server.api.register("t").status == 200
    publisher = Publisher(server.api, ["t"], by=0, rate=300)
    with Crowd() as crowd:
        members = crowd.follow(service.ws_address, "t", 2)
        publisher.start()
        wait_until(lambda: all(len(member.keys) > 30 for member in members), "pushes arrive")
        yield server, publisher, members


@pytest.mark.parametrize(("name", "processes"), [("worker.db-shm", 1), ("gateway.lock", 3)])
def test_who_starts_before_it_is_noticed_or_after_finds_what_is_there(make_service, certificates, name, processes):
    """A successor, or a worker that replaces one that is killed; then the API's processes."""
    service = make_service(drain="100ms", gateway_processes=processes)
    with followed(service.start(), certificates) as (server, publisher, members):
        remove(path_of(service, name))
        if processes == 1:
            service.gateway.send(signal.SIGUSR2)
            assert service.gateway.wait() == 0
            service.gateway = Process("successor", server_pid(service))
        else:
            victim = min(workers_of(service.gateway))
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: len(workers_of(service.gateway) - {victim}) == processes, "another worker")
        assert service.stop_api() == []
        service.start_api()
        wait_until(lambda: server.api.status().json["connected_sockets"] == 2, "the status is right")
        gone_on = publisher.count
        wait_until(lambda: publisher.count > gone_on + 100, "publishes go on")
        last = publisher.finish()["t"]
        wait_until(lambda: all(member.last_key == last for member in members), "the last publish comes")
        assert second_gateway(service).wait() == 75
        assert service.gateway.runs()
    assert Ledger([publisher], members).faults() == []
    assert set(publisher.statuses) <= {200, 502, 503}
    assert "another gateway runs" not in log_of(service, "gateway")
    assert sqlite.value(service.database, "PRAGMA integrity_check") == "ok"


@pytest.mark.parametrize("name", ["worker.db-wal", "worker.db", "sync.lock"])
def test_a_file_in_use_with_full_durability(make_service, certificates, name):
    go_through(make_service, certificates, name, remove, durability="full")


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("wakeup.sock", "gateway.lock")])
def test_a_file_in_use_while_no_gateway_runs(make_service, certificates, name):
    service = make_service(drain="100ms")
    service.start_api(2)
    server = Nginx(service, certificates)
    assert server.api.register("t").status == 200
    ids = [server.api.publish("t", n).json["id"] for n in range(20)]
    remove(path_of(service, name))
    for n in range(20, 40):
        reply = server.api.publish("t", n)
        if reply.status == 200:
            ids.append(reply.json["id"])
    assert len(ids) > 35
    service.start_gateway()
    with server.subscribe("t") as client:
        client.send({"type": "auth", "token": make_token(service.secret, "t"), "last_event_id": ids[0]})
        assert client.receive_json()["recovered"] is True
        assert [client.receive_json()["id"] for _ in ids[1:]] == ids[1:]


def test_everything_is_deleted(make_service, certificates):
    """In an order in which some is put back while the rest still goes."""
    service = make_service(drain="100ms")
    with followed(service.start(), certificates) as (server, publisher, members):
        for _ in range(3):
            for path in list(service.state_dir.iterdir()):
                path.unlink(missing_ok=True)
                time.sleep(0.02)
            time.sleep(0.5)
        last = publisher.finish()["t"]
        wait_until(lambda: all(member.last_key == last for member in members), "the last publish comes")
    assert Ledger([publisher], members).faults() == []
    assert set(publisher.statuses) <= {200, 503}


def test_another_database_is_taken_as_it_is(make_service, certificates):
    """One that was saved before: what came after is not in it, and nobody is told that it was recovered."""
    service = make_service(drain="100ms")
    server = Nginx(service.start(), certificates)
    assert server.api.register("t").status == 200
    saved = service.state_dir / "saved"
    sqlite.change(service.database, f"VACUUM INTO '{saved}'")
    shutil.chown(saved, service.state_dir.stat().st_uid, service.state_dir.stat().st_gid)
    ids = [server.api.publish("t", n).json["id"] for n in range(20)]
    with Crowd() as crowd:
        (member,) = crowd.follow(service.ws_address, "t")
        saved.rename(service.database)
        wait_until(lambda: member.closes, "what may have gone with the old one is not passed over")
        wait_until(lambda: member.state == OPEN, "it comes back")
        assert member.closes == {1013: 1} and member.unrecovered == 1
        had = len(member.ids)
        wait_until(lambda: server.api.publish("t", "new").status == 200, "publishing works")
        wait_until(lambda: len(member.ids) > had, "it is pushed")
        assert member.ids[-1] > ids[-1], "no id is used twice"
        wait_until(lambda: server.api.status().json["connected_sockets"] == 1, "the status is right")
    with server.subscribe("t") as client:
        client.send({"type": "auth", "token": make_token(service.secret, "t"), "last_event_id": ids[5]})
        assert client.receive_json()["recovered"] is False
    log = log_of(service, "gateway")
    assert 'file="worker.db" what="replaced"' in log
    assert 'msg="events were gone before they were handed out" cause="another database"' in log


@pytest.mark.parametrize("names", [["worker.db-wal", "worker.db-shm"], ["worker.db", "worker.db-wal", "worker.db-shm"]])
def test_a_program_that_starts_before_the_others_have_looked_waits_for_them(make_service, certificates, names):
    """It would begin with what is left, without the latest commits, and its own would be lost when the others put back
    what they have open."""
    service = make_service(drain="100ms")
    with service.listen_api() as listener:
        service.start_gateway()
        service.api = [service.spawn_api(listener)]
        server = Nginx(service, certificates)
        assert server.api.register("t").status == 200
        ids = [server.api.publish("t", n).json["id"] for n in range(20)]
        others = [service.gateway, *service.api]
        for process in others:
            process.send(signal.SIGSTOP)
        for name in names:
            remove(path_of(service, name))
        service.api.append(service.spawn_api(listener))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            early = pool.submit(server.api.publish, "t", "early")
            locks = f"/proc/{service.api[-1].pid}/fd"
            wait_until(lambda: any(link.endswith("write.lock") for link in links(locks)), "it looks for the database")
            concurrent.futures.wait([early], timeout=0.5)  # it would be answered now if it were not for the others
            for process in others:
                process.send(signal.SIGCONT)
            ids.append(early.result().json["id"])
        ids += [server.api.publish("t", n).json["id"] for n in range(20)]
        with server.subscribe("t") as client:
            client.send({"type": "auth", "token": make_token(service.secret, "t"), "last_event_id": ids[0]})
            assert client.receive_json()["recovered"] is True
            assert [client.receive_json()["id"] for _ in ids[1:]] == ids[1:]
        assert sorted(set(ids)) == ids


def test_another_directory_with_the_same_files_is_taken(make_service, certificates):
    """Moved away, made anew, and the files moved back into it."""
    server = Nginx(make_service(durability="full").start(), certificates)
    service, old = server.service, server.service.state_dir.with_name("old")
    server.api.register("t")
    with server.subscribe("t") as client:
        client.authenticate()
        service.state_dir.rename(old)
        service.state_dir.mkdir(0o700)
        shutil.chown(service.state_dir, old.stat().st_uid, old.stat().st_gid)
        for path in old.iterdir():
            path.rename(service.state_dir / path.name)
        wait_until(lambda: server.api.publish("t", "first").status == 200, "it is taken")
        for number in range(5):
            assert server.api.publish("t", number).status == 200
        wait_until(lambda: client.receive_json()["payload"] == 4, "the publishes are delivered")


def test_two_services_whose_directories_were_swapped_both_go_on(make_service):
    """Each has the other's right to serve for a moment."""
    services = [make_service(drain="100ms") for _ in range(2)]
    for service in services:
        service.start_gateway()
    one, other = (service.state_dir for service in services)
    away = one.with_name("away")
    one.rename(away)
    other.rename(one)
    away.rename(other)
    for service in services:
        serves = (False, service.gateway.pid, service.state_dir.stat().st_ino)
        wait_until(lambda serves=serves: serves in flocks(), "it has the right to serve")
        assert service.gateway.runs()
