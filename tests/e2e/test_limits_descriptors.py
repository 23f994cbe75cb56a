"""The limit of descriptors: as many clients as it reaches are served. When the gateway runs out of them, others wait
without harm to anyone until there are some again."""

import os
import socket
import subprocess
import time

import pytest

from harness import logs
from harness.direct import AUTH_OK, auth_frame, authenticated, path_of
from harness.limits import assert_refused, assert_served, sessions
from harness.limits import make_server  # a fixture
from harness.nginx import Nginx
from harness.process import GID, UID, Process
from harness.raw_websocket import RawWebSocket
from harness.waiting import accepts, wait_until


# As many as there are


def start_gateway_with_descriptors(service, count):
    limit = ["prlimit", f"--nofile={count}:{count}"]
    command = [*limit, service.gateway_program, "-c", service.config_file]
    service.gateway = Process.start("gateway", command, service.log_dir / "gateway.log")
    wait_until(lambda: accepts(service.ws_address), "the gateway accepts connections")


@pytest.mark.parametrize("configured", [0, 5000])
def test_as_many_as_the_descriptors_reach_are_served_and_the_rest_gets_503(make_service, certificates, configured):
    """Full, the gateway still has descriptors for all that it does."""
    service = make_service(max_connections=configured, log_level="info")
    start_gateway_with_descriptors(service, 200)
    service.start_api()
    server = Nginx(service, certificates)
    server.api.register("t")
    clients = []
    while (client := RawWebSocket(service.ws_address)).handshake(path_of("t"))[0] == 101:
        client.send_frame(auth_frame())
        assert client.read_message() == AUTH_OK
        clients.append(client)
    client.close()
    assert 100 <= len(clients) < 150
    assert_refused(service, 503, "too many connections", retry=True)
    assert_served(server, *clients)
    wait_until(lambda: sessions(service) == len(clients), "all are written down")
    for client in clients:
        client.close()
    with authenticated(service, "t") as client:
        assert_served(server, client)
    text = "the limit of descriptors is too low for max_connections"
    assert (text in logs.tail(service.log_dir)) == (configured > 0)


# Out of descriptors


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def allow_descriptors(pid, count):
    """The soft limit of a process that runs, set by its own user: returns what it was."""
    own_user = {"user": UID, "group": GID, "extra_groups": []} if os.geteuid() == 0 else {}
    command = ["prlimit", f"--pid={pid}"]
    before = subprocess.check_output([*command, "--nofile", "--raw", "--noheadings", "--output=SOFT"], **own_user)
    subprocess.run([*command, f"--nofile={count}:"], check=True, **own_user)
    return int(before)


def test_out_of_descriptors_it_waits_without_spinning_and_goes_on_when_there_are_some(make_server):
    """Nobody is refused: they stand in the kernel's queue."""
    server = make_server()
    service, pid = server.service, server.service.gateway.pid
    with authenticated(service, "t") as member:
        usual = allow_descriptors(pid, descriptors(pid) + 1)
        queue = []
        for _ in range(30):
            client = RawWebSocket(service.ws_address)
            client.send(RawWebSocket.request(path_of("t")))
            queue.append(client)
        wait_until(lambda: "cannot accept connections" in logs.tail(service.log_dir), "it says so")
        cpu, started = cpu_seconds(pid), time.monotonic()
        while time.monotonic() < started + 2:
            assert_served(server, member)
            time.sleep(0.1)  # the measurement takes its time
        busy = cpu_seconds(pid) - cpu
        assert busy < 0.4, f"{busy:.2f} s of CPU in 2 s"
        allow_descriptors(pid, usual)
        freed = time.monotonic()
        for client in queue:
            assert client._read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
            client.send_frame(auth_frame())
            assert client.read_message() == AUTH_OK
        assert time.monotonic() - freed < 2
        assert_served(server, member, *queue)
        for client in queue:
            client.close()
    log = (service.log_dir / "gateway.log").read_text()
    assert log.count("cannot accept connections for now") == 1 and "Too many open files" in log
    assert log.count("connections are accepted again") == 1


def test_a_descriptor_that_comes_free_is_used(make_server):
    server = make_server()
    service, pid = server.service, server.service.gateway.pid
    first = authenticated(service, "t")
    usual = allow_descriptors(pid, descriptors(pid))
    with RawWebSocket(service.ws_address) as waiting:
        waiting.send(RawWebSocket.request(path_of("t")))
        waiting.socket.settimeout(0.5)
        with pytest.raises(socket.timeout):
            waiting.socket.recv(1)
        first.close()
        assert waiting._read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
    allow_descriptors(pid, usual)
