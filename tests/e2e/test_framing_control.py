"""The rules of RFC 6455 for the control frames that a client sends: how long they may be, which pings, pongs and closes
are allowed, and how a close ends the connection."""

import pytest

from harness.direct import (
    AUTH_OK, INVALID_PAYLOAD, PROTOCOL_ERROR, auth_frame, authenticated, close_payload, push_of, upgraded,
)  # fmt: skip
from harness.framing import ends_with, is_alive
from harness.framing import client  # a fixture
from harness.neighbour import others_are_served, service  # fixtures
from harness.raw_websocket import CLOSE, PING, PONG, TEXT, build_frame


# All of them


@pytest.mark.parametrize("length", [126, 127, 1000, 65536])
@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_a_control_frame_of_more_than_125_bytes_is_1002(client, opcode, length):
    client.send_frame(close_payload(1000).ljust(length, b"x"), opcode=opcode)
    assert ends_with(client, PROTOCOL_ERROR, may_be_silent=True)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_a_control_frame_in_fragments_is_1002(client, opcode):
    client.send_frame(b"", opcode=opcode, fin=False)
    assert ends_with(client, PROTOCOL_ERROR)


# Pings and pongs


@pytest.mark.parametrize("payload", [b"", b"x", b"\x00\xff" * 10, b"y" * 125], ids=len)
def test_a_ping_gets_a_pong_with_its_payload(client, payload):
    assert is_alive(client, payload)


def test_a_flood_of_pings_costs_nobody_but_the_sender(worker, service):
    """The RFC lets a server answer only the newest ping."""
    with authenticated(service, "t") as client:
        client.send(build_frame(b"z" * 125, opcode=PING) * 5000)
        client.send_frame("done", opcode=TEXT)
        worker.api.publish("t", "after the flood")
        assert client.read_message() == push_of('"after the flood"')


def test_a_pong_that_nobody_asked_for_may_hold_any_bytes(client):
    client.send_frame(b"\xff\xc3\x80", opcode=PONG)
    client.send_frame(b"", opcode=PONG)
    client.send_frame(b"x" * 125, opcode=PONG)
    assert is_alive(client)
    client.send_frame(auth_frame())
    assert client.read_message() == AUTH_OK
    client.send_frame(b"\xff\xc3\x80", opcode=PONG)
    client.send_frame(b"\xff" * 125, opcode=PONG)
    assert is_alive(client)


# Closes


@pytest.mark.parametrize(
    "payload",
    [b"", close_payload(1000), close_payload(1001), close_payload(1011), close_payload(3000), close_payload(4999),
     close_payload(1000, "bye é".encode()), close_payload(1000, b"x" * 123)],
    ids=["none", "1000", "1001", "1011", "3000", "4999", "reason", "longest"],
)  # fmt: skip
def test_a_close_frame_is_echoed_and_the_connection_ends(client, payload):
    client.send_frame(payload, opcode=CLOSE)
    frame = client.read_frame()
    assert frame.opcode == CLOSE
    assert frame.payload[:2] == payload[:2]
    assert client.ended()


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_a_close_code_that_nobody_may_send_is_1002(client, code):
    client.send_frame(close_payload(code), opcode=CLOSE)
    assert ends_with(client, PROTOCOL_ERROR)


def test_a_close_frame_of_one_byte_is_1002(client):
    client.send_frame(b"\x03", opcode=CLOSE)
    assert ends_with(client, PROTOCOL_ERROR)


def test_a_close_reason_that_is_not_utf8_is_1007(client):
    client.send_frame(close_payload(1000, b"\xff\xfe"), opcode=CLOSE)
    assert client.close_code() in (INVALID_PAYLOAD, PROTOCOL_ERROR)
    assert client.ended()


def test_what_comes_after_a_close_frame_is_not_acted_on(service):
    with upgraded(service, "t") as client:
        client.send(build_frame(close_payload(1000), opcode=CLOSE) + build_frame(auth_frame().encode()))
        frame = client.read_frame()
        assert frame.opcode == CLOSE
        assert client.ended()


def test_a_client_that_is_told_to_go_and_does_not_answer_is_cut_off(client):
    """It is given 5 seconds."""
    client.send_frame(b"", opcode=3)
    assert client.close_code() == PROTOCOL_ERROR
    assert client.ended(8)
