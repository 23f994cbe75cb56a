"""Protocol torture: malformed and odd sequences of frames, each with what must come of it, while two well-behaved
clients on the side miss nothing of a steady stream. What RFC 6455 says about one frame is in test_framing_*.py; here it
is frames in wrong company. Each sequence comes once in one piece and once byte by byte."""

import contextlib
import re
import socket

import pytest

from harness.direct import AUTH_OK, AUTH_REQUIRED, PROTOCOL_ERROR, TOO_BIG, INVALID_PAYLOAD, auth_frame, close_payload
from harness.direct import authenticated, upgraded
from harness.raw_websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from harness.raw_websocket import ConnectionEnded, build_frame
from harness.torture import bystanders_are_served, service, stream  # fixtures
from harness.torture import head
from test_torture_handshakes import HANDSHAKES


def text(payload="{}", **options):
    return build_frame(payload.encode() if isinstance(payload, str) else payload, **options)


def more(payload=b"", **options):
    return text(payload, opcode=CONTINUATION, **options)


def closing(code=1000, reason=b""):
    return build_frame(close_payload(code, reason), opcode=CLOSE)


def ping(payload=b"x", **options):
    return build_frame(payload, opcode=PING, **options)


def masked_with(key, payload):
    return bytes([0x81, 0x80 | len(payload)]) + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def long_form(payload, size, opcode=TEXT):
    """A short frame with its length in 2 or 8 bytes."""
    mark = {2: 126, 8: 127}[size]
    return bytes([0x80 | opcode, 0x80 | mark]) + len(payload).to_bytes(size, "big") + b"\0\0\0\0" + payload


AUTH = text(auth_frame())
FULL = auth_frame().encode()[:-1] + b',"fill":"' + b"x" * (4096 - len(auth_frame()) - 10) + b'"}'
NESTED = '{"type":"auth","x":' + "[" * 2000 + "]" * 2000 + "}"
RESUMED = re.compile(r'\{"type":"auth_ok","last_event_id":\d+,"recovered":(true|false)\}')
ALIVE, GONE = "alive", "gone"  # a ping is answered; the connection ends when we half-close

# What is sent in place of the auth frame or after it, the texts that come back, and then a close code or a word.
FIRST = {
    "two auth frames in one packet": (AUTH + AUTH, [AUTH_OK, AUTH_OK], ALIVE),
    "an auth frame that is not ours, then one that is": (text('{"type":"login"}') + AUTH, [AUTH_REQUIRED], 1008),
    "a binary frame, then the auth frame": (build_frame(b"x", opcode=BINARY) + AUTH, [AUTH_REQUIRED], 1008),
    "an auth frame and a close": (AUTH + closing(), [AUTH_OK], 1000),
    "a close before the auth frame": (closing() + AUTH, [], 1000),
    "a close inside the auth frame": (text('{"type":', fin=False) + closing(3000) + more('"auth"}'), [], 3000),
    "a ping and a pong before the auth frame": (ping() + build_frame(b"y", opcode=PONG) + AUTH, [AUTH_OK], ALIVE),
    "a bad opcode before the auth frame": (build_frame(b"", opcode=3) + AUTH, [], PROTOCOL_ERROR),
    "a bad opcode inside the auth frame": (
        text('{"type":', fin=False) + build_frame(b"", opcode=0xB) + more('"auth"}'), [], PROTOCOL_ERROR),
    "an auth frame begun twice": (text('{"type":', fin=False) * 2 + more('"auth"}'), [], PROTOCOL_ERROR),
    "a mask of zeros": (masked_with(b"\0\0\0\0", auth_frame().encode()), [AUTH_OK], ALIVE),
    "a mask that makes it look like a header": (masked_with(b"GET ", auth_frame().encode()), [AUTH_OK], ALIVE),
    "2 bytes of length for a short frame": (long_form(auth_frame().encode(), 2), [AUTH_OK], ALIVE),
    "8 bytes of length for a short frame": (long_form(auth_frame().encode(), 8), [AUTH_OK], ALIVE),
    "a ping with 2 bytes of length": (long_form(b"x", 2, PING) + AUTH, [], PROTOCOL_ERROR),
    "a close with 8 bytes of length": (long_form(close_payload(1000), 8, CLOSE) + AUTH, [], PROTOCOL_ERROR),
    "4,096 bytes and an empty last piece": (text(FULL, fin=False) + more(), [AUTH_OK], ALIVE),
    "4,096 bytes and one more": (text(FULL, fin=False) + more(" "), [], TOO_BIG),
    "4,096 bytes with a ping between": (text(FULL[:4000], fin=False) + ping() + more(FULL[4000:]), [AUTH_OK], ALIVE),
    "too long and not UTF-8": (text(b"\xff" * 5000), [], TOO_BIG),
    "too long and binary": (build_frame(bytes(5000), opcode=BINARY), [], TOO_BIG),
    "too long, then the auth frame": (text("x" * 4097) + AUTH, [], TOO_BIG),
    "not UTF-8, then the auth frame": (text(b"\xff") + AUTH, [], INVALID_PAYLOAD),
    "arrays 2,000 deep": (text(NESTED[:4096]), [AUTH_REQUIRED], 1008),
    "a key of 3,900 bytes": (text('{"' + "k" * 3900 + '":1,"type":"auth"}'), [AUTH_OK], ALIVE),
    "1,000 members": (text("{" + '"":1,' * 600 + '"type":"auth"}'), [AUTH_OK], ALIVE),
    "a number of 3,900 digits": (text('{"type":"auth","n":' + "9" * 3900 + "}"), [AUTH_OK], ALIVE),
    "a position of 3,900 digits": (text('{"type":"auth","last_event_id":' + "9" * 3900 + "}"), [AUTH_REQUIRED], 1008),
    "an auth frame, then the same with a position": (
        AUTH + text(auth_frame(last_event_id=None)), [AUTH_OK, AUTH_OK], ALIVE),
    "a position, then another": (
        text(auth_frame(last_event_id=None)) + text(auth_frame(last_event_id=1)), [RESUMED, AUTH_OK], ALIVE),
    "a position, then a malformed one": (
        text(auth_frame(last_event_id=0)) + text(auth_frame(last_event_id="x")), [RESUMED, AUTH_REQUIRED], 1008),
    "a second handshake": (head(), [], PROTOCOL_ERROR),
    "a second handshake behind the auth frame": (AUTH + head(), [AUTH_OK], PROTOCOL_ERROR),
    "the auth frame's JSON without a frame": (auth_frame().encode(), [], PROTOCOL_ERROR),
}  # fmt: skip

LATER = {
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [], PROTOCOL_ERROR),
    "zeros": (bytes(64), [], PROTOCOL_ERROR),
    "ones": (b"\xff" * 64, [], PROTOCOL_ERROR),
    "two closes": (closing(1000) + closing(1001), [], 1000),
    "a close, then a ping": (closing(4000) + ping(), [], 4000),
    "a close, then rubbish": (closing(1000) + b"\xff" * 500, [], 1000),
    "a close with a broken reason, then an auth frame": (closing(1000, b"\xc3") + AUTH, [], INVALID_PAYLOAD),
    "a close inside a message": (text("a", fin=False) + closing(1001) + more("b"), [], 1001),
    "a ping in pieces": (ping(fin=False) + build_frame(b"x", opcode=CONTINUATION), [], PROTOCOL_ERROR),
    "an empty message in ten pieces": (text("", fin=False) + more(fin=False) * 8 + more(), [], ALIVE),
    "pongs inside a message": (
        text("a", fin=False) + build_frame(b"\xff", opcode=PONG) * 20 + more("b"), [], ALIVE),
    "a binary message in pieces, then text": (
        build_frame(b"\xff", opcode=BINARY, fin=False) + more(b"\xfe") + text("ü"), [], ALIVE),
    "a binary message continued as text": (
        build_frame(b"\xff", opcode=BINARY, fin=False) + text("x"), [], PROTOCOL_ERROR),
    "a message that is answered, one that is not": (AUTH + text('{"type":"auth'), [AUTH_OK], ALIVE),
    "half a header, then the end": (b"\x81", [], GONE),
    "a header, then the end": (text("x" * 100)[:6], [], GONE),
    "a length of 8 bytes, then the end": (bytes([0x81, 0xFF]) + (1 << 40).to_bytes(8, "big"), [], GONE),
    "half a frame, then the end": (text("x" * 100)[:50], [], GONE),
    "half a message, then the end": (text("x", fin=False), [], GONE),
    "half a message in many pieces, then the end": (text("x", fin=False) + more("y", fin=False) * 100, [], GONE),
}  # fmt: skip


def assert_texts(client, expected):
    for wanted in expected:
        message = client.read_message()
        assert wanted.fullmatch(message) if isinstance(wanted, re.Pattern) else message == wanted, message


def assert_closed(client, code):
    """The Close frame with that code, or none at all where libwebsockets does without (RFC 6455, section 7.1.7), and
    nothing before it but pongs."""
    try:
        frame = client.read_frame()
        while frame.opcode == PONG:
            frame = client.read_frame()
    except ConnectionEnded:
        assert code == PROTOCOL_ERROR
        return
    assert frame.opcode == CLOSE, frame
    assert int.from_bytes(frame.payload[:2], "big") == code, frame
    with contextlib.suppress(OSError):  # it has ended already
        client.send_frame(frame.payload, opcode=CLOSE)
    assert client.ended(8), "the connection goes on"


def play(client, data, texts, outcome, chunk):
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        client.send(data, chunk)
    except OSError:
        pass  # it has been ended before all of it was sent
    assert_texts(client, texts)
    if outcome == ALIVE:
        client.send_frame(b"alive?", opcode=PING)
        frame = client.read_frame()
        while frame.payload != b"alive?":
            assert frame.opcode == PONG, frame
            frame = client.read_frame()
    elif outcome == GONE:
        client.socket.shutdown(socket.SHUT_WR)
        assert client.ended(8), "the connection goes on"
    else:
        assert_closed(client, outcome)


@pytest.mark.parametrize("chunk", [None, 1], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("name", FIRST)
def test_frames_before_auth(service, name, chunk):
    with upgraded(service, "t") as client:
        play(client, *FIRST[name], chunk)


@pytest.mark.parametrize("chunk", [None, 1], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("name", LATER)
def test_frames_after_auth(service, name, chunk):
    with authenticated(service, "t") as client:
        play(client, *LATER[name], chunk)


def test_the_table_is_long_enough():
    assert len(HANDSHAKES) + len(FIRST) + len(LATER) >= 60
