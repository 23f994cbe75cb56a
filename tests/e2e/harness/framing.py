"""A client that sends frames, before and after its auth frame, and whether its connection ends or lives."""

import pytest

from .direct import authenticated, upgraded
from .raw_websocket import CLOSE, PING, PONG, ConnectionEnded


@pytest.fixture(params=["first", "later"])
def client(request, worker, service):
    """A connection before its auth frame, and one after it."""
    with upgraded(service, "t") if request.param == "first" else authenticated(service, "t") as socket:
        yield socket


def ends_with(client, code, may_be_silent=False):
    """True when the server says nothing more, closes with this code, and ends the TCP connection. RFC 6455, section
    7.1.7, lets it do without the close frame: `may_be_silent` where libwebsockets does."""
    try:
        frame = client.read_frame()
        while frame.opcode == PONG:
            frame = client.read_frame()
    except ConnectionEnded:
        assert may_be_silent, "no close frame"
        return True
    assert frame.opcode == CLOSE, frame
    assert int.from_bytes(frame.payload[:2], "big") == code, frame
    client.send_frame(frame.payload, opcode=CLOSE)
    assert client.ended()
    return True


def is_alive(client, payload=b"alive?"):
    client.send_frame(payload, opcode=PING)
    frame = client.read_frame()
    return (frame.opcode, frame.payload, frame.fin, frame.rsv) == (PONG, payload, True, 0)
