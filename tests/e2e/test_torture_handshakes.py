"""Protocol torture: malformed and odd handshakes, each with what must come of it, while two well-behaved clients on the
side miss nothing of a steady stream. What one rule of HTTP or RFC 6455 says is in test_handshake_*.py; here it is
requests that proxies read differently, and other protocols. Each comes once in one piece and once byte by byte."""

import re
import socket

import pytest

from harness.direct import AUTH_OK, auth_frame
from harness.raw_websocket import RawWebSocket
from harness.torture import KEY, head
from harness.torture import bystanders_are_served, service, stream  # fixtures

HEAD_MAX_BYTES = 8192
NOTHING = "nothing"  # the connection just ends


def target(text):
    return head(line=b"GET " + text + b" HTTP/1.1")


def filled(size):
    """A good request of that many bytes."""
    return head(b"X-Fill: " + b"x" * (size - len(head(b"X-Fill: "))))


HANDSHAKES = {
    # Headers that stand there twice: two readers may take two different ones.
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
    # Lines that are none.
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
    # Bodies, which a WebSocket's opening has not.
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
    # Headers that we read, with rubbish in them.
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
    with RawWebSocket(service.ws_address) as client:
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
