"""The UNIX socket on which the gateway listens, when somebody takes it away: within a second or so newcomers get in
again, with one process and with several, and into a successor. Who is there already notices nothing."""

import shutil
import signal
import socket
import time

import pytest

from harness.process import Process, give_to_user, log_tail, wait_until
from harness.web_servers import Nginx
from harness.websocket import WebSocket, authenticated, push_of
from test_processes_files import gateways, parent_of, wait_for_others

NOTICED_S = 1.5  # a second, and what a busy machine adds


def by_a_dead_socket(path):
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
    give_to_user(path, 0o600)


def by_a_file(path):
    other = path.with_name("other")
    other.write_text("not a socket")
    give_to_user(other, 0o600)
    other.rename(path)


ACTIONS = {
    "removed": lambda path: path.unlink(),
    "renamed": lambda path: path.rename(path.with_name("old")),
    "replaced by a dead socket": by_a_dead_socket,
    "replaced by a file": by_a_file,
    "chmod 000": lambda path: path.chmod(0),
    "directory removed": lambda path: shutil.rmtree(path.parent),
    "directory renamed": lambda path: path.parent.rename(path.parent.with_name("was")),
    "directory chmod 000": lambda path: path.parent.chmod(0),
}


@pytest.fixture(params=[1, 3], ids=["one process", "three processes"])
def server(request, make_service, certificates):
    service = make_service(unix=True, drain="100ms", gateway_processes=request.param)
    directory = service.dir / "run"
    directory.mkdir()
    give_to_user(directory, 0o755)
    service.ws_socket = directory / "gateway.sock"
    service.ws_address = str(service.ws_socket)
    service.write_config(ws_bind=f"unix:{service.ws_socket}")
    server = Nginx(service.start(), certificates)
    server.processes = request.param
    server.api.register("t")
    wait_for_others(service, request.param, set())
    return server


def gets_in(server):
    """As www-data, through nginx."""
    with WebSocket(("127.0.0.1", server.plain_port)) as client:
        return client.handshake(f"{server.ws_path}?topic=t")[0] == 101


def log_lines(service):
    return [line for line in (service.log_dir / "gateway.log").read_text().splitlines() if 'file="' in line]


@pytest.mark.parametrize("action", ACTIONS)
def test_newcomers_get_in_again(server, action):
    service, pids = server.service, gateways(server.service)
    with authenticated(service, "t") as before:
        start = time.monotonic()
        ACTIONS[action](service.ws_socket)
        wait_until(lambda: not gets_in(server), "it is gone", limit_s=1.0, interval_s=0)
        wait_until(lambda: gets_in(server), f"newcomers get in\n{log_tail(service.log_dir)}")
        assert time.monotonic() - start < NOTICED_S
        newcomers = [authenticated(service, "t") for _ in range(20)]
        server.api.publish("t", 1)
        for client in [before, *newcomers]:
            assert client.read_message() == push_of("1")
            client.close()
    assert gateways(service) == pids
    lines = log_lines(service)
    assert any('ws_bind"' in line and ("deleted or replaced" in line or "gave it back" in line) for line in lines), lines
    assert service.ws_socket.stat().st_mode & 0o777 == 0o660


@pytest.mark.parametrize("action", ACTIONS)
def test_a_successor_started_meanwhile_is_found(server, action):
    service, old = server.service, gateways(server.service)
    ACTIONS[action](service.ws_socket)
    service.gateway.send(signal.SIGUSR2)
    new = wait_for_others(service, server.processes, old)
    assert service.gateway.wait() == 0
    pid = new.copy().pop()
    service.gateway = Process("successor", pid if server.processes == 1 else parent_of(pid))
    wait_until(lambda: gets_in(server), f"newcomers get in\n{log_tail(service.log_dir)}", NOTICED_S)
    with authenticated(service, "t") as client:
        server.api.publish("t", 1)
        assert client.read_message() == push_of("1")
