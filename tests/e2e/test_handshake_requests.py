"""Before the upgrade (PROTOCOL.md section 2): which requests become a WebSocket, and what the others are told. Their
topics are the matter of test_handshake_topics.py."""

import base64
import hashlib

import pytest

from harness.direct import AUTH_OK, auth_frame
from harness.handshakes import ask, ask_bytes
from harness.neighbour import others_are_served, service  # fixtures
from harness.raw_websocket import RawWebSocket


# What is refused, and how


@pytest.mark.parametrize(
    "path",
    ["/?topic=t", "/wsx?topic=t", "/ws/x?topic=t", "/ws/?topic=t", "/xws?topic=t", "/WS?topic=t", "/internal/publish",
     "/w%73x?topic=t", "/favicon.ico", "/ws.?topic=t", "/ws%00?topic=t", "/ws%2fx?topic=t"],
)  # fmt: skip
def test_other_paths_are_404(service, path):
    assert ask(service, path)[0] == 404


@pytest.mark.parametrize("prefix", ["", "/worker", "/a/b/c/d", "/%C3%A9%20x", "/ws"])
def test_any_prefix_may_stand_before_ws(service, prefix):
    assert ask(service, f"{prefix}/ws?topic=t")[0] == 101


@pytest.mark.parametrize(
    "headers",
    [
        {"Upgrade": None, "Connection": None},
        {"Upgrade": None, "Connection": "close"},
        {"Upgrade": None},
        {"Connection": "keep-alive"},
        {"Connection": None},
        {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA"},
        {"Upgrade": "TLS/1.0"},
        {"Upgrade": "websocketx"},
        {"Upgrade": ""},
    ],
    ids=["plain", "plain-close", "no-upgrade", "keep-alive", "no-connection", "h2c", "tls", "websocketx", "empty"],
)
def test_what_is_no_websocket_upgrade_is_426(service, headers):
    status, answer, _ = ask(service, headers=headers)
    assert status == 426
    assert answer["upgrade"] == "websocket"


def test_the_preface_of_http2_is_refused(service):
    assert ask_bytes(service, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0") != 101


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "BREW"])
def test_another_method_does_not_upgrade(service, method):
    data = RawWebSocket.request(method=method, headers={"Content-Length": "0"})
    assert ask_bytes(service, data) in (400, 403, 404, 405, 426, 501, None)


def test_a_head_request_does_not_upgrade(service):
    assert ask_bytes(service, RawWebSocket.request(method="HEAD")) != 101


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/3", "", "ICY/1.1"])
def test_http_older_than_1_1_or_unheard_of_does_not_upgrade(service, version):
    assert ask_bytes(service, RawWebSocket.request(version=version)) != 101


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-WebSocket-Key": None},
        {"Sec-WebSocket-Key": ""},
        {"Sec-WebSocket-Key": "A" * 2000},
        {"Sec-WebSocket-Key": "not sixteen bytes"},
        {"Sec-WebSocket-Key": base64.b64encode(bytes(15)).decode()},
        {"Sec-WebSocket-Version": None},
        {"Sec-WebSocket-Version": ""},
        {"Sec-WebSocket-Version": "12"},
        {"Sec-WebSocket-Version": "0"},
        {"Sec-WebSocket-Version": "13x"},
        {"Host": None},
    ],
    ids=lambda headers: " ".join(f"{name}={value}"[:40] for name, value in headers.items()),
)
def test_a_handshake_that_breaks_rfc_6455_is_refused(service, headers):
    status = ask_bytes(service, RawWebSocket.request(headers=headers))
    assert status is None or 400 <= status < 500


# What is accepted


def test_the_answer_proves_that_the_key_was_read(service):
    key = base64.b64encode(b"0123456789abcdef").decode()
    status, headers, _ = ask(service, headers={"Sec-WebSocket-Key": key})
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    assert status == 101
    with RawWebSocket(service.ws_address) as client:
        client.send(RawWebSocket.request(headers={"Sec-WebSocket-Key": key}))
        head = client._read_until(b"\r\n\r\n").decode()
    assert f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}".lower() in head.lower()
    assert base64.b64encode(digest).decode() in head
    assert headers["upgrade"] == "websocket" and headers["connection"] == "upgrade"
    assert "sec-websocket-protocol" not in headers and "sec-websocket-extensions" not in headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": "upgrade,keep-alive"},
        {"Upgrade": "WebSocket"},
        {"Upgrade": "WEBSOCKET"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"},
        {"User-Agent": "x" * 1000},
        {"Cookie": "a=b; " * 300},
        {"Authorization": "Basic eDp5"},
    ],
    ids=lambda headers: " ".join(f"{name}={value}"[:40] for name, value in headers.items()),
)
def test_what_browsers_send_is_accepted(service, headers):
    status, answer, _ = ask(service, headers=headers)
    assert status == 101
    assert "sec-websocket-extensions" not in answer


@pytest.mark.parametrize("offer", ["chat", "a, b ,c", "wavelog.v1", "x" * 63, "x" * 64, "x" * 500, "a,b," * 60 + "c"])
def test_a_subprotocol_that_is_offered_is_no_error(service, offer):
    with RawWebSocket(service.ws_address) as client:
        status, headers, _ = client.handshake(headers={"Sec-WebSocket-Protocol": offer})
        assert status == 101
        chosen = headers.get("sec-websocket-protocol")
        assert chosen is None or chosen in [name.strip() for name in offer.split(",")], chosen
        client.send_frame(auth_frame())
        assert client.read_message() == AUTH_OK
