"""Nodes that share a Redis, while all is well: what is published, registered, unregistered or disconnected at one of
them is so at each."""

import contextlib
import json

import pytest
import redis

from harness import sqlite
from harness.api import make_token
from harness.cluster import CHANNEL, KEY, LOG, NODES, Cluster
from harness.process import wait_until
from harness.stream import started
from harness.websocket import AUTH_OK, TOPIC_UNREGISTERED, authenticated, push_of

GOODBYE = '{"type":"error","code":"disconnected","message":"disconnected by the server"}'
PAYLOADS = [
    '{"b":1,"a":[1.0,1e2,-0]}', '"\\u00e9\\/ é <&> \U0001f600"', '12345678901234567890.10', ' [ 1 ,\t2 ] ', "null", '""',
    '"' + "x" * 100000 + '"',
]  # fmt: skip


@pytest.fixture(scope="module")
def trio(certificates):
    cluster = Cluster(certificates, 3)
    try:
        yield cluster.start()
    finally:
        faults = cluster.close()
        assert not faults, "\n".join(faults)


def publish(node, topic, text):
    """The payload's text goes as it is. Returns the event's id."""
    reply = node.api.call("publish", raw=f'{{"topic":{json.dumps(topic)},"payload":{text}}}'.encode())
    assert reply.status == 200, reply.text
    return reply.json["id"]


def polled(node, topic, position, count):
    """So many payloads, as text, in as many polls as it takes."""
    found = []

    def more():
        nonlocal position
        reply = node.poll(topic, last_event_id=position)
        if reply.status == 200:
            assert reply.json["recovered"] is True
            found.extend(json.dumps(push["payload"]) for push in reply.json["pushes"])
            position = reply.json["last_event_id"]
        return len(found) >= count

    wait_until(more, lambda: f"{count} pushes, not {len(found)}")
    return found


def test_each_publish_reaches_the_clients_of_each_node_once_in_order_and_unchanged(trio):
    topic = "over é/all"
    trio.register(topic)
    with contextlib.ExitStack() as stack:
        plain = [stack.enter_context(authenticated(node.service, topic)) for node in trio.nodes]
        tls = [stack.enter_context(node.subscribe(topic)) for node in trio.nodes]
        positions = [json.loads(client.authenticate(last_event_id=None))["last_event_id"] for client in tls]
        streams = [stack.enter_context(started(node.service.ws_address, topic)) for node in trio.nodes]
        sent = {number: [] for number in range(3)}
        for round in range(20):
            for number, node in enumerate(trio.nodes):
                text = PAYLOADS[round] if round < len(PAYLOADS) else f'"{number} {round}"'
                publish(node, topic, text)
                sent[number].append(text)
        count = sum(map(len, sent.values()))
        for client in (*plain, *streams):
            had = [client.read_message() for _ in range(count)]
            assert sorted(had) == sorted(push_of(text.strip()) for texts in sent.values() for text in texts)
            for number, texts in sent.items():
                marked = [push_of(text) for text in texts if text.startswith(f'"{number} ')]
                assert [message for message in had if message in marked] == marked
        for client, position in zip(tls, positions):
            frames = [client.receive_json() for _ in range(count)]
            assert len({frame["id"] for frame in frames}) == count and position not in {frame["id"] for frame in frames}
        for node, position in zip(trio.nodes, positions):
            assert len(polled(node, topic, position, count)) == count
        publish(trio.nodes[0], topic, '"the end"')
        assert {client.read_message() for client in (*plain, *streams)} == {push_of('"the end"')}
    assert trio.redis.client.pubsub_numsub(CHANNEL) == [(CHANNEL.encode(), 3)], "one subscription a node"


def test_unregister_and_disconnect_reach_each_node_after_what_was_published_before(trio):
    a, b, c = trio.nodes
    topic, other = "orders", "orders, other"
    for name in (topic, other):
        trio.register(name, require_token=True)
    with contextlib.ExitStack() as stack:

        def client(node, name, user):
            return stack.enter_context(authenticated(node.service, name, make_token(node.service.secret, name, user)))

        seven = [client(node, name, 7) for node in trio.nodes for name in (topic, other)]
        eight = [client(node, topic, 8) for node in trio.nodes]
        stays = [client(node, other, 8) for node in trio.nodes]
        publish(b, topic, "1")
        for connection in (seven[0], seven[2], seven[4], *eight):
            assert connection.read_message() == push_of("1")
        assert b.api.call("disconnect", {"user_id": 7}).status == 200
        assert {connection.read_message() for connection in seven} == {GOODBYE}
        publish(c, topic, "2")
        assert c.api.unregister(topic).status == 200
        for connection in eight:
            assert [connection.read_message(), connection.read_message()] == [push_of("2"), TOPIC_UNREGISTERED]
        trio.wait_until_known(topic, known=False)
        assert not trio.redis.client.exists(KEY + topic)
        publish(a, other, "3")
        assert {connection.read_message() for connection in stays} == {push_of("3")}
    for node in trio.nodes:
        assert node.api.publish(topic, 4).status == 404


def test_a_client_resumes_at_another_node_without_loss_or_repetition(trio):
    topic = "resume"
    trio.register(topic)
    position, had, count = None, [], 0
    for round in range(9):
        node = trio.nodes[round % 3]
        if round % 2:
            count += 1
            publish(trio.nodes[(round + 1) % 3], topic, str(count))  # while nobody is connected
        with node.subscribe(topic) as client:
            answer = json.loads(client.authenticate(last_event_id=position))
            assert answer["recovered"] is True
            position = answer["last_event_id"] if position is None else position
            for publisher in trio.nodes:
                count += 1
                publish(publisher, topic, str(count))
            while len(had) < count:
                frame = client.receive_json()
                had.append(frame["payload"])
                position = frame["id"]
    assert sorted(had) == list(range(1, count + 1)), had
    foreign = [0, 10**15, "x", "0" * 200, position.upper() + "-", ""]
    for odd in foreign:
        for node in trio.nodes:
            with node.subscribe(topic) as client:
                answer = json.loads(client.authenticate(last_event_id=odd))
                assert answer.get("recovered") is False or answer.get("code") == "auth_required", odd


def test_topics_are_known_at_each_node_from_the_moment_they_are_registered(trio):
    a, b, c = trio.nodes
    for number in range(15):
        topic = f"at once {number}"
        assert a.api.register(topic).status == 200
        wait_until(lambda: trio.redis.client.exists(KEY + topic), "Redis is told", interval_s=0.001)
        with authenticated(b.service, topic) as client:
            publish(c if c.knows(topic) else a, topic, "1")
            assert client.read_message() == push_of("1")
    trio.register("turns", require_token=False)
    b.api.register("turns", require_token=True)

    def needs_token(node):
        return sqlite.value(node.service.database, "SELECT require_token FROM topics WHERE topic = 'turns'") == 1

    wait_until(lambda: all(map(needs_token, trio.nodes)), "require_token follows")
    assert json.loads(trio.redis.client.get(KEY + "turns")) == {"require_token": True}
    left = trio.redis.client.pttl(KEY + "turns")
    assert 86400_000 - 60_000 < left <= 86400_000
    late = trio.add()  # finds them by SCAN
    try:
        trio.wait_until_joined(4)
        wait_until(lambda: {"turns", "at once 0"} <= late.topics(), "the newcomer knows all topics")
        with authenticated(late.service, "at once 3") as client:
            publish(a, "at once 3", '"to the newcomer"')
            assert client.read_message() == push_of('"to the newcomer"')
    finally:
        trio.nodes.remove(late)
        trio.services.remove(late.service)
        faults = late.service.close()
    assert not faults
    trio.wait_until_joined(3)
    fields = {name.decode(): json.loads(value) for name, value in trio.redis.client.hgetall(NODES).items()}
    assert set(fields) == {node.id for node in trio.nodes}, "it has taken itself off the list"
    for name, value in fields.items():
        assert value["id"] == name and value["alive"] is True
        assert {"name", "version", "started_at", "seen_at", "active_topics", "connected_clients", "connected_sockets",
                "uptime", "uptime_seconds"} <= set(value)  # fmt: skip


def test_a_redis_that_is_emptied_under_its_clients_is_filled_again(trio):
    a, b, _ = trio.nodes
    trio.register("kept")
    with redis.Redis(port=trio.redis.port, db=5) as other:  # another program's: all our keys are there
        other.flushdb()
    with authenticated(b.service, "kept") as client:
        publish(a, "kept", "1")
        assert client.read_message() == push_of("1")
        assert not any("lost its memory" in node.log_end(1000) for node in trio.nodes)
        at_once = trio.redis.client.pipeline()
        at_once.sadd(f"{LOG}:nodes", "ab" * 8)  # a node of ours, which says something before all is gone
        at_once.publish(CHANNEL, json.dumps({"origin_id": "ab" * 8, "topic": "kept", "payload": "in the log as well"}))
        at_once.flushall()
        at_once.execute()
        publish(a, "kept", "2")
        assert client.read_message() == push_of("2")
        wait_until(lambda: trio.redis.client.exists(KEY + "kept", KEY + "worker.status") == 2, "topics are given back")
        publish(a, "kept", "3")
        assert client.read_message() == push_of("3")
    assert all(node.knows("kept") for node in trio.nodes)
    trio.wait_until_joined()


def test_a_topic_expires_everywhere_and_a_key_is_not_outlived_by_its_rows(trio, make_cluster):
    brief = make_cluster(2, redis=trio.redis, topic_ttl="2s", worker_secret=trio.services[0].secret)
    a, b = brief.nodes
    assert a.api.register("brief").status == 200
    wait_until(lambda: b.knows("brief") and trio.nodes[0].knows("brief"), "each knows it")
    wait_until(lambda: not trio.redis.client.exists(KEY + "brief"), "the key expires")
    for node in (*trio.nodes, a, b):
        wait_until(lambda: node.api.publish("brief", 1).status == 404, "it has expired at each node")
