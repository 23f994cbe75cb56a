"""gateway_processes: several workers on one port under a parent, and what holds over all of them."""

import os
import signal
import socket
import sqlite3
import time
from contextlib import ExitStack

import pytest

from harness.api import make_token
from harness.crowd import Crowd
from harness.process import Process, log_tail, wait_until
from harness.web_servers import Nginx
from harness.websocket import Subscriber, refusal

WORKERS = 3


def workers(service):
    """The pids of the workers that have introduced themselves; none before there is a database."""
    try:
        with sqlite3.connect(f"file:{service.database}?mode=ro", uri=True) as database:
            return {pid for (pid,) in database.execute("SELECT pid FROM gateways")}
    except sqlite3.OperationalError:
        return set()


def wait_for_workers(service, count=WORKERS, but_not=()):
    wait_until(lambda: len(workers(service) - set(but_not)) == count and not workers(service) & set(but_not), "workers")
    return workers(service)


@pytest.fixture(params=[False, True], ids=["tcp", "unix"])
def server(request, make_service, certificates):
    server = Nginx(make_service(unix=request.param, gateway_processes=WORKERS, drain="300ms").start(), certificates)
    wait_for_workers(server.service)
    return server


def refuses(service):
    """True when nobody listens any more."""
    unix = service.ws_socket
    try:
        with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as knock:
            knock.settimeout(0.2)
            knock.connect(str(unix) if unix else ("127.0.0.1", service.ws_port))
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except OSError:
        pass
    return False


def open_clients(stack, server, topic, count, user_id=None):
    """Until there is one at each worker."""
    clients = []
    for n in range(count):
        unix = server.service.ws_socket
        client = Subscriber(
            f"ws://127.0.0.1:{server.service.ws_port}/ws", topic, unix=str(unix) if unix else None
        )  # fmt: skip
        stack.callback(client.close)
        client.authenticate(make_token(server.service.secret, topic, user_id or n + 1))
        clients.append(client)
    return clients


def test_pushes_status_disconnect_and_unregister_reach_the_clients_of_every_worker(server):
    server.api.register("t", require_token=True)
    with ExitStack() as stack:
        clients = open_clients(stack, server, "t", 40)
        wait_until(lambda: server.api.status().json["connected_sockets"] == 40, "40 sockets counted")
        status = server.api.status().json
        assert (status["connected_clients"], status["active_topics"]) == (40, 1)
        with sqlite3.connect(server.service.database) as database:
            (spread,) = database.execute("SELECT count(DISTINCT gateway) FROM sessions").fetchone()
        # Among processes that share a UNIX socket the quickest accepts.
        assert spread == WORKERS or (server.service.ws_socket and spread > 1)
        for n in range(20):
            server.api.publish("t", n)
            for client in clients:
                assert client.receive(0.9) == f'{{"type":"push","payload":{n}}}'  # a worker's timer takes 1 s
        assert server.api.call("disconnect", {"user_id": 7}).json == {"sockets": 1}
        assert clients[6].receive_json()["code"] == "disconnected"
        server.api.unregister("t")
        for client in clients[:6] + clients[7:]:
            assert client.receive_json()["code"] == "topic_unregistered"


def test_a_worker_that_is_killed_is_started_again_and_nothing_is_missed(server):
    server.api.register("t")
    with Crowd() as crowd:
        followers = crowd.follow(server.service.ws_address, "t", 12)
        ids = []
        for _ in range(3):
            victim = workers(server.service).pop()
            os.kill(victim, signal.SIGKILL)
            ids += [server.api.publish("t", n).json["id"] for n in range(20)]
            wait_for_workers(server.service, but_not=[victim])
        for follower in followers:
            wait_until(lambda: follower.position == ids[-1], "the last event arrives")
            assert list(follower.ids) == ids
    wait_until(lambda: server.api.status().json["connected_sockets"] == 0, "no socket counted")


def test_sigterm_ends_all_of_them(server):
    pids = workers(server.service)
    server.api.register("t")
    with ExitStack() as stack:
        clients = open_clients(stack, server, "t", 10)
        server.service.gateway.send(signal.SIGTERM)
        for client in clients:
            assert client.close_code() == 1001
        assert server.service.gateway.wait() == 0
    for pid in pids:
        assert not os.path.exists(f"/proc/{pid}")
    server.service.start_gateway()


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_a_drain_that_all_are_told_of_is_as_long_as_ever_and_refuses_newcomers(make_service, certificates, unix):
    """systemd sends SIGTERM to each process of a service, and then the workers get their parent's too."""
    drain_s = 1.5
    service = make_service(unix=unix, gateway_processes=WORKERS, drain="1500ms").start()
    server = Nginx(service, certificates)
    pids = wait_for_workers(service)
    server.api.register("t")
    with ExitStack() as stack:
        clients = open_clients(stack, server, "t", 10)
        start = time.monotonic()
        service.gateway.send(signal.SIGTERM)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: refuses(service), "new connections are refused")
        refused_s = time.monotonic() - start
        for client in clients:
            assert client.close_code() == 1001
        assert service.gateway.wait() == 0
        ended_s = time.monotonic() - start
    assert refused_s < drain_s <= ended_s


def test_a_second_sigterm_to_the_parent_ends_all_of_them_at_once(make_service, certificates):
    service = make_service(gateway_processes=WORKERS, drain="1m").start()
    server = Nginx(service, certificates)
    wait_for_workers(service)
    server.api.register("t")
    with ExitStack() as stack:
        clients = open_clients(stack, server, "t", 10)
        service.gateway.send(signal.SIGTERM)
        wait_until(lambda: refuses(service), "it drains")
        service.gateway.send(signal.SIGTERM)
        for client in clients:
            assert client.close_code() == 1001
        assert service.gateway.wait() == 0


def test_a_parent_that_is_killed_takes_its_workers_along(server):
    pids = workers(server.service)
    server.service.gateway.kill()
    for pid in pids:
        wait_until(lambda: Process("worker", pid).poll() is not None, "the worker ends")
    server.service.start_gateway()


def test_a_restart_without_loss(server):
    service = server.service
    server.api.register("t")
    old_pids = workers(service)
    with Crowd() as crowd:
        followers = crowd.follow(service.ws_address, "t", 12)
        old = service.gateway
        old.send(signal.SIGUSR2)
        ids = []
        while old.runs():
            ids.append(server.api.publish("t", len(ids)).json["id"])
        assert old.exit_code == 0
        wait_for_workers(service, but_not=old_pids)
        parent = int(open(f"/proc/{workers(service).pop()}/stat").read().split()[3])
        service.gateway = Process("successor", parent)
        wait_until(lambda: all(len(follower.starts) >= 2 for follower in followers), "all have come back")
        ids += [server.api.publish("t", n).json["id"] for n in range(10)]
        for follower in followers:
            wait_until(lambda: follower.position == ids[-1], "the last event arrives")
            assert list(follower.ids) == ids
            assert not follower.refusals


def test_sighup_reaches_every_worker(server):
    service = server.service
    service.write_config(log_connections=True)
    service.gateway.send(signal.SIGHUP)
    log = service.log_dir / "gateway.log"
    said = "configuration read again"
    wait_until(lambda: log.read_text().count(said) == 1 + WORKERS, "the parent and all workers have read it")


def test_limits_hold_over_all_workers(make_service, certificates):
    service = make_service(gateway_processes=WORKERS, max_connections=20, max_connections_per_address=12)
    server = Nginx(service.start(), certificates)
    wait_for_workers(service)
    server.api.register("t")
    url = f"ws://127.0.0.1:{service.ws_port}/ws"

    def connect(stack, address):
        client = Subscriber(url, "t", headers={"X-Forwarded-For": address})
        stack.callback(client.close)
        client.authenticate()

    for turn in range(2):
        with ExitStack() as stack:
            for _ in range(12):
                connect(stack, "192.0.2.1")
            for _ in range(6):
                assert refusal(url, "t", headers={"X-Forwarded-For": "192.0.2.1"}) == 429
            for n in range(8):
                connect(stack, f"192.0.2.{n + 2}")
            for _ in range(6):
                assert refusal(url, "t", headers={"X-Forwarded-For": "192.0.2.99"}) == 503
            victims = workers(service)
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
        wait_for_workers(service, but_not=victims)


def test_auto_is_one_process_for_each_core_and_the_default_is_one(make_service):
    cores = len(os.sched_getaffinity(0))
    for config, count in ({"gateway_processes": "auto"}, cores), ({}, 1):
        service = make_service(**config)
        service.start_gateway()
        assert len(wait_for_workers(service, count)) == count
        said = f'msg="supervising" pid={service.gateway.pid} workers={count} '
        wait_until(lambda: (said in log_tail(service.log_dir)) == (count > 1), "a parent, or none")


def test_a_second_one_is_refused(server):
    second = Process.start(
        "second", [server.service.gateway_program, "-c", server.service.config_file], server.service.log_dir / "2.log"
    )
    assert second.wait() == 75


def test_workers_that_never_come_up_end_it(make_service):
    service = make_service(gateway_processes=2)
    service.start_gateway()
    wait_for_workers(service, 2)
    service.gateway.stop()
    with sqlite3.connect(service.database) as database:
        database.execute("PRAGMA user_version = 999")
    gateway = Process.start("gateway", [service.gateway_program, "-c", service.config_file], service.log_dir / "3.log")
    assert gateway.wait(30) == 1
    assert "made by a newer version" in (service.log_dir / "3.log").read_text(), (service.log_dir / "3.log").read_text()
