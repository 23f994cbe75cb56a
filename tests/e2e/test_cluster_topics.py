"""Topics of a cluster: a key in Redis is a topic at each node, whoever sets it and whatever it holds; events of foreign nodes
come by the channel; and a browser that is faster than its topic waits for it. The stand-in for the existing
implementation is harness.cluster.ForeignNode."""

import json
import re
import signal
import time
from pathlib import Path

import pytest

from harness import sqlite
from harness.cluster import KEY, NODES, ForeignNode
from harness.process import wait_until
from harness.redis_server import Redis
from harness.stream import streaming
from harness.websocket import TOPIC_UNREGISTERED, WebSocket, authenticated, path_of, push_of

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs/cluster.md"
NEVER = 9223372036854775807


@pytest.fixture
def cluster(make_cluster):
    """Whose user in Redis may do what the documentation says, and nothing else."""
    server, password = Redis(), "0123456789abcdef"
    rules = re.search(r"ACL SETUSER (.*?)```", DOCUMENTATION.read_text(), re.S)[1].replace("PASSWORD", password)
    server.client.execute_command("ACL", "SETUSER", *rules.split())
    yield make_cluster(2, redis=server, redis_url=server.url_of("wavelog", password), topic_ttl="60s")
    assert server.close() == []


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
    cluster.wait_until_joined()


def test_what_foreign_nodes_say_on_the_channel_reaches_browsers_and_ours_reaches_them(cluster, foreign):
    a, b = cluster.nodes
    other = ForeignNode(cluster.redis)
    cluster.register("t")
    browsers = [authenticated(node.service, "t") for node in (a, b)]

    def all_receive(payload):
        for browser in browsers:
            assert browser.read_message() == push_of(payload)

    foreign.publish("t", {"x": "<é&\u2028>"})
    all_receive('{"x":"\\u003cé\\u0026\\u2028\\u003e"}')
    foreign.publish("t", 2, names=("ORIGIN_ID", "Topic", "PayLoad"), more='"new":[{}],"topic":"x","payload":0,')
    all_receive("2")
    foreign.publish("t", None, names=("origin_id", "topic", ""))
    all_receive("null")
    foreign.publish("t", "x" * 1_000_000)
    all_receive('"' + "x" * 1_000_000 + '"')
    sqlite.wait_until_counted(a.service, "cluster_received", "", 4)
    row = sqlite.rows(a.service, "SELECT DISTINCT origin FROM events WHERE origin IS NOT NULL")
    assert row == [(foreign.origin,)]

    # Nobody has registered it: existing nodes do not look either.
    foreign.publish("nobody's", 1)
    for node in (a, b):
        wait_until(lambda: sqlite.rows(node.service, "SELECT 1 FROM events WHERE topic = ?", "nobody's"), "it is kept")

    # Ours, once each: here by the log, there by the channel, byte by byte.
    assert a.api.call("publish", raw=b'{"topic":"t","payload":{"a" : 1.0e2,"b":"\\u00e9<\xc3\xa9"} }').status == 200
    all_receive('{"a" : 1.0e2,"b":"\\u00e9<é"}')
    wait_until(lambda: foreign.heard_on("t"), "it is heard")
    assert b.api.publish("t", 4).status == 200
    all_receive("4")
    for node in (foreign, other):
        wait_until(lambda: len([1 for payload in node.heard_on("t") if payload == b"4"]) == 1, "it is heard")
    assert foreign.heard_on("t") == ['{"a" : 1.0e2,"b":"\\u00e9<é"}'.encode(), b"4"] and foreign.odd == []

    # Hostile ones are counted, and nothing else happens.
    head = f'{{"origin_id":"{foreign.origin}","topic":"t","payload":'.encode()
    hostile = {
        "too_big": [head + b'"' + b"x" * 2_000_000 + b'"}'],
        "not_utf8": [b"\xff", head + b'"\xc3"}'],
        "not_json": [b"", b"hello", b"[]", b"null", head, head + b"1}}", head + b'"\n"}', head + b"[" * 100_000],
        "malformed": [b"{}", b'{"origin_id":5,"topic":"t"}', b'{"origin_id":"' + b"A" * 16 + b'","topic":"t"}'],
        "bad_topic": [head + b'1,"topic":%s}' % topic for topic in (b"null", b"[]", b'""', b'"a\\n"', b'"\\ud800"')],
    }
    for messages in hostile.values():
        for message in messages:
            foreign.say(message)
    foreign.publish("t", "after")
    all_receive('"after"')
    for node in (a, b):
        for cause, messages in hostile.items():
            sqlite.wait_until_counted(node.service, "cluster_refused", cause, len(messages))
        wait_until(lambda: node.cluster_nodes() == 4, "all four listen")

    # While the database cannot be written they wait, in order.
    with sqlite.OpenTransaction(b.service.database):
        for i in range(300):
            foreign.publish("t", i)
    for browser in browsers:
        assert [browser.read_message() for _ in range(300)] == [push_of(str(i)) for i in range(300)]
    for node in (other, *browsers):
        node.close()


def status_of(socket):
    return int(socket._read_until(b"\r\n\r\n").split()[1])


def ask_for(node, topic):
    """A WebSocket whose request for that topic has been sent, and not been answered."""
    socket = WebSocket(node.service.ws_address)
    socket.send(socket.request(path_of(topic)))
    return socket


def is_let_in(node, topic):
    with ask_for(node, topic) as socket:
        return status_of(socket) == 101


def test_a_browser_that_is_faster_than_its_topic_waits_for_it(make_cluster):
    cluster = make_cluster(2, start=False, proxied=True, gateway_processes=2)
    redis = cluster.redis.client
    redis.execute_command("ACL", "SETUSER", "default", "-client|tracking")  # so that nobody is told of new keys
    a, b = cluster.start().nodes
    wait_until(lambda: "+client|tracking" in b.log_end(500), "it says what it does not hear")

    # Over whichever process of node b.
    for i in range(12):
        assert a.api.register(f"fast {i}").status == 200
        wait_until(lambda: redis.exists(f"{KEY}fast {i}"), "it is in Redis")
        assert not row_of(b, f"fast {i}")
        with authenticated(b.service, f"fast {i}") as browser:
            assert a.api.publish(f"fast {i}", i).status == 200
            assert browser.read_message() == push_of(str(i))
    redis.set(KEY + "stream", "{}", ex=100)  # the body has come with the request, and waits too
    with streaming(b.service, "stream") as browser:
        assert b.api.publish("stream", 1).status == 200
        assert browser.read_message() == push_of("1")
    redis.set(KEY + "slow", "{}", ex=100)
    with WebSocket(b.service.ws_address) as browser:
        assert browser.handshake(path_of("slow"), chunk=20)[0] == 101
    for question in (path_of("never"), path_of("a\nb")):
        with WebSocket(b.service.ws_address) as browser:
            assert browser.handshake(question)[0] in (404, 400)
    assert b.poll("never").status == 404  # the API knows no Redis

    # Redis answers too late, or not at all.
    b_proxy = cluster.proxies[1]
    b_proxy.hang()
    redis.set(KEY + "late", "{}", ex=100)
    crowd = [ask_for(b, f"late {i}") for i in range(300)] + [ask_for(b, "late") for _ in range(20)]
    gone = [ask_for(b, "late") for _ in range(20)]
    for socket in gone:
        socket.close()
    for socket in crowd:
        assert status_of(socket) == 404
        socket.close()
    b_proxy.restore()
    b.wait_until_joined()
    wait_until(lambda: is_let_in(b, "late"), "whichever process is asked can ask")
    with authenticated(b.service, "late"):
        pass
    # A reload and a drain meanwhile.
    b_proxy.hang()
    crowd = [ask_for(b, f"again {i}") for i in range(10)]
    b.service.gateway.send(signal.SIGHUP)
    assert [status_of(socket) for socket in crowd] == [404] * 10
    crowd = [ask_for(b, f"again {i}") for i in range(10)]
    assert b.service.gateway.stop() is None
    b_proxy.restore()
    b.service.start_gateway()
    with authenticated(b.service, "late"):
        pass


def test_a_redis_that_was_emptied_gets_the_topics_back_and_thousands_that_expire_are_no_trouble(make_cluster):
    cluster = make_cluster(2, topic_ttl="60s", max_topics=600)
    a, b = cluster.nodes
    redis = cluster.redis.client
    for i in range(100):
        assert (a, b)[i % 2].api.register(f"t{i}", require_token=i % 3 == 0).status == 200
    mine = {f"t{i}" for i in range(100)} | {"worker.status"}

    def live(node):
        return {row[0] for row in sqlite.rows(node.service, "SELECT topic FROM topics WHERE expires_ms > ?", time.time() * 1000)}

    def keys():
        return {key.decode().removeprefix(KEY) for key in redis.scan_iter(KEY + "*", count=1000)}

    for node in (a, b):
        wait_until(lambda: live(node) == mine, "each knows all")
    redis.flushall()
    for node in (a, b):
        wait_until(lambda: keys() == mine and live(node) == mine and node.cluster_nodes() == 2,
                   lambda: f"{len(keys())} {len(live(node))}\n{node.log_end()}", 12)  # fmt: skip
    # A part of it, and nothing that would say so: what is missing is missing everywhere.
    redis.pipeline().delete("wavelog:marker").delete(*[f"{KEY}t{i}" for i in range(0, 100, 9)]).execute()
    for node in (a, b):
        wait_until(lambda: keys() == mine == live(node), lambda: f"{len(keys())} {len(live(node))}\n{node.log_end()}", 12)
    assert json.loads(redis.get(KEY + "t3")) == {"require_token": True} and redis.pttl(KEY + "t3") > 10_000
    assert json.loads(redis.get(KEY + "t4")) == {"require_token": False}

    # 20,000 keys of others come and go, with 20,000 of another program's around: as many are topics as there is room for.
    for name in (KEY + "many ", "other:"):
        pipe = redis.pipeline(transaction=False)
        for i in range(20_000):
            pipe.set(f"{name}{i}", "{}", px=3000)
        pipe.execute()
    for node in (a, b):
        wait_until(lambda: "more topics than max_topics allows" in node.log_end(), "it says so")
    for node in (a, b):
        wait_until(lambda: live(node) == mine, lambda: f"{len(live(node))}\n{node.log_end()}", 12)
        assert node.cluster_nodes() == 2
    redis.set(KEY + "last", "{}", ex=100)
    assert a.api.unregister("t0").status == 200
    until_known([a, b], "last")
    until_known([b], "t0", False)


def test_each_node_says_how_it_stands_and_hears_of_the_others(make_cluster):
    cluster = make_cluster(2, proxied=True)
    a, b = cluster.nodes
    redis = cluster.redis.client

    def beat():
        """A node says it every 5 s, and as soon as it is there."""
        for proxy in cluster.proxies:
            proxy.sever()

    def entry(node):
        return json.loads(redis.hget(NODES, node.id) or "{}")

    def rows(node):
        query = "SELECT node, name, version, is_alive, topics, clients, sockets FROM nodes"
        return {row[0]: row[1:] for row in sqlite.rows(node.service, query)}

    assert a.api.register("t").status == 200
    with authenticated(a.service, "t"):
        wait_until(lambda: a.api.status().json["connected_sockets"] == 1, "it is counted")
        beat()
        wait_until(lambda: entry(a).get("connected_sockets") == 1, lambda: f"{entry(a)}", 12)
        said = entry(a)
        assert list(said) == ["id", "name", "version", "started_at", "seen_at", "active_topics", "connected_clients",
                              "connected_sockets", "alive", "uptime", "uptime_seconds"]  # fmt: skip
        assert said["id"] == a.id and said["alive"] is True and (said["active_topics"], said["connected_clients"]) == (1, 1)
        wait_until(lambda: rows(b).get(a.id) == (said["name"], said["version"], 1, 1, 1, 1), lambda: f"{rows(b)}", 12)

    # What was registered just before the link went, a Redis that failed over may have lost without a trace.
    cluster.register("late")
    for proxy in cluster.proxies:
        proxy.cut()
    for node in (a, b):
        node.wait_until_away()
    redis.delete(KEY + "late")
    first, second = cluster.proxies
    with sqlite.OpenTransaction(a.service.database):  # before that is noted, nothing is compared
        first.restore()
        tried = first.accepted
        wait_until(lambda: first.accepted >= tried + 6, "it tries again")
    wait_until(lambda: redis.pttl(KEY + "late") > 10_000, "it is given back")
    second.restore()
    cluster.wait_until_joined()
    until_known((a, b), "late")

    now, old = time.strftime("%Y-%m-%dT%H:%M:%S.5Z", time.gmtime()), "2026-01-01T00:00:00Z"
    go = "f" * 16
    for field, value in {
        go: {"id": go, "name": "go", "started_at": old, "seen_at": now, "connected_sockets": 7},
        "0" * 16: {"id": "0" * 16, "name": "old", "started_at": old, "seen_at": old},
        "1" * 16: {"id": "2" * 16, "name": "liar", "started_at": old, "seen_at": now},
        "3" * 16: [],
        "x": {},
    }.items():
        redis.hset(NODES, field, json.dumps(value))
    redis.hset(NODES, "4" * 16, "x" * 1_000_000)
    beat()
    for node in (a, b):
        wait_until(lambda: rows(node).get(go) == ("go", "", 1, 0, 0, 7), lambda: f"{rows(node)}", 12)
        assert rows(node)["0" * 16][2] == 0 and not {"1" * 16, "2" * 16, "3" * 16, "4" * 16, node.id} & set(rows(node))
    redis.hdel(NODES, go)
    beat()
    wait_until(lambda: go not in rows(a), lambda: f"{rows(a)}", 12)
    pipe = redis.pipeline()
    for i in range(1000):
        pipe.hset(NODES, f"{i:016x}", json.dumps({"id": f"{i:016x}", "started_at": old, "seen_at": now}))
    pipe.execute()
    beat()
    wait_until(lambda: sqlite.counted(b.service, "cluster_refused", "too_many_nodes"), "there are too many", 12)
    malformed = sqlite.counted(b.service, "cluster_refused", "malformed")
    redis.delete(NODES)
    redis.set(NODES, "another program's")
    beat()
    wait_until(lambda: sqlite.counted(b.service, "cluster_refused", "malformed") > malformed, "it is refused", 12)
    cluster.wait_until_joined()
    redis.delete(NODES)
    beat()
    wait_until(lambda: entry(a) and entry(b), "they say so again", 12)
    ending = b.id
    assert b.service.gateway.stop() is None
    wait_until(lambda: not redis.hexists(NODES, ending) and redis.hexists(NODES, a.id), "it takes its leave")
    b.service.start_gateway()
    wait_until(lambda: redis.hexists(NODES, ending), "and is there again")
