"""The stand-in for a foreign node, the proxy, the Redis and the judge of the cluster's tests do what those tests believe."""

import pytest
import redis

from harness.cluster import CHANNEL, KEY, ForeignNode
from harness.hoppers import Hopper, judge
from harness.ledger import key_of
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


class Published:
    """Ten publishes, all answered but 7."""

    count, answered = 10, {n: f"id {n}" for n in range(1, 11) if n != 7}

    def __init__(self, by):
        self.by = by

    def topic_of(self, _):
        return "t"


def test_the_judge_tells_loss_repetition_disorder_and_invention_apart():
    good = [(by, number) for number in range(1, 11) for by in (1, 2)]

    def verdict(*pairs, resume="always", starts=1, others=()):
        members = [Hopper([("address", "/ws")], "t", kind) for kind in (resume, *("always" for _ in others))]
        for member, pushes in zip(members, (pairs, *others)):
            member.keys.extend(key_of(by, number) for by, number in pushes)
            member.starts = [0] * starts
        return " ".join(judge([Published(1), Published(2)], members))

    without_7 = [pair for pair in good if pair != (1, 7)]
    assert verdict(*good) == verdict(*without_7) == ""
    assert verdict(*sorted(good)) == "", "publishers may come in any order"
    assert "lost: 1 pushes, 0 of them answered" in verdict(*without_7, others=[good])
    assert "lost: 1 pushes, 1 of them answered" in verdict(*good[1:])
    assert "lost" in verdict(*good[1:], resume="no") and verdict(*good[1:], resume="no", starts=2) == ""
    assert "repeated: 1 pushes" in verdict(*good, good[3])
    assert "out of order: 1 pushes, the last of them 1/1 after 1/2" in verdict(good[2], *good[:2], *good[3:])
    assert "invented: 3/1" in verdict(*good, (3, 1)) and "invented: 1/11" in verdict(*good, (1, 11))
