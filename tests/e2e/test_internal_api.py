"""docs/clients.md: each row of the table of checks, in its order, and what holds for every endpoint; then each
paragraph about an endpoint that changes something: register, unregister, publish."""

import pytest

from harness import sqlite
from harness.api import InternalApi, is_error, make_token
from harness.websocket import refusal

MIB = 1048576
POST_VERBS = ("register", "unregister", "publish", "push")
VERBS = (*POST_VERBS, "status")


def publish_body(size, topic):
    head, tail = f'{{"topic":"{topic}","payload":"'.encode(), b'"}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


# Row 1: known verb, else 404 `not found`


@pytest.mark.parametrize("verb", [
    "", "nothing", "publish/", "publish/x", "publishx", "xpublish", "Publish", "PUBLISH", "publish.php", "publish%20",
    "publish%00", "publish%2F", "publish;a=b", "publish%3Ftopics=1", "publish%0A", "disconnect%2f..",
])  # fmt: skip
def test_unknown_verb_is_404_not_found(worker, verb):
    reply = worker.api.call(verb, {"topic": "t", "payload": 1})
    if verb == "publish%00":
        assert reply.status == 400  # nginx takes no NUL
    else:
        assert is_error(reply, 404, "not found")


def test_unknown_verb_is_404_whatever_the_query_says(worker):
    assert is_error(worker.api.call("nothing?x=/internal/publish", {}), 404, "not found")
    assert worker.api.status("?x=/internal/nothing").status == 200


def test_known_verb_may_be_percent_encoded_or_behind_doubled_slashes(worker):
    worker.api.register("mounts")
    for verb in ("publish", "%70ublish", "publis%68", "./publish", "x/../publish"):
        assert worker.api.call(verb, {"topic": "mounts", "payload": 1}).status == 200, verb
    doubled = InternalApi(worker.plain_url + "/", worker.service.secret)
    assert doubled.publish("mounts", 1).status == 200


# Row 2: method, else 405 `method not allowed`, with Allow


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_method_not_allowed_is_405_with_allow(worker, verb, method):
    allowed = "GET" if verb == "status" else "POST"
    if method == allowed:
        return
    reply = worker.api.call(verb, method=method)
    assert (reply.status, reply.headers.get_all("Allow")) == (405, [allowed])
    if method == "HEAD":
        assert reply.body == b""
    else:
        assert is_error(reply, 405, "method not allowed")


# Row 3: X-Worker-Secret, else 403 `forbidden`; empty never matches


@pytest.mark.parametrize("verb", VERBS)
def test_wrong_secret_is_403_forbidden(worker, verb):
    secret = worker.service.secret
    wrong = [None, "", "x", secret[:-1], secret + "0", secret.upper(), secret[::-1], "x" * len(secret), "x" * 3000]
    assert secret.upper() != secret
    for header in wrong:
        reply = worker.api.call(verb, method="GET" if verb == "status" else "POST", headers={"X-Worker-Secret": header})
        assert is_error(reply, 403, "forbidden"), header


def test_secret_is_only_taken_from_its_header(worker):
    secret = worker.service.secret
    for headers in ({"Authorization": secret}, {"X_Worker_Secret": secret}, {"Cookie": f"X-Worker-Secret={secret}"}):
        reply = worker.api.call("register", {"topic": "t"}, headers={"X-Worker-Secret": None, **headers})
        assert is_error(reply, 403, "forbidden")
    body = {"topic": "t", "secret": secret, "worker_secret": secret}
    assert is_error(worker.api.call("register", body, headers={"X-Worker-Secret": None}), 403, "forbidden")


# Row 4: body no longer than 1 MiB, else 413 `body too large`


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_body_of_1_mib_is_taken_and_one_byte_more_is_413(worker, chunked):
    worker.api.register("big")
    assert worker.api.call("publish", raw=publish_body(MIB, "big"), chunked=chunked).status == 200
    reply = worker.api.call("publish", raw=publish_body(MIB + 1, "big"), chunked=chunked)
    assert is_error(reply, 413, "body too large")


# Row 5: body is one JSON object in valid UTF-8, else 400 `bad request: <why>` (the whole grammar: test_payloads.py)


@pytest.mark.parametrize("body, why", [
    (b"", "unexpected end at byte 0"),
    (b" \n", "unexpected end at byte 2"),
    (b"[]", "not an object at byte 0"),
    (b' "x"', "not an object at byte 1"),
    (b"null", "not an object at byte 0"),
    (b"{}{}", "more text after the value at byte 2"),
    (b"{} x", "more text after the value at byte 3"),
    (b'{"topic":"t",}', "unexpected character at byte 13"),
    (b'{"topic":"\xff"}', "invalid UTF-8 at byte 10"),
    (b'\xef\xbb\xbf{"topic":"t"}', "byte order mark at byte 0"),
    (b'{"topic":"a\nb"}', "control character in a string at byte 11"),
    (b"topic=t&payload=1", "unexpected character at byte 1"),
])  # fmt: skip
@pytest.mark.parametrize("verb", POST_VERBS)
def test_body_that_is_not_a_json_object_is_400_bad_request(worker, verb, body, why):
    assert is_error(worker.api.call(verb, raw=body), 400, f"bad request: {why}")


# Row 6: topic present, a string, valid, else 400 `missing topic` / `bad topic: <why>` (more topics: test_payloads.py)


@pytest.mark.parametrize("verb", POST_VERBS)
@pytest.mark.parametrize("body", [b"{}", b'{"topic":null}', b'{"Topic":"t"}', b'{"meta":{"topic":"t"}}'])
def test_missing_topic_is_400(worker, verb, body):
    assert is_error(worker.api.call(verb, raw=body), 400, "missing topic")


@pytest.mark.parametrize("verb", POST_VERBS)
@pytest.mark.parametrize("topic, why", [
    (b"5", "not a string"), (b"true", "not a string"), (b"[]", "not a string"), (b'{"x":"t"}', "not a string"),
    (b'""', "empty"), (b'"' + b"x" * 256 + b'"', "longer than 255 bytes"),
    ('"' .encode() + "é".encode() * 128 + b'"', "longer than 255 bytes"),
    (b'"' + b"\\u0041" * 256 + b'"', "longer than 255 bytes"), (b'"' + b"x" * 100000 + b'"', "longer than 255 bytes"),
    (b'"a\\u0000"', "control character"), (b'"\\n"', "control character"), (b'"\\u001f"', "control character"),
    (b'"\x7f"', "control character"), (b'"\\u007f"', "control character"), (b'"\\ud800"', "not valid UTF-8"),
], ids=lambda value: value.decode(errors="replace")[:20] if isinstance(value, bytes) else value.split()[0])  # fmt: skip
def test_bad_topic_is_400_and_says_why(worker, verb, topic, why):
    reply = worker.api.call(verb, raw=b'{"payload":1,"topic":' + topic + b"}")
    assert is_error(reply, 400, f"bad topic: {why}")


@pytest.mark.parametrize("topic", ["x", "x" * 255, "é" * 127 + "x", "😀" * 63, "\u0080", "  ", "\\", '"'])
def test_topic_of_1_to_255_bytes_is_taken(worker, topic):
    assert worker.api.register(topic).status == 200
    assert worker.api.publish(topic, 1).status == 200
    assert worker.api.unregister(topic).status == 200
    assert worker.api.publish(topic, 1).status == 404


def test_topics_are_compared_byte_by_byte(worker):
    worker.api.register("Caf\u00e9")
    for other in ("caf\u00e9", "Cafe\u0301", "Caf\u00e9 ", " Caf\u00e9", "Caf\u00e9/", "Caf%C3%A9"):
        assert worker.api.publish(other, 1).status == 404, other
    assert worker.api.call("publish", raw=b'{"topic":"C\\u0061f\\u00E9","payload":1}').status == 200


# Row 7: payload present (publish), else 400 `missing payload`


@pytest.mark.parametrize("verb", ["publish", "push"])
def test_missing_payload_is_400(worker, verb):
    for body in ({"topic": "t"}, {"topic": "t", "Payload": 1}, {"topic": "nobody registered this"}):
        assert is_error(worker.api.call(verb, body), 400, "missing payload")


def test_payload_of_null_is_a_payload(worker):
    worker.api.register("null")
    assert worker.api.publish("null", None).status == 200


# Row 8: topic registered and not past its expiry (publish), else 404 `topic not registered`


@pytest.mark.parametrize("verb", ["publish", "push"])
def test_topic_not_registered_is_404(worker, verb):
    assert is_error(worker.api.call(verb, {"topic": "nobody", "payload": 1}), 404, "topic not registered")


def test_topic_past_its_expiry_is_404_until_it_is_registered_again(worker):
    worker.api.register("old")
    sqlite.change(worker.service.database, "UPDATE topics SET expires_ms = 1 WHERE topic = 'old'")
    assert is_error(worker.api.publish("old", 1), 404, "topic not registered")
    worker.api.register("old")
    assert worker.api.publish("old", 1).status == 200


# Row 9: database reachable within its busy timeout, disk not full, else 503: test_locked_database.py


# The order of the rows


def test_the_first_check_that_fails_answers(worker):
    """A request that fails every check, mended one check at a time."""

    def call(verb="publish", method="POST", secret=worker.service.secret, body=b"not json" + b" " * MIB):
        return worker.api.call(verb, raw=body, method=method, headers={"X-Worker-Secret": secret})

    assert is_error(call("nothing", "PUT", "wrong"), 404, "not found")
    assert is_error(call("publish", "PUT", "wrong"), 405, "method not allowed")
    assert is_error(call("publish", "POST", "wrong"), 403, "forbidden")
    assert is_error(call(), 413, "body too large")
    assert is_error(call(body=b"not json"), 400, "bad request: unexpected character at byte 1")
    assert is_error(call(body=b'{"topic":5'), 400, "bad request: unexpected end at byte 10")
    assert is_error(call(body=b"{}"), 400, "missing topic")
    assert is_error(call(body=b'{"topic":5}'), 400, "bad topic: not a string")
    assert is_error(call(body=b'{"topic":"nobody"}'), 400, "missing payload")
    assert is_error(call(body=b'{"topic":"nobody","payload":1}'), 404, "topic not registered")


# Error bodies; unknown members


def test_unknown_members_are_ignored(worker):
    more = {"id": 1, "Topic": 5, "\u0000": [None, {"topic": "x"}], "payloads": {}, "": ""}
    assert worker.api.call("register", {"topic": "more", **more}).status == 200
    of_other_verbs = {"meta": 5, "require_token": "x"}
    assert worker.api.call("publish", {"topic": "more", "payload": 1, **more, **of_other_verbs}).status == 200
    assert worker.api.call("unregister", {"topic": "more", **more, "payload": 5}).status == 200


def test_of_a_member_given_twice_the_last_one_counts(worker):
    worker.api.register("last")
    assert worker.api.call("publish", raw=b'{"topic":5,"topic":"last","payload":1,"payload":2}').status == 200
    payloads = sqlite.ask(worker.service.database, "SELECT payload FROM events WHERE topic = 'last'")
    assert payloads == [{"payload": "2"}]


def test_an_error_is_one_line_without_a_byte_of_the_callers(worker):
    reply = worker.api.call("publish", raw='{"topic":"<script>\u001b[31m\r\nX: y"}'.encode())
    assert reply.status == 400 and b"script" not in reply.body and reply.body.count(b"\n") == 1


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


def test_publish_to_worker_status_is_not_404(worker):
    assert worker.api.publish("worker.status", {"x": 1}).status == 200
