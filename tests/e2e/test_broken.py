"""When things break: full disks (deleted files are in test_files.py), a dead or stopped gateway, a clock that is set."""

import os
import signal
import sqlite3
import subprocess
import time

import pytest

from harness.api import make_token
from harness.crowd import Crowd
from harness.process import give_to_user, wait_until
from harness.web_servers import Nginx

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small file system")


@pytest.fixture
def small_disk(make_service):
    """A service whose state_dir is a file system of that many MiB."""
    mounted = []

    def make(size=8, **config):
        service = make_service(**config)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m,mode=0700", "tmpfs", service.state_dir], check=True)
        mounted.append(service.state_dir)
        give_to_user(service.state_dir, 0o700)
        return service

    yield make
    for path in mounted:
        subprocess.run(["umount", "-l", path], check=True)


@needs_root
def test_a_full_disk_is_503_while_commits_are_still_pushed_until_there_is_room(small_disk, certificates):
    server = Nginx(small_disk().start(), certificates)
    service = server.service
    server.api.register("t")
    with server.subscribe("t") as client:
        client.authenticate()
        ballast = service.state_dir / "ballast"
        with open(ballast, "wb") as file:
            try:
                while True:
                    file.write(b"x" * 65536)
                    file.flush()
            except OSError:
                pass
        sent, refused = [], None
        for n in range(400):
            start = time.monotonic()
            reply = server.api.publish("t", f"{n}" + "x" * 20000)
            if reply.status != 200:
                refused = reply
                assert time.monotonic() - start < 1
                break
            sent.append(n)
        assert (refused.status, refused.body) == (503, b"unavailable: database or disk is full\n")
        assert refused.headers["Retry-After"] == "1"
        for n in sent:
            assert client.receive_json()["payload"].startswith(f"{n}x")
        assert server.api.status().status == 200
        assert server.api.publish("unknown", 1).status == 404
        ballast.unlink()
        wait_until(lambda: server.api.publish("t", "room again").status == 200, "publishing works again")
        assert client.receive_json()["payload"] == "room again"
    with sqlite3.connect(service.database) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@needs_root
def test_a_disk_that_the_service_has_filled_by_itself_heals(small_disk, certificates):
    server = Nginx(small_disk(30).start(), certificates)
    reserve, ballast = (server.service.state_dir / name for name in ("reserve", "ballast"))
    size = 8 << 20

    def is_there():
        return reserve.exists() and (reserve.stat().st_size, reserve.stat().st_blocks) == (size, size // 512)

    def publish(_=None):
        return server.api.publish("t", "x" * 20_000).status

    wait_until(is_there, "there is a reserve")
    ballast.write_bytes(bytes(10 << 20))
    server.api.register("t")
    assert 503 in map(publish, range(1000))
    for _ in range(1000):  # more than the disk has room for
        wait_until(lambda: publish() == 200, "publishing works again", 10)
    assert not reserve.exists()
    ballast.unlink()
    wait_until(is_there, "there is a reserve again", 10)
    with sqlite3.connect(server.service.database) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_the_database_stays_within_its_limit_by_pruning_early(make_service, certificates):
    server = Nginx(make_service(database_max_bytes=16 * 1024 * 1024).start(), certificates)
    server.api.register("t")
    payload = "x" * 300000
    for n in range(150):  # 45 MB
        wait_until(lambda: server.api.publish("t", payload).status == 200, "there is room again", 5)
    assert server.service.database.stat().st_size <= 16 * 1024 * 1024


def test_without_a_gateway_publishes_are_200_and_delivered_when_it_returns(make_service, certificates):
    server = Nginx(make_service().start(), certificates)
    server.api.register("t")
    with Crowd() as crowd:
        (follower,) = crowd.follow(server.service.ws_address, "t")
        server.service.gateway.kill()
        ids = []
        for n in range(50):
            reply = server.api.publish("t", n)
            assert reply.status == 200
            ids.append(reply.json["id"])
        reply = server.api.status()
        assert (reply.status, reply.json["status"], reply.json["connected_sockets"]) == (503, "degraded", 0)
        server.service.start_gateway()
        wait_until(lambda: len(follower.ids) >= 50, "all are pushed")
        assert list(follower.ids) == ids


def test_a_full_wakeup_queue_costs_nothing(make_service, certificates):
    server = Nginx(make_service().start(), certificates)
    server.api.register("t")
    with Crowd() as crowd:
        (follower,) = crowd.follow(server.service.ws_address, "t")
        server.service.gateway.send(signal.SIGSTOP)
        try:
            ids = [server.api.publish("t", n).json["id"] for n in range(1500)]  # a queue holds some 300
        finally:
            server.service.gateway.send(signal.SIGCONT)
        wait_until(lambda: len(follower.ids) >= 1500, "all are pushed")
        assert list(follower.ids) == ids


def test_a_clock_set_an_hour_ahead_and_back_moves_expiries_and_nothing_else(make_service, certificates):
    service = make_service()
    offset = service.fake_clock()
    server = Nginx(service.start(), certificates)
    server.api.register("t", require_token=True)
    server.api.register("open")
    with server.subscribe("t") as short, server.subscribe("t") as long, server.subscribe("open") as plain:
        now = int(time.time())
        short.authenticate(make_token(service.secret, "t", expires=now + 1800))
        long.authenticate(make_token(service.secret, "t", expires=now + 100000))
        plain.authenticate()
        for step in ("+3600", "-3600", "+0"):
            offset.write_text(step)
            if step == "+3600":
                assert short.receive_json()["code"] == "auth_expired"
                assert short.close_code() == 1008
            for n in range(5):
                assert server.api.publish("t", n).status == 200
                assert long.receive() == f'{{"type":"push","payload":{n}}}'
            server.api.publish("open", step)
            assert plain.receive() == f'{{"type":"push","payload":"{step}"}}'
            assert server.api.status().json["connected_sockets"] == 2
    assert "the clock was set" in (service.log_dir / "gateway.log").read_text()
