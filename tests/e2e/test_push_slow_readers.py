"""Pushes to a plain subscriber that reads slowly or never again: it loses the oldest and keeps the newest, within the
bounds of its outbox, and nobody else waits for it. Over TCP; test_outbox.py looks closer, over a UNIX socket."""

import json
import socket
import time

import pytest

from harness.direct import TOPIC_UNREGISTERED, authenticated, subscriber
from harness.nginx import Nginx
from harness.raw_websocket import TEXT, ConnectionEnded
from harness.waiting import wait_until


def read_to(client, last):
    """The numbers of the pushes up to this one."""
    got = []
    while not got or got[-1] != last:
        frame = client.read_frame()
        assert frame.opcode == TEXT
        got.append(json.loads(frame.payload)["payload"][0])
    return got


@pytest.fixture
def small_outbox(make_service, certificates):
    service = make_service(outbox_max_frames=4)
    worker = Nginx(service.start(), certificates)
    assert worker.api.register("slow").status == 200
    return worker


def slow_reader(service, topic="slow"):
    client = authenticated(service, topic)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262144)
    return client


def test_a_slow_reader_loses_its_oldest_pushes_and_never_the_newest(small_outbox):
    worker, service, count, fill = small_outbox, small_outbox.service, 60, "f" * 300000
    with slow_reader(service) as slow, authenticated(service, "slow") as quick, subscriber(service, "slow") as library:
        slowest = 0.0
        for number in range(count):
            started = time.monotonic()
            assert worker.api.publish("slow", [number, fill]).status == 200
            assert json.loads(quick.read_message())["payload"][0] == number
            assert library.receive_json()["payload"][0] == number
            slowest = max(slowest, time.monotonic() - started)
        assert slowest < 1.0, "the others had to wait for the slow one"
        got = read_to(slow, count - 1)
        assert got[-4:] == list(range(count - 4, count)), got
        first = got[:-4]
        assert first == list(range(len(first))), "what reached the kernel came whole and in order"
        assert 0 < len(first) < count - 4, "nothing was lost: the test published too little"
        worker.api.publish("slow", [count, ""])
        assert json.loads(slow.read_message())["payload"][0] == count


def left_of_60_pushes(server):
    """The numbers of those, of 300 KB each, that a slow reader still gets."""
    server.api.register("slow")
    with slow_reader(server.service) as slow:
        for number in range(60):
            assert server.api.publish("slow", [number, "f" * 300000]).status == 200
        return read_to(slow, 59)


def test_the_outbox_is_bounded_in_bytes_too(make_service, certificates):
    """A frame that is on its way counts too: two or three of 300 KB fit."""
    got = left_of_60_pushes(Nginx(make_service(outbox_max_bytes=1000000).start(), certificates))
    assert got[-2:] == [58, 59] and 56 not in got, got


def test_a_push_larger_than_the_outbox_still_arrives(make_service, certificates):
    got = left_of_60_pushes(Nginx(make_service(outbox_max_bytes=1024).start(), certificates))
    assert got[-1] == 59 and 58 not in got, got


def test_a_reader_that_never_reads_again_costs_nobody_else(small_outbox):
    worker, service = small_outbox, small_outbox.service
    stuck = [slow_reader(service) for _ in range(10)]
    with authenticated(service, "slow") as quick:
        for number in range(30):
            assert worker.api.publish("slow", [number, "f" * 300000]).status == 200
            assert json.loads(quick.read_message())["payload"][0] == number
        for client in stuck[::2]:
            client.close()  # resets: there is unread data
        worker.api.publish("slow", [30, ""])
        assert json.loads(quick.read_message())["payload"][0] == 30
        assert worker.api.unregister("slow").status == 200
        assert quick.read_message() == TOPIC_UNREGISTERED
        # One that does not read its last words is cut off (5 seconds), so that its memory comes back.
        query = "the stuck ones are gone"
        wait_until(lambda: worker.api.status().json["connected_sockets"] == 0, query)
    for client in stuck[1::2]:
        with pytest.raises((ConnectionEnded, OSError)):
            while True:
                client.read_frame()
        client.close()
