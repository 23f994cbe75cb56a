"""What else uses the same Redis: nodes of the existing implementation, by the contract alone; and whoever writes to the
channel, the log and the keys what does not belong there."""

import contextlib
import json
import re
import time

import pytest

from harness import sqlite
from harness.api import make_token
from harness.cluster import CHANNEL, KEY, LOG, NODES, Cluster, ForeignNode
from harness.process import log_tail, wait_until
from harness.websocket import TOPIC_UNREGISTERED, authenticated, push_of, refusal
from test_cluster import publish

OPEN, CLOSED, NOT_REGISTERED = "open", "closed", "not registered"
ROW_OF = {OPEN: [{"require_token": 0}], CLOSED: [{"require_token": 1}], NOT_REGISTERED: []}
VALUES = [
    ('{"require_token":true}', CLOSED), ('{"require_token":false}', OPEN), ("{}", OPEN), ("null", OPEN), ("[]", NOT_REGISTERED),
    ("", NOT_REGISTERED), ("true", NOT_REGISTERED), ("1", NOT_REGISTERED), ('"x"', NOT_REGISTERED), ("no JSON", NOT_REGISTERED),
    ('{"require_token":true', NOT_REGISTERED), (b"\xff\xfe", NOT_REGISTERED), (b"{}\x00", NOT_REGISTERED),
    ("[" * 100000, NOT_REGISTERED), ('{"a":"' + "x" * 2_000_000 + '"}', None), ('{"require_token":"yes"}', None),
    ('{"require_token":1}', None), (' { "require_token" : true , "more": [1] } ', CLOSED),
]  # fmt: skip
ODD_NAMES = [
    b"", b"x" * 256, b"bad \xff", b"tab\t", b"nul\0", b"\x7f", b"x" * 100000,
]  # fmt: skip


@pytest.fixture(scope="module")
def pair(certificates):
    cluster = Cluster(certificates, 2)
    try:
        yield cluster.start()
    finally:
        faults = cluster.close()
        assert not faults, "\n".join(faults)


@pytest.fixture
def foreign(pair):
    node = ForeignNode(pair.redis)
    pair.wait_until_joined(3)
    yield node
    node.close()
    pair.wait_until_joined(2)


def test_events_and_topics_go_both_ways_between_the_two_kinds_of_nodes(pair, foreign):
    a, b = pair.nodes
    topic = "both/é"
    foreign.register(topic)
    with authenticated(a.service, topic) as at_a, authenticated(b.service, topic) as at_b:  # before anybody has told
        clients = at_a, at_b

        def expect(*payloads):
            for client in clients:
                assert [client.read_message() for _ in payloads] == [push_of(payload) for payload in payloads]

        foreign.publish(topic, {"x": "<é&\u2028>"})
        foreign.publish(topic, 1, names=("Origin_ID", "TOPIC", "PayLoad"))
        foreign.publish(topic, 2, names=("ORIGIN_ID", "Topic", "payload"), more='"more":{"payload":[]},"x":"y",')
        foreign.publish(topic, 3, names=("origin_id", "topic", ""))
        foreign.publish("nobody has registered it", 4)
        foreign.publish(topic, "x" * 900_000)
        expect('{"x":"\\u003cé\\u0026\\u2028\\u003e"}', "1", "2", "null", '"' + "x" * 900_000 + '"')
        for number in range(200):
            foreign.publish(topic, number)
        expect(*map(str, range(200)))

        sent = ['{"b": 1.0, "a":"<\\u00e9&>"}', '"é\U0001f600"', "12345678901234567890.10"]
        for text in sent:
            publish(a, topic, text)
        publish(b, topic, '"from b"')
        for client in clients:
            had = [client.read_message() for _ in range(4)]
            assert sorted(had) == sorted(map(push_of, (*sent, '"from b"')))
            assert [message for message in had if "from b" not in message] == list(map(push_of, sent))
        wait_until(lambda: len(foreign.heard_on(topic)) == 4, lambda: f"the foreign node hears: {foreign.heard}")
        heard = foreign.heard_on(topic)
        assert sorted(heard) == sorted(text.encode() for text in (*sent, '"from b"'))
        assert [text for text in heard if text != b'"from b"'] == [text.encode() for text in sent]
        assert a.api.register("ours", require_token=True).status == 200
        wait_until(lambda: {"worker.status", topic, "ours"} <= foreign.topics(), "it sees the topics")
        assert foreign.redis.get(KEY + "ours") == b'{"require_token":true}'
        a.api.call("disconnect", {"topic": "ours"})
        a.api.unregister("ours")
        wait_until(lambda: "ours" not in foreign.topics() and not b.knows("ours"), "it is gone")
        foreign.unregister(topic)
        pair.wait_until_known(topic, known=False)
    assert foreign.odd == [] and {topic for topic, _ in foreign.heard} == {topic}, "nothing but events"
    assert foreign.cluster_nodes() == 3


def test_a_foreign_nodes_events_are_kept_for_who_resumes_where_it_was(pair, foreign):
    a, _ = pair.nodes
    pair.register("kept foreign")
    with a.subscribe("kept foreign") as client:
        client.authenticate(last_event_id=None)
        foreign.publish("kept foreign", 1)
        frame = client.receive_json()
    for number in (2, 3):
        foreign.publish("kept foreign", number)
    wait_until(lambda: sqlite.value(a.service.database, "SELECT count(*) FROM events WHERE topic = 'kept foreign'") == 3,
               "both are kept")  # fmt: skip
    with a.subscribe("kept foreign") as client:
        assert json.loads(client.authenticate(last_event_id=frame["id"]))["recovered"] is True
        assert [client.receive_json()["payload"] for _ in range(2)] == [2, 3]


def test_a_key_says_what_the_contract_says_whatever_stands_in_it(pair):
    a, b = pair.nodes
    server = pair.redis.client

    def row(node, topic):
        return sqlite.ask(node.service.database, f"SELECT require_token FROM topics WHERE topic = '{topic}'")

    expected = {}
    for number, (value, meaning) in enumerate(VALUES):
        expected[f"value {number}"] = meaning
        server.set(f"{KEY}value {number}", value, ex=3600)
    server.rpush(KEY + "a list", "{}")
    server.hset(KEY + "a hash", "require_token", "true")
    server.xadd(KEY + "a stream", {"x": "y"})
    expected |= {"a list": NOT_REGISTERED, "a hash": NOT_REGISTERED, "a stream": NOT_REGISTERED}
    for name in ODD_NAMES:
        server.set(KEY.encode() + name, "{}", ex=3600)
    server.set(KEY + "' ; DROP TABLE topics; --", "{}", ex=3600)
    server.set(KEY + "for ever", "{}")
    server.set(KEY + "the last", "{}", ex=3600)
    pair.wait_until_known("the last")
    for node in pair.nodes:
        for topic, meaning in expected.items():
            if meaning is None:  # may be either, but nobody may come in without a token
                assert row(node, topic) in (ROW_OF[NOT_REGISTERED], ROW_OF[CLOSED], ROW_OF[OPEN]), topic
            else:
                wait_until(lambda: row(node, topic) == ROW_OF[meaning], lambda: f"{topic} {expected[topic]} {row(node, topic)}")
        assert {"for ever", "' ; DROP TABLE topics; --"} <= node.topics()
        assert all(0 < len(topic.encode()) <= 255 and "\t" not in topic for topic in node.topics())
        assert refusal(node.wss_url, "value 4", tls=node.tls) == 404

    server.set(KEY + "value 0", "[]", ex=3600)
    server.set(KEY + "value 4", '{"require_token":true}', ex=3600)
    server.set(KEY + "worker.status", '{"require_token":false}')
    for node in pair.nodes:
        wait_until(lambda: row(node, "value 0") == [] and row(node, "value 4") == ROW_OF[CLOSED], "it follows changes")
        assert row(node, "worker.status") == ROW_OF[CLOSED], "it always needs a token"
    wait_until(lambda: json.loads(server.get(KEY + "worker.status") or b"null") == {"require_token": True}, "it is put right")
    server.delete(KEY + "worker.status")
    wait_until(lambda: server.exists(KEY + "worker.status"), "it is always there")
    for key in server.scan_iter(KEY + "*"):
        if key != (KEY + "worker.status").encode():
            server.delete(key)
    pair.wait_until_known("the last", known=False)


ORIGIN = b"00112233445566aa"
CHANNEL_REFUSED = [
    b"", b"no JSON", b"null", b"[]", b"1", b'"x"', b"{", b"\0", b"\xff", b"{}",
    b'{"origin_id":"%s","topic":"h","payload":1' % ORIGIN,
    b'{"origin_id":"%s","topic":"h","payload":1}x' % ORIGIN,
    b'{"origin_id":"%s","topic":"h","payload":"\xff"}' % ORIGIN,
    b'{"origin_id":"%s","topic":"h","payload":"\x01"}' % ORIGIN,
    b'{"origin_id":"%s","topic":"h","payload":01}' % ORIGIN,
    b'{"origin_id":"%s","topic":"","payload":1}' % ORIGIN,
    b'{"origin_id":"%s","topic":"h\\u0000","payload":1}' % ORIGIN,
    b'{"origin_id":"%s","topic":"%s","payload":1}' % (ORIGIN, b"x" * 300),
    b'{"origin_id":"%s","topic":7,"payload":1}' % ORIGIN,
    b'{"origin_id":"%s","topic":["h"],"payload":1}' % ORIGIN,
    b'{"origin_id":"%s","payload":1}' % ORIGIN,
    b'{"origin_id":"short","topic":"h","payload":1}',
    b'{"origin_id":"00112233445566zz","topic":"h","payload":1}',
    b'{"origin_id":"0011223344556677.000000000001","topic":"h","payload":1}',
    b'{"origin_id":7,"topic":"h","payload":1}',
    b'{"topic":"h","payload":1}',
    b'{"origin_id":"%s","topic":"h","payload":%s}' % (ORIGIN, b"[" * 200_000),
    b'{"origin_id":"%s","topic":"h","payload":"%s"}' % (ORIGIN, b"x" * 2_000_000),
]  # fmt: skip


def entry(**changes):
    whole = {"origin": "f" * 16, "id": "7", "prev": "0", "kind": "push", "topic": "h", "created": "1700000000000",
             "payload": "1"}  # fmt: skip
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


LOG_REFUSED = [
    {"x": "y"}, entry(origin=None), entry(origin="short"), entry(origin="F" * 15 + "z"), entry(id=None), entry(id="0"),
    entry(id="-1"), entry(id="1.5"), entry(id="9" * 30), entry(id=""), entry(id="7 "), entry(id=str(2**53 - 1)), entry(kind=None), entry(kind="pull"),
    entry(kind="0"), entry(topic=None), entry(topic=""), entry(topic="\0"), entry(topic=b"\xff"), entry(topic="x" * 300),
    entry(payload=None), entry(payload=""), entry(payload="no JSON"), entry(payload=b'"\xff"'), entry(payload='"\n"'),
    entry(payload="[" * 200_000), entry(payload='"' + "x" * 2_000_000 + '"'), entry(created="x"), entry(prev="x"),
    entry(kind="unregister", topic=None, payload=None), entry(kind="unregister", topic="worker.status", payload=None),
    entry(kind="disconnect", topic=None, user=None, payload=None), entry(kind="disconnect", user="x", payload=None),
]  # fmt: skip


def refused(node):
    return sqlite.value(node.service.database, "SELECT ifnull(sum(value), 0) FROM counters WHERE name = 'cluster_refused'")


def events(node):
    return sqlite.ask(node.service.database, "SELECT topic, payload FROM events WHERE kind = 0 ORDER BY id")


def test_what_is_hostile_on_the_channel_and_in_the_log_is_refused_counted_and_changes_nothing(pair):
    a, b = pair.nodes
    pair.register("h")
    server = pair.redis.client
    before, counts = [events(node) for node in pair.nodes], [refused(node) for node in pair.nodes]
    with authenticated(a.service, "h") as at_a, authenticated(b.service, "h") as at_b:
        for data in CHANNEL_REFUSED:
            server.publish(CHANNEL, data)
        for fields in LOG_REFUSED:
            server.xadd(LOG, fields)
        publish(a, "h", '"all is well"')
        assert {client.read_message() for client in (at_a, at_b)} == {push_of('"all is well"')}
        total = len(CHANNEL_REFUSED) + len(LOG_REFUSED)
        for node, had, count in zip(pair.nodes, before, counts):
            wait_until(lambda: refused(node) - count == total, lambda: f"{total} refused, not {refused(node) - count}")
            assert events(node) == [*had, {"topic": "h", "payload": '"all is well"'}]
            assert node.knows("worker.status")
        pair.wait_until_joined(2)
        assert [node.row()["why"] for node in pair.nodes] == [None, None]

        server.xadd(LOG, entry(id="8", prev="5", payload='"a gap"', extra="ignored"))
        server.xadd(LOG, entry(id="8", prev="7", payload='"twice"'))
        server.xadd(LOG, entry(id="6", prev="5", payload='"late"'))
        server.xadd(LOG, dict(reversed(entry(id="9", prev="8", payload='"any order"').items())))
        for client in (at_a, at_b):
            assert [client.read_message(), client.read_message()] == [push_of('"a gap"'), push_of('"any order"')]
        publish(b, "h", '"the end"')
        assert {client.read_message() for client in (at_a, at_b)} == {push_of('"the end"')}
        for node in pair.nodes:
            assert sqlite.ask(node.service.database, f"SELECT last_id, missing_id FROM nodes WHERE node = '{'f' * 16}'") == [
                {"last_id": 9, "missing_id": 5}
            ]
    for node in pair.nodes:
        log = (node.service.log_dir / "gateway.log").read_bytes()
        assert len(log) < 100_000 and not re.search(rb"[^\n\t\x20-\x7e]|0011223344556677\.|xxxxxx", log), log[-3000:]


def test_hundreds_of_strangers_and_a_log_that_is_no_stream_are_survived(make_cluster):
    cluster = make_cluster(2)
    a, b = cluster.nodes
    cluster.register("t")
    server = cluster.redis.client
    for node in cluster.nodes:
        publish(node, "t", "0")
    cluster.wait_until_relayed()  # they know each other
    for number in range(300):
        server.publish(CHANNEL, f'{{"origin_id":"{number:016x}","topic":"t","payload":{number}}}')
        server.xadd(LOG, entry(origin=f"{number + 1000:016x}", topic="t", payload=str(number)))
        server.hset(NODES, f"{number:016x}" if number % 2 else f"odd {number}", "no JSON" if number % 3 else json.dumps(
            {"id": f"{number:016x}", "name": "x" * 5000, "version": "\x01", "alive": "yes", "seen_at": "never",
             "connected_sockets": 1e300, "connected_clients": -1}))  # fmt: skip
    through = publish(a, "t", '"through"')

    def are_through():
        last = f"SELECT 1 FROM events WHERE origin = '{299:016x}'"  # of the channel
        has_read = a.row()["relayed_id"] >= through and b.has_event(a.id, through)  # the log
        return has_read and all(sqlite.ask(node.service.database, last) for node in (a, b))

    wait_until(are_through, lambda: f"it goes on\n{a.log_end()}\n{b.log_end()}")
    for node in cluster.nodes:
        assert sqlite.value(node.service.database, "SELECT count(*) FROM nodes") <= 600
        assert node.api.status("?cluster=1").status == 200
        assert node.cluster_nodes() == 2

    server.delete(LOG)
    server.set(LOG, "another program's")
    with authenticated(a.service, "t") as client:
        publish(a, "t", '"meanwhile"')
        assert client.read_message() == push_of('"meanwhile"')
    for node in cluster.nodes:
        assert node.wait_until_away()
    assert server.get(LOG) == b"another program's"
    server.delete(LOG)
    cluster.wait_until_joined()
    cluster.wait_until_relayed()
