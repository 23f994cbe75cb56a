"""The end of the gateway (docs/clients.md: closes with 1001 and sends nothing else), at once (SIGINT) and spread
over `drain` (SIGTERM). That nothing leaks and the exit code is 0 is seen when the fixture stops a service,
LeakSanitizer included in a build that has it."""

import json
import signal
import socket
import time

import pytest

from harness.api import make_token
from harness.process import accepts, wait_until
from harness.sqlite import rows
from harness.web_servers import Nginx
from harness.websocket import (
    CLOSE, ConnectionEnded, WebSocket, authenticated, close_payload, push_of, upgraded,
)  # fmt: skip

DRAIN_S = 1.0
GOODBYE_S = 2.0  # for clients that do not answer the close frame: at the end of a drain, and at the end
SLACK_S = 2.0
FILL = "f" * 300000  # some of these are more than the kernel holds for one connection


@pytest.fixture
def running(make_service, certificates):
    service = make_service(outbox_max_frames=4, drain=f"{DRAIN_S:g}s")
    worker = Nginx(service.start(), certificates)
    assert worker.api.register("t").status == 200
    return worker


def goodbye(client):
    """The payload of the close frame, which must be the only frame; it is answered."""
    frame = client.read_frame()
    assert frame.opcode == CLOSE, frame
    client.send_frame(frame.payload, opcode=CLOSE)
    assert client.ended()
    client.close()
    return frame.payload[:2]


def slow_reader(service):
    client = authenticated(service, "t")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262144)
    return client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_every_connection_with_1001_and_sends_nothing_else(running, number):
    service = running.service
    clients = [authenticated(service, "t") for _ in range(50)]
    clients += [upgraded(service, "t") for _ in range(5)]
    clients += [authenticated(service, "worker.status", make_token(service.secret, "worker.status"))]
    started = time.monotonic()
    service.gateway.send(number)
    for client in clients:
        assert goodbye(client) == close_payload(1001)
    assert service.gateway.wait() == 0
    took = time.monotonic() - started
    assert took < SLACK_S + (DRAIN_S if number == signal.SIGTERM else 0)
    assert not accepts(service.ws_address)


def test_sigterm_spreads_the_closes_over_the_drain(running):
    service = running.service
    clients = [authenticated(service, "t") for _ in range(40)]
    started = time.monotonic()
    service.gateway.send(signal.SIGTERM)
    ends = []
    while clients:
        for client in list(clients):
            try:
                assert client.read_frame(0.002).payload[:2] == close_payload(1001)
            except TimeoutError:
                continue
            ends.append(time.monotonic() - started)
            client.close()
            clients.remove(client)
    assert service.gateway.wait() == 0
    assert ends[0] < DRAIN_S / 2 and len([end for end in ends if end < DRAIN_S / 2]) >= 10, ends
    assert len([end for end in ends if end > DRAIN_S / 2]) >= 10, "all at once"
    assert ends[-1] < DRAIN_S + SLACK_S


def test_those_who_are_not_sent_away_yet_still_get_what_is_published(make_service, certificates):
    service = make_service(drain="60s")
    worker = Nginx(service.start(), certificates)
    worker.api.register("t")
    with authenticated(service, "t") as one, authenticated(service, "t") as two:
        service.gateway.send(signal.SIGTERM)
        wait_until(lambda: not accepts(service.ws_address), "nobody new is accepted")
        assert worker.api.publish("t", 1).status == 200
        assert one.read_message() == push_of("1") and two.read_message() == push_of("1")
        service.gateway.send(signal.SIGTERM)  # the second one ends it at once
        assert goodbye(one) == close_payload(1001) and goodbye(two) == close_payload(1001)
    assert service.gateway.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_clients_that_do_not_answer_cannot_hold_it_up(running, number):
    service = running.service
    silent = [authenticated(service, "t") for _ in range(10)]
    half = WebSocket(service.ws_address)
    half.send(WebSocket.request()[:50])
    nothing = WebSocket(service.ws_address)
    middle = authenticated(service, "t")
    middle.send_frame("x", length=1000)
    fragment = authenticated(service, "t")
    fragment.send_frame("x", fin=False)
    slow = slow_reader(service)
    for i in range(30):
        assert running.api.publish("t", [i, FILL]).status == 200
    started = time.monotonic()
    service.gateway.send(number)
    assert service.gateway.wait() == 0
    limit = GOODBYE_S + (DRAIN_S + GOODBYE_S if number == signal.SIGTERM else 0)
    assert time.monotonic() - started < limit + SLACK_S
    for client in [*silent, half, nothing, middle, fragment, slow]:
        client.close()


def test_at_once_means_that_nothing_of_an_outbox_is_sent_any_more(running):
    """What a slow reader is in the middle of may be finished; what waits after it is not sent."""
    service, count = running.service, 60
    with slow_reader(service) as slow:
        for number in range(count):
            assert running.api.publish("t", [number, FILL]).status == 200
        service.gateway.send(signal.SIGINT)
        wait_until(lambda: not accepts(service.ws_address), "it is ending")
        got = []
        try:
            while (frame := slow.read_frame()).opcode != CLOSE:
                got.append(json.loads(frame.payload)["payload"][0])
            assert frame.payload[:2] == close_payload(1001)
        except (ConnectionEnded, OSError):
            pass
        assert service.gateway.wait() == 0
    assert got == list(range(len(got))), got
    assert len(got) < count - 4, "nothing waited: the test published too little"


def test_nothing_is_left_in_the_database_and_the_next_one_starts_at_once(running):
    service = running.service
    clients = [authenticated(service, "t") for _ in range(20)]
    wait_until(lambda: rows(service, "SELECT count(*) FROM sessions") == [(20,)], "the sessions are written")
    service.gateway.send(signal.SIGINT)
    assert service.gateway.wait() == 0
    assert rows(service, "SELECT count(*) FROM sessions") == [(0,)]
    assert rows(service, "SELECT count(*) FROM gateways") == [(0,)]
    service.start_gateway()
    with authenticated(service, "t") as client:
        running.api.publish("t", "again")
        assert client.read_message() == push_of('"again"')
    for client in clients:
        client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_traffic_ends_it_cleanly(running, number):
    service = running.service
    clients = [authenticated(service, "t") for _ in range(30)]
    for i in range(20):
        assert running.api.publish("t", i).status == 200
        if i == 10:
            service.gateway.send(number)
    for client in clients:
        numbers = []
        while (frame := client.read_frame()).opcode != CLOSE:
            numbers.append(json.loads(frame.payload)["payload"])
        assert frame.payload[:2] == close_payload(1001)
        assert numbers == list(range(len(numbers)))
        client.close()
    assert service.gateway.wait() == 0


def test_a_unix_socket_is_removed_at_the_end(make_service):
    service = make_service(unix=True, drain="1s")
    service.start_gateway()
    client = authenticated(service, "worker.status", make_token(service.secret, "worker.status"))
    service.gateway.send(signal.SIGTERM)
    assert goodbye(client) == close_payload(1001)
    assert service.gateway.wait() == 0
    assert not service.ws_socket.exists()
