"""Before the upgrade (docs/clients.md): which requests become a WebSocket, and what the others are told; how the
topic is written in the query; and how a handshake may arrive: in pieces, together with frames, half-finished, as rubbish."""

import base64
import hashlib
import select
import socket
import sqlite3
import time

import pytest

from harness.process import LIMIT_S, wait_until
from harness.websocket import (
    AUTH_OK, PING, PONG, ConnectionEnded, Subscriber, WebSocket, ask, ask_bytes, auth_frame, authenticated,
    build_frame, path_of, push_of, upgraded,
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("others_are_served")


# What is refused, and how


@pytest.mark.parametrize(
    "path",
    ["/?topic=t", "/wsx?topic=t", "/ws/x?topic=t", "/ws/?topic=t", "/xws?topic=t", "/WS?topic=t", "/internal/publish",
     "/w%73x?topic=t", "/favicon.ico", "/ws.?topic=t", "/ws%00?topic=t", "/ws%2fx?topic=t"],
)  # fmt: skip
def test_other_paths_are_404(service, path):
    assert ask(service, path)[0] == 404


@pytest.mark.parametrize("path", ["/readyz", "/worker/readyz", "/a/b/readyz?x=1"])
def test_readyz_is_answered_without_a_secret_and_head_without_a_body(service, path):
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n"
    for method, body in (("GET", b"ok\n"), ("HEAD", b"")):
        with socket.create_connection(service.ws_address, timeout=LIMIT_S) as client:
            client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head, _, rest = b"".join(iter(lambda: client.recv(4096), b"")).partition(b"\r\n\r\n")
        assert head.startswith(answer) and rest == body


def test_readyz_says_when_the_database_cannot_be_read(make_service):
    service = make_service()
    service.start_gateway()
    assert ask(service, "/readyz")[::2] == (200, b"ok\n")
    with sqlite3.connect(service.database) as database:
        database.execute("ALTER TABLE topics RENAME TO gone")
    wait_until(lambda: ask(service, "/readyz")[::2] == (503, b"unavailable: database error\n"), "it says so")


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
def test_a_request_that_is_not_a_websocket_upgrade_is_426(service, headers):
    status, answer, _ = ask(service, headers=headers)
    assert status == 426
    assert answer["upgrade"] == "websocket"


def test_the_preface_of_http2_is_refused(service):
    assert ask_bytes(service, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0") != 101


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "BREW"])
def test_another_method_does_not_upgrade(service, method):
    data = WebSocket.request(method=method, headers={"Content-Length": "0"})
    assert ask_bytes(service, data) in (400, 403, 404, 405, 426, 501, None)


def test_a_head_request_does_not_upgrade(service):
    assert ask_bytes(service, WebSocket.request(method="HEAD")) != 101


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/3", "", "ICY/1.1"])
def test_http_older_than_1_1_or_unheard_of_does_not_upgrade(service, version):
    assert ask_bytes(service, WebSocket.request(version=version)) != 101


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
    status = ask_bytes(service, WebSocket.request(headers=headers))
    assert status is None or 400 <= status < 500


# What is accepted


def test_the_answer_proves_that_the_key_was_read(service):
    key = base64.b64encode(b"0123456789abcdef").decode()
    status, headers, _ = ask(service, headers={"Sec-WebSocket-Key": key})
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    assert status == 101
    with WebSocket(service.ws_address) as client:
        client.send(WebSocket.request(headers={"Sec-WebSocket-Key": key}))
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
def test_offering_a_subprotocol_is_not_an_error(service, offer):
    with WebSocket(service.ws_address) as client:
        status, headers, _ = client.handshake(headers={"Sec-WebSocket-Protocol": offer})
        assert status == 101
        chosen = headers.get("sec-websocket-protocol")
        assert chosen is None or chosen in [name.strip() for name in offer.split(",")], chosen
        client.send_frame(auth_frame())
        assert client.read_message() == AUTH_OK


# What is refused, and how


NO_TOPIC = ["", "?", "?topic=", "?topic", "?other=t", "?topic=&x=1", "?Topic=t", "?xtopic=t"]
NOT_REGISTERED = ["unknown", "T", "t ", " t", "t/", "worker.statu", "worker.status.", "*", "%"]
IMPOSSIBLE = [
    "%00", "t%00", "%00t", "t%00x", "%", "t%", "t%2", "t%zz", "%-1", "%7f", "t%0a", "%0d%0aX-Injected:%20yes%0d%0a",
    "t%0d%0a%0d%0a", "%ff", "t%80", "%c3%28", "%c0%80", "%ed%a0%80", "%f4%90%80%80", "%e2%82", "x" * 256,
    "%c3%a9" * 128, "x" * 1000, "%20" * 1000, "x" * 60000,
]  # fmt: skip
TOPICS = [
    "a b", "a/b", "100%", "a&b=c", "a+b", "a#b?c", "a=b", "a;b", "ø", "📻 qso", "日本", '"quoted"', "it's", "<b>",
    "..", "../../etc/passwd", "\\", "|", "a,b", "x" * 255, "é" * 127, "%41", "%%%", "topic=", "&", "?", "/", "//",
    "\u2028",
]  # fmt: skip


@pytest.mark.parametrize("query", NO_TOPIC)
def test_no_topic_or_an_empty_one_is_400_missing_topic(service, query):
    status, _, body = ask(service, "/ws" + query)
    assert (status, body) == (400, b"missing topic\n")


@pytest.mark.parametrize("topic", NOT_REGISTERED)
def test_a_topic_that_is_not_registered_is_404(service, topic):
    status, headers, body = ask(service, path_of(topic))
    assert (status, body) == (404, b"topic not registered\n")
    assert headers["content-type"] == "text/plain; charset=utf-8"


def test_a_topic_is_404_again_once_it_is_unregistered(worker, service):
    worker.api.register("comes and goes")
    assert ask(service, path_of("comes and goes"))[0] == 101
    worker.api.unregister("comes and goes")
    assert ask(service, path_of("comes and goes"))[0] == 404


@pytest.mark.parametrize("written", IMPOSSIBLE, ids=lambda written: written[:20])
def test_what_cannot_be_a_topic_is_refused(worker, service, written):
    """400 or 404; a request too long for the gateway may also just end."""
    with WebSocket(service.ws_address) as client:
        client.send(WebSocket.request(f"/ws?topic={written}"))
        answer = client._read_to_end() if len(written) > 500 else client._read_until(b"\r\n\r\n")
    if len(written) <= 500 or answer:
        assert answer.split()[1] in (b"400", b"404", b"414", b"431"), answer
        assert b"x-injected" not in answer.lower()


def test_255_bytes_are_a_topic_and_256_are_not(worker, service):
    assert worker.api.register("y" * 255).status == 200
    assert ask(service, path_of("y" * 255))[0] == 101
    assert ask(service, path_of("y" * 256))[0] in (400, 404)


# What is accepted


@pytest.mark.parametrize("topic", TOPICS)
def test_a_percent_encoded_topic_is_found_byte_by_byte(worker, service, topic):
    assert worker.api.register(topic).status == 200
    with authenticated(service, topic) as client:
        worker.api.publish(topic, 1)
        assert client.read_message() == push_of("1")


@pytest.mark.parametrize("written", ["a%2fb%2Fc", "%61/b/%63", "a/b/c"])
def test_a_topic_has_many_spellings(worker, service, written):
    worker.api.register("a/b/c")
    assert ask(service, f"/ws?topic={written}")[0] == 101


def test_of_several_topic_parameters_the_first_counts(worker, service):
    assert ask(service, "/ws?topic=t&topic=unknown")[0] == 101
    assert ask(service, "/ws?topic=unknown&topic=t")[0] == 404


@pytest.mark.parametrize(
    "query", ["a=1&topic=t", "topic=t&a=1", "a&b=&topic=t&c", "xtopic=u&topic=t", "&&topic=t&&", "a=%zz&topic=t"]
)
def test_other_parameters_are_ignored(service, query):
    assert ask(service, f"/ws?{query}")[0] == 101


def test_the_reserved_topic_needs_no_registration(service):
    assert ask(service, "/ws?topic=worker.status")[0] == 101


HANDSHAKE_LIMIT_S = 3.0
SLACK_S = 2.0


# Odd ways to send it


def test_a_handshake_may_come_a_byte_at_a_time(service):
    with WebSocket(service.ws_address) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert client.handshake(chunk=1)[0] == 101
        client.send(build_frame(auth_frame().encode()), chunk=1)
        assert client.read_message() == AUTH_OK


def test_frames_may_come_in_the_same_packet_as_the_handshake(worker, service):
    frames = build_frame(auth_frame().encode()) + build_frame(b"ping", opcode=PING)
    with WebSocket(service.ws_address) as client:
        client.send(WebSocket.request() + frames)
        assert client._read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        answers = [client.read_frame() for _ in range(2)]
    assert [answer.payload for answer in answers if answer.opcode == PONG] == [b"ping"]
    assert [answer.payload.decode() for answer in answers if answer.opcode != PONG] == [AUTH_OK]


def test_a_large_burst_of_frames_in_the_same_packet_as_the_handshake_is_read_to_its_end(worker, service):
    worker.api.register("burst")
    ignored = b"".join(build_frame(b'{"type":"nothing","fill":"%s"}' % (b"x" * 3000)) for _ in range(8))
    data = WebSocket.request(path_of("burst")) + build_frame(auth_frame().encode()) + ignored
    with WebSocket(service.ws_address) as client:
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
    """`others_are_served` checks that it harmed nobody."""
    assert ask_bytes(service, data) != 101


def test_a_request_after_a_refused_one_is_answered_like_any_other(service):
    """A refusal either ends the connection or leaves it fit for the next request."""
    refused = WebSocket.request("/ws?topic=unknown", headers={"Upgrade": None, "Connection": "keep-alive"})
    with WebSocket(service.ws_address) as client:
        client.send(refused + WebSocket.request())
        assert client._read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 404 ")
        try:
            rest = client._read_until(b"\r\n\r\n")
        except ConnectionEnded:
            return
        assert b"HTTP/1.1 101 " in rest


def test_half_a_handshake_ends_in_the_time_for_it(make_service):
    service = make_service(handshake_timeout=f"{HANDSHAKE_LIMIT_S:g}s")
    service.start_gateway()
    whole = WebSocket.request()
    kept_alive = WebSocket.request("/x", headers={"Upgrade": None, "Connection": "keep-alive"})
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
        client = WebSocket(service.ws_address)
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
