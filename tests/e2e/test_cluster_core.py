"""The heart of a cluster: events go from each node to each other one by the log in Redis, once and in order, whatever
happens to Redis, to the gateways, or to what stands in the log."""

import json
import os
import re
import shutil
import signal
import sqlite3
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import sqlite
from harness.cluster import CHANNEL, LOG, Cluster, ForeignNode
from harness.process import wait_until


class Publisher(threading.Thread):
    """Publishes numbers on "t" at a node; `sent`: the ids of those that were answered with 200."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node, self.sent, self.is_over, self.fault = node, [], False, None
        self.start()

    def run(self):
        while not self.is_over:
            reply = self.node.api.publish("t", len(self.sent))
            if reply.status != 200:
                self.fault = reply
                return
            self.sent.append(reply.json["id"])
            time.sleep(0.002)

    def finish(self):
        self.is_over = True
        self.join()
        assert self.fault is None


def events_from(node, other):
    """The ids, in the order of their coming to `node`, of what `other` has published."""
    rows = sqlite.rows(node.service, "SELECT origin FROM events WHERE kind = 0 AND +origin LIKE ? ORDER BY id", f"{other.id}.%")
    return [int(origin.partition(".")[2]) for (origin,) in rows]


def number(node, sql):
    return sqlite.value(node.service.database, sql)


def gaps(node):
    return number(node, "SELECT count(*) FROM events WHERE kind = 5")


def counted(node, name, label=""):
    rows = sqlite.rows(node.service, "SELECT value FROM counters WHERE name = ? AND label = ?", name, label)
    return rows[0][0] if rows else 0


@pytest.fixture(scope="module")
def shared(certificates):
    """Two nodes for tests that leave them as they were, with a registered "t"."""
    cluster = Cluster(certificates).start()
    cluster.register("t")
    yield cluster
    assert cluster.close() == []


def started(make_cluster, **options):
    cluster = make_cluster(2, **options)
    cluster.register("t")
    return cluster


@contextmanager
def publishing(cluster):
    """At the end each node must have what the others have published, once and in order."""
    publishers = [Publisher(node) for node in cluster.nodes]
    for publisher in publishers:
        wait_until(lambda: len(publisher.sent) > 20, "some are published")
    yield publishers
    for publisher in publishers:
        publisher.finish()
    cluster.wait_until_relayed()
    for publisher in publishers:
        for node in cluster.nodes:
            if node is not publisher.node:
                assert events_from(node, publisher.node) == publisher.sent
    assert [gaps(node) for node in cluster.nodes] == [0] * len(cluster.nodes)


def relay_of(service):
    """The pid of the process that holds the lock; None: nobody does."""
    inode = os.stat(service.state_dir / "relay.lock").st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
            return int(words[4])
    return None


def test_what_is_published_at_one_node_comes_out_at_the_other_byte_by_byte_and_orders_too(shared):
    cluster = shared
    a, b = cluster.nodes
    foreign = ForeignNode(cluster.redis)
    payloads = [b"1", b'{"a":1e400,"b":[ ]}', '"\u2028<é>\\u0041"'.encode(), b"null", json.dumps("x" * 900_000).encode()]
    with b.subscribe("t") as client, b.subscribe("t") as other:
        for subscriber in (client, other):
            subscriber.authenticate()
        for payload in payloads:
            assert a.api.call("publish", raw=b'{"topic":"t","payload":%s}' % payload).status == 200
        for payload in payloads:
            for subscriber in (client, other):
                assert subscriber.receive().encode() == b'{"type":"push","payload":%s}' % payload
        wait_until(lambda: len(foreign.heard) == len(payloads), "foreign nodes hear them")
        assert foreign.heard == [("t", payload) for payload in payloads] and foreign.odd == []
        assert a.api.call("unregister", {"topic": "t"}).status == 200
        for subscriber in (client, other):
            assert subscriber.receive_json()["code"] == "topic_unregistered"
            assert subscriber.close_code() == 1000
    cluster.register("t")
    (first, *_) = cluster.redis.client.xrange(LOG)
    assert first[1][b"origin"].decode() == a.id and first[1][b"prev"] == b"0" and first[1][b"payload"] == b"1"
    wait_until(lambda: counted(a, "cluster_relayed") == 6 and counted(b, "cluster_received") == 6, "they are counted")
    foreign.close()


def test_a_locked_database_makes_the_log_wait(shared):
    cluster = shared
    a, b = cluster.nodes
    with sqlite3.connect(b.service.database, isolation_level=None) as person:
        person.execute("BEGIN IMMEDIATE")
        ids = [a.api.publish("t", i).json["id"] for i in range(30)]
        time.sleep(0.5)  # some attempts
        person.execute("COMMIT")
    wait_until(lambda: b.has_event(a.id, ids[-1]), "the last one arrives")
    assert events_from(b, a)[-30:] == ids and gaps(b) == 0


def test_entries_that_nobody_of_us_has_written_are_passed_by(shared):
    cluster = shared
    a, b = cluster.nodes
    client = cluster.redis.client
    good = {"origin": "ab" * 8, "id": 5, "prev": 0, "kind": "push", "topic": "t", "created": 1, "payload": "1"}

    def without(name):
        return {key: value for key, value in good.items() if key != name}

    hostile = {
        "malformed": [
            *(without(name) for name in ("origin", "id", "prev", "kind", "created", "payload")),
            {**good, "id": "five"}, {**good, "id": 0}, {**good, "id": -1}, {**good, "id": 2**70}, {**good, "prev": 5},
            {**good, "kind": "gap"}, {**good, "origin": "AB" * 8}, {**good, "origin": "ab"}, {**good, "user": 1},
            {**good, "created": "now"}, {b"\0\xff": b"\r\n"}, *([{str(i): i for i in range(25_000)}] * 6),
        ],
        "bad_topic": [
            without("topic"), {**good, "topic": ""}, {**good, "topic": "a\nb"}, {**good, "topic": "x" * 256},
            {**good, "topic": b"\xff"}, {**good, "kind": "unregister", "topic": "worker.status"},
        ],
        "not_json": [{**good, "payload": "{"}, {**good, "payload": "1 2"}, {**good, "payload": ""}],
        "not_utf8": [{**good, "payload": b'"\xc3"'}],
        "too_big": [{**good, "payload": json.dumps("x" * 2_000_000)}],
    }  # fmt: skip
    at_once = client.pipeline(transaction=True)
    for entries in hostile.values():
        for entry in entries:
            at_once.xadd(LOG, entry)
    at_once.execute()
    client.xadd(LOG, {**good, "more": "is ignored", "payload": '"good"'})
    with b.subscribe("t") as subscriber:
        subscriber.authenticate()
        a.api.publish("t", "after")
        wait_until(lambda: subscriber.receive_json()["payload"] == "after", "what comes behind them arrives")
    for node in (a, b):
        for cause, entries in hostile.items():
            wait_until(lambda: counted(node, "cluster_refused", cause) == len(entries), f"{cause} is counted")
        assert number(node, "SELECT count(*) FROM events WHERE origin > 'abab' AND origin < 'abac'") == 1
        assert "refused what stood in Redis" in node.log_end(50)

    # Of this node, and it never gave that number: its next ones come after it.
    unknown = number(a, "SELECT max(id) FROM events") + 50
    client.xadd(LOG, {**good, "origin": a.id, "id": unknown, "prev": unknown - 1})
    wait_until(lambda: number(a, "SELECT max(id) FROM events") > unknown, "ids jump")
    wait_until(lambda: "events of this node that its database does not know" in a.log_end(), "that is said")
    last = a.api.publish("t", "last").json["id"]
    wait_until(lambda: b.has_event(a.id, last), "and others take them")


def test_a_node_that_joins_has_what_comes_from_then_on_and_knows_what_it_has_not(shared):
    cluster = shared
    a, b = cluster.nodes
    for i in range(3):
        last = a.api.publish("t", i).json["id"]
    cluster.wait_until_relayed()
    c = cluster.add()
    cluster.wait_until_joined(3)
    cluster.wait_until_known("t")
    with c.subscribe("t") as client:
        client.authenticate()
        new = a.api.publish("t", "new").json["id"]
        assert client.receive_json()["payload"] == "new"
    assert events_from(c, a) == [new] and gaps(c) == 0
    wait_until(lambda: c.row()["log_position"] != "0-0", "the position is written")
    assert sqlite.rows(c.service, "SELECT last_id, missing_id FROM nodes WHERE node = ?", a.id) == [(new, last)]


def test_nothing_is_lost_or_doubled_when_redis_goes_hangs_forgets_or_comes_back_empty(make_cluster):
    cluster = started(make_cluster, proxied=True)
    server, (proxy, _) = cluster.redis, cluster.proxies
    foreign = ForeignNode(server)

    with publishing(cluster) as publishers:
        server.kill()
        for node in cluster.nodes:
            assert re.search("closed|refused|reset", node.wait_until_away())
        server.start()
        cluster.wait_until_joined(3)
        for fault in (server.client.flushall, server.restart_empty):
            marker = cluster.nodes[0].row()["marker"]
            told = min(len(publisher.sent) for publisher in publishers)
            fault()
            for node in cluster.nodes:
                wait_until(lambda: node.row()["marker"] != marker, "the loss is noticed")
            cluster.wait_until_joined(3)
        proxy.hang()
        assert re.match("no answer to", cluster.nodes[0].wait_until_away())
        assert cluster.nodes[1].cluster_nodes() > 0
        proxy.restore(late=True)
        cluster.wait_until_joined(3)
    # The log was emptied, and has all of them again.
    assert server.client.xlen(LOG) >= sum(len(publisher.sent) for publisher in publishers)
    # What is sent again after a loss is for the log alone, but for batches whose answer was lost with it.
    heard = Counter(foreign.heard_on("t"))  # each number once from each node
    foreign.close()
    assert len([i for i in range(told) if heard[b"%d" % i] > len(publishers)]) < told / 5


def attempts(client):
    return client.info("stats")["total_connections_received"]


def test_what_redis_refuses_is_said_and_sent_when_it_takes_it_again(make_cluster):
    cluster = started(make_cluster)
    a, b = cluster.nodes
    client = cluster.redis.client
    foreign = ForeignNode(cluster.redis)

    def another_programs_key():
        client.rename(LOG, "kept")
        client.set(LOG, "something else")

    def put_back():
        client.rename("kept", LOG)

    faults = (
        (lambda: client.config_set("maxmemory", 1), "Redis answers OOM", lambda: client.config_set("maxmemory", 0)),
        (lambda: client.replicaof("127.0.0.1", 1), "Redis answers READONLY", lambda: client.replicaof("no", "one")),
        (another_programs_key, "the key wavelog:log is another program's: it is no stream", put_back),
    )
    for fault, why, mend in faults:
        fault()
        assert a.api.register(f"while {why}").status == 200
        for _ in range(3):
            assert a.api.publish("t", 0).status == 200
        wait_until(lambda: a.row()["why"] == why, lambda: f"{why}: {a.row()}\n{a.log_end()}")
        tried, reached = attempts(client), counted(a, "cluster_reconnects")
        wait_until(lambda: attempts(client) >= tried + 6, "it tries again, twice")
        assert a.cluster_nodes() == -1 and counted(a, "cluster_reconnects") == reached, "it is away all the time"
        mend()
        cluster.wait_until_joined(3)
        a.api.publish("t", 0)
        cluster.wait_until_relayed()
        cluster.wait_until_known(f"while {why}")
    published = [id for (id,) in sqlite.rows(a.service, "SELECT id FROM events WHERE kind = 0 AND origin IS NULL")]
    assert events_from(b, a) == published and len(published) == 12 and gaps(b) == 0
    wait_until(lambda: len(foreign.heard) == 12, lambda: f"each is said once on the channel: {len(foreign.heard)}")
    foreign.close()


def test_of_several_workers_one_relays_and_another_takes_over(make_cluster):
    cluster = started(make_cluster, gateway_processes=3)
    a, _ = cluster.nodes
    with publishing(cluster):
        wait_until(lambda: relay_of(a.service), "a worker has the lock")
        relay = relay_of(a.service)
        os.kill(relay, signal.SIGKILL)
        wait_until(lambda: relay_of(a.service) not in (None, relay), "another has it", 5)
        cluster.wait_until_joined()
        (a.service.state_dir / "relay.lock").unlink()
        wait_until(lambda: (a.service.state_dir / "relay.lock").exists() and relay_of(a.service), "it is made anew", 5)
        relay, old = relay_of(a.service), a.service.gateway
        old.send(signal.SIGUSR2)
        wait_until(lambda: relay_of(a.service) not in (None, relay), "a successor's worker has it", 10)
        cluster.wait_until_joined()
        assert old.wait() == 0
        a.service.gateway.pid = int.from_bytes((a.service.state_dir / "gateway.lock").read_bytes()[:8], "little")
        a.service.gateway.exit_code = None


def test_a_copied_state_dir_stays_away_while_the_original_is_there(make_cluster):
    cluster = started(make_cluster)
    a, b = cluster.nodes
    copy = cluster.add_service()
    with sqlite3.connect(a.service.database) as source, sqlite3.connect(copy.database) as target:
        source.backup(target)
    for path in (copy.state_dir, copy.database):
        shutil.chown(path, *[os.stat(a.service.database).st_uid] * 2)
    twin = cluster.start_node(copy)
    assert twin.id == a.id
    wait_until(lambda: "state_dir was copied" in (twin.row()["why"] or ""), lambda: f"{twin.row()}\n{twin.log_end()}")
    twin.api.register("t")
    assert twin.api.publish("t", "here only").status == 200
    a.api.publish("t", "for all")
    wait_until(lambda: events_from(b, a), "the original goes on")
    assert cluster.redis.client.xlen(LOG) == 1 and a.row()["why"] is None
    heard = Counter()  # what the twin hears while it looks who is there it cannot judge, and does not keep

    def twin_has_heard_some():
        heard[cluster.redis.client.publish(CHANNEL, "{")] += 1
        return heard[3] >= 20

    wait_until(twin_has_heard_some, "it looks again and again", 10, 0.01)
    wait_until(lambda: counted(twin, "publishes") == 1, "the twin has written what it counted")
    assert counted(twin, "cluster_reconnects") <= 1  # which came with the copy
    wait_until(lambda: counted(a, "cluster_refused", "not_json") == heard.total(), "the original has counted all")
    assert counted(twin, "cluster_refused", "not_json") == 0
    assert cluster.redis.client.pubsub_numsub(CHANNEL)[0][1] <= 3
    does_not_overhear_what_was_said_while_it_stood_still(cluster.redis.client, twin)


def does_not_overhear_what_was_said_while_it_stood_still(client, twin):
    beats = client.pubsub(ignore_subscribe_messages=True)
    beats.subscribe(f"wavelog:node:{twin.id}")
    wait_until(lambda: client.pubsub_numsub(CHANNEL)[0][1] == 3, "it looks who is there", interval_s=0.005)
    twin.service.gateway.send(signal.SIGSTOP)
    for _ in range(2):
        wait_until(beats.get_message, "the original beats")
    beats.close()
    tried = attempts(client)
    twin.service.gateway.send(signal.SIGCONT)
    wait_until(lambda: attempts(client) >= tried + 3, "it tries again")
    assert counted(twin, "cluster_reconnects") <= 1
