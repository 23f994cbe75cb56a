"""The rules of RFC 6455 for the messages that a client sends: text is UTF-8 over all its fragments, and no message is
longer than the gateway allows; what is odd but allowed is let through."""

import pytest

from harness.direct import AUTH_OK, AUTH_REQUIRED, INVALID_PAYLOAD, PROTOCOL_ERROR, TOO_BIG
from harness.direct import auth_frame, authenticated, upgraded
from harness.framing import ends_with, is_alive
from harness.framing import client  # a fixture
from harness.neighbour import others_are_served, service  # fixtures
from harness.raw_websocket import BINARY, CONTINUATION, PING, PONG, TEXT, build_frame

MESSAGE_MAX_BYTES = 4096


# Text

BAD_UTF8 = {
    "a byte that never occurs": [b"\xff"],
    "a continuation byte alone": [b"\x80"],
    "overlong": [b"\xc0\xaf"],
    "overlong of three": [b"\xe0\x80\xaf"],
    "a surrogate": [b"\xed\xa0\x80"],
    "beyond U+10FFFF": [b"\xf4\x90\x80\x80"],
    "five bytes": [b"\xf8\x88\x80\x80\x80"],
    "cut off": [b"\xe2\x82"],
    "cut off in a string": [b'{"type":"auth","x":"\xe2\x82"}'],
    "in a member's name": [b'{"type":"auth","\xff":1}'],
    "after good text": [b"\xc3\xa9" * 1000 + b"\xc3"],
    "split after its first byte": [b"\xc3", b"\x28"],
    "cut off by the last fragment": [b"good ", b"\xc3"],
    "cut off, and an empty last fragment": [b"\xc3", b""],
    "cut off, and two empty fragments": [b"\xe2\x82", b"", b""],
    "in the middle of three fragments": [b'{"type":"auth",', b'"x":"\xff"', b"}"],
    "overlong over two fragments": [b"\xe0", b"\x80\xaf"],
}


@pytest.mark.parametrize("pieces", BAD_UTF8.values(), ids=BAD_UTF8.keys())
@pytest.mark.parametrize("ping", [False, True], ids=["", "with pings between"])
def test_text_that_is_not_utf8_is_1007(client, pieces, ping):
    data = b""
    for i, piece in enumerate(pieces):
        data += build_frame(piece, opcode=CONTINUATION if i else TEXT, fin=i == len(pieces) - 1)
        data += build_frame(b"\xff", opcode=PING) if ping and i < len(pieces) - 1 else b""
    client.send(data)
    assert ends_with(client, INVALID_PAYLOAD)


def test_a_character_may_be_split_over_fragments_and_pings_hold_any_bytes(service):
    with authenticated(service, "t") as client:
        text = '{"type":"nothing","x":"é€📻"}'.encode()
        client.send_frame(text[:1], fin=False)
        for i in range(1, len(text)):
            client.send_frame(b"\xff\xfe", opcode=PONG)
            client.send_frame(text[i : i + 1], opcode=CONTINUATION, fin=i == len(text) - 1)
        assert is_alive(client, b"\xff\x00\xc3")


def test_binary_may_hold_any_bytes_once_authenticated(service):
    with authenticated(service, "t") as client:
        client.send_frame(bytes(range(256)) * 16, opcode=BINARY)
        client.send_frame(b"\xff", opcode=BINARY, fin=False)
        client.send_frame(b"\xff", opcode=CONTINUATION)
        client.send_frame("text again: é", opcode=TEXT)
        assert is_alive(client)


# Lengths


def in_pieces(data, size):
    """The frames of one text message in fragments of that size."""
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    last = len(pieces) - 1
    frames = [build_frame(pieces[i], opcode=CONTINUATION if i else TEXT, fin=i == last) for i in range(len(pieces))]
    return b"".join(frames)


def filled(length):
    return auth_frame(fill="").encode()[:-2] + b"x" * (length - len(auth_frame(fill=""))) + b'"}'


@pytest.mark.parametrize("size", [MESSAGE_MAX_BYTES, 4095, 2048, 1000, 125, 1])
def test_a_message_of_4096_bytes_is_read(client, size):
    data = filled(MESSAGE_MAX_BYTES)
    assert len(data) == MESSAGE_MAX_BYTES
    client.send(in_pieces(data, size))
    assert client.read_message() == AUTH_OK
    assert is_alive(client)


@pytest.mark.parametrize("size", [4097, MESSAGE_MAX_BYTES, 2048, 1000, 125, 1])
def test_a_message_of_4097_bytes_is_1009(client, size):
    client.send(in_pieces(filled(MESSAGE_MAX_BYTES + 1), size))
    assert ends_with(client, TOO_BIG)


def test_a_binary_message_of_4096_bytes_is_ignored_and_one_of_4097_is_1009(service):
    with authenticated(service, "t") as client:
        client.send_frame(bytes(MESSAGE_MAX_BYTES), opcode=BINARY)
        assert is_alive(client)
        client.send_frame(bytes(MESSAGE_MAX_BYTES + 1), opcode=BINARY)
        assert ends_with(client, TOO_BIG)


@pytest.mark.parametrize("length", [65535, 65536, 1 << 20, (1 << 32) + 10, 1 << 62, (1 << 63) - 1])
def test_a_frame_that_claims_to_be_huge_is_1009_before_it_has_come(client, length):
    client.send_frame(b"x" * (MESSAGE_MAX_BYTES + 1), length=length)
    assert client.close_code() == TOO_BIG


def test_a_frame_that_ends_in_the_middle_leaves_nothing_behind(service):
    for sent in (0, 1, 100, 4000):
        with authenticated(service, "t") as client:
            client.send_frame(b"x" * sent, length=4096)
        with upgraded(service, "t") as client:
            client.send_frame(b"x" * sent, length=4096)
    for cut in range(1, 8):
        with authenticated(service, "t") as client:
            client.send(build_frame(b"x" * 300)[:cut])


def test_a_frame_that_is_longer_than_it_claims_is_the_start_of_another(client):
    """The rest, "xxxx", is read as a header: reserved bits."""
    client.send(build_frame(b"{}", opcode=PONG) + b"xxxx")
    assert ends_with(client, PROTOCOL_ERROR)


@pytest.mark.parametrize("form", ["7 bits", "16 bits", "64 bits"])
def test_each_form_of_length_is_read(service, form):
    """A longer form than needed is let through: the length is clear all the same."""
    data = {"7 bits": filled(100), "16 bits": filled(3000), "64 bits": filled(3000)}[form]
    frame = build_frame(data)
    if form == "64 bits":
        frame = frame[:1] + bytes([0xFF]) + len(data).to_bytes(8, "big") + frame[4:]
    with upgraded(service, "t") as client:
        client.send(frame)
        assert client.read_message() == AUTH_OK


def test_a_message_of_ten_thousand_empty_fragments_is_a_message(service):
    frame = auth_frame().encode()
    with upgraded(service, "t") as client:
        client.send(build_frame(frame[:1], fin=False))
        client.send(build_frame(b"", opcode=CONTINUATION, fin=False) * 10000)
        client.send(build_frame(frame[1:], opcode=CONTINUATION))
        assert client.read_message() == AUTH_OK


def test_frames_without_payload_are_frames(service):
    with upgraded(service, "t") as client:
        assert is_alive(client, b"")
        client.send_frame(b"", opcode=PONG)
        client.send_frame(b"", opcode=TEXT)
        assert client.read_message() == AUTH_REQUIRED
        assert client.close_code() == 1008
    with upgraded(service, "t") as client:
        client.send_frame(b"", fin=False)
        client.send_frame(auth_frame(), opcode=CONTINUATION, fin=False)
        client.send_frame(b"", opcode=CONTINUATION)
        assert client.read_message() == AUTH_OK
        client.send_frame(b"", opcode=TEXT)
        client.send_frame(b"", opcode=BINARY)
        assert is_alive(client)
