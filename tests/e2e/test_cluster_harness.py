"""The stand-in for a foreign node, the proxy and the Redis of the cluster's tests do what those tests believe."""

import redis
import pytest

from harness.cluster import CHANNEL, KEY, ForeignNode
from harness.process import wait_until
from harness.redis_server import Proxy, Redis


@pytest.fixture
def server():
    server = Redis(password="a password")
    yield server
    assert server.close() == []


def test_foreign_nodes_hear_each_other_and_not_themselves(server):
    one, two = ForeignNode(server), ForeignNode(server)
    wait_until(lambda: one.cluster_nodes() == 2, "both have subscribed")
    one.register("a/é", require_token=True, ttl_s=60)
    assert two.topics() == {"worker.status", "a/é"} and server.client.get(f"{KEY}a/é") == b'{"require_token":true}'
    one.publish("a/é", {"x": "<é&\u2028>", "n": [1, 2]})
    one.publish("none", 1, names=("Origin_ID", "TOPIC", "PayLoad"))
    one.publish("empty", None, names=("origin_id", "topic", ""))
    server.client.publish(CHANNEL, "no JSON")
    wait_until(lambda: two.odd and one.odd, "all has come")
    assert two.heard == [("a/é", b'{"x":"\\u003c\xc3\xa9\\u0026\\u2028\\u003e","n":[1,2]}'), ("none", b"1"), ("empty", b"null")]
    assert one.heard == []
    for node in (one, two):
        node.close()


def test_the_proxy_hangs_cuts_and_delays_and_a_replica_lacks_what_came_after_its_promotion(server):
    proxy = Proxy(server.address)

    def client():
        return redis.Redis(port=proxy.port, password=server.password, socket_timeout=0.3, socket_connect_timeout=0.3,
                           single_connection_client=False)  # fmt: skip

    def says(expected):
        try:
            return client().ping() == expected
        except redis.TimeoutError:
            return expected == "timeout"
        except redis.ConnectionError:
            return expected == "refused"

    assert says(True)
    for fault, expected in ((proxy.hang, "timeout"), (proxy.firewall, "timeout"), (proxy.cut, "refused"),
                            (proxy.swallow, "timeout"), (lambda: proxy.delay(0.5), "timeout"),
                            (lambda: proxy.delay(0.02), True), (proxy.sever, True)):  # fmt: skip
        fault()
        assert says(expected), expected
        proxy.restore()
        assert says(True)

    held = client()
    held.ping()
    proxy.hang()
    with pytest.raises(redis.TimeoutError):
        held.set("late", 1)
    proxy.restore(late=True)
    wait_until(lambda: server.client.get("late"), "what was held arrives")

    replica = Redis(password=server.password, replica_of=server, masterauth=server.password.join('""'))
    wait_until(replica.is_replica, "it follows")
    server.client.set("before", 1)
    server.client.wait(1, 5000)
    replica.promote()
    server.client.set("after", 1)
    proxy.target = replica.address
    server.kill()
    assert client().get("before") and not client().get("after")
    for other in (proxy, replica):
        assert other.close() == []
    server.start()
    assert server.client.get("after")
    server.restart_empty()
    assert not server.client.get("after")
