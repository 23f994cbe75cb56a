"""The limits on a client's pace: how slow it may be (handshake_timeout) and how talkative (message_rate). Each has an
answer and is counted; whoever is within them notices nothing."""

import time

import pytest

from harness.counters import wait_until_counted
from harness.direct import authenticated, path_of, upgraded
from harness.limits import assert_served
from harness.limits import make_server  # a fixture
from harness.raw_websocket import CONTINUATION, PING, ConnectionEnded, RawWebSocket

POLICY = 1008


# handshake_timeout


def test_a_slow_handshake_is_408_and_a_silent_one_just_ends(make_server):
    service = make_server(handshake_timeout="1s").service
    request = RawWebSocket.request(path_of("t"))
    started = time.monotonic()
    silent, half, slow = (RawWebSocket(service.ws_address) for _ in range(3))
    half.send(request[:-1])
    sent = 0
    try:
        while time.monotonic() < started + 5:
            slow.send(request[sent : sent + 1])
            sent += 1
            time.sleep(0.05)  # its pace
    except OSError:
        pass  # it has been closed
    assert 0.9 <= time.monotonic() - started < 3 and sent < len(request)
    assert silent._read_to_end() == b""
    answer = half._read_to_end()
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n") and answer.endswith(b"\r\n\r\nrequest timeout\n")
    wait_until_counted(service, "refused_connections", "timeout", 3)


def test_silence_after_the_upgrade_is_1008(make_server):
    service = make_server(handshake_timeout="1s").service
    with upgraded(service, "t") as silent, upgraded(service, "t") as talker, authenticated(service, "t") as member:
        started = time.monotonic()
        talker.send_frame("{", fin=False)  # the first byte of a first frame
        while time.monotonic() < started + 0.5:
            talker.send_frame(b"", opcode=PING)
            talker.send_frame(b"", opcode=CONTINUATION, fin=False)
            time.sleep(0.05)  # its pace
        assert silent.close_code(5) == POLICY
        assert talker.close_code(5) == POLICY
        assert 0.9 <= time.monotonic() - started < 3
        member.send_frame(b"x", opcode=PING)
        assert member.read_frame().payload == b"x"
    wait_until_counted(service, "connections", "timeout", 2)


# message_rate


def test_a_client_that_sends_too_much_is_closed_with_1008(make_server):
    server = make_server(message_rate=10)
    service = server.service
    with authenticated(service, "t") as member, authenticated(service, "t") as talker:
        for _ in range(200):
            talker.send_frame("{}")
        frame = talker.read_frame()
        assert frame.payload == POLICY.to_bytes(2, "big") + b"too many messages"
        assert_served(server, member)
    with upgraded(service, "t") as early:
        early.send_frame("{")  # one is enough for a close
        assert early.close_code() == POLICY
    wait_until_counted(service, "closes", "too_many_messages", 1)


def test_a_burst_and_the_steady_rate_are_allowed(make_server):
    server = make_server(message_rate=10)
    with authenticated(server.service, "t") as client:  # that was one
        for _ in range(19):
            client.send_frame("{}")
        started = time.monotonic()
        for n in range(1, 21):
            time.sleep(max(0.0, started + n * 0.11 - time.monotonic()))  # its pace
            client.send_frame("{}")
        assert_served(server, client)
        for _ in range(10):
            client.send_frame("a message in pieces", fin=False)
            client.send_frame(b"x", opcode=PING)
            for _ in range(10):
                client.send_frame(b"", opcode=CONTINUATION, fin=False)
            client.send_frame(" is one", opcode=CONTINUATION)
            time.sleep(0.11)  # its pace
        assert_served(server, client)
        with pytest.raises(ConnectionEnded, match="too many messages"):
            for _ in range(100):
                client.send_frame("{}")
            while True:
                client.read_message()


def test_no_rate_is_no_limit(make_server):
    server = make_server(message_rate=0)
    with authenticated(server.service, "t") as client:
        for _ in range(5000):
            client.send_frame("{}")
        assert_served(server, client)
