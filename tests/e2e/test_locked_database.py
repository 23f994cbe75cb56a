"""A database that somebody else holds: 503 within the caller's second, and nothing else suffers."""

import fcntl
import os
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import sqlite
from harness.api import make_token
from harness.metrics import scrape
from harness.process import give_to_user, wait_until
from harness.web_servers import Nginx

pytestmark = pytest.mark.alone

CALLERS_PATIENCE_S = 1.0


@pytest.fixture
def server(make_service, certificates):
    server = Nginx(make_service().start(api_processes=4), certificates)
    assert server.api.register("t").status == 200
    return server


@pytest.fixture(params=["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE", "write.lock"])
def lock(request, server):
    """Ways to hold the database: somebody's open write transaction, and a program that stopped while it wrote."""
    if request.param != "write.lock":
        return lambda: sqlite.OpenTransaction(server.service.database, request.param)

    class Held:
        def __enter__(self):
            self.fd = os.open(server.service.state_dir / "write.lock", os.O_RDWR)
            fcntl.flock(self.fd, fcntl.LOCK_EX)

        def __exit__(self, *_):
            os.close(self.fd)

    return Held


def timed(call, *arguments):
    start = time.monotonic()
    reply = call(*arguments)
    return reply, time.monotonic() - start


def assert_unavailable(reply, took_s):
    assert (reply.status, reply.body) == (503, b"unavailable: database is locked\n")
    assert reply.headers.get_all("Retry-After") == ["1"]
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert took_s < CALLERS_PATIENCE_S, f"{took_s:.3f} s"


def test_writes_get_503_within_the_callers_second_and_work_again_afterwards(server, lock):
    with server.subscribe("t") as browser:
        browser.authenticate()
        with lock():
            for call in (
                lambda: server.api.publish("t", 1),
                lambda: server.api.register("t"),
                lambda: server.api.unregister("t"),
            ):
                assert_unavailable(*timed(call))
        before = [process.pid for process in server.service.api]
        reply = server.api.publish("t", "afterwards")
        assert reply.status == 200
        assert browser.receive() == '{"type":"push","payload":"afterwards"}'
        assert [process.pid for process in server.service.api if process.runs()] == before


def test_callers_in_a_queue_all_get_their_503_in_time(server, lock):
    """Their waits must not add up: at first each process has ten callers to answer one after the other."""

    def publish(_):
        return timed(server.api.publish, "t", 1)

    with lock(), ThreadPoolExecutor(40) as callers:
        for callers_at_once in (40, 8):
            for reply, took_s in callers.map(publish, range(callers_at_once)):
                assert_unavailable(reply, took_s)
    assert server.api.publish("t", 1).status == 200


def test_unknown_topic_is_404_all_the_same(server, lock):
    with lock():
        reply, took_s = timed(server.api.publish, "nobody", 1)
        assert (reply.status, reply.body) == (404, b"topic not registered\n")
        assert took_s < CALLERS_PATIENCE_S
        for body, status in ((b"{}", 400), (b'{"topic":"t"}', 400)):
            assert server.api.call("publish", raw=body).status == status
        assert server.api.call("publish", {"topic": "t", "payload": 1}, headers={"X-Worker-Secret": "x"}).status == 403
        assert server.api.register("worker.status").status == 200


def test_status_and_new_subscribers_work_meanwhile(server, lock):
    server.api.publish("t", 0)
    with lock():
        reply, took_s = timed(server.api.status)
        assert (reply.status, reply.json["status"]) == (200, "ok")
        assert took_s < CALLERS_PATIENCE_S
        with server.subscribe("t") as browser:
            assert browser.authenticate(make_token(server.service.secret, "t")) == '{"type":"auth_ok"}'
    wait_until(lambda: server.api.status().json["connected_sockets"] == 0, "its row is right in the end")


def test_what_is_committed_by_the_other_side_is_pushed(server):
    with server.subscribe("t") as browser:
        browser.authenticate()
        with sqlite.OpenTransaction(server.service.database) as transaction:
            assert_unavailable(*timed(server.api.publish, "t", 1))
            transaction.end(
                "INSERT INTO events (kind, topic, payload, created_ms) "
                "VALUES (0, 't', '\"by hand\"', unixepoch() * 1000);\nCOMMIT"
            )
        assert browser.receive(3) == '{"type":"push","payload":"by hand"}'


def test_a_reader_holds_nobody_up(server):
    with sqlite.OpenTransaction(server.service.database, "BEGIN;\nSELECT count(*) FROM events") as reader:
        for number in range(20):
            assert server.api.publish("t", number).status == 200
        reader.end()


def test_a_reader_that_stays_is_named_and_cannot_fill_the_disk(make_service, certificates):
    service = make_service(database_max_bytes=16 * 1024 * 1024).start(api_processes=2)
    server = Nginx(service, certificates)
    server.api.register("t")
    wal, payload = service.state_dir / "worker.db-wal", "x" * 200_000
    with sqlite.OpenTransaction(service.database, "BEGIN;\nSELECT count(*) FROM events") as reader:
        statuses = [server.api.publish("t", payload).status for _ in range(200)]
        assert statuses[0] == 200 and statuses[-20:] == [503] * 20
        assert wal.stat().st_size < 20 * 1024 * 1024
        named = f'msg="an open transaction keeps the log from being shortened" pid={reader.process.pid} '
        wait_until(lambda: named in (service.log_dir / "gateway.log").read_text(), "the gateway says who")
        assert server.api.status().json["log_reader_pid"] == reader.process.pid
        assert scrape(server)["log_reader_pid"] == reader.process.pid
        reader.end()
    assert "log_reader_pid" not in server.api.status().json
    assert scrape(server)["log_reader_pid"] == 0
    wait_until(lambda: server.api.publish("t", payload).status == 200, "publishing works again", 5)
    wait_until(
        lambda: "the log can be shortened again" in (service.log_dir / "gateway.log").read_text(), "the log says so"
    )


def test_trouble_is_logged_when_it_begins_and_when_it_ends_not_for_each_request(make_service, certificates):
    service = make_service(busy_timeout="30ms").start(api_processes=1)
    server = Nginx(service, certificates)
    server.api.register("t")
    with sqlite.OpenTransaction(service.database):
        for _ in range(12):
            assert server.api.publish("t", 1).status == 503
    for _ in range(12):
        assert server.api.publish("t", 1).status == 200
    log = (service.log_dir / "api.log").read_text()
    assert (log.count("database unavailable"), log.count("database available again")) == (1, 1)


def test_a_lock_that_is_released_in_time_is_waited_for(server):
    transaction = sqlite.OpenTransaction(server.service.database)
    replies = []
    publisher = threading.Thread(target=lambda: replies.append(server.api.publish("t", 1)))
    publisher.start()
    wait_until(lambda: waits_for_the_database(server), "a process waits")
    transaction.end()
    publisher.join()
    assert replies[0].status == 200


def waits_for_the_database(server):
    """True while a process of ours holds the write lock: the kernel shows it in /proc/locks."""
    inode = os.stat(server.service.state_dir / "write.lock").st_ino
    with open("/proc/locks") as locks:
        return any(line.split()[1] == "FLOCK" and line.split()[5].endswith(f":{inode}") for line in locks)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a small file system of its own")
def test_disk_full_is_503_and_works_again_when_there_is_room(make_service, certificates):
    service = make_service()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", service.state_dir], check=True)
    try:
        give_to_user(service.state_dir, 0o700)
        server = Nginx(service.start(), certificates)
        assert server.api.register("t").status == 200
        filler = service.state_dir / "filler"
        with open(filler, "wb") as file:
            with pytest.raises(OSError):
                while True:
                    file.write(b"x" * 65536)
                    file.flush()
        for payload in ("x" * 300_000, "x" * 300_000):
            reply, took_s = timed(server.api.publish, "t", payload)
            assert reply.status == 503 and re.fullmatch("unavailable: .*full\n", reply.text)
            assert reply.headers["Retry-After"] == "1" and took_s < CALLERS_PATIENCE_S
        assert server.api.publish("nobody", 1).status == 404
        assert server.api.status().status == 200
        filler.unlink()
        assert server.api.publish("t", "x" * 300_000).status == 200
    finally:
        subprocess.run(["umount", "--lazy", service.state_dir], check=True)  # the programs still run
