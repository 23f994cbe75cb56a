"""Protocol torture: malformed and odd handshakes and sequences of frames, each with what must come of it, while two
well-behaved clients on the side miss nothing of a steady stream. What one rule says is in test_handshake.py and
test_framing.py; here it is requests that proxies read differently, other protocols, and frames in wrong company. Each
comes once in one piece and once byte by byte."""

import contextlib
import re
import socket

import pytest

from harness.crowd import bystanders
from harness.process import log_tail, wait_until
from harness.websocket import (
    AUTH_OK, AUTH_REQUIRED, BINARY, CLOSE, CONTINUATION, INVALID_PAYLOAD, PING, PONG, PROTOCOL_ERROR, TEXT, TOO_BIG,
    ConnectionEnded, WebSocket, auth_frame, authenticated, build_frame, close_payload, upgraded,
)  # fmt: skip

STREAM_RATE = 200


@pytest.fixture(scope="module")
def stream(worker):
    """Publishes go on; a client that resumes and a plain one must receive all of them, each over one connection."""
    assert worker.api.register("t").status == 200
    with bystanders(worker, "stream", STREAM_RATE) as crowd:
        yield crowd


@pytest.fixture(autouse=True)
def bystanders_are_served(stream):
    yield
    before = [len(member.keys) for member in stream.members]
    wait_until(
        lambda: all(len(member.keys) > count for member, count in zip(stream.members, before)),
        "the stream goes on for the others", limit_s=5, interval_s=0.002,
    )  # fmt: skip


@pytest.fixture(scope="module")
def service(worker, stream):
    yield worker.service
    for line in log_tail(worker.service.log_dir, lines=10000).splitlines():
        assert line.isascii() and line.isprintable(), f"raw bytes of a client in a log: {line!r}"


KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    b"Host": b"localhost",
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Key": KEY,
    b"Sec-WebSocket-Version": b"13",
}


def head(*more, line=b"GET /ws?topic=t HTTP/1.1", end=b"\r\n", **changes):
    """A good request except for the request line, the further lines and the changed headers (host=..., upgrade=...; None
    leaves one out; a list repeats it)."""
    short = {b"Host": "host", b"Upgrade": "upgrade", b"Connection": "connection", b"Sec-WebSocket-Key": "key",
             b"Sec-WebSocket-Version": "version"}  # fmt: skip
    lines = [line]
    for name, value in GOOD.items():
        value = changes.get(short[name], value)
        values = value if isinstance(value, list) else [] if value is None else [value]
        lines += [name + b": " + one for one in values]
    return end.join([*lines, *more, b"", b""])


HEAD_MAX_BYTES = 8192
NOTHING = "nothing"  # the connection just ends


def target(text):
    return head(line=b"GET " + text + b" HTTP/1.1")


def filled(size):
    """A good request of that many bytes."""
    return head(b"X-Fill: " + b"x" * (size - len(head(b"X-Fill: "))))


HANDSHAKES = {
    # Headers given twice: two readers may each take another one.
    "two hosts": (head(host=[b"localhost", b"other"]), 400),
    "the same host twice": (head(host=[b"localhost", b"localhost"]), 400),
    "two keys": (head(key=[KEY, b"AAAAAAAAAAAAAAAAAAAAAA=="]), 400),
    "the same key twice": (head(key=[KEY, KEY]), 400),
    "two keys in one line": (head(key=KEY + b", " + KEY), 400),
    "two keys, the first empty": (head(key=[b"", KEY]), 400),
    "two versions": (head(version=[b"8", b"13"]), 400),
    "the same version twice": (head(version=[b"13", b"13"]), 400),
    "two versions in one line": (head(version=b"13, 8"), 426),
    "two origins": (head(b"Origin: https://a.example", b"Origin: https://b.example"), 400),
    "two upgrades, the second is ours": (head(upgrade=[b"h2c", b"websocket"]), 101),
    "two upgrades in one line": (head(upgrade=b"h2c , websocket"), 101),
    "two connections": (head(connection=[b"keep-alive", b"upgrade"]), 101),
    "an upgrade listed among nothing": (head(upgrade=b",, ,websocket,,"), 101),
    # Almost the right words.
    "version 013": (head(version=b"013"), 426),
    "version +13": (head(version=b"+13"), 426),
    "version 13.0": (head(version=b"13.0"), 426),
    "version 13 in quotes": (head(version=b'"13"'), 426),
    "version with white space around": (head(version=b"\t 13 \t"), 101),
    "upgrade with a version": (head(upgrade=b"websocket/13"), 426),
    "upgrade in quotes": (head(upgrade=b'"websocket"'), 426),
    "connection upgraded": (head(connection=b"upgraded"), 426),
    "connection with a semicolon": (head(connection=b"keep-alive; upgrade"), 426),
    "upgrade in two words": (head(upgrade=b"web socket"), 426),
    "a key for URLs": (head(key=b"____________________-A=="), 400),
    "a key without its padding": (head(key=KEY[:-2]), 400),
    "a key with a space inside": (head(key=KEY[:10] + b" " + KEY[11:]), 400),
    "a key in quotes": (head(key=b'"' + KEY[:-2] + b'"'), 400),
    "a key of 15 bytes": (head(key=b"A" * 20 + b"===="), 400),
    "a key with bits left over": (head(key=b"A" * 21 + b"B=="), 101),
    # Malformed lines.
    "a space before a colon": (head(b"X-A : 1"), 400),
    "a space before the upgrade's colon": (head(b"Upgrade : websocket", upgrade=None), 400),
    "a folded header": (head(b"X-A: 1", b" 2"), 400),
    "an upgrade folded": (head(b"Upgrade:", b"\twebsocket", upgrade=None), 400),
    "a folded first header": (head(line=b"GET /ws?topic=t HTTP/1.1\r\n X-A: 1"), 400),
    "a space in a name": (head(b"X A: 1"), 400),
    "a name beyond ASCII": (head("Ü: 1".encode()), 400),
    "a name in brackets": (head(b"X(A): 1"), 400),
    "a value beyond ASCII": (head("X-A: ü".encode()), 101),
    "a NUL in a value": (head(b"X-A: a\0b"), 400),
    "a bell in a value": (head(b"X-A: \a"), 400),
    "a DEL in a value": (head(b"X-A: \x7f"), 400),
    "a carriage return in a value": (head(b"X-A: a\rUpgrade: h2c"), 400),
    "a vertical tab before a value": (head(b"X-A:\v1"), 400),
    "line feeds alone": (head(end=b"\n"), 400),
    "one line feed alone": (head(b"X-A: 1\nX-B: 2"), 400),
    "carriage returns alone": (head(end=b"\r"), NOTHING),
    "an empty line before all": (b"\r\n" + head(), 400),
    "carriage returns before the line feed": (head(b"X-A: 1\r"), 400),
    # Request lines.
    "a tab for a space": (head(line=b"GET\t/ws?topic=t HTTP/1.1"), 400),
    "a space behind the version": (head(line=b"GET /ws?topic=t HTTP/1.1 "), 400),
    "no space before the version": (head(line=b"GET /ws?topic=tHTTP/1.1"), 400),
    "HTTP/1.10": (head(line=b"GET /ws?topic=t HTTP/1.10"), 400),
    "http in lower case": (head(line=b"GET /ws?topic=t http/1.1"), 400),
    "HTTP/1.2, a minor version more": (head(line=b"GET /ws?topic=t HTTP/1.2"), 101),
    "HTTP/1.0 with all the rest": (head(line=b"GET /ws?topic=t HTTP/1.0"), 426),
    "get in lower case": (head(line=b"get /ws?topic=t HTTP/1.1"), 426),
    "a method of 4,000 letters": (head(line=b"G" * 4000 + b" /ws?topic=t HTTP/1.1"), 426),
    "a NUL in the method": (head(line=b"GE\0T /ws?topic=t HTTP/1.1"), 400),
    "a method beyond ASCII": (head(line=b"G\xc3\x89T /ws?topic=t HTTP/1.1"), 400),
    # Targets.
    "a whole URL": (target(b"http://localhost/ws?topic=t"), 101),
    "a fragment": (target(b"/ws?topic=t#x"), 400),
    "a byte beyond ASCII": (target(b"/ws?topic=\xff"), 400),
    "a NUL in the target": (target(b"/ws?topic=t\0"), 400),
    "a backslash": (target(b"\\ws?topic=t"), 404),
    "parameters of the path": (target(b"/ws;v=1?topic=t"), 404),
    "a percent-encoded slash": (target(b"/a%2fws?topic=t"), 404),
    "dots in the path": (target(b"/a/../ws?topic=t"), 101),
    "a path of 4,000 slashes": (target(b"/" * 4000 + b"ws?topic=t"), 101),
    "two question marks": (target(b"/ws??topic=t"), 400),
    "a topic in brackets": (target(b"/ws?topic[]=t"), 400),
    "an empty topic before a good one": (target(b"/ws?topic=&topic=t"), 400),
    "a broken topic before a good one": (target(b"/ws?topic=%zz&topic=t"), 400),
    "a semicolon for an ampersand": (target(b"/ws?topic=t;x=1"), 404),
    "a thousand parameters before it": (target(b"/ws?" + b"a=1&" * 1000 + b"topic=t"), 101),
    # Bodies, which a WebSocket handshake does not have.
    "a body": (head(b"Content-Length: 5") + b"hello", 400),
    "a body said and not sent": (head(b"Content-Length: 5"), 400),
    "a body of 0 bytes": (head(b"Content-Length: 0"), 101),
    "a body of +0 bytes": (head(b"Content-Length: +0"), 400),
    "two lengths": (head(b"Content-Length: 0", b"Content-Length: 5"), 400),
    "chunks": (head(b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "a coding that does nothing": (head(b"Transfer-Encoding: identity"), 400),
    "a request inside the body": (head(b"Content-Length: 200") + head(line=b"GET /ws?topic=unknown HTTP/1.1"), 400),
    "an expectation": (head(b"Expect: 100-continue"), 101),
    # Sizes.
    "a head of as many bytes as may be": (filled(HEAD_MAX_BYTES), 101),
    "a head of one byte more": (filled(HEAD_MAX_BYTES + 1), 431),
    "a head that has no end": (head()[:-2] + b"X-A: 1\r\n" * 2000, 431),
    "a line that has no end": (b"GET /ws?topic=" + b"t" * 20000, 431),
    "1,000 headers": (head(*[b"a: 1"] * 1000), 101),
    # Rubbish in the headers that the gateway reads.
    "forwarded for nobody": (head(b"X-Forwarded-For: ,,, ,"), 101),
    "forwarded for rubbish": (head(b"X-Forwarded-For: " + b"\xff" * 600, b"X-Forwarded-For: ::::::::, 999.1.1.1"), 101),
    "forwarded 500 times": (head(*[b"X-Forwarded-For: 1"] * 300), 101),
    "extensions of rubbish": (head(b"Sec-WebSocket-Extensions: ;;;,,=\"\\"), 101),
    "a subprotocol of nothing": (head(b"Sec-WebSocket-Protocol: "), 101),
    # Other protocols, at the wrong door.
    "a proxy's greeting": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + head(), 400),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", 400),
    "SMTP": (b"EHLO example.org\r\nMAIL FROM:<>\r\n", 400),
    "Redis": (b"*1\r\n$4\r\nPING\r\n", 400),
    "memcached": (b"stats\r\n", 400),
    "FastCGI": (b"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00", NOTHING),
    "an HTTP answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 400),
    "a WebSocket frame": (b"\x81\x85\x80\x80\x80\x80\xe1\xe2\xe3\xe4\xe5", NOTHING),  # no line end among its bytes
    "nothing but its end": (b"", NOTHING),
}  # fmt: skip


@pytest.mark.parametrize("chunk", [None, 1], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("name", HANDSHAKES)
def test_handshake(service, name, chunk):
    data, expected = HANDSHAKES[name]
    with WebSocket(service.ws_address) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            client.send(data, chunk)
            if expected != 101:
                client.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was refused before all of it was sent
        if expected == 101:
            assert client._read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
            client.send_frame(auth_frame())
            assert client.read_message() == AUTH_OK
            return
        answer = client._read_to_end()
    if expected == NOTHING:
        assert answer == b""
        return
    assert re.match(rb"HTTP/1\.1 %d " % expected, answer), answer
    assert answer.count(b"HTTP/1.1 ") == 1 and answer.endswith(b"\n"), answer


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
