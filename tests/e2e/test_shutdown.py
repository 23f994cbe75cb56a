"""The end of the gateway (PROTOCOL.md section 2: closes with 1001 and sends nothing else). That nothing leaks and the
exit code is 0 is seen when the fixture stops a service, LeakSanitizer included in a build that has it."""

import json
import signal
import socket
import time

import pytest

from harness.direct import authenticated, close_payload, rows, upgraded
from harness.nginx import Nginx
from harness.raw_websocket import CLOSE, ConnectionEnded, RawWebSocket
from harness.tokens import make_token
from harness.waiting import accepts, wait_until

END_LIMIT_S = 8.0


@pytest.fixture
def running(make_service, certificates):
    service = make_service(outbox_max_frames=4)
    worker = Nginx(service.start(), certificates)
    assert worker.api.register("t").status == 200
    return worker


def last_frame(client):
    """What came at the end: the payload of the close frame, which must be the only frame."""
    frame = client.read_frame()
    assert frame.opcode == CLOSE, frame
    with pytest.raises(ConnectionEnded):
        client.send_frame(frame.payload, opcode=CLOSE)
        client.read_frame()
    return frame.payload


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_every_connection_with_1001_and_sends_nothing_else(running, number):
    service = running.service
    token = make_token(service.secret, "worker.status")
    clients = [authenticated(service, "t") for _ in range(50)]
    clients += [upgraded(service, "t") for _ in range(5)]
    clients += [authenticated(service, "worker.status", token)]
    started = time.monotonic()
    service.gateway.send(number)
    for client in clients:
        assert last_frame(client)[:2] == close_payload(1001)
        client.close()
    assert service.gateway.wait() == 0
    assert time.monotonic() - started < END_LIMIT_S
    assert not accepts(service.ws_address)


def test_clients_that_do_not_answer_cannot_hold_it_up(running):
    service = running.service
    clients = [authenticated(service, "t") for _ in range(10)]
    half = RawWebSocket(service.ws_address)
    half.send(RawWebSocket.request()[:50])
    nothing = RawWebSocket(service.ws_address)
    middle = authenticated(service, "t")
    middle.send_frame("x", length=1000)
    fragment = authenticated(service, "t")
    fragment.send_frame("x", fin=False)
    slow = authenticated(service, "t")
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for number in range(30):
        assert running.api.publish("t", [number, "f" * 300000]).status == 200
    with authenticated(service, "t") as client:
        client.send_frame('{"type":"status"}')
        started = time.monotonic()
        service.gateway.send(signal.SIGTERM)
        assert service.gateway.wait() == 0
        assert time.monotonic() - started < END_LIMIT_S
        assert last_frame(client)[:2] == close_payload(1001)
    for client in [*clients, half, nothing, middle, fragment, slow]:
        client.close()


def test_a_slow_reader_is_sent_nothing_more_of_its_outbox(running):
    """What it is in the middle of may be finished; what waits behind it is not sent."""
    service, count = running.service, 60
    with authenticated(service, "t") as slow:
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for number in range(count):
            assert running.api.publish("t", [number, "f" * 300000]).status == 200
        service.gateway.send(signal.SIGTERM)
        time.sleep(0.3)
        got = []
        try:
            while (frame := slow.read_frame()).opcode != CLOSE:
                got.append(json.loads(frame.payload)["payload"][0])
            assert frame.payload[:2] == close_payload(1001)
        except (ConnectionEnded, OSError):
            pass
        assert count - 1 not in got
        assert got == list(range(len(got)))
        assert service.gateway.wait() == 0


def test_nothing_is_left_in_the_database_and_the_next_one_starts_at_once(running):
    service = running.service
    clients = [authenticated(service, "t") for _ in range(20)]
    wait_until(lambda: rows(service, "SELECT count(*) FROM sessions") == [(20,)], "the sessions are written")
    service.gateway.send(signal.SIGTERM)
    assert service.gateway.wait() == 0
    assert rows(service, "SELECT count(*) FROM sessions") == [(0,)]
    assert rows(service, "SELECT count(*) FROM gateways") == [(0,)]
    service.start_gateway()
    with authenticated(service, "t") as client:
        running.api.publish("t", "again")
        assert client.read_message() == '{"type":"push","payload":"again"}'
    for client in clients:
        client.close()


def test_a_signal_in_the_middle_of_traffic_ends_it_cleanly(running):
    service = running.service
    clients = [authenticated(service, "t") for _ in range(30)]
    for number in range(20):
        assert running.api.publish("t", number).status == 200
        if number == 10:
            service.gateway.send(signal.SIGTERM)
            service.gateway.send(signal.SIGTERM)
    for client in clients:
        numbers = []
        while (frame := client.read_frame()).opcode != CLOSE:
            numbers.append(json.loads(frame.payload)["payload"])
        assert frame.payload[:2] == close_payload(1001)
        assert numbers == list(range(len(numbers)))
        client.close()
    assert service.gateway.wait() == 0


def test_a_unix_socket_is_removed_at_the_end(make_service):
    service = make_service(unix=True)
    service.start_gateway()
    token = make_token(service.secret, "worker.status")
    with authenticated(service, "worker.status", token) as client:
        service.gateway.send(signal.SIGTERM)
        assert last_frame(client)[:2] == close_payload(1001)
    assert service.gateway.wait() == 0
    assert not service.ws_socket.exists()
