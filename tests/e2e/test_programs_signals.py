"""Signals to both programs: which of them end it, in order and with 0, whatever it is doing, and which do no harm."""

import os
import signal

import pytest

from harness import fastcgi, sqlite
from harness.fastcgi import FastCgi
from harness.nginx import Nginx
from harness.process import Process
from harness.programs import programs
from harness.raw_websocket import RawWebSocket
from harness.waiting import wait_until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_programs_end_with_0_and_leave_a_clean_house(make_service, certificates, number):
    service = make_service(unix=True)
    server = Nginx(service.start(), certificates)
    server.api.register("t")
    with server.subscribe("t") as browser:
        browser.authenticate()
        assert [process.stop(number) for process in [*service.api, service.gateway]] == [None] * 3
        assert browser.close_code() == 1001
    for table in ("sessions", "gateways"):
        assert sqlite.ask(service.database, f"SELECT * FROM {table}") == []
    assert sqlite.value(service.database, "PRAGMA integrity_check") == "ok"
    for log in ("api.log", "gateway.log"):
        assert "ended" in (service.log_dir / log).read_text()
    service.api = []


@pytest.fixture
def lone_api(make_service):
    """A service with one API process, straight at its socket."""
    service = make_service()
    with fastcgi.listen(service) as listener:
        service.api = [fastcgi.spawn(service, listener)]
    wait_until(lambda: "started" in (service.log_dir / "api.log").read_text(), "the API is up")
    return service


def is_pending(process, number):
    """True when the signal was sent and is held back."""
    with open(f"/proc/{process.pid}/status") as file:
        masks = [int(line.split()[1], 16) for line in file if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_the_api_finishes_the_request_it_is_in(lone_api, number):
    service, (api,) = lone_api, lone_api.api
    assert FastCgi(service.api_socket, service.secret).call("register", b'{"topic":"slow"}').status == 200
    body = b'{"topic":"slow","payload":"' + b"x" * 100_000 + b'"}'
    with FastCgi(service.api_socket, service.secret) as connection:
        connection.begin("publish", len(body))
        connection.send_body(body[:50_000])
        connection.wait_until_read()
        os.kill(api.pid, number)
        assert is_pending(api, number) and api.runs()
        connection.send_body(body[50_000:])
        connection.end_body()
        reply = connection.reply()
    assert reply.status == 200
    assert api.wait() == 0
    payload = sqlite.value(service.database, f"SELECT length(payload) AS n FROM events WHERE id = {reply.json['id']}")
    assert payload == 100_002


@programs
def test_a_signal_during_the_start_ends_it_in_order(make_service, program):
    service = make_service()
    with fastcgi.listen(service) as listener:
        for _ in range(6):
            for path in service.state_dir.iterdir():
                path.unlink()
            if program == "api":
                process = fastcgi.spawn(service, listener)
            else:
                command = [service.gateway_program, "-c", service.config_file]
                process = Process.start("gateway", command, service.log_dir / "gateway.log")
            wait_until(lambda: (service.state_dir / "write.lock").exists(), "it opens the database", interval_s=0)
            assert process.stop() is None


def test_the_api_ends_at_once_when_it_waits_for_requests(lone_api):
    assert lone_api.api[0].stop() is None
    assert "ended" in (lone_api.log_dir / "api.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGPIPE])
def test_signals_of_a_closed_terminal_or_pipe_do_no_harm_to_the_gateway(make_service, number):
    service = make_service()
    service.start_gateway()
    if number == signal.SIGPIPE:
        service.gateway.send(number)
        with RawWebSocket(service.ws_address) as client:
            assert client.handshake("/ws?topic=")[0] == 400
    assert service.gateway.runs()
