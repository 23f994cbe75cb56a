"""Status frames on worker.status (docs/clients.md)."""

import json
import time

import pytest

from harness.api import make_token
from harness.process import wait_until
from harness.websocket import PING, PONG, TEXT, auth_frame, authenticated, push_of, upgraded

EVERY_S = 0.7
ASK = '{"type":"status"}'
MEMBERS = [
    "status", "version", "uptime", "uptime_seconds", "registered_topics", "active_topics", "connected_clients",
    "connected_sockets", "cluster_nodes",
]  # fmt: skip


@pytest.fixture(scope="module")
def service(worker):
    return worker.service


def observer(service, user_id=1):
    return authenticated(service, "worker.status", make_token(service.secret, "worker.status", user_id=user_id))


def ask(client):
    client.send_frame(ASK)
    return client.read_message()


def ask_later(client):
    """For a client that has asked before: the next question that is answered."""
    time.sleep(EVERY_S)
    return ask(client)


def frames_until_pong(client):
    client.send_frame("sync", opcode=PING)
    texts = []
    while (frame := client.read_frame()).opcode != PONG:
        assert frame.opcode == TEXT
        texts.append(frame.payload.decode())
    return texts


def test_a_status_frame_has_these_members_in_this_order_and_nothing_between(service):
    with observer(service) as client:
        text = ask(client)
    whole = json.loads(text)
    payload = whole["payload"]
    assert text == json.dumps(whole, separators=(",", ":")), "white space"
    assert list(whole) == ["type", "payload"] and whole["type"] == "status"
    assert list(payload) == MEMBERS
    assert payload["status"] == "ok" and payload["version"] == "0.1.0" and payload["cluster_nodes"] == -1
    assert all(type(payload[name]) is int for name in MEMBERS[3:])
    seconds = payload["uptime_seconds"]
    assert payload["uptime"] == (f"{seconds}s" if seconds < 60 else f"{seconds // 60}m{seconds % 60}s")


def test_the_counts_are_those_of_this_moment(worker, service):
    token = make_token(service.secret, "counted", user_id=7)
    worker.api.register("counted", require_token=True)
    with observer(service, user_id=7) as client:
        topics = json.loads(ask(client))["payload"]["registered_topics"]
        assert topics >= 2
        sockets = [authenticated(service, "counted", token) for _ in range(3)]
        payload = json.loads(ask_later(client))["payload"]
        assert payload["connected_sockets"] == 4 and payload["connected_clients"] == 1, payload
        assert payload["active_topics"] == 2 and payload["registered_topics"] == topics
        for socket in sockets:
            socket.close()
        payload = json.loads(ask_later(client))["payload"]
        assert payload["connected_sockets"] == 1 and payload["active_topics"] == 1, payload
        answered = worker.api.status().json
        for name in ("status", "version", "registered_topics", "active_topics", "connected_clients", "cluster_nodes"):
            assert answered[name] == payload[name], name


def test_at_most_one_answer_per_700_ms_and_the_others_are_ignored(service):
    with observer(service) as client, observer(service, user_id=2) as other:
        started = time.monotonic()
        for _ in range(15):  # a burst that message_rate allows
            client.send_frame(ASK)
        assert json.loads(client.read_message())["type"] == "status"
        assert json.loads(ask(other))["type"] == "status"  # the limit is each connection's own
        client.send_frame(ASK)
        assert time.monotonic() - started > EVERY_S or frames_until_pong(client) == []
        assert client.is_quiet(EVERY_S + 0.1) and frames_until_pong(client) == [], "put off, not ignored"
        assert json.loads(ask(client))["type"] == "status"


def test_a_client_that_asks_all_the_time_gets_one_answer_each_700_ms(service):
    with observer(service) as client:
        started, answers = time.monotonic(), []
        while time.monotonic() < started + 3:
            client.send_frame(ASK)
            try:
                client.read_message(0.1)  # message_rate allows 10 a second
                answers.append(time.monotonic() - started)
            except TimeoutError:
                continue
    gaps = [later - earlier for earlier, later in zip(answers, answers[1:])]
    assert 3 <= len(answers) <= 5, answers
    assert all(gap > EVERY_S - 0.1 for gap in gaps), gaps


def test_on_another_topic_a_status_frame_is_ignored(worker, service):
    worker.api.register("another")
    worker.api.register("worker.status.x")
    for topic in ("another", "worker.status.x"):
        with authenticated(service, topic) as client:
            client.send_frame(ASK)
            assert client.is_quiet(0.3) and frames_until_pong(client) == []
            worker.api.publish(topic, 1)
            assert client.read_message() == push_of("1")


def test_before_auth_a_status_frame_is_not_an_auth_frame(service):
    with upgraded(service, "worker.status") as client:
        client.send_frame(ASK)
        assert json.loads(client.read_message())["code"] == "auth_required"
        assert client.close_code() == 1008


def test_a_status_frame_may_say_more_and_one_that_only_looks_like_it_is_ignored(service):
    with observer(service) as client:
        for frame in ('{"type":"Status"}', '{"type":"status "}', '["status"]', "status", '{"status":1}'):
            client.send_frame(frame)
        assert client.is_quiet(0.3) and frames_until_pong(client) == []
        client.send_frame(' {"x": [1], "type" : "st\\u0061tus"} ')
        assert json.loads(client.read_message())["type"] == "status"


def test_one_that_asks_and_leaves_harms_nobody(service):
    for _ in range(30):
        client = observer(service)
        client.send_frame(ASK)
        client.close()
    with observer(service) as client:
        wait_until(lambda: json.loads(ask_later(client))["payload"]["connected_sockets"] == 1, "only one is left")


def test_a_renewed_token_goes_on(service):
    with observer(service) as client:
        client.send_frame(auth_frame(make_token(service.secret, "worker.status")))
        assert client.read_message() == '{"type":"auth_ok"}'
        assert json.loads(ask(client))["type"] == "status"
