"""What both programs find at their start: another gateway, sockets of a dead one or of others, a state_dir that is
missing or cannot be."""

import os
import signal
import socket
import stat
import subprocess

import pytest

from harness import fastcgi, sqlite
from harness.nginx import Nginx
from harness.process import Process, give_to_user
from harness.programs import TEMPORARY, programs
from harness.raw_websocket import RawWebSocket
from harness.waiting import accepts, free_port, wait_until


# One gateway a state_dir


@pytest.mark.parametrize("first", ["runs", "is stopped"])
def test_a_second_gateway_on_a_state_dir_says_so_and_exits_75(make_service, first):
    service = make_service()
    service.start_gateway()
    service.write_config(ws_port=free_port())
    if first == "is stopped":
        service.gateway.send(signal.SIGSTOP)
    try:
        log = service.log_dir / "second.log"
        second = Process.start("second", [service.gateway_program, "-c", service.config_file], log)
        assert second.wait() == TEMPORARY
        assert "another gateway runs" in log.read_text() and str(service.state_dir) in log.read_text()
        assert not accepts(("127.0.0.1", service.config["ws_port"]))
    finally:
        service.gateway.send(signal.SIGCONT)
    assert accepts(service.ws_address)
    assert sqlite.ask(service.database, "SELECT pid FROM gateways") == [{"pid": service.gateway.pid}]


def test_gateways_with_a_state_dir_each_run_side_by_side(make_service):
    one, two = make_service(), make_service()
    one.start_gateway()
    two.start_gateway()
    assert one.gateway.runs() and two.gateway.runs()


# OpenSSL


def test_a_gateway_that_could_check_no_token_says_so_and_ends(make_service):
    """An openssl.cnf that turns the default provider off."""
    service = make_service()
    openssl = service.dir / "openssl.cnf"
    openssl.write_text(
        "openssl_conf = init\n[init]\nproviders = providers\n[providers]\nnull = null\n[null]\nactivate = 1\n"
    )
    openssl.chmod(0o644)
    log = service.log_dir / "gateway.log"
    command = [service.gateway_program, "-c", service.config_file]
    assert Process.start("gateway", command, log, env={"OPENSSL_CONF": str(openssl)}).wait() == 1
    assert 'msg="cannot check tokens" why="OpenSSL gives no HMAC-SHA256"' in log.read_text()
    assert not accepts(service.ws_address)


# Sockets


def test_sockets_of_a_killed_gateway_are_replaced(make_service, certificates):
    service = make_service(unix=True)
    server = Nginx(service.start(), certificates)
    server.api.register("t")
    for _ in range(2):
        service.gateway.kill()
        assert service.ws_socket.is_socket() and (service.state_dir / "wakeup.sock").is_socket()
        assert not accepts(service.ws_address)
        service.start_gateway()
        with server.subscribe("t") as browser:
            assert browser.authenticate() == '{"type":"auth_ok"}'
            for number in range(3):  # each before the gateway's timer: the API found the new wake-up socket
                server.api.publish("t", number)
                assert browser.receive(0.9) == f'{{"type":"push","payload":{number}}}'


@pytest.mark.parametrize(("config", "mode"), [({}, 0o660), ({"ws_socket_mode": "0600"}, 0o600)], ids=["default", "own"])
@pytest.mark.parametrize("processes", [1, 2])
def test_gateway_listens_on_a_unix_socket_of_the_mode_that_is_configured(make_service, config, mode, processes):
    service = make_service(unix=True, gateway_processes=processes, **config)
    service.start_gateway()
    assert stat.S_IMODE(service.ws_socket.stat().st_mode) == mode
    with RawWebSocket(service.ws_address) as client:
        assert client.handshake("/ws?topic=worker.status")[0] == 101
    assert service.gateway.stop() is None
    assert not service.ws_socket.exists() and not (service.state_dir / "wakeup.sock").exists()


def test_gateway_takes_no_socket_from_another_program_and_no_file_from_anybody(make_service):
    service = make_service(unix=True)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(service.ws_socket))
        give_to_user(service.ws_socket, 0o600)
        other.listen()
        start_refused(service, "in use")
        assert accepts(service.ws_address)
    service.ws_socket.unlink()
    service.ws_socket.write_text("somebody's notes")
    start_refused(service, "ocket")
    assert service.ws_socket.read_text() == "somebody's notes"


def start_refused(service, why):
    log = service.log_dir / "refused.log"
    process = Process.start("gateway", [service.gateway_program, "-c", service.config_file], log)
    assert process.wait() == 1
    assert why in log.read_text()
    assert sqlite.ask(service.database, "SELECT * FROM gateways") == []


def test_gateway_says_so_when_its_port_is_taken(make_service):
    service = make_service()
    with socket.socket() as other:
        other.bind(service.ws_address)
        other.listen()
        start_refused(service, str(service.ws_port))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a network of its own")
def test_gateway_listens_on_ipv4_and_ipv6_when_ws_bind_is_empty(make_service):
    service = make_service(ws_bind="")
    alone = ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    command = [*alone, service.gateway_program, "-c", service.config_file]
    service.gateway = Process.start("gateway", command, service.log_dir / "gateway.log", as_user=False)

    def status(host):
        curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{host}:{service.ws_port}/elsewhere"]
        inside = ["nsenter", f"--net=/proc/{service.gateway.pid}/ns/net", *curl]
        return subprocess.run(inside, capture_output=True, text=True).stdout

    wait_until(lambda: status("127.0.0.1") == "404", "it answers on IPv4")
    assert status("[::1]") == "404"


# state_dir


@programs
def test_a_missing_state_dir_is_made(make_service, program):
    service = make_service()
    service.state_dir.rmdir()
    service.dir.chmod(0o777)
    if program == "gateway":
        service.start_gateway()
    else:
        service.start_api(1)
    wait_until(lambda: service.database.exists(), "the database is made")
    assert stat.S_IMODE(service.state_dir.stat().st_mode) == 0o700


@programs
@pytest.mark.parametrize("obstacle", ["a file", "no parent", "not ours"])
def test_a_state_dir_that_cannot_be_is_said_and_the_program_ends(make_service, program, obstacle):
    service = make_service()
    if obstacle == "a file":
        path = service.config_file
    elif obstacle == "no parent":
        path = service.dir / "no/such"
    else:
        path = service.dir / "root's"
        path.mkdir(mode=0o500)
    service.write_config(state_dir=str(path))
    log = service.log_dir / "refused.log"
    if program == "gateway":
        process = Process.start("gateway", [service.gateway_program, "-c", service.config_file], log)
    else:
        with fastcgi.listen(service) as listener:
            process = fastcgi.spawn(service, listener)
        log = service.log_dir / "api.log"
    assert process.wait() == 1
    assert "state_dir" in log.read_text() and str(path) in log.read_text()
