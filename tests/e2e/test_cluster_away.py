"""Whatever happens to Redis or to the way there: each node goes on as if it were alone, says since when and why, is back by
itself, and what was committed meanwhile reaches everybody, in order and once."""

import contextlib
import datetime
import json
import os
import random
import signal
import time

import pytest

from harness import sqlite
from harness.cluster import BACK_S, CHANNEL, KEY, LOG
from harness.crashes import Crashes, has_ended, is_head
from harness.hoppers import Traffic
from harness.process import wait_until
from harness.redis_server import Redis
from harness.websocket import authenticated, push_of
from test_cluster import publish
from test_cluster_tls import NAME

SECRET_WORDS = "sesame", "open, sesame"


def serves_alone(node, number):
    """A topic that is registered, published to and heard of at this node, whatever Redis does."""
    topic = f"alone {number}"
    assert node.api.register(topic).status == 200
    with authenticated(node.service, topic) as client:
        publish(node, topic, str(number))
        assert client.read_message() == push_of(str(number))


def says_that_it_is_away(node, *words, after_s=0):
    wait_until(lambda: any(word in node.wait_until_away() for word in words or [""]), lambda: f"{words}: {node.row()}")
    why = node.row()["why"]
    status = node.api.status("?topics=0").json
    assert (status["status"], status["cluster_nodes"]) == ("ok", -1) and status["cluster_why"]
    since_s = datetime.datetime.fromisoformat(status["cluster_since"].replace("Z", "+00:00")).timestamp()
    assert int(after_s) <= since_s <= time.time()
    ready = node.api.call(node.ready_path, method="GET")
    assert ready.status == 503 and ready.text.startswith("unavailable: Redis away: "), ready.text
    assert not any(word in why or word in node.log_end(500) for word in SECRET_WORDS)


def is_whole(node):
    assert node.api.call(node.ready_path, method="GET").text == "ok\n"
    assert "cluster_why" not in node.api.status("?topics=0").json


class Faults:
    """What befalls each node at once. Each begins something and returns what ends it."""

    def __init__(self, cluster):
        self.cluster, self.redis = cluster, cluster.redis
        self.proxies = cluster.proxies

    def _at_each(self, name, **options):
        for proxy in self.proxies:
            getattr(proxy, name)()
        return lambda: [proxy.restore(**options) for proxy in self.proxies]

    def cut(self):
        return self._at_each("cut")

    def hang(self):
        return self._at_each("hang")

    def hang_and_arrive_late(self):
        return self._at_each("hang", late=True)

    def firewall(self):
        return self._at_each("firewall")

    def swallow(self):
        return self._at_each("swallow")

    def killed(self):
        self.redis.kill()
        return self.redis.start

    def killed_and_emptied(self):
        self.redis.kill()
        self.redis.forget()
        return self.redis.start

    def held(self):
        self.redis.hold()
        return self.redis.go_on

    def out_of_memory(self):
        self.redis.client.config_set("maxmemory", 1)
        return lambda: self.redis.client.config_set("maxmemory", 0)

    def wrong_password(self):
        client = self.redis.client  # it has shown the right one
        client.config_set("requirepass", "another one")
        client.client_kill_filter(_type="normal", skipme=True)
        client.client_kill_filter(_type="pubsub", skipme=True)
        return lambda: client.config_set("requirepass", SECRET_WORDS[1])

    def read_only(self):
        self.redis.client.replicaof("127.0.0.1", 1)
        return lambda: self.redis.client.replicaof("no", "one")


GROUPS = {
    "the way is cut": [("cut", "refused reset closed"), ("hang", ""), ("firewall", ""), ("swallow", "")],
    "redis is away": [("killed", "refused reset closed"), ("held", ""), ("killed_and_emptied", "refused reset closed"),
                      ("hang_and_arrive_late", "")],
    "redis refuses": [("out_of_memory", "OOM memory"), ("wrong_password", "WRONGPASS password"), ("read_only", "READONLY read")],
}  # fmt: skip
BY_TLS_AND_NAME = "the way is cut"


@pytest.mark.parametrize("group", GROUPS, ids=lambda name: name.replace(" ", "-"))
def test_local_service_goes_on_and_all_is_relayed_once_it_is_back(make_cluster, certificates, group):
    secure = {"certificates": certificates} if group == BY_TLS_AND_NAME else {}
    cluster = make_cluster(2, proxied=True, start=False, redis={"password": SECRET_WORDS[1], **secure})
    for service, proxy in zip(cluster.services, cluster.proxies):
        url = cluster.redis.url_of(port=proxy.port)
        if secure:
            service.write_config(redis_url=url.replace("127.0.0.1", NAME or "127.0.0.1"), redis_ca=str(cluster.redis.tls))
    cluster.start()
    faults, number = Faults(cluster), 0
    with Traffic(cluster, rate=40) as traffic:
        for name, words in GROUPS[group]:
            traffic.wait_for_publishes(20)
            began_s = time.time()
            end = getattr(faults, name)()
            try:
                for node in cluster.nodes:
                    says_that_it_is_away(node, *words.split(), after_s=began_s)
                    number += 1
                    serves_alone(node, number)
                for at in range(len(cluster.nodes)):
                    traffic.wait_for_publishes(20, at)
            finally:
                end()
            cluster.wait_until_joined()
        assert traffic.finish() == []
    assert set(traffic.statuses()) == {200} and not any(publisher.lost_answers for publisher in traffic.publishers)
    assert not any(len(member.starts) != 1 for member in traffic.members if member not in traffic.hoppers), "nobody is sent away"
    for node in cluster.nodes:
        is_whole(node)
        wait_until(lambda: {f"alone {n + 1}" for n in range(number)} <= node.topics(), "topics meet")
    if group == "redis is away":
        assert_log_is_complete(cluster)


def assert_log_is_complete(cluster):
    """What the database of each node has of its own stands in the log, in order; more than once at most."""
    had = {}
    for _, fields in cluster.redis.client.xrange(LOG):
        had.setdefault(fields[b"origin"].decode(), []).append(int(fields[b"id"]))
    for node in cluster.nodes:
        own = [row["id"] for row in sqlite.ask(
            node.service.database, "SELECT id FROM events WHERE origin IS NULL AND kind = 0 ORDER BY id")]  # fmt: skip
        first = list(dict.fromkeys(had[node.id]))
        assert [number for number in first if number in set(own)] == own


def test_a_slow_redis_is_not_away_and_slows_nobody(make_cluster):
    cluster = make_cluster(2, proxied=True)
    cluster.register("large")
    with Traffic(cluster, rate=60, hoppers=2) as traffic:
        for proxy in cluster.proxies:
            proxy.delay(0.3)
            proxy.throttle(400_000)  # the large one takes longer than a Redis that hangs is given
        publish(cluster.nodes[0], "large", json.dumps("x" * 600_000))
        connections = [proxy.accepted for proxy in cluster.proxies]
        traffic.wait_for_publishes(400)
        assert [node.cluster_nodes() for node in cluster.nodes] == [2, 2]
        assert [proxy.accepted for proxy in cluster.proxies] == connections, "they hold"
        assert traffic.finish() == []
    assert set(traffic.statuses()) == {200}


def test_a_node_that_starts_while_redis_is_away_serves_and_joins_later(make_cluster):
    cluster = make_cluster(2)
    a, b = cluster.nodes
    cluster.register("t")
    publish(a, "t", "1")
    cluster.wait_until_relayed()
    cluster.redis.kill()
    for node in cluster.nodes:
        node.service.restart_gateway()
    with authenticated(b.service, "t") as at_b:
        for number in range(2, 50):
            publish(a, "t", str(number))
        for node in cluster.nodes:
            says_that_it_is_away(node)
        serves_alone(a, 1)
        assert a.api.unregister("alone 1").status == 200
        cluster.redis.start()
        assert [at_b.read_message() for _ in range(2, 50)] == [push_of(str(number)) for number in range(2, 50)]
    cluster.wait_until_joined()
    assert not b.knows("alone 1") and not cluster.redis.client.exists(KEY + "alone 1")


@pytest.mark.parametrize("how", ["a replica that lacks the tail takes over", "it comes back empty", "it comes back older"])
def test_what_redis_has_lost_comes_from_who_published_it(make_cluster, how):
    """What a relayed, what C has read, and B has not."""
    cluster = make_cluster(3, proxied=True)
    (a, b, c), (_, to_b, _) = cluster.nodes, cluster.proxies
    cluster.register("t")
    replica = Redis(replica_of=cluster.redis)
    try:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(authenticated(node.service, "t")) for node in cluster.nodes]
            count = 0

            def publish_some(some):
                nonlocal count
                for _ in range(some):
                    count += 1
                    publish(a, "t", str(count))

            def expect(client, some):
                assert [client.read_message() for _ in range(some)] == [
                    push_of(str(number)) for number in range(count - some + 1, count + 1)
                ]  # fmt: skip

            publish_some(5)
            for client in clients:
                expect(client, 5)
            wait_until(replica.is_replica, "the replica follows")
            cluster.redis.client.wait(1, 5000)
            replica.promote()
            to_b.hang()
            publish_some(5)
            expect(clients[0], 5)
            expect(clients[2], 5)
            if how == "a replica that lacks the tail takes over":
                cluster.redis.kill()
                for proxy in cluster.proxies:
                    proxy.target = replica.address
            elif how == "it comes back empty":
                cluster.redis.restart_empty()
            else:  # the programs are started again as well, so that nobody remembers anything
                cluster.redis.kill()
                for proxy in cluster.proxies:
                    proxy.target = replica.address
                a.service.restart_gateway()
            to_b.restore()
            expect(clients[1], 5)
            cluster.wait_until_joined()
            publish_some(2)
            for client in clients[1:]:
                expect(client, 2)
            publish(b, "t", '"the end"')
            for client in clients[1:]:
                assert client.read_message() == push_of('"the end"')
    finally:
        assert replica.close() == []


def test_a_client_that_has_seen_more_than_its_new_node_waits_for_it_and_gets_nothing_twice(make_cluster):
    cluster = make_cluster(2, proxied=True)
    (a, b), (to_a, _) = cluster.nodes, cluster.proxies
    cluster.register("t")
    with a.subscribe("t") as client:
        position = json.loads(client.authenticate(last_event_id=None))["last_event_id"]
    to_a.hang()
    published = [publish(b, "t", str(number)) for number in (1, 2, 3)]
    with b.subscribe("t") as client:
        assert json.loads(client.authenticate(last_event_id=position))["recovered"] is True
        frames = [client.receive_json() for _ in published]
        assert [frame["payload"] for frame in frames] == [1, 2, 3]
    with a.subscribe("t") as behind, a.subscribe("t") as ahead:
        for client, at in ((behind, frames[0]), (ahead, frames[2])):
            assert json.loads(client.authenticate(last_event_id=at["id"]))["recovered"] is True
        publish(a, "t", '"own"')
        assert [client.receive_json()["payload"] for client in (behind, ahead)] == ["own", "own"]
        assert a.poll("t", last_event_id=frames[2]["id"]).json["pushes"][0]["payload"] == "own"
        to_a.restore()
        assert [behind.receive_json()["payload"] for _ in range(2)] == [2, 3]
        publish(b, "t", "4")
        frames = [client.receive_json() for client in (behind, ahead)]
        assert [frame["payload"] for frame in frames] == [4, 4]
    cluster.wait_until_relayed()
    for frame in frames:
        for node in cluster.nodes:
            answer = node.poll("t", last_event_id=frame["id"])
            assert answer.status == 204 or answer.json["pushes"] == [] and answer.json["recovered"] is True


def test_what_a_node_has_missed_for_longer_than_the_log_is_not_recovered_and_counted(make_cluster):
    cluster = make_cluster(2, proxied=True, event_limit=100)
    (a, b), (_, to_b) = cluster.nodes, cluster.proxies
    cluster.register("t")
    with b.subscribe("t") as client:
        position = json.loads(client.authenticate(last_event_id=None))["last_event_id"]
        publish(a, "t", "0")
        early = client.receive_json()["id"]
    to_b.cut()
    for number in range(1, 1001):
        last = publish(a, "t", str(number))
    wait_until(lambda: cluster.redis.client.xlen(LOG) <= 400 and a.row()["relayed_id"] >= last, "it is trimmed")
    with authenticated(b.service, "t") as plain:
        to_b.restore()
        had = []
        while "1000" not in had:
            had.append(str(json.loads(plain.read_message())["payload"]))
        assert had == sorted(set(had), key=int) and len(had) < 1000
    for node in cluster.nodes:
        for where in (position, early):
            with node.subscribe("t") as client:
                assert json.loads(client.authenticate(last_event_id=where))["recovered"] is False
    wait_until(lambda: sqlite.counted(b.service, "cluster_gaps") >= 1, "it is counted")
    assert sqlite.counted(a.service, "cluster_gaps") == 0


def test_of_several_processes_one_relays_and_another_takes_over(make_cluster):
    cluster = make_cluster(2, gateway_processes=2, drain="300ms")
    a = cluster.nodes[0].service

    def subscriptions():
        return cluster.redis.client.pubsub_numsub(CHANNEL)[0][1]

    with Traffic(cluster, rate=80) as traffic:
        crashes = Crashes(a, random.Random(1), traffic.by_node[0], traffic.crowd)
        traffic.wait_for_publishes(60)
        assert subscriptions() == 2
        for victim in sorted(pid for pid in crashes.gateways() if not is_head(pid)):  # the one that relays is among them
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: has_ended(victim), "it is dead")
            traffic.wait_for_publishes(60)
            wait_until(lambda: subscriptions() == 2, lambda: f"one of them subscribes: {subscriptions()}", BACK_S)
        crashes.replace()
        crashes.settle()
        wait_until(lambda: subscriptions() == 2, lambda: f"the successor relays: {subscriptions()}", BACK_S)
        traffic.wait_for_publishes(60)
        assert traffic.finish() == []
    assert set(traffic.statuses()) == {200}
