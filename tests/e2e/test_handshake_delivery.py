"""How a handshake reaches the gateway: in pieces, together with frames, as rubbish, behind a refused one, by halves,
and at which address."""

import select
import socket
import time

import pytest

from harness.direct import AUTH_OK, auth_frame, path_of, upgraded
from harness.handshakes import ask_bytes
from harness.neighbour import others_are_served, service  # fixtures
from harness.raw_websocket import PING, PONG, ConnectionEnded, RawWebSocket, build_frame
from harness.subscriber import Subscriber

HANDSHAKE_LIMIT_S = 10.0
SLACK_S = 2.0


# Odd ways to send it


def test_a_handshake_may_come_a_byte_at_a_time(service):
    with RawWebSocket(service.ws_address) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert client.handshake(chunk=1)[0] == 101
        client.send(build_frame(auth_frame().encode()), chunk=1)
        assert client.read_message() == AUTH_OK


def test_frames_may_come_in_the_same_packet_as_the_handshake(worker, service):
    frames = build_frame(auth_frame().encode()) + build_frame(b"ping", opcode=PING)
    with RawWebSocket(service.ws_address) as client:
        client.send(RawWebSocket.request() + frames)
        assert client._read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        answers = [client.read_frame() for _ in range(2)]
    assert [answer.payload for answer in answers if answer.opcode == PONG] == [b"ping"]
    assert [answer.payload.decode() for answer in answers if answer.opcode != PONG] == [AUTH_OK]


def test_a_large_burst_of_frames_in_the_same_packet_as_the_handshake_is_read_to_its_end(worker, service):
    worker.api.register("burst")
    ignored = b"".join(build_frame(b'{"type":"nothing","fill":"%s"}' % (b"x" * 3000)) for _ in range(8))
    data = RawWebSocket.request(path_of("burst")) + build_frame(auth_frame().encode()) + ignored
    with RawWebSocket(service.ws_address) as client:
        client.send(data + build_frame(b"last", opcode=PING))
        assert client._read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        answers = [client.read_frame().payload for _ in range(2)]
    assert answers == [AUTH_OK.encode(), b"last"]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        bytes(range(256)) * 40,
        b"\r\n" * 5000,
        b"\n\n\n\n",
        b"GET\r\n\r\n",
        b"GET /ws?topic=t\r\n\r\n",
        b"GET  /ws?topic=t  HTTP/1.1\r\n\r\n",
        b"GET http://x/ws?topic=t HTTP/1.1\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /ws?topic=t HTTP/1.1\r\nHost: x\r\n: empty\r\n\r\n",
        b"GET /ws?topic=t HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        b"GET /ws?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /ws?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /ws?topic=t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /ws?topic=t HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100000 + b"\r\n\r\n",
        b"GET /ws?topic=t HTTP/1.1\r\nHost: x\r\nUpgrade: " + b"a" * 100000 + b"\r\n\r\n",
        b"GET /ws?topic=t HTTP/1.1\r\n" + b"X-Many: 1\r\n" * 10000 + b"\r\n",
        b"GET /ws?topic=t HTTP/1.1\r\nHost: \x00\x01\xff\r\nUpgrade: web\x00socket\r\n\r\n",
        b"A" * 200000,
    ],
    ids=["tls", "binary", "crlf", "lf", "verb", "http09", "spaces", "absolute", "star", "empty-name", "no-colon",
         "negative-length", "huge-length", "chunked", "long-path", "long-header", "long-upgrade", "many-headers", "nul",
         "no-end"],
)  # fmt: skip
def test_rubbish_is_refused_or_cut_off(service, data):
    """`others_are_served` looks whether it harmed anyone."""
    assert ask_bytes(service, data) != 101


def test_a_request_after_a_refused_one_is_answered_like_any_other(service):
    """A refusal either ends the connection or leaves it in order for the next request."""
    refused = RawWebSocket.request("/ws?topic=unknown", headers={"Upgrade": None, "Connection": "keep-alive"})
    with RawWebSocket(service.ws_address) as client:
        client.send(refused + RawWebSocket.request())
        assert client._read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 404 ")
        try:
            rest = client._read_until(b"\r\n\r\n")
        except ConnectionEnded:
            return
        assert b"HTTP/1.1 101 " in rest


def test_half_a_handshake_ends_in_10_seconds(service):
    whole = RawWebSocket.request()
    kept_alive = RawWebSocket.request("/x", headers={"Upgrade": None, "Connection": "keep-alive"})
    clients = {}
    for name, data in {
        "nothing at all": b"",
        "one byte": b"G",
        "half a request line": whole[:9],
        "half the headers": whole[: len(whole) // 2],
        "all but the last byte": whole[:-1],
        "a request that is kept alive": kept_alive,
        "a byte now and then": b"",
    }.items():
        client = RawWebSocket(service.ws_address)
        client.send(data)
        clients[name] = client
    started = time.monotonic()
    slow, at = clients["a byte now and then"], 0
    waiting, ends = dict(clients), {}
    while waiting and time.monotonic() < started + HANDSHAKE_LIMIT_S + SLACK_S:
        ready, _, _ = select.select([client.socket for client in waiting.values()], [], [], 0.2)
        for name, client in list(waiting.items()):
            try:
                if client.socket in ready and not client.socket.recv(4096):
                    ends[name] = time.monotonic() - started
            except OSError:
                ends[name] = time.monotonic() - started
            if name in ends:
                del waiting[name]
        if "a byte now and then" in waiting:
            try:
                slow.socket.send(whole[at : at + 1])
                at += 1
            except OSError:
                pass  # its end is seen in the next round
    for client in clients.values():
        client.close()
    assert not waiting, f"still open after {HANDSHAKE_LIMIT_S + SLACK_S:g} s: {list(waiting)}"
    assert all(end > 2 for name, end in ends.items() if name != "a request that is kept alive"), ends


# Where it listens


def test_ipv6_and_ipv4_are_served_when_ws_bind_is_empty(make_service):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    service = make_service(ws_bind="")
    service.start_gateway()
    for host in ("[::1]", "127.0.0.1"):
        with Subscriber(f"ws://{host}:{service.ws_port}/ws", "worker.status") as client:
            assert client.authenticate("x").startswith('{"type":"error","code":"unauthorized"')


def test_one_address_is_served_when_ws_bind_names_it(make_service):
    service = make_service(ws_bind="127.0.0.1")
    service.start_gateway()
    with upgraded(service, "worker.status"):
        pass
    with pytest.raises(OSError):
        Subscriber(f"ws://[::1]:{service.ws_port}/ws", "worker.status")


def test_a_unix_socket_is_served_and_a_stale_one_replaced(make_service):
    service = make_service(unix=True)
    service.start_gateway()
    with upgraded(service, "worker.status"):
        pass
    service.gateway.kill()
    assert service.ws_socket.exists()
    service.start_gateway()
    with upgraded(service, "worker.status"):
        pass
