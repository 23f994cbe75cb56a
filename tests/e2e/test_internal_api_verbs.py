"""PROTOCOL.md section 1: each paragraph about an endpoint that changes something: register, unregister, publish."""

import pytest

from harness import sqlite
from harness.internal import is_error
from harness.subscriber import refusal
from harness.tokens import make_token


def topic_row(worker, topic):
    rows = sqlite.ask(worker.service.database, f"SELECT * FROM topics WHERE topic = '{topic}'")
    return rows[0] if rows else None


# POST /internal/register


@pytest.mark.parametrize("members, require_token", [
    ({}, 0), ({"meta": {}}, 0), ({"meta": None}, 0), ({"meta": {"require_token": None}}, 0),
    ({"meta": {"require_token": False}}, 0), ({"meta": {"require_token": True}}, 1), ({"require_token": True}, 1),
    ({"require_token": False}, 0), ({"require_token": None}, 0), ({"meta": {"other": 1}, "require_token": True}, 1),
    ({"meta": {"require_token": True}, "require_token": True}, 1),
    ({"meta": {"require_token": False}, "require_token": False}, 0),
], ids=str)  # fmt: skip
def test_register_takes_require_token_from_meta_or_beside_it(worker, members, require_token):
    before = {"require_token": not require_token}
    assert worker.api.register("tokens", **before).status == 200
    reply = worker.api.register("tokens", **members)
    assert (reply.status, reply.body) == (200, b"")
    assert topic_row(worker, "tokens")["require_token"] == require_token


@pytest.mark.parametrize("members, why", [
    ({"meta": {"require_token": True}, "require_token": False}, "require_token and meta.require_token differ"),
    ({"meta": {"require_token": False}, "require_token": True}, "require_token and meta.require_token differ"),
    ({"meta": {"require_token": 1}}, "meta.require_token is not a boolean"),
    ({"meta": {"require_token": "true"}}, "meta.require_token is not a boolean"),
    ({"require_token": 0}, "require_token is not a boolean"),
    ({"meta": []}, "meta is not an object"),
    ({"meta": "require_token"}, "meta is not an object"),
], ids=str)  # fmt: skip
def test_register_with_a_contradiction_or_a_wrong_type_is_400(worker, members, why):
    worker.api.unregister("contradiction")
    assert is_error(worker.api.register("contradiction", **members), 400, f"bad request: {why}")
    assert topic_row(worker, "contradiction") is None


def test_register_is_idempotent_and_refreshes_the_expiry(worker):
    assert worker.api.register("again").status == 200
    first = topic_row(worker, "again")
    assert first["expires_ms"] - first["registered_ms"] == 24 * 3600 * 1000  # the default topic_ttl
    sqlite.change(worker.service.database, "UPDATE topics SET expires_ms = expires_ms - 3600000 WHERE topic = 'again'")
    assert worker.api.register("again").status == 200
    second = topic_row(worker, "again")
    assert second["registered_ms"] == first["registered_ms"] and second["expires_ms"] >= first["expires_ms"]


def test_register_changes_who_may_subscribe(worker):
    token = make_token(worker.service.secret, "door")
    for require_token in (True, False, True):
        worker.api.register("door", require_token=require_token)
        with worker.subscribe("door") as browser:
            answer = browser.authenticate("wrong")
            assert ('"code":"unauthorized"' in answer) == require_token, answer
        with worker.subscribe("door") as browser:
            assert browser.authenticate(token) == '{"type":"auth_ok"}'


def test_register_of_worker_status_is_200_and_changes_nothing(worker):
    before = topic_row(worker, "worker.status")
    for members in ({}, {"require_token": False}, {"meta": {"require_token": True}}):
        reply = worker.api.register("worker.status", **members)
        assert (reply.status, reply.body) == (200, b"")
    assert topic_row(worker, "worker.status") == before
    assert before["require_token"] == 1


# POST /internal/unregister


def test_unregister_is_200_whether_it_was_registered_or_not(worker):
    worker.api.register("gone")
    for _ in range(2):
        reply = worker.api.unregister("gone")
        assert (reply.status, reply.body) == (200, b"")
    assert worker.api.publish("gone", 1).status == 404
    assert refusal(worker.wss_url, "gone", tls=worker.tls) == 404


def test_unregister_ends_the_subscribers_at_once_and_nobody_else(worker):
    worker.api.register("ends")
    worker.api.register("stays")
    with worker.subscribe("ends") as browser, worker.subscribe("stays") as other:
        browser.authenticate()
        other.authenticate()
        worker.api.publish("ends", "last words")
        worker.api.unregister("ends")
        assert browser.receive() == '{"type":"push","payload":"last words"}'
        assert browser.receive() == '{"type":"error","code":"topic_unregistered","message":"topic unregistered"}'
        assert browser.close_code() == 1000
        worker.api.publish("stays", 1)
        assert other.receive() == '{"type":"push","payload":1}'


def test_unregister_of_worker_status_is_400(worker):
    assert is_error(worker.api.unregister("worker.status"), 400, "bad topic: worker.status is reserved")
    assert topic_row(worker, "worker.status")


# POST /internal/publish, alias /internal/push


@pytest.mark.parametrize("verb", ["publish", "push"])
def test_publish_is_200_with_the_id_of_a_committed_event(worker, verb):
    worker.api.register("events")
    last = 0
    for payload in ("1", "[1.0]", "null"):
        reply = worker.api.call(verb, raw=b'{"topic":"events","payload":' + payload.encode() + b"}")
        event_id = reply.json["id"]
        assert (reply.status, reply.body) == (200, b'{"id":%d}' % event_id)
        assert reply.headers["Content-Type"] == "application/json"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert last < event_id < 2**53
        last = event_id
        rows = sqlite.ask(worker.service.database, f"SELECT kind, topic, payload FROM events WHERE id = {event_id}")
        assert rows == [{"kind": 0, "topic": "events", "payload": payload}]


def test_publish_reaches_each_subscriber_of_the_topic_and_no_other(worker):
    worker.api.register("a")
    worker.api.register("b")
    with worker.subscribe("a") as one, worker.subscribe("a") as two, worker.subscribe("b") as other:
        for browser in (one, two, other):
            browser.authenticate()
        for number in range(20):
            worker.api.publish("a", number)
        worker.api.publish("b", "b")
        for browser in (one, two):
            assert [browser.receive_json()["payload"] for _ in range(20)] == list(range(20))
        assert other.receive_json()["payload"] == "b"


def test_publish_to_worker_status_is_no_404(worker):
    assert worker.api.publish("worker.status", {"x": 1}).status == 200
