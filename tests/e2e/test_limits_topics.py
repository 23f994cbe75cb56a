"""max_topics: a new topic is refused with 503 when so many are registered, and only a new one; a place that gets free is
given away again."""

import pytest

from harness import sqlite
from harness.limits import assert_served
from harness.limits import make_server  # a fixture
from harness.direct import authenticated
from harness.waiting import wait_until


@pytest.fixture
def full(make_server):
    """A server with "t" and two more topics, of three that may be."""
    server = make_server(max_topics=3, topic_ttl="1h")
    for topic in ("a", "b"):
        assert server.api.register(topic).status == 200
    return server


def assert_full(server):
    reply = server.api.register("one too many")
    assert (reply.status, reply.body) == (503, b"unavailable: too many topics\n")
    assert reply.headers["Retry-After"] == "1"
    assert server.api.publish("one too many", 1).status == 404


def test_one_too_many_is_503_and_the_others_go_on(full):
    with authenticated(full.service, "t") as member:
        for _ in range(3):
            assert_full(full)
            for topic in ("t", "a", "b", "worker.status"):
                assert full.api.register(topic).status == 200  # again
            assert_served(full, member)
    assert full.api.status().json["registered_topics"] == 4  # worker.status is one


def test_an_unregistered_topic_makes_room_for_one(full):
    assert full.api.unregister("a").status == 200
    assert full.api.unregister("a").status == 200  # twice: no more room for that
    assert full.api.register("c").status == 200
    assert_full(full)


def test_an_expired_topic_makes_room_when_it_is_pruned(full):
    sqlite.change(full.service.database, "UPDATE topics SET expires_ms = 1 WHERE topic IN ('a', 'b')")
    wait_until(lambda: full.api.register("c").status == 200, "one of the two has made room")
    wait_until(lambda: full.api.register("d").status == 200, "so has the other")
    assert_full(full)


def test_the_limit_can_be_changed_while_it_is_reached(full):
    full.service.write_config(max_topics=4)
    wait_until(lambda: full.api.register("c").status == 200, "the API has read the new limit")
    assert_full(full)
