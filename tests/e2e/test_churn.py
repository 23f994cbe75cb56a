"""1,000 connections come and go while publishes run: nothing missed by those who stay, and when they are gone the
gateway is as it was, in descriptors, memory and the database."""

import os
import random
import socket
import struct
import threading

import pytest

from harness.api import make_token
from harness.process import SANITIZER_ENV, Process, accepts, wait_until
from harness.sqlite import rows
from harness.web_servers import Nginx
from harness.websocket import (
    CLOSE, PONG, TEXT, WebSocket, auth_frame, authenticated, close_payload, path_of, push_of, upgraded,
)  # fmt: skip

CONNECTIONS = 1000
AT_ONCE = 100
MEMORY_SLACK_KB = 3072

# AddressSanitizer keeps freed memory for a while: little of it, so that growth is a leak.
LITTLE_QUARANTINE = ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64"
QUIET_MEMORY = {"ASAN_OPTIONS": SANITIZER_ENV["ASAN_OPTIONS"] + LITTLE_QUARANTINE}


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_kb(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


@pytest.fixture
def running(make_service, certificates):
    service = make_service()
    command = [service.gateway_program, "-c", service.config_file]
    service.gateway = Process.start("gateway", command, service.log_dir / "gateway.log", env=QUIET_MEMORY)
    wait_until(lambda: accepts(service.ws_address), "the gateway accepts connections")
    service.start_api()
    worker = Nginx(service, certificates)
    for topic in ("staying", "passing"):
        assert worker.api.register(topic).status == 200
    assert worker.api.register("closed", require_token=True).status == 200
    return worker


def reset(client):
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def come(service, number):
    """One connection, stopped somewhere on its way in."""
    kind = number % 10
    if kind == 0:
        return WebSocket(service.ws_address)  # no handshake
    if kind == 1:
        client = WebSocket(service.ws_address)
        client.send(WebSocket.request()[: number % 150])  # half a handshake
        return client
    if kind == 2:
        return upgraded(service, "passing")  # no auth
    if kind == 3:
        client = upgraded(service, "closed")
        client.send_frame(auth_frame("wrong"))
        return client
    if kind == 4:
        client = WebSocket(service.ws_address)
        client.send(WebSocket.request(path_of("no such topic")))
        return client
    if kind == 5:
        return authenticated(service, "closed", make_token(service.secret, "closed", user_id=number))
    if kind == 6:
        client = authenticated(service, "passing")
        client.send_frame("half", fin=False)
        return client
    return authenticated(service, "staying" if kind == 7 else "passing")


def go(client, number):
    """Each in its own way: a close frame, just gone, reset, something broken."""
    kind = number % 4
    try:
        if kind == 0:
            client.send_frame(close_payload(1000), opcode=CLOSE)
        elif kind == 1:
            reset(client)
        elif kind == 2:
            client.send_frame(b"\xff" * 10, opcode=TEXT)
    except OSError:
        pass  # it was closed already
    client.close()


def churn(service, randomness):
    clients = []
    for number in range(CONNECTIONS):
        clients.append((come(service, number), number))
        if len(clients) >= AT_ONCE:
            go(*clients.pop(randomness.randrange(len(clients))))
    for client, number in clients:
        go(client, number)


def test_1000_connections_come_and_go_while_publishes_run(running):
    worker, service = running, running.service
    pid, randomness = service.gateway.pid, random.Random(1)
    go_on, published, failures = True, 0, []

    def publish():
        nonlocal published
        while go_on:
            reply = worker.api.publish("staying", published)
            if reply.status != 200:
                failures.append((reply.status, reply.body))
            published += 1
            worker.api.publish("passing", "x" * randomness.randrange(2000))

    stayers = [authenticated(service, "staying") for _ in range(5)]
    before, sizes = descriptors(pid), []
    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        for _ in range(3):
            churn(service, randomness)
            wait_until(lambda: descriptors(pid) <= before, "all descriptors are given back", limit_s=20)
            sizes.append(resident_kb(pid))
    finally:
        go_on = False
        publisher.join()
    assert not failures and published > 50
    for client in stayers:
        assert [client.read_message() for _ in range(published)] == [push_of(str(i)) for i in range(published)]
        client.send_frame("sync", opcode=0x9)
        assert client.read_frame().opcode == PONG
    assert descriptors(pid) == before
    assert sizes[2] - sizes[0] < MEMORY_SLACK_KB, f"resident memory after each 1,000: {sizes} KB"
    count = "SELECT count(*) FROM sessions"
    wait_until(lambda: rows(service, count) == [(5,)], "the sessions of the gone are gone")
    for client in stayers:
        client.close()
    wait_until(lambda: rows(service, count) == [(0,)], "all sessions are gone")
    assert descriptors(pid) == before - len(stayers)
