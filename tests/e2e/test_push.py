"""From a publish to its subscribers (docs/clients.md, `push`): the bytes, the order, who gets it and who does not.
A plain subscriber that reads slowly or never again loses the oldest and keeps the newest, within the bounds of its
outbox, and nobody else waits for it (test_outbox.py looks closer, over a UNIX socket)."""

import json
import signal
import socket
import threading
import time

import pytest

from harness.api import make_token
from harness.process import wait_until
from harness.web_servers import Nginx
from harness.websocket import (
    AUTH_OK, PING, PONG, TEXT, TOPIC_UNREGISTERED, ConnectionEnded, WebSocket, auth_frame, authenticated, path_of,
    push_of, subscriber, upgraded,
)  # fmt: skip

MIB = 1048576


@pytest.fixture(scope="module")
def service(worker):
    return worker.service


def publish_raw(worker, topic, payload):
    """The payload's bytes exactly as given."""
    raw = b'{"topic":' + json.dumps(topic).encode() + b',"payload":' + payload + b"}"
    reply = worker.api.call("publish", raw=raw)
    assert reply.status == 200, reply.body
    return reply.json["id"]


# The bytes

PAYLOADS = [
    b"null", b"true", b"0", b"-0", b"1.10", b"1E+2", b"1e400", b"9007199254740993", b"123456789012345678901234567890",
    b"-0.0000000000000000000000000001", b'""', b'"\\u00e9"', b'"\xc3\xa9"', b'"\\/"', b'"/"', b'"\\u2028\\u2029"',
    b'"\xe2\x80\xa8"', b'"\\ud83d\\udcfb"', b'"\xf0\x9f\x93\xbb"', b'"\\ud800"', b'"\\u0000"', b'"\x7f"', b"[]", b"{}",
    b"[ 1 ,\t2 ]", b'{"b":1,"a":2,"b":3}', b'{"type":"auth_ok"}', b'{"a":\r\n\t 1}', b'"</script>"',
    b"[" * 500 + b"]" * 500, b'"' + b"x" * 4096 + b'"', b'"' + b"x" * 65536 + b'"',
]  # fmt: skip


def test_a_push_holds_the_bytes_of_the_publish(worker, service):
    worker.api.register("bytes")
    with authenticated(service, "bytes") as client:
        for payload in PAYLOADS:
            publish_raw(worker, "bytes", payload)
            frame = client.read_frame()
            assert (frame.opcode, frame.fin, frame.rsv) == (TEXT, True, 0)
            assert frame.payload == b'{"type":"push","payload":' + payload + b"}"


def test_white_space_around_the_payload_is_not_part_of_it(worker, service):
    worker.api.register("white space")
    with authenticated(service, "white space") as client:
        publish_raw(worker, "white space", b" \r\n\t [1] \n")
        assert client.read_message() == push_of("[1]")


@pytest.mark.parametrize("size", [125 - 26, 126 - 26, 65535 - 26, 65536 - 26, 900 * 1024, MIB - 40])
def test_a_push_of_any_size_is_one_message(worker, service, size):
    """26 bytes of the frame are not payload: these are the boundaries between the forms of the length."""
    worker.api.register("large")
    payload = b'"' + b"z" * (size - 2) + b'"'
    with authenticated(service, "large") as raw, subscriber(service, "large") as library:
        publish_raw(worker, "large", payload)
        assert raw.read_message() == push_of(payload.decode())
        assert library.receive() == push_of(payload.decode())


# Who gets it


def test_every_subscriber_of_the_topic_gets_it_and_nobody_else(worker, service):
    for topic in ("many", "many ", "Many", "man"):
        worker.api.register(topic)
    worker.api.register("many closed", require_token=True)
    members = [authenticated(service, "many") for _ in range(300)]
    others = [authenticated(service, topic) for topic in ("many ", "Many", "man")]
    others += [upgraded(service, "many")]  # not authenticated
    others += [authenticated(service, "many closed", make_token(service.secret, "many closed"))]
    try:
        for number in range(5):
            worker.api.publish("many", number)
        for client in members:
            assert [client.read_message() for _ in range(5)] == [push_of(str(number)) for number in range(5)]
        for client in others:
            client.send_frame("sync", opcode=PING)  # a push would have come before the pong
            frame = client.read_frame()
            assert (frame.opcode, frame.payload) == (PONG, b"sync")
    finally:
        for client in members + others:
            client.close()


def test_a_client_that_leaves_disturbs_no_other(worker, service):
    worker.api.register("leaving")
    clients = [authenticated(service, "leaving") for _ in range(20)]
    for number in range(20):
        clients.pop(len(clients) // 2).close()
        worker.api.publish("leaving", number)
        for client in clients:
            assert client.read_message() == push_of(str(number))


def test_a_subscriber_gets_nothing_that_was_published_before_it_subscribed(worker, service):
    worker.api.register("late")
    with upgraded(service, "late") as early:
        for number in range(20):
            worker.api.publish("late", number)
            with authenticated(service, "late") as client:
                worker.api.publish("late", "now")
                assert client.read_message() == push_of('"now"')
        early.send_frame(auth_frame())
        assert early.read_message() == AUTH_OK
        worker.api.publish("late", "last")
        assert early.read_message() == push_of('"last"')


def test_a_push_that_the_gateway_sees_after_a_later_subscription_is_not_for_that_subscriber(worker, service):
    """The auth frame is read first, but after the commit."""
    worker.api.register("overtaken")
    for _ in range(5):
        with upgraded(service, "overtaken") as client:
            service.gateway.send(signal.SIGSTOP)
            try:
                client.send_frame(auth_frame())
                worker.api.publish("overtaken", "before")
            finally:
                service.gateway.send(signal.SIGCONT)
            assert client.read_message() == AUTH_OK
            worker.api.publish("overtaken", "after")
            assert client.read_message() == push_of('"after"')


def test_a_topic_without_subscribers_takes_a_publish(worker):
    worker.api.register("nobody")
    assert worker.api.publish("nobody", 1).status == 200


def test_worker_status_pushes_as_any_topic(worker, service):
    with authenticated(service, "worker.status", make_token(service.secret, "worker.status")) as client:
        assert worker.api.publish("worker.status", {"notice": 1}).status == 200
        assert client.read_message() == push_of('{"notice": 1}')


# The order


def test_pushes_come_in_the_order_of_their_ids_whoever_published_them(worker, service):
    publishers, each = 6, 40
    worker.api.register("order")
    ids, failures = {}, []

    def publish(name):
        for number in range(each):
            reply = worker.api.publish("order", [name, number])
            if reply.status == 200:
                ids[(name, number)] = reply.json["id"]
            else:
                failures.append((reply.status, reply.body))

    with authenticated(service, "order") as one, authenticated(service, "order") as two:
        threads = [threading.Thread(target=publish, args=(name,)) for name in range(publishers)]
        for thread in threads:
            thread.start()
        received = [one.read_message() for _ in range(publishers * each)]
        for thread in threads:
            thread.join()
        assert not failures
        assert [two.read_message() for _ in received] == received
        for client in (one, two):
            client.send_frame("sync", opcode=PING)
            assert client.read_frame().opcode == PONG  # and not one push more
    keys = [tuple(json.loads(text)["payload"]) for text in received]
    assert len(set(keys)) == publishers * each
    assert [ids[key] for key in keys] == sorted(ids.values())
    for name in range(publishers):
        assert [number for who, number in keys if who == name] == list(range(each))


def test_orders_come_in_order_with_the_pushes(worker, service):
    """unregister and register again between two pushes: the second one is not for the old subscriber."""
    worker.api.register("orders")
    with authenticated(service, "orders") as client:
        worker.api.publish("orders", 1)
        worker.api.unregister("orders")
        worker.api.register("orders")
        worker.api.publish("orders", 2)
        assert client.read_message() == push_of("1")
        assert client.read_message() == TOPIC_UNREGISTERED
        assert client.close_code() == 1000


# Expiry, restarts


def test_a_topic_that_expires_keeps_its_sockets(make_service, certificates):
    service = make_service(topic_ttl="1s")
    worker = Nginx(service.start(), certificates)
    worker.api.register("expires")
    with authenticated(service, "expires") as client, authenticated(service, "expires") as other:
        wait_until(lambda: worker.api.publish("expires", "x").status == 404, "the topic has expired")
        client.send_frame("still there?", opcode=PING)
        while (frame := client.read_frame()).opcode != PONG:
            assert frame.payload == push_of('"x"').encode()
        assert WebSocket(service.ws_address).handshake(path_of("expires"))[0] == 404
        worker.api.register("expires")
        assert worker.api.publish("expires", "back").status == 200
        for socket_ in (client, other):
            while (text := socket_.read_message()) != push_of('"back"'):
                assert text == push_of('"x"')


def test_what_is_published_while_the_gateway_is_down_is_not_for_those_who_come_later(make_service, certificates):
    service = make_service(drain="1s")
    worker = Nginx(service.start(), certificates)
    worker.api.register("restart")
    with authenticated(service, "restart") as client:
        worker.api.publish("restart", "before")
        assert client.read_message() == push_of('"before"')
        for stop in ("stop", "kill"):
            getattr(service.gateway, stop)()
            assert worker.api.publish("restart", f"down after {stop}").status == 200
            service.start_gateway()
            with authenticated(service, "restart") as again, subscriber(service, "restart") as another:
                assert worker.api.publish("restart", f"up after {stop}").status == 200
                assert again.read_message() == push_of(f'"up after {stop}"')
                assert another.receive() == push_of(f'"up after {stop}"')
                again.send_frame("sync", opcode=PING)
                assert again.read_frame().opcode == PONG


def test_a_gateway_that_was_stopped_for_a_while_goes_on_where_it_was(worker, service):
    """SIGSTOP: the taps are lost or late, the events are not."""
    worker.api.register("paused")
    with authenticated(service, "paused") as client:
        service.gateway.send(signal.SIGSTOP)
        try:
            for number in range(50):
                assert worker.api.publish("paused", number).status == 200
        finally:
            service.gateway.send(signal.SIGCONT)
        assert [client.read_message() for _ in range(50)] == [push_of(str(number)) for number in range(50)]


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
    with slow_reader(server.service) as slow, authenticated(server.service, "slow") as quick:
        for number in range(60):
            assert server.api.publish("slow", [number, "f" * 300000]).status == 200
            assert json.loads(quick.read_message())["payload"][0] == number  # it has been fanned out
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
        # A client that does not read the close frame is cut off after 5 seconds, and its memory comes back.
        query = "the stuck ones are gone"
        wait_until(lambda: worker.api.status().json["connected_sockets"] == 0, query)
    for client in stuck[1::2]:
        with pytest.raises((ConnectionEnded, OSError)):
            while True:
                client.read_frame()
        client.close()
