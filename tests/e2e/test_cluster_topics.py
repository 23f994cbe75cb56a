"""Topics of a cluster: a key in Redis is a topic at each node, whoever sets it and whatever it holds; events of foreign nodes
come by the channel; and a browser that is faster than its topic waits for it. The stand-in for the existing
implementation is harness.cluster.ForeignNode."""

import json
import threading
import time

import pytest

from harness import sqlite
from harness.cluster import CHANNEL, KEY, NODES, ForeignNode
from harness.process import wait_until
from harness.websocket import TOPIC_UNREGISTERED, WebSocket, authenticated, path_of, push_of

NEVER = 9223372036854775807


@pytest.fixture
def cluster(make_cluster):
    return make_cluster(2, topic_ttl="60s")


@pytest.fixture
def foreign(cluster):
    node = ForeignNode(cluster.redis)
    yield node
    node.close()


def row_of(node, topic):
    rows = sqlite.rows(node.service, "SELECT require_token, expires_ms FROM topics WHERE topic = ?", topic)
    return rows[0] if rows else None


def left_ms(node, topic):
    return row_of(node, topic)[1] - time.time() * 1000


def until_known(nodes, topic, known=True):
    for node in nodes:
        wait_until(lambda: (row_of(node, topic) is not None) == known, lambda: f"{topic} {known}\n{node.log_end()}")


def test_a_topic_of_one_node_is_a_topic_of_each(cluster, foreign):
    a, b = cluster.nodes
    redis = cluster.redis.client
    assert a.api.register("a/é \"x\"", meta={"require_token": True}).status == 200
    until_known([b], "a/é \"x\"")
    assert row_of(b, "a/é \"x\"")[0] == 1 and 50_000 < left_ms(b, "a/é \"x\"") <= 61_000
    assert redis.get(KEY + "a/é \"x\"") == b'{"require_token":true}' and 50_000 < redis.pttl(KEY + "a/é \"x\"") <= 60_000

    foreign.register("theirs", require_token=True, ttl_s=30)
    until_known([a, b], "theirs")
    foreign.register("theirs", require_token=False, ttl_s=3000)
    for node in (a, b):
        wait_until(lambda: row_of(node, "theirs")[0] == 0 and left_ms(node, "theirs") > 2_000_000, "its row follows")
    with authenticated(b.service, "theirs") as browser:
        foreign.unregister("theirs")
        until_known([a, b], "theirs", False)
        assert a.api.publish("theirs", 1).status == 404
        assert b.api.register("theirs").status == 200  # a browser stays, as with a topic that has expired
        until_known([a], "theirs")
        assert a.api.publish("theirs", 2).status == 200
        assert browser.read_message() == push_of("2")

        assert a.api.unregister("theirs").status == 200
        assert browser.read_message() == TOPIC_UNREGISTERED
    until_known([b], "theirs", False)
    assert not redis.exists(KEY + "theirs")

    redis.set(KEY + "short", "{}", px=700)
    until_known([a, b], "short")
    wait_until(lambda: not redis.exists(KEY + "short"), "it expires")
    until_known([a, b], "short", False)

    # Registered again, its key lives longer; worker.status comes back, and always needs a token.
    assert a.api.register("t").status == 200
    wait_until(lambda: redis.exists(KEY + "t"), "its key")
    redis.pexpire(KEY + "t", 5000)
    assert a.api.register("t").status == 200
    wait_until(lambda: redis.pttl(KEY + "t") > 50_000, "it lives longer")
    for value in (None, "{}", '{"require_token":false}'):
        redis.delete(KEY + "worker.status") if value is None else redis.set(KEY + "worker.status", value)
        wait_until(lambda: redis.get(KEY + "worker.status") == b'{"require_token":true}', "worker.status is back")
    assert row_of(a, "worker.status") == (1, NEVER)

    # At two nodes, by turns, in no time: in the end each agrees with Redis.
    for i in range(10):
        (a, b)[i % 2].api.register("hasty")
        (a, b)[(i + i // 3) % 2].api.unregister("hasty")
    a.api.register("hasty", require_token=True)
    for node in (a, b):
        wait_until(lambda: bool(redis.exists(KEY + "hasty")) == (row_of(node, "hasty") is not None)
                   and not sqlite.rows(node.service, "SELECT 1 FROM topics_to_relay"), "they agree")  # fmt: skip


def test_a_key_of_any_odd_value_is_what_it_is_to_the_existing_nodes(cluster):
    a, b = cluster.nodes
    redis = cluster.redis.client
    good = {"empty": "{}", "null": " null\n", "case": '{"Require_Token":true}', "more": '{"a":[1],"require_token":true}'}
    bad = {
        "array": "[]", "none": "", "text": '"x"', "number": '{"require_token":1}', "words": "not JSON", "half": '{"require_token":',
        "utf8": b'{"a":"\xff"}', "huge": '{"require_token":true}' + " " * 2_000_000,
    }  # fmt: skip
    for name, value in (good | bad).items():
        redis.set(KEY + name, value, ex=100)
    redis.lpush(KEY + "list", "{}")
    redis.hset(KEY + "hash", "require_token", "true")
    for name in (b"", b"a\nb", b"\xff", b"\x7f", b"x" * 256, b"x" * 1_000_000):
        redis.set(KEY.encode() + name, "{}", ex=100)
    redis.set(KEY + "forever", "{}")
    until_known([a, b], "forever")
    for node in (a, b):
        wait_until(lambda: node.topics() == {*good, "forever", "worker.status"}, lambda: f"{node.topics()}\n{node.log_end()}")
        assert row_of(node, "forever") == (0, NEVER)
        assert [row_of(node, name)[0] for name in good] == [0, 0, 1, 1]
        for cause in ("too_big", "not_utf8", "not_json", "malformed", "bad_topic"):
            wait_until(lambda: sqlite.counted(node.service, "cluster_refused", cause), f"{cause} is counted")
    redis.set(KEY + "empty", "[]")  # no topic any more
    until_known([a, b], "empty", False)
    assert all(node.cluster_nodes() == 2 for node in (a, b))
