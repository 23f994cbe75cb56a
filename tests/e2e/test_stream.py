"""The stream (docs/clients.md): which requests begin one and what the others are told, how a body may arrive, what comes as
events, and that limits, deadlines, slow readers, orders and restarts are those of a WebSocket."""

import json
import os
import signal
import socket
import struct
import time

import pytest

from harness.api import make_token
from harness.process import Process, wait_until
from harness.sqlite import rows, wait_until_counted
from harness.stream import Stream, StreamEnded, ask, chunked, request, started, stream_path, streaming
from harness.web_servers import Apache, Nginx
from harness.websocket import (
    AUTH_EXPIRED, AUTH_OK, AUTH_REQUIRED, TOPIC_UNREGISTERED, UNAUTHORIZED, auth_frame, authenticated, push_of,
)  # fmt: skip


@pytest.fixture(scope="module")
def service(worker):
    for topic, needs_token in (("t", False), ("closed", True)):
        assert worker.api.register(topic, require_token=needs_token).status == 200
    return worker.service


def sessions(service):
    return rows(service, "SELECT topic, user_id, transport FROM session_overview")


# Before it begins

OPEN, CLOSED = stream_path("t"), stream_path("closed")
AUTH = auth_frame()
ANNOUNCED = {"Content-Length": str(len(AUTH))}
TEXT, JSON = "text/plain; charset=utf-8", "application/json"
LONG = '{"type":"auth","x":"' + "x" * 4096 + '"}'

REFUSALS = {
    "another path": (request("/streams?topic=t", AUTH), 404, "not found\n"),
    "a path behind it": (request("/stream/x?topic=t", AUTH), 404, "not found\n"),
    "GET": (request(OPEN, method="GET", headers={"Content-Length": None}), 405, "method not allowed\n"),
    "PUT": (request(OPEN, AUTH, method="PUT"), 405, "method not allowed\n"),
    "HEAD": (request(OPEN, method="HEAD"), 405, ""),
    "OPTIONS": (request(OPEN, method="OPTIONS"), 405, "method not allowed\n"),
    "a WebSocket": (request(OPEN, method="GET", headers={"Upgrade": "websocket", "Connection": "Upgrade"}), 405, None),
    "no topic": (request("/stream", AUTH), 400, "missing topic\n"),
    "an empty topic": (request("/stream?topic=", AUTH), 400, "missing topic\n"),
    "half an escape": (request("/stream?topic=%4", AUTH), 400, "bad topic: broken percent-encoding\n"),
    "an unknown topic": (request("/stream?topic=unknown", AUTH), 404, "topic not registered\n"),
    "an impossible topic": (request("/stream?topic=%00", AUTH), 404, "topic not registered\n"),
    "no body": (request(OPEN, headers={"Content-Length": None}), 400, AUTH_REQUIRED),
    "an empty body": (request(OPEN), 400, AUTH_REQUIRED),
    "no JSON": (request(OPEN, "auth"), 400, AUTH_REQUIRED),
    "another type": (request(OPEN, '{"type":"status"}'), 400, AUTH_REQUIRED),
    "not UTF-8": (request(OPEN, b'{"type":"auth","x":"\xff"}'), 400, AUTH_REQUIRED),
    "two objects": (request(OPEN, AUTH + AUTH), 400, AUTH_REQUIRED),
    "a bad position": (request(OPEN, auth_frame(last_event_id=-1)), 400, AUTH_REQUIRED),
    "no token": (request(CLOSED, AUTH), 400, AUTH_REQUIRED),
    "a bad token": (request(CLOSED, auth_frame("x")), 401, UNAUTHORIZED),
    "too long": (request(OPEN, LONG), 413, "body too large\n"),
    "too long, and only announced": (request(OPEN, headers={"Content-Length": "1" + "0" * 30}), 413, "body too large\n"),
    "too long in chunks": (
        request(OPEN, headers={"Content-Length": None, "Transfer-Encoding": "chunked"}) + chunked(*[b"x" * 500] * 9),
        413, "body too large\n",
    ),
    "two hosts": (request(OPEN, AUTH, {"Host": "a\r\nHost: b"}), 400, "bad request: malformed HTTP\n"),
}  # fmt: skip
FRAMINGS = {
    "two lengths": {"Content-Length": "15\r\nContent-Length: 15"},
    "a length and chunks": {"Transfer-Encoding": "chunked"},
    "a negative length": {"Content-Length": "-1"},
    "a length that is none": {"Content-Length": "0x0f"},
    "no number": {"Content-Length": ""},
    "another coding": {"Content-Length": None, "Transfer-Encoding": "gzip, chunked"},
}
REFUSALS |= {name: (request(OPEN, AUTH, headers), 400, None) for name, headers in FRAMINGS.items()}
BROKEN_CHUNKS = (b"x\r\n", b"\r\n", b"f\n" + AUTH.encode(), b"f\r\n" + AUTH.encode() + b"0\r\n\r\n", b"123456789\r\n",
                 b"f \r\n" + AUTH.encode(), b"1;" + b"x" * 40000)  # fmt: skip
CHUNKED = {"Content-Length": None, "Transfer-Encoding": "chunked"}
REFUSALS |= {f"broken chunk {body[:9]}": (request(OPEN, headers=CHUNKED) + body, 400, AUTH_REQUIRED) for body in BROKEN_CHUNKS}


def test_a_request_that_begins_no_stream_is_told_why(service, worker):
    expired = make_token(service.secret, "closed", expires=int(time.time()) - 5)
    foreign = make_token(service.secret, "t")
    more = {
        "an expired token": (request(CLOSED, auth_frame(expired)), 401, AUTH_EXPIRED),
        "another topic's token": (request(CLOSED, auth_frame(foreign)), 401, UNAUTHORIZED),
    }
    with authenticated(service, "t") as neighbour:
        for name, (data, status, text) in {**REFUSALS, **more}.items():
            answer, headers, body = ask(service, data)
            assert answer == status and text in (None, body.decode()), (name, answer, body)
            assert headers["content-type"] == (JSON if body.startswith(b"{") else TEXT), name
            assert headers["connection"] == "close" and headers["x-content-type-options"] == "nosniff", name
            assert headers.get("allow") == ("POST" if status == 405 else None), name
            if "path" not in name and b"malformed" not in body:
                assert headers["access-control-allow-origin"] == "*", name
        worker.api.publish("t", 1)
        assert neighbour.read_message() == push_of("1")
    assert worker.service.gateway.runs()


BODIES = {
    "at once": request(OPEN, AUTH),
    "behind any prefix": request("/a/b" + OPEN, AUTH),
    "with a type of its own": request(OPEN, AUTH, {"Content-Type": "application/json"}),
    "in chunks": request(OPEN, headers=CHUNKED) + chunked(AUTH.encode()),
    "in chunks of a byte": request(OPEN, headers=CHUNKED) + chunked(*(bytes([byte]) for byte in AUTH.encode())),
    "with extensions and a trailer": request(OPEN, headers=CHUNKED)
    + chunked(AUTH.encode()[:5], AUTH.encode()[5:], extension=';a="b"', trailer="X: y\r\nZ: \r\n"),
    "of 4,096 bytes": request(OPEN, AUTH.ljust(4096)),
    "of 4,096 chunks": request(OPEN, headers=CHUNKED) + chunked(*(bytes([byte]) for byte in AUTH.ljust(4096).encode())),
    "by HTTP/1.0 without a host": request(OPEN, AUTH, {"Host": None}, version="HTTP/1.0"),
    "with rubbish behind it": request(OPEN, AUTH) + b"GET / HTTP/1.1\r\n\r\n" + b"\0" * 500,
}  # fmt: skip


def test_a_body_may_come_in_any_framing_and_in_pieces(service, worker):
    for name, data in BODIES.items():
        for chunk in (None, 1 if len(data) < 1000 else 1000):
            with Stream(service.ws_address) as stream:
                stream.send(data, chunk)
                assert stream.head()[0] == 200, name
                assert stream.read_message() == AUTH_OK, name
                worker.api.publish("t", name)
                assert stream.read_message() == push_of(json.dumps(name)), name
    with Stream(service.ws_address) as stream:  # the client waits for a word
        head = request(OPEN, headers={"Expect": "100-continue", "Content-Length": str(len(AUTH))})
        stream.send(head)
        assert stream.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        stream.send(AUTH.encode())
        assert stream.head()[0] == 200 and stream.read_message() == AUTH_OK


def test_the_answers_bytes(service, worker):
    with Stream(service.ws_address) as stream:
        stream.send(request(OPEN, auth_frame(last_event_id=None)))
        stream.socket.settimeout(5)
        got = b""
        while b"recovered" not in got:
            got += stream.socket.recv(4096)
        id = worker.api.call("publish", raw=b'{"topic":"t","payload":[1.10,\r\n"\\u2028",\r2]}').json["id"]
        head, at = got.split(b"\r\n\r\n")[0], json.loads(got.split(b"data: ")[1])["last_event_id"]
        assert head.split(b"\r\n") == [
            b"HTTP/1.1 200 OK", b"Content-Type: text/event-stream", b"Cache-Control: no-store",
            b"X-Accel-Buffering: no", b"X-Content-Type-Options: nosniff", b"Connection: close",
            b"Access-Control-Allow-Origin: *",
        ]  # fmt: skip
        expected = b'data: {"type":"auth_ok","last_event_id":%d,"recovered":true}\n\n' % at
        expected += b'data: {"type":"push","id":%d,"payload":[1.10,\ndata: "\\u2028",\ndata: 2]}\nid: %d\n\n' % (id, id)
        while len(got) < len(head) + 4 + len(expected):
            got += stream.socket.recv(4096)
        assert got == head + b"\r\n\r\n" + expected


ORIGINS = {None: None, "https://log.example.org": "https://log.example.org", "https://LOG.example.org:443": "https://LOG.example.org:443"}


def test_pages_of_allowed_origins_may_read_it_and_others_may_not(make_server):
    service = make_server(allowed_origins="https://log.example.org").service
    for origin, allowed in ORIGINS.items():
        headers = {"Origin": origin}
        with started(service.ws_address, headers=headers) as stream:
            assert stream.headers.get("access-control-allow-origin") == allowed
            assert stream.headers["vary"] == "Origin"
        for data in (request(OPEN, "x", headers), request("/stream", AUTH, headers), request(OPEN, LONG, headers),
                     request(OPEN, AUTH, headers, method="PUT")):  # fmt: skip
            _, answer, _ = ask(service, data)
            assert (answer.get("access-control-allow-origin"), answer["vary"]) == (allowed, "Origin"), origin
    for origin in ("https://evil.example", "null", "https://log.example.org.evil.example", ""):
        status, answer, body = ask(service, request(OPEN, AUTH, {"Origin": origin}))
        assert (status, body) == (403, b"origin not allowed\n") and answer["vary"] == "Origin"
        assert "access-control-allow-origin" not in answer


# Deadlines and limits


def test_a_slow_request_is_408_and_a_client_that_goes_is_counted(make_server):
    service = make_server(handshake_timeout="1s", max_unauthenticated=50).service
    halves = [request(OPEN, headers=ANNOUNCED), request(OPEN, headers=ANNOUNCED) + b'{"type"',
              request(OPEN, headers=CHUNKED) + b"f\r\n{", request(OPEN, AUTH)[:30]]  # fmt: skip
    clients = [Stream(service.ws_address) for _ in halves]
    for client, half in zip(clients, halves):
        client.send(half)
    for client in clients:
        status, _ = client.head()
        assert (status, client.rest()) == (408, b"request timeout\n")
        client.close()
    wait_until_counted(service, "connections", "timeout", 3)
    gone = Stream(service.ws_address)
    gone.send(halves[1])
    gone.close()
    wait_until_counted(service, "connections", "gone", 1)


def test_a_stream_is_a_connection_like_others_to_each_limit(make_server):
    service = make_server(max_connections=4, max_connections_per_address=3, max_unauthenticated=2, message_rate=20).service
    from_one = {"X-Forwarded-For": "192.0.2.1"}
    with streaming(service, headers=from_one), streaming(service, headers=from_one), authenticated(service, "t", headers=from_one):
        status, headers, body = ask(service, request(OPEN, AUTH, from_one))
        assert (status, body, headers["retry-after"]) == (429, b"too many connections from this address\n", "1")
        with streaming(service, headers={"X-Forwarded-For": "192.0.2.2"}):
            status, headers, body = ask(service, request(OPEN, AUTH, {"X-Forwarded-For": "192.0.2.3"}))
            assert (status, body, headers["retry-after"]) == (503, b"too many connections\n", "1")
    wait_until(lambda: not sessions(service), "all have gone")
    waiting = []
    for _ in range(3):
        waiting.append(Stream(service.ws_address))
        waiting[-1].send(request(OPEN, headers={"Expect": "100-continue", **ANNOUNCED}))
        assert waiting[-1].socket.recv(100).startswith(b"HTTP/1.1 100")
    assert waiting[0].head()[0] == 503 and waiting[0].rest() == b"too many connections without authentication\n"
    for client in waiting[1:]:
        client.send(AUTH.encode())
        assert client.head()[0] == 200
        client.close()
    with streaming(service) as stream:  # it may say nothing more: what it says counts as messages
        for _ in range(3):
            stream.send(b"x")
        stream.socket.settimeout(1)
        with pytest.raises((OSError, StreamEnded)):
            while True:
                stream.send(b"x" * 10)
                time.sleep(0.001)
    wait_until_counted(service, "closes", "too_many_messages", 1)


# What comes, and how it ends


def test_it_ends_with_its_token_its_topic_and_by_order(worker, service):
    token = make_token(service.secret, "closed", user_id=7, expires=int(time.time()) + 1)
    long = make_token(service.secret, "closed", user_id=8)
    with streaming(service, "closed", token) as expires, streaming(service, "closed", long) as ordered:
        assert expires.read_message() == AUTH_EXPIRED and expires.is_over()
        wait_until(lambda: ("closed", 8, "stream") in sessions(service), "it is in the table")
        assert worker.api.call("disconnect", {"user_id": 8}).status == 200
        assert json.loads(ordered.read_message())["code"] == "disconnected" and ordered.is_over()
    worker.api.register("goes")
    with streaming(service, "goes") as stream, authenticated(service, "goes") as other:
        worker.api.publish("goes", 1)
        worker.api.unregister("goes")
        for client in (stream, other):
            assert [client.read_message() for _ in range(2)] == [push_of("1"), TOPIC_UNREGISTERED]
        assert stream.is_over()
    status = make_token(service.secret, "worker.status")
    with streaming(service, "worker.status", status) as stream:
        stream.send(b'{"type":"status"}')  # nobody listens
        with pytest.raises(TimeoutError):
            stream.read_event(1)


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
def test_a_client_that_has_gone_is_noticed_at_once(worker, service, how):
    topic = f"gone {how}"
    worker.api.register(topic)
    stream = streaming(service, topic)
    wait_until(lambda: rows(service, "SELECT count(*) FROM sessions WHERE topic = ?", topic)[0][0] == 1, "it is there")
    if how == "half-close":
        stream.socket.shutdown(socket.SHUT_WR)
    else:
        if how == "reset":
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()
    wait_until(lambda: rows(service, "SELECT count(*) FROM sessions WHERE topic = ?", topic)[0][0] == 0, "it has gone")
    stream.close()


FILL = 20000


def test_slow_readers_lose_the_oldest_or_are_ended_to_resume(make_service, certificates):
    """Over a UNIX socket, whose kernel buffer is small and does not grow."""
    server = Nginx(make_service(unix=True, outbox_max_frames=10).start(), certificates)
    service = server.service
    server.api.register("t")
    plain, resumes = streaming(service), streaming(service, last_event_id=None)
    with authenticated(service, "t") as neighbour:
        for n in range(80):
            server.api.publish("t", f"{n}:".ljust(FILL, "x"))
            assert json.loads(neighbour.read_message())["payload"].startswith(f"{n}:")

    def number(text):
        return int(json.loads(text)["payload"].split(":")[0])

    wait_until_counted(service, "closes", "slow", 1)
    got = []
    while not got or got[-1] != 79:
        got.append(number(plain.read_message()))
    head = got[:-10]
    assert got[-10:] == list(range(70, 80)) and head == list(range(len(head))) and 0 < len(head) < 40
    wait_until_counted(service, "drops", "outbox_full", 80 - len(got))
    got = []
    with pytest.raises(StreamEnded):
        while True:
            got.append(number(resumes.read_message()))
    assert got == list(range(len(got))) and got
    with streaming(service, last_event_id=int(resumes.last_id)) as again:
        assert json.loads(again.answer)["recovered"] is True
        assert [number(again.read_message()) for _ in range(80 - len(got))] == list(range(len(got), 80))
    plain.close()


# Restarts


class Resuming:
    """A page that resumes: it comes back whenever its stream has ended, with the last id."""

    def __init__(self, server):
        self.address, self.got, self.last, self.times = ("127.0.0.1", server.plain_port), [], None, 0
        self.stream = None

    def connect(self):
        def begun():
            try:
                self.stream = started(self.address, prefix="/worker", last_event_id=self.last)
            except (AssertionError, OSError, StreamEnded, TimeoutError):
                return False
            return True

        wait_until(begun, "the stream begins again", interval_s=0.1)
        self.times += 1
        answer = json.loads(self.stream.answer)
        assert answer["recovered"] is True
        self.last = answer["last_event_id"] if self.last is None else self.last

    def read_until(self, last):
        while not self.got or self.got[-1] < last:
            if not self.stream:
                self.connect()
            try:
                event = self.stream.read_event()
            except (StreamEnded, OSError):
                self.stream.close()
                self.stream = None
                continue
            message = json.loads(event.data)
            assert int(event.id) == message["id"] > self.last
            self.last = message["id"]
            self.got.append(message["payload"])


def hand_over(service):
    """A successor takes over; returns when the old gateway has gone."""
    old = service.gateway
    old.send(signal.SIGUSR2)
    pids = "SELECT pid FROM gateways WHERE pid <> ?"
    service.gateway = Process("successor", wait_until(lambda: rows(service, pids, old.pid), "a successor serves")[0][0])
    assert old.wait() == 0


@pytest.mark.parametrize("kind", [Nginx, Apache])
def test_20_publishes_across_kills_a_handover_and_a_proxy_restart_come_once_and_in_order(make_service, certificates, kind):
    service = make_service()
    service.start_gateway()
    if kind is Nginx:
        service.start_api()
    server = kind(service, certificates)
    assert server.api.register("t").status == 200
    page = Resuming(server)
    page.connect()

    def publish(first, count=4):
        for n in range(first, first + count):
            assert server.api.publish("t", n).status == 200

    publish(0)
    page.read_until(1)
    service.gateway.kill()
    publish(4)
    service.start_gateway("gateway 2")
    page.read_until(7)
    hand_over(service)
    publish(8)
    page.read_until(11)
    publish(12, 2)
    server.reload()  # which nobody notices
    publish(14, 1)
    page.read_until(14)
    if kind is Nginx:  # Apache would wait for its threads, 10 s
        server.restart()
    publish(15, 1)
    page.read_until(15)
    service.restart_gateway()
    publish(16)
    page.read_until(19)
    assert page.got == list(range(20)) and page.times == (5 if kind is Nginx else 4)
    server.api.unregister("t")
    assert page.stream.read_message() == TOPIC_UNREGISTERED and page.stream.is_over()


def test_streams_of_two_processes_get_the_same(make_server):
    server = make_server(gateway_processes=2)
    service = server.service
    streams = [streaming(service, last_event_id=None) for _ in range(12)]
    gateways = wait_until(
        lambda: len(rows(service, "SELECT * FROM sessions WHERE transport = 1")) == 12
        and rows(service, "SELECT DISTINCT gateway FROM sessions"), "all are in the table",
    )
    assert len(gateways) == 2
    for n in range(5):
        server.api.publish("t", n)
    for stream in streams:
        assert [stream.read_json()["payload"] for _ in range(5)] == list(range(5))
    os.kill(gateways[0][0], signal.SIGKILL)
    ended = []
    server.api.publish("t", 5)
    for stream in streams:
        try:
            assert stream.read_json()["payload"] == 5
        except StreamEnded:
            ended.append(stream)
    assert 0 < len(ended) < 12
    for stream in ended:
        with streaming(service, last_event_id=int(stream.last_id)) as again:
            assert again.read_json()["payload"] == 5
    for stream in streams:
        stream.close()
