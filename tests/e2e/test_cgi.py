"""The API started by CGI: one request, one process. Straight, with an environment and a standard input as good and bad web
servers make them; test_web_servers.py has Apache's mod_cgid."""

import contextlib
import fcntl
import http.client
import os
import select
import socket
import subprocess
import time

import pytest

from harness import sqlite
from harness.api import Reply, is_error
from harness.process import GID, LIMIT_S, UID, environment, give_to_user, wait_until
from harness.web_servers import Apache, SharedHosting

MIB = 1048576
PEER_LIMIT_S = 10  # LISTENER_PEER_TIMEOUT_S
PUBLISH = b'{"topic":"t","payload":1}'


class Cgi:
    """A process of one request, started. `length` is CONTENT_LENGTH; None: none."""

    def __init__(self, service, verb="publish", length=None, arguments=(), stdout=subprocess.PIPE, **variables):
        usual = {
            "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "POST", "SCRIPT_NAME": f"/worker.cgi/internal/{verb}",
            "CONTENT_LENGTH": length, "HTTP_X_WORKER_SECRET": service.secret,
            "WAVELOG_WORKER_CONFIG": service.config_file,
        }  # fmt: skip
        given = {name: str(value) for name, value in {**usual, **variables}.items() if value is not None}
        options = dict(user=UID, group=GID, extra_groups=[]) if os.geteuid() == 0 else {}
        self.process = subprocess.Popen(
            [service.api_program, *arguments], stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE, cwd="/",
            env=environment(given), **options,
        )  # fmt: skip

    def send(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()
        return self

    def reply(self, code=0):
        """The answer. The input stays open, unless it was closed."""
        out, self.log = self.process.stdout.read(), self.process.stderr.read().decode()
        assert self.process.wait(LIMIT_S) == code, self.log
        head, _, body = out.partition(b"\r\n\r\n")
        headers = http.client.HTTPMessage()
        for line in head.decode().split("\r\n"):
            headers[line.split(": ", 1)[0]] = line.split(": ", 1)[1]
        return Reply(int(headers["Status"].split()[0]), headers, body)


def call(service, body=b"", verb="publish", length="real", code=0, **options):
    """With an input that ends after the body."""
    cgi = Cgi(service, verb, len(body) if length == "real" else length, **options)
    try:
        cgi.send(body).process.stdin.close()
    except BrokenPipeError:
        pass
    return cgi.reply(code)


@pytest.fixture(scope="module")
def cgi(worker):
    """The Service; and a request of which half has come, for the last test."""
    worker.api.register("t")
    worker.service.stalled = Cgi(worker.service, length=100).send(PUBLISH)
    worker.service.stalled_since = time.monotonic()
    return worker.service


def count(service, where):
    return sqlite.ask(service.database, f"SELECT count(*) AS n FROM {where}")[0]["n"]


def test_one_call_is_answered_pushed_and_counted_and_the_process_ends(cgi, worker):
    with worker.subscribe("t") as browser:
        browser.authenticate()
        before = count(cgi, "events")
        request = Cgi(cgi, length=len(PUBLISH)).send(PUBLISH)  # whose input stays open
        reply = request.reply()
        assert (reply.status, list(reply.json), request.log) == (200, ["id"], "")
        assert int(reply.headers["Content-Length"]) == len(reply.body)
        assert browser.receive() == '{"type":"push","payload":1}'
    assert count(cgi, "events") == before + 1
    assert call(cgi, b'{"topic":"by cgi"}', "register").status == 200
    assert count(cgi, "topics WHERE topic = 'by cgi'") == 1
    reply = Cgi(cgi, "status", REQUEST_METHOD="GET", QUERY_STRING="topics=1").reply()  # no length, and no end of the input
    assert reply.status == 200 and "by cgi" in reply.json["topic_list"]
    ready = dict(HTTP_X_WORKER_SECRET=None, SCRIPT_NAME="/worker/readyz")
    assert Cgi(cgi, REQUEST_METHOD="GET", **ready).reply().body == b"ok\n"
    assert Cgi(cgi, REQUEST_METHOD="HEAD", **ready).reply().body == b""


def body_of(size):
    head, tail = b'{"topic":"t","payload":"', b'"}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


@pytest.mark.parametrize("size, length, status, text", [
    (25, None, 200, None),  # a chunked body: it ends where the input does
    (25, "abc", 200, None), (25, "-1", 200, None), (25, "", 200, None), (25, "25 ", 200, None),
    (25, "26", 400, "bad request: body is shorter than announced"),
    (25, "24", 400, None),  # what is beyond it is not ours
    (25, "0", 400, None), (0, None, 400, None),
    (MIB, "real", 200, None), (MIB, None, 200, None),
    (MIB + 1, "real", 413, "body too large"), (MIB + 1, None, 413, "body too large"),
    (5 * MIB, "real", 413, "body too large"), (5 * MIB, None, 413, "body too large"),
    (25, MIB + 1, 413, "body too large"), (25, "18446744073709551617", 413, "body too large"),
])  # fmt: skip
def test_a_length_is_honest_wrong_or_missing(cgi, size, length, status, text):
    before = count(cgi, "events")
    reply = call(cgi, body_of(size) if size > 25 else PUBLISH[:size], length=length)
    assert reply.status == status and (text is None or is_error(reply, status, text)), reply.body
    assert count(cgi, "events") == before + (status == 200)


def test_a_body_may_come_in_pieces_and_its_bytes_are_kept(cgi):
    payload = '[1.10,"\\u2028","é"]'
    body = f'{{"topic":"t","payload":{payload}}}'.encode()
    request = Cgi(cgi, length=len(body))
    for at in range(0, len(body), 7):
        request.send(body[at : at + 7])
        time.sleep(0.005)
    assert request.reply().status == 200
    assert sqlite.ask(cgi.database, "SELECT payload FROM events ORDER BY id DESC LIMIT 1") == [{"payload": payload}]


@pytest.mark.parametrize("query", ["-c/etc/passwd", "--version", "--check-config", "-c", "x+y"])
def test_a_query_that_comes_as_a_command_line_is_none(cgi, query):
    """RFC 3875, 4.4: Apache makes arguments of a query without '='."""
    arguments = query.split("+")
    assert call(cgi, PUBLISH, arguments=arguments, QUERY_STRING=query).status == 200


def test_an_environment_may_be_hostile(cgi):
    long = "x" * 120000
    for name in ("PATH_INFO", "SCRIPT_NAME", "REQUEST_URI", "REQUEST_METHOD", "HTTP_X_WORKER_SECRET", "HTTP_AUTHORIZATION"):
        status = {"PATH_INFO": 404, "SCRIPT_NAME": 404, "REQUEST_METHOD": 405}.get(name, 403)
        assert call(cgi, PUBLISH, **{name: long}).status == (200 if name in ("REQUEST_URI", "HTTP_AUTHORIZATION") else status)
    assert call(cgi, PUBLISH, HTTP_WORKER_SECRET="y", HTTP_PROXY="z", QUERY_STRING=long, HTTP_COOKIE=long).status == 200
    assert call(cgi, PUBLISH, HTTP_X_WORKER_SECRET="").status == 403
    bearer = f"Bearer {cgi.secret}"
    assert call(cgi, PUBLISH, HTTP_X_WORKER_SECRET=None, HTTP_AUTHORIZATION=bearer).status == 200


def test_it_is_cgi_only_with_both_variables_and_without_a_listening_socket(cgi):
    for absent in ("GATEWAY_INTERFACE", "REQUEST_METHOD"):
        process = Cgi(cgi, **{absent: None}).process
        assert process.wait(LIMIT_S) == 64 and process.stdout.read() == b""
    assert Cgi(cgi, GATEWAY_INTERFACE="").process.wait(LIMIT_S) == 64


def test_what_keeps_it_from_starting_is_a_503_that_tells_no_more(cgi, make_service):
    def is_refused(reply):
        return is_error(reply, 503, "unavailable: the API cannot start, its log says why") and reply.headers["Retry-After"]

    assert is_refused(call(cgi, PUBLISH, code=78, WAVELOG_WORKER_CONFIG="/nowhere/config.yaml"))
    locked = make_service()
    assert call(locked, b'{"topic":"t"}', "register").status == 200
    with open(locked.state_dir / "write.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        start = time.monotonic()
        assert is_refused(call(locked, PUBLISH, code=1))
        assert time.monotonic() - start < LIMIT_S
        # What needs no database is said without it, in the contract's order; a page of another origin may read the rest.
        assert is_error(call(locked, PUBLISH, HTTP_X_WORKER_SECRET="wrong"), 403, "forbidden")
        assert is_error(call(locked, b"{", "register"), 400, "bad request: unexpected end at byte 1")
        assert call(locked, PUBLISH, REQUEST_METHOD="GET").headers["Allow"] == "POST"
        poll = call(locked, b"{}", code=1, SCRIPT_NAME="/worker.cgi/poll", QUERY_STRING="topic=t", HTTP_ORIGIN="https://a.example")
        assert is_refused(poll) and poll.headers["Access-Control-Allow-Origin"] == "*"
    locked.state_dir.chmod(0)
    if os.geteuid() == 0:
        assert is_refused(call(locked, PUBLISH, code=1))
    locked.state_dir.chmod(0o700)


def test_a_web_server_that_goes_away_is_no_error(cgi):
    before = count(cgi, "events")
    for _ in range(3):
        request = Cgi(cgi, length=len(PUBLISH))
        request.process.stdout.close()
        request.send(PUBLISH).process.stdin.close()
        assert request.process.wait(LIMIT_S) == 0 and request.process.stderr.read() == b""
    assert count(cgi, "events") == before + 3


def test_where_input_and_output_are_one_socket(cgi):
    ours, theirs = socket.socketpair()
    request = Cgi(cgi, length=len(PUBLISH), stdout=theirs)
    request.process.stdin.close()
    theirs.close()
    assert b"Status: 400" in ours.recv(65536)
    assert request.process.wait(LIMIT_S) == 0


def test_the_log_of_the_database_stays_short_when_all_calls_are_cgi(make_service):
    alone = make_service()
    assert call(alone, b'{"topic":"t"}', "register").status == 200
    for _ in range(40):
        assert call(alone, body_of(150000)).status == 200
    assert (alone.state_dir / "worker.db-wal").stat().st_size < 3 * MIB
    assert sqlite.ask(alone.database, "SELECT value FROM counters WHERE name = 'publishes'") == [{"value": 40}]
    before = (alone.state_dir / "worker.db-wal").read_bytes()
    assert call(alone, PUBLISH, HTTP_X_WORKER_SECRET="wrong").status == 403
    assert call(alone, b"{", "register").status == 400
    assert (alone.state_dir / "worker.db-wal").read_bytes() == before  # a refused call writes nothing


def test_neither_housekeeping_nor_the_start_of_a_gateway_is_on_the_callers_time(make_service):
    """A pipe in the place of gateway.start holds up the process that wants to start one, and what comes after that."""
    service = make_service()
    for topic in ("t", "old"):
        assert call(service, f'{{"topic":"{topic}"}}'.encode(), "register").status == 200
    sqlite.change(service.database, "UPDATE topics SET expires_ms = 1 WHERE topic = 'old'")
    service.write_config(gateway_autostart=True)
    start, body = service.state_dir / "gateway.start", body_of(MIB)  # which makes the log long enough to be looked after
    os.mkfifo(start)
    give_to_user(start, 0o600)

    def go_on():
        with contextlib.suppress(OSError), open(start, "w", opener=lambda path, _: os.open(path, os.O_WRONLY | os.O_NONBLOCK)) as pipe:
            return pipe.write("0 ")  # one was started a moment ago

    request = Cgi(service, length=MIB)
    try:
        request.send(body).process.stdin.close()
        assert select.select([request.process.stdout], [], [], LIMIT_S)[0], "the answer waits for the start of a gateway"
        assert request.process.stdout.read().startswith(b"Status: 200 ")
        assert request.process.poll() is None and count(service, "topics WHERE topic = 'old'") == 1
        wait_until(go_on, "a gateway is about to be started")
        assert request.process.wait(LIMIT_S) == 0 and count(service, "topics WHERE topic = 'old'") == 0
    finally:
        request.process.kill()


def test_apache_starts_it_by_mod_cgi_too(make_service, certificates):
    class Cgi(SharedHosting):
        modules = [{"fcgid": "cgi"}.get(name, name) for name in Apache.modules]

    service = make_service()
    service.start_gateway()
    server = Cgi(service, certificates)
    assert server.api.register("t").status == 200
    assert server.api.publish("t", 1).status == 200
    assert server.api.call("publish?--version", {"topic": "t", "payload": 1}).status == 200
    assert server.api.call("publish", raw=body_of(5 * MIB)).status == 413
    assert server.api.call("publish", raw=PUBLISH, chunked=True).status == 200
    assert count(service, "events WHERE kind = 0") == 3


def test_half_a_request_is_given_up_on_after_a_while(cgi):
    reply = cgi.stalled.reply()
    assert is_error(reply, 400, "bad request: body is shorter than announced")
    assert PEER_LIMIT_S - 1 < time.monotonic() - cgi.stalled_since
