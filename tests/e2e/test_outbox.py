"""Slow readers (docs/clients.md): what waits for them is bounded, plain ones keep the newest, resumable ones are
sent away to resume, and nobody else notices. Over a UNIX socket, whose kernel buffer is small and does not grow."""

import contextlib
import json
import statistics
import time

import pytest

from harness.crowd import Crowd
from harness.process import wait_until
from harness.sqlite import counted, rows, wait_until_counted
from harness.web_servers import Nginx
from harness.websocket import PING, ConnectionEnded, auth_frame, authenticated, upgraded

FILL = 20000  # bytes of a push, more or less
KERNEL_HOLDS = 40  # pushes, at most: net.core.wmem_default is 208 KiB
TRY_AGAIN = 1013
CLOSE_LIMIT_S = 5  # for a client to take its close frame


@pytest.fixture
def make_server(make_service, certificates):
    """An Nginx before a gateway on a UNIX socket, with the topic "t"."""

    def make(**config):
        server = Nginx(make_service(unix=True, **config).start(), certificates)
        assert server.api.register("t").status == 200
        return server

    return make


def publish(server, numbers, topic="t"):
    """Returns the ids."""
    return [server.api.publish(topic, f"{n}:".ljust(FILL, "x")).json["id"] for n in numbers]


def number_of(message):
    return int(json.loads(message)["payload"].split(":")[0])


def receive(client, last, limit_s=15.0):
    """The numbers of what comes, up to `last`."""
    numbers = []
    while not numbers or numbers[-1] != last:
        numbers.append(number_of(client.read_message(limit_s)))
    return numbers


def publish_beside(server, neighbour, numbers, topic="t"):
    """Publishes that many; when this returns they have been handed to everybody, for the neighbour has read them all.
    Returns the ids."""
    ids = []
    for n in numbers:
        ids += publish(server, [n], topic)
        assert receive(neighbour, n) == [n]
    return ids


def resumable(service, topic="t", last_event_id=None):
    """A subscribed WebSocket that gets ids, and the position that it was told."""
    client = upgraded(service, topic)
    client.send_frame(auth_frame(last_event_id=last_event_id))
    answer = json.loads(client.read_message())
    assert answer["type"] == "auth_ok" and answer["recovered"] is True
    return client, answer["last_event_id"]


def assert_lost_the_oldest(numbers, count, kept):
    """What was on its way when the outbox filled, then the newest `kept`, nothing between."""
    head = numbers[: len(numbers) - kept]
    assert numbers[len(head) :] == list(range(count - kept, count))
    assert head == list(range(len(head))) and 0 < len(head) <= KERNEL_HOLDS, head


def test_a_plain_connection_keeps_the_newest_and_what_it_lost_is_counted(make_server):
    server = make_server(outbox_max_frames=10)
    service = server.service
    with authenticated(service, "t") as slow, authenticated(service, "t") as neighbour:
        publish_beside(server, neighbour, range(100))
        numbers = receive(slow, 99)
        assert_lost_the_oldest(numbers, 100, kept=10)
        wait_until_counted(service, "drops", "outbox_full", 100 - len(numbers))
        publish(server, [100])
        assert receive(slow, 100) == [100], "it has caught up, and goes on"
    wait_until_counted(service, "deliveries", "", 101 + 1 + len(numbers))
    assert counted(service, "closes", "slow") == 0


def test_what_libwebsockets_holds_back_counts_too(make_server):
    """Of 50,000 bytes, the push that has been written in part takes 20,000: one more fits, not two."""
    server = make_server(outbox_max_bytes=50000)
    with authenticated(server.service, "t") as slow, authenticated(server.service, "t") as neighbour:
        publish_beside(server, neighbour, range(100))
        assert_lost_the_oldest(receive(slow, 99), 100, kept=1)


def test_bytes_are_limited_where_frames_are_not(make_server):
    server = make_server(outbox_max_bytes=250000, outbox_max_frames=1000000)
    with authenticated(server.service, "t") as slow, authenticated(server.service, "t") as neighbour:
        publish_beside(server, neighbour, range(100))
        assert_lost_the_oldest(receive(slow, 99), 100, kept=(250000 - FILL) // (FILL + 26))


def test_within_the_limits_nothing_is_lost(make_server):
    server = make_server(outbox_max_frames=100, outbox_max_bytes=100 * 2 * FILL)
    with authenticated(server.service, "t") as slow, authenticated(server.service, "t") as neighbour:
        publish_beside(server, neighbour, range(100))
        assert receive(slow, 99) == list(range(100))


def test_a_push_larger_than_the_limit_comes_whole(make_server):
    server = make_server(outbox_max_bytes=1024)
    with authenticated(server.service, "t") as slow:
        server.api.publish("t", "y" * 900000)
        assert json.loads(slow.read_message())["payload"] == "y" * 900000


def read_to_close(client):
    """(ids, numbers, close code)"""
    ids, numbers = [], []
    while True:
        try:
            message = client.read_message()
        except ConnectionEnded as ended:
            return ids, numbers, str(ended)
        ids.append(json.loads(message)["id"])
        numbers.append(number_of(message))


def test_a_resumable_connection_is_closed_with_1013_and_resumed_without_a_loss(make_server):
    server = make_server(outbox_max_frames=10)
    service = server.service
    slow, position = resumable(service)
    with slow, authenticated(service, "t") as neighbour:
        ids = publish_beside(server, neighbour, range(100))
        got, numbers, ended = read_to_close(slow)
    assert ended == f"closed with {TRY_AGAIN.to_bytes(2, 'big')!r}"
    assert got == ids[: len(got)] and numbers == list(range(len(got))) and len(got) <= KERNEL_HOLDS
    wait_until_counted(service, "closes", "slow", 1)
    assert counted(service, "drops", "outbox_full") == 0
    again, _ = resumable(service, last_event_id=got[-1] if got else position)
    with again:
        assert receive(again, 99) == list(range(len(got), 100))
        publish(server, [100])
        assert receive(again, 100) == [100]


def outbox_bytes(service):
    return rows(service, "SELECT sum(outbox_bytes) FROM gateways")[0][0]


def test_a_push_that_many_are_waiting_for_is_kept_once(make_server):
    """20 readers with 40 pushes each would be 16 MB."""
    server = make_server(outbox_max_bytes=10000000, outbox_total_max_bytes=1000000)
    service = server.service
    slow = [authenticated(service, "t") for _ in range(20)]
    with authenticated(service, "t") as neighbour:
        publish_beside(server, neighbour, range(40))
    wait_until(lambda: outbox_bytes(service) > 0, "outboxes are written down")
    assert outbox_bytes(service) <= 1000000
    for client in slow:
        assert receive(client, 39) == list(range(40))
        client.close()
    wait_until(lambda: outbox_bytes(service) == 0, "nothing waits any more")
    assert counted(service, "drops", "all_outboxes_full") == 0


def test_all_outboxes_together_have_a_ceiling(make_server):
    """Six topics, each with a plain and a resumable reader that stand still: more waits than the ceiling allows."""
    server = make_server(outbox_max_bytes=10000000, outbox_total_max_bytes=1000000)
    service, topics = server.service, [f"t{i}" for i in range(6)]
    plain, resuming, ids = {}, {}, {}
    started = time.monotonic()
    with authenticated(service, "t") as neighbour:
        for topic in topics:
            server.api.register(topic)
            plain[topic] = authenticated(service, topic)
            resuming[topic] = resumable(service, topic)
            ids[topic] = publish(server, range(40), topic)
            assert outbox_bytes(service) <= 1000000
        publish_beside(server, neighbour, range(10))
    wait_until(lambda: counted(service, "closes", "slow") > 0, "somebody is sent away")
    wait_until(lambda: 900000 < outbox_bytes(service) <= 1000000, "all that may wait waits")
    for topic in topics:
        with plain[topic] as client:
            try:
                numbers = receive(client, 39)
                assert numbers == sorted(set(numbers))
            except ConnectionEnded as ended:  # it had nothing to drop when others had taken all the room
                # In the middle of a push nothing can be said, and after that long nothing more is.
                is_cut = client.buffer or time.monotonic() - started > CLOSE_LIMIT_S
                assert is_cut or str(ended) == f"closed with {TRY_AGAIN.to_bytes(2, 'big')!r}"
    for topic in topics:
        client, position = resuming[topic]
        with client:
            got = []
            try:
                while not got or got[-1] != ids[topic][-1]:
                    got.append(json.loads(client.read_message())["id"])
            except ConnectionEnded:
                pass  # with 1013, or dropped because it did not take the close frame for 5 s
        again, _ = resumable(service, topic, got[-1] if got else position)
        with again:
            while not got or got[-1] != ids[topic][-1]:
                got.append(json.loads(again.read_message())["id"])
        assert got == ids[topic]
    wait_until(lambda: outbox_bytes(service) == 0, "nothing waits any more")


def test_a_neighbour_of_slow_readers_misses_nothing_and_is_not_delayed(make_server):
    server = make_server(outbox_max_frames=10)
    service = server.service

    def delays(neighbour, start):
        result = []
        for n in range(start, start + 100):
            before = time.monotonic()
            publish(server, [n])
            assert receive(neighbour, n) == [n]
            result.append(time.monotonic() - before)
        return statistics.median(result), max(result)

    with authenticated(service, "t") as neighbour:
        alone, _ = delays(neighbour, 0)
        slow = [authenticated(service, "t") for _ in range(10)] + [resumable(service)[0] for _ in range(10)]
        beside, worst = delays(neighbour, 100)
        for client in slow:
            client.close()
    assert beside < 3 * alone + 0.005 and worst < 1, f"{alone:.4f} s alone, {beside:.4f} s beside slow readers"


def test_one_that_falls_behind_in_the_middle_of_its_replay_gets_all_of_it_once(make_server):
    """It has missed 6 MB, stands still while they are replayed and more is published, then reads on."""
    server = make_server(outbox_max_frames=10)
    service = server.service
    with authenticated(service, "t") as neighbour:
        position, *ids = publish_beside(server, neighbour, range(300))
        slow, _ = resumable(service, last_event_id=position)
        with slow:
            for start in (300, 350):
                ids += publish_beside(server, neighbour, range(start, start + 50))
                wait_until_counted(service, "deliveries", "", start + 50)
                assert outbox_bytes(service) < 2 * FILL, "of a replay only what is on its way waits"
                got = [json.loads(slow.read_message())["id"] for _ in range(20)]
                assert got == ids[:20]
                ids = ids[20:]
            got = [json.loads(slow.read_message())["id"] for _ in ids]
            assert got == ids
            last = publish(server, [400])
            assert json.loads(slow.read_message())["id"] == last[0]
    assert counted(service, "closes", "slow") == 0


def test_slow_resuming_readers_under_load_get_all_of_it_once(make_server):
    """They are sent away again and again, and come back."""
    server = make_server(outbox_max_frames=2)
    service = server.service
    with contextlib.ExitStack() as stack:
        followers = []
        for pause_s in (0.0, 0.005, 0.02):
            crowd = stack.enter_context(Crowd())
            followers += crowd.follow(service.ws_address, "t", pause_s=pause_s)
        ids = publish(server, range(150))
        wait_until(lambda: all(len(follower.ids) >= 150 for follower in followers), "all are pushed to all")
    for follower in followers:
        assert list(follower.ids) == ids and not follower.unrecovered
    assert any(follower.closes for follower in followers), "nobody fell behind"


def resident_mb(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def test_a_long_push_that_many_have_taken_half_of_is_kept_once(make_server):
    """100 readers that stand still and two pushes of 900 KB: a copy for each would be 180 MB. They send pings meanwhile,
    which are answered between the pushes and never within one."""
    server = make_server()
    service, texts = server.service, ["a" * 900000, "b" * 900000]
    slow = [authenticated(service, "t") for _ in range(100)]
    with authenticated(service, "t") as neighbour:
        before = resident_mb(service.gateway.pid)
        for text in texts:
            server.api.publish("t", text)
            assert json.loads(neighbour.read_message())["payload"] == text
            for client in slow:
                client.send_frame(b"still there", opcode=PING)
        wait_until(lambda: outbox_bytes(service) > 0, "outboxes are written down")
        assert outbox_bytes(service) < 4000000
        assert resident_mb(service.gateway.pid) - before < 40
    for client in slow:
        for text in texts:
            assert json.loads(client.read_message())["payload"] == text
        client.close()
    wait_until(lambda: outbox_bytes(service) == 0, "nothing waits any more")


def test_one_that_asks_and_asks_and_never_reads_is_sent_away(make_server):
    """Answers that are no pushes have no more room than those."""
    server = make_server(outbox_max_frames=10, message_rate=0)
    service = server.service
    with authenticated(service, "t") as slow:
        wait_until_counted(service, "connections", "accepted", 1)
        slow.socket.settimeout(5)
        try:
            for _ in range(200000):
                slow.send_frame(auth_frame())
        except OSError:
            pass  # it has gone
        wait_until_counted(service, "closes", "slow", 1)
