"""What a web server hands over by FastCGI, straight at the API's socket: paths as each of them mounts a program,
lengths that are untrue, requests that stop half-way, and what is not FastCGI at all."""

import contextlib
import http.client
import os
import select
import socket
import time

import pytest

from harness import sqlite
from harness.api import ABORT_REQUEST, PARAMS, STDIN, FastCgi, is_error, pairs, record, stream
from harness.process import LIMIT_S, give_to_user, wait_until

MIB = 1048576
BEGINNING = record(1, b"\0\1\0\0\0\0\0\0")


def fastcgi(worker):
    return FastCgi(worker.service.api_socket, worker.service.secret)


def is_registered(service, topic):
    return sqlite.ask(service.database, f"SELECT 1 FROM topics WHERE topic = '{topic}'") != []


@pytest.mark.parametrize("script_name, path_info, uri, status", [
    ("/internal/publish", "", "/internal/publish", 200),  # nginx
    ("/internal", "/publish", "/internal/publish", 200),  # ScriptAlias
    ("/w.fcgi", "/internal/publish", "/w.fcgi/internal/publish", 200),
    ("/w.fcgi", "/internal/publish", None, 200),
    ("/w.fcgi", "", "/worker/internal/publish?x=1", 200),  # a rewrite
    ("/a/b/c/internal/publish", None, None, 200),
    ("//internal/publish", "", "//internal/publish", 200),
    ("", "", "https://host/internal/publish#x", 200),
    (None, None, None, 404),
    ("/publish", "", "/publish", 404),
    ("/xinternal/publish", "", "/xinternal/publish", 404),
    ("/w.fcgi", "", "/x?y=/internal/publish", 404),
    ("/w.fcgi", "", "/x#/internal/publish", 404),
])  # fmt: skip
def test_known_verb_is_found_however_the_program_is_mounted(worker, script_name, path_info, uri, status):
    worker.api.register("mounts")
    reply = fastcgi(worker).call(
        body=b'{"topic":"mounts","payload":1}', SCRIPT_NAME=script_name, PATH_INFO=path_info, REQUEST_URI=uri
    )
    assert reply.status == status


@pytest.mark.parametrize("method", ["post", "POST ", "", "X" * 300, None])
def test_method_is_compared_exactly(worker, method):
    assert is_error(fastcgi(worker).call(REQUEST_METHOD=method), 405, "method not allowed")


@pytest.mark.parametrize("path, status, length", [("/readyz", 200, 3), ("/internal/status", 405, 19), ("/x", 404, 10)])
def test_head_is_answered_without_a_body(worker, path, status, length):
    """Web servers drop the body of an answer to HEAD; not all that speak FastCGI do."""
    reply = fastcgi(worker).call(REQUEST_METHOD="HEAD", SCRIPT_NAME=path, REQUEST_URI=path, HTTP_X_WORKER_SECRET=None)
    assert (reply.status, reply.headers["Content-Length"], reply.body) == (status, str(length), b"")


@pytest.mark.parametrize("size", [MIB + 1, 2 * MIB, 5 * MIB])
@pytest.mark.parametrize("length", ["real", None, 10, "18446744073709551617"])
def test_body_too_large_is_413_whatever_length_is_announced(worker, size, length):
    assert is_error(fastcgi(worker).call(body=b" " * size, length=length), 413, "body too large")


def test_body_announced_too_large_is_413_even_when_less_comes(worker):
    assert is_error(fastcgi(worker).call(body=b"{}", length=MIB + 1), 413, "body too large")


def test_body_shorter_than_announced_is_400_and_nothing_is_done(worker):
    body = b'{"topic":"cut short"}'
    reply = fastcgi(worker).call("register", body, length=len(body) + 1)
    assert is_error(reply, 400, "bad request: body is shorter than announced")
    assert not is_registered(worker.service, "cut short")


@pytest.mark.parametrize("end", ["close", "abort", "shutdown"])
def test_body_that_stops_half_way_does_nothing_and_the_next_request_is_served(worker, end):
    body = b'{"topic":"half way"}'
    for length in (None, len(body)):
        with fastcgi(worker) as connection:
            connection.begin("register", length)
            connection.send_body(body)
            if end == "abort":
                connection.send(record(ABORT_REQUEST))
            elif end == "shutdown":
                connection.socket.shutdown(1)  # SHUT_WR
            if end != "close":
                connection.is_closed()  # or answered: no matter
    for _ in worker.service.api:
        assert fastcgi(worker).call("register", b'{"topic":"other"}').status == 200
    assert not is_registered(worker.service, "half way")


@pytest.mark.parametrize("garbage", [
    b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 5000, record(1, b"\0" * 8),
    record(1, b"\0\1\0\0\0\0\0\0", version=9),
    record(1, b"\0\1\0\0\0\0\0\0") + record(4, b"\x7f\x7fx"), record(9, b"\x0eFCGI_MPXS_CONNS"),
    record(1, b"\0\1\0\0\0\0\0\0") + record(9, b"\xff" * 8, request_id=0),
    record(1, b"\0\1\0\0\0\0\0\0", request_id=0) + record(4, b"\xff" * 8, request_id=0),
    record(1, b"\0\1\0\0\0\0\0\0") + record(4, b"\1\1xy", request_id=2),
], ids=range(11))  # fmt: skip
def test_connection_that_is_not_fastcgi_is_dropped_and_the_next_one_served(worker, garbage):
    with fastcgi(worker) as connection:
        connection.send(garbage)
        connection.socket.shutdown(1)
        while connection.socket.recv(4096):
            pass
    for _ in worker.service.api:
        assert fastcgi(worker).call("register", b'{"topic":"other"}').status == 200
    assert all(process.runs() for process in worker.service.api)


UNTRUE_PARAMETERS = {
    "a value longer than the stream": b"\x0e\x7fREQUEST_METHODPOST",
    "a name longer than the stream": b"\x7f\x04REQUEST_METHODPOST",
    "lengths of 2 GiB": b"\xff\xff\xff\xff\xff\xff\xff\xff" + b"x" * 100,
    "lengths whose sum is 2 GiB": b"\xc0\x00\x00\x00\xc0\x00\x00\x00" + b"x" * 100,
    "lengths whose sum is 4 GiB": b"\xff\xff\xff\xff\xff\xff\xff\xff" * 2,
    "half a length": b"\x0e\x04REQUEST_METHODPOST\xff\xff",
    "no second length": b"\x0e\x04REQUEST_METHODPOST\x01",
    "2 MiB": b"\x01\x80\x20\x00\x00x" + b"x" * 2 * MIB,
}  # fmt: skip


@pytest.mark.parametrize("parameters", UNTRUE_PARAMETERS.values(), ids=UNTRUE_PARAMETERS.keys())
def test_parameters_that_cannot_be_are_dropped_and_the_process_lives(worker, parameters):
    for _ in worker.service.api:
        with fastcgi(worker) as connection:
            with contextlib.suppress(BrokenPipeError):
                connection.send(BEGINNING + stream(PARAMS, parameters) + record(PARAMS) + record(STDIN))
            assert connection.is_closed()
    for _ in worker.service.api:
        assert fastcgi(worker).call("register", b'{"topic":"other"}').status == 200
    assert all(process.runs() for process in worker.service.api)


def test_parameters_may_be_long_and_come_in_any_pieces(worker):
    assert fastcgi(worker).call("register", b'{"topic":"long"}', HTTP_COOKIE="x" * 60_000).status == 200
    usual = pairs({"REQUEST_METHOD": "POST", "SCRIPT_NAME": "/internal/register", "HTTP_COOKIE": "x" * 200,
                   "HTTP_X_WORKER_SECRET": worker.service.secret})  # fmt: skip
    with fastcgi(worker) as connection:
        connection.send(BEGINNING)
        records = [record(PARAMS, bytes([byte])) for byte in usual]
        for start in range(0, len(records), 16):
            connection.send(b"".join(records[start : start + 16]))
        connection.send(record(PARAMS))
        for byte in b'{"topic":"in pieces"}':
            connection.send(record(STDIN, bytes([byte])))
        connection.end_body()
        assert connection.reply().status == 200
    assert is_registered(worker.service, "in pieces")


def test_records_that_do_not_belong_to_the_request_are_passed_over(worker):
    strange = record(PARAMS, b"\1\1xy", request_id=2) + record(STDIN, b"x", request_id=2)
    with fastcgi(worker) as connection:
        connection.begin("register")
        connection.send(strange)
        connection.send_body(b'{"topic":"among others"}')
        connection.send(strange)
        connection.end_body()
        assert connection.reply().status == 200
    assert is_registered(worker.service, "among others")


def test_a_request_that_drips_for_ever_does_not_hold_its_process(worker):
    """A byte now and then is no progress. Both halves of a request at once, one in each process."""
    with fastcgi(worker) as parameters, fastcgi(worker) as body:
        parameters.send(BEGINNING + record(PARAMS, b"x" * 60000)[:100])
        body.begin("register", 60000)
        body.send(record(STDIN, b"x" * 60000)[:100])
        dripping, end = {parameters.socket, body.socket}, time.monotonic() + 2 * LIMIT_S
        while dripping:
            assert time.monotonic() < end, "still waited for"
            for connection in dripping:
                with contextlib.suppress(BrokenPipeError):
                    connection.send(b"x")
            dripping -= set(select.select(dripping, [], [], 0.1)[0])
        assert parameters.is_closed()
        assert is_error(body.reply(), 400, "bad request: body is shorter than announced")
    assert fastcgi(worker).call("register", b'{"topic":"other"}').status == 200


def test_body_without_an_announced_length_ends_with_the_stream(worker):
    for length in (None, "", "-1", "x", "1x"):
        reply = fastcgi(worker).call("register", b'{"topic":"no length"}', length=length)
        assert reply.status == 200, length


def test_body_longer_than_announced_is_taken_whole(worker):
    """Apache's mod_deflate unpacks a body but leaves the length of the packed one."""
    body = b'{"topic":"unpacked"}'
    assert fastcgi(worker).call("register", body, length=len(body) - 10).status == 200
    assert is_registered(worker.service, "unpacked")


def test_requests_on_one_kept_connection_are_all_answered(worker):
    connection = http.client.HTTPConnection("127.0.0.1", worker.plain_port, timeout=20)
    headers = {"X-Worker-Secret": worker.service.secret}
    for number in range(30):
        connection.request("POST", "/internal/register", f'{{"topic":"kept {number}"}}', headers)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"")
    connection.close()


def test_the_api_leaves_no_descriptor_behind(worker):
    def descriptors():
        return [len(os.listdir(f"/proc/{process.pid}/fd")) for process in worker.service.api]

    for _ in range(10):
        worker.api.publish("nobody", 1)
    before = descriptors()
    for _ in range(50):
        worker.api.publish("nobody", 1)
        fastcgi(worker).close()
    wait_until(lambda: descriptors() == before, "as many descriptors as before")


def test_a_whole_answer_is_read_before_housekeeping_and_before_a_gateway_is_started(make_service):
    """More than a socket holds: until it is read the process stands in the middle of its answer."""
    service = make_service()
    service.start_api(1)

    def call(*arguments, **parameters):
        return FastCgi(service.api_socket, service.secret).call(*arguments, **parameters)

    poll = dict(SCRIPT_NAME="/poll", REQUEST_URI="/poll", QUERY_STRING="topic=t", HTTP_X_WORKER_SECRET=None)
    for topic in ("t", "old"):
        assert call("register", f'{{"topic":"{topic}"}}'.encode()).status == 200
    position = call(body=b'{"type":"auth","last_event_id":null}', **poll).json["last_event_id"]
    assert call(body=b'{"topic":"t","payload":"%b"}' % (b"x" * (MIB - 100))).status == 200
    assert service.stop_api() == []
    sqlite.change(service.database, "UPDATE topics SET expires_ms = 1 WHERE topic = 'old'")
    service.write_config(gateway_autostart=True)
    service.gateway_program.unlink()  # what comes of it is in gateway.start
    service.start_api(1)

    def done():
        return not is_registered(service, "old"), (service.state_dir / "gateway.start").exists()

    with FastCgi(service.api_socket, service.secret) as client:
        body = b'{"type":"auth","last_event_id":%d}' % position
        client.begin(length=len(body), **poll)
        client.send_body(body)
        client.end_body()
        assert client.socket.recv(1, socket.MSG_PEEK) and done() == (False, False)
        assert len(client.reply().body) > MIB - 100
    wait_until(lambda: done() == (True, True), "both come afterwards")


@contextlib.contextmanager
def in_the_way_of(pid):
    """Puts both processes on one core, where the first goes first whenever it has something to do."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    os.sched_setaffinity(pid, {min(cores)})
    os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@pytest.mark.alone  # beside other tests the API would get no processor
def test_an_answer_is_complete_and_its_end_seen_before_the_gateway_is_tapped(make_service):
    """nginx sends an answer on when it sees the end, and the gateway may take the processor for a whole fan-out."""
    service = make_service()
    with service.listen_api() as listener, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gateway:
        service.api = [service.spawn_api(listener)]
        assert FastCgi(service.api_socket, service.secret).call("register", b'{"topic":"t"}').status == 200
        gateway.bind(str(service.state_dir / "wakeup.sock"))
        give_to_user(service.state_dir / "wakeup.sock", 0o600)
        gateway.settimeout(LIMIT_S)
        body = b'{"topic":"t","payload":1}'
        with in_the_way_of(service.api[0].pid), FastCgi(service.api_socket, service.secret) as client:
            client.begin("publish", len(body))
            client.send_body(body)
            client.end_body()
            assert gateway.recv(1) == b"!"
            client.socket.setblocking(False)
            assert client.reply().status == 200
            assert client.socket.recv(1) == b""
