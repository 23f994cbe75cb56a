"""Floods: thousands of connections that go nowhere, slowly or at once. Meanwhile two well-behaved clients miss nothing
of a steady stream, a new one is in within a second, and afterwards the gateway is as it was."""

import os
import random
import resource
import select
import socket
import statistics
import struct
import threading
import time

import pytest

from harness.crowd import bystanders
from harness.process import Process, accepts, log_tail, wait_until
from harness.sqlite import wait_until_counted
from harness.stream import request, stream_path
from harness.web_servers import Nginx
from harness.websocket import (
    AUTH_OK, ConnectionEnded, WebSocket, auth_frame, build_frame, path_of, push_of, upgraded,
)  # fmt: skip

pytestmark = pytest.mark.alone

FLOOD, FLOOD_RATE = 5000, 2500  # connections, a second
PENDING_MAX = 1000
STREAM_RATE = 100
NEWCOMER_S, NEWCOMER_MOST_S = 1.0, 5.0  # the latter where others want the processor too
IN_THE_AIR = 256  # connections that have been dropped and are being closed
TIMEOUT_S = 3
POLICY = 1008
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset


@pytest.fixture(scope="module", autouse=True)
def enough_descriptors():
    """For both ends of a flood: the gateway inherits the limit."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    assert before[1] > 2 * FLOOD, "the hard limit of descriptors is too low for these tests"
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def server(make_service, certificates):
    """A gateway whose limits a flood reaches. When the test is over nobody has missed anything."""
    service = make_service(max_unauthenticated=PENDING_MAX, handshake_timeout=f"{TIMEOUT_S}s").start()
    server = Nginx(service, certificates)
    assert server.api.register("closed", require_token=True).status == 200
    with bystanders(server, "t", STREAM_RATE):
        yield server
    lines = log_tail(service.log_dir, lines=100000).splitlines()
    assert sum("refused a connection" in line for line in lines) < 20, "a flood floods the log"


def descriptors(service):
    return len(os.listdir(f"/proc/{service.gateway.pid}/fd"))


def connect(service):
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.settimeout(15)
    client.connect(service.ws_address)
    return client


def newcomer_seconds(service, retry=False):
    """How long a client takes from its first packet until it is subscribed. `retry`: one that had to make room itself
    comes again, as browsers do."""
    started = time.monotonic()
    while True:
        try:
            with WebSocket(service.ws_address) as client:
                status, _, _ = client.handshake(path_of("t"))
                assert status == 101 or retry and status == 503, status
                client.send_frame(auth_frame())
                assert client.read_message() == AUTH_OK
                return time.monotonic() - started
        except (ConnectionEnded, OSError):
            if not retry or time.monotonic() > started + 2 * NEWCOMER_MOST_S:
                raise


REQUEST = WebSocket.request(path_of("t"))
FLOODS = {
    "silent": b"",
    "half a request": REQUEST[: len(REQUEST) // 2],
    "no first frame": REQUEST,
    "half a first frame": REQUEST + build_frame(auth_frame().encode())[:-1],
    "half a body": request(stream_path("t"), headers={"Content-Length": "100"}),
    "refused": WebSocket.request(path_of("no such topic")),
    "wrong token": WebSocket.request(path_of("closed")) + build_frame(auth_frame("wrong").encode()),
}


class Flood(threading.Thread):
    """Connects FLOOD times, sends the same to each connection, and reads nothing. Faster than FLOOD_RATE it would be
    the processor that is short, not the service's room."""

    def __init__(self, service, first_bytes):
        super().__init__(daemon=True)
        self.service, self.first_bytes, self.clients = service, first_bytes, []

    def run(self):
        started = time.monotonic()
        for number in range(FLOOD):
            time.sleep(max(0.0, started + number / FLOOD_RATE - time.monotonic()))
            self.clients.append(connect(self.service))
            if self.first_bytes:
                self.clients[-1].send(self.first_bytes)


@pytest.mark.parametrize("kind", FLOODS)
def test_5000_connections_that_go_nowhere_keep_nobody_out(server, kind):
    """They stay for as long as the gateway lets them."""
    service = server.service
    before, times = descriptors(service), []
    flood = Flood(service, FLOODS[kind])
    flood.start()
    while flood.is_alive():
        times.append(newcomer_seconds(service))
        assert descriptors(service) < before + PENDING_MAX + IN_THE_AIR
    assert len(flood.clients) == FLOOD
    assert statistics.median(times) < NEWCOMER_S and max(times) < NEWCOMER_MOST_S, "while it comes"
    assert max(newcomer_seconds(service) for _ in range(5)) < NEWCOMER_S, "while it is there"
    for client in flood.clients:
        client.close()
    wait_until(lambda: descriptors(service) <= before, "all descriptors are given back")


def test_a_gateway_with_1024_descriptors_survives_5000_connections(make_service, certificates):
    """What many hosts allow. While the flood comes a newcomer then has less time."""
    service = make_service()
    command = ["prlimit", "--nofile=1024:1024", service.gateway_program, "-c", service.config_file]
    service.gateway = Process.start("gateway", command, service.log_dir / "gateway.log")
    wait_until(lambda: accepts(service.ws_address), "the gateway accepts connections")
    service.start_api()
    server = Nginx(service, certificates)
    assert server.api.register("t").status == 200
    members = [upgraded(service, "t") for _ in range(50)]
    for member in members:
        member.send_frame(auth_frame())
        assert member.read_message() == AUTH_OK
    times, flood = [], Flood(service, FLOODS["no first frame"])
    flood.start()
    while flood.is_alive():
        times.append(newcomer_seconds(service, retry=True))
    assert len(flood.clients) == FLOOD
    assert statistics.median(times) < NEWCOMER_S
    assert max(newcomer_seconds(service) for _ in range(5)) < NEWCOMER_S
    assert server.api.publish("t", "still here").status == 200
    for member in members:
        assert member.read_message() == push_of('"still here"')
        member.close()
    for client in flood.clients:
        client.close()
    assert "cannot accept connections" not in log_tail(service.log_dir)


def test_a_slow_loris_is_sent_away_in_time(server):
    """500 clients send a byte now and then, each a request that would be good once complete."""
    service = server.service
    before, started = descriptors(service), time.monotonic()
    flood, ends = [connect(service) for _ in range(500)], []
    for client in flood:
        client.setblocking(False)
    sent, waiting, ears = 0, {client.fileno(): client for client in flood}, select.poll()
    for client in flood:
        ears.register(client, select.POLLIN)
    while waiting and time.monotonic() < started + TIMEOUT_S + 5:
        for client in waiting.values():
            try:
                client.send(REQUEST[sent : sent + 1])
            except OSError:
                pass  # its end is seen below
        sent = min(sent + 1, len(REQUEST) - 2)
        assert newcomer_seconds(service) < NEWCOMER_MOST_S
        for fd, _ in ears.poll(100):
            try:
                if waiting[fd].recv(4096):
                    continue  # the 408
            except OSError:
                pass
            ears.unregister(fd)
            del waiting[fd]
            ends.append(time.monotonic() - started)
    assert not waiting, f"{len(waiting)} are still there"
    assert TIMEOUT_S - 0.5 < min(ends) and max(ends) < TIMEOUT_S + 2
    for client in flood:
        client.close()
    wait_until(lambda: descriptors(service) <= before, "all descriptors are given back")
    wait_until_counted(service, "refused_connections", "timeout", 500)


def test_storms_of_connects_and_disconnects_disturb_nobody(server):
    """5,000 come and go at once, each at a different step on the way in, and in a different manner."""
    service, chance = server.service, random.Random(7)
    before, times = descriptors(service), []
    authenticated = REQUEST + build_frame(auth_frame().encode())
    steps = [b"", b"G", REQUEST[:40], REQUEST, authenticated, b"\0" * 300, *FLOODS.values()]
    for number in range(FLOOD):
        client = connect(service)
        client.send(chance.choice(steps) or b"")
        if number % 2:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        if number % 500 == 499:
            times.append(newcomer_seconds(service))
    assert statistics.median(times) < NEWCOMER_S and max(times) < NEWCOMER_MOST_S
    wait_until(lambda: descriptors(service) <= before, "all descriptors are given back")


def test_a_flood_of_messages_disturbs_nobody(server):
    """Subscribed clients that send as fast as they can."""
    service, times = server.service, []
    before = descriptors(service)
    load = build_frame(b'{"type":"auth","token":"%s"}' % (b"x" * 3000)) * 100
    for _ in range(20):
        clients = [upgraded(service, "t") for _ in range(10)]
        for client in clients:
            client.send_frame(auth_frame())
            client.socket.setblocking(False)
        for client in clients:
            client.socket.send(load)  # as much as the kernel takes
        times.append(newcomer_seconds(service))
        for client in clients:
            assert client.close_code() == POLICY
            client.close()
    assert statistics.median(times) < NEWCOMER_S and max(times) < NEWCOMER_MOST_S
    wait_until(lambda: descriptors(service) <= before, "all descriptors are given back")
    wait_until_counted(service, "closes", "too_many_messages", 200)
