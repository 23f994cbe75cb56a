"""POST /internal/disconnect: the backend closes sockets of a topic, of a user, or of a user on a topic."""

import pytest

from harness.api import make_token
from harness.process import wait_until

GOODBYE = '{"type":"error","code":"disconnected","message":"disconnected by the server"}'


@pytest.fixture
def clients(worker):
    """Opens clients: open(topic, user_id)."""
    opened = []

    def open_client(topic, user_id):
        client = worker.subscribe(topic)
        opened.append(client)
        assert client.authenticate(make_token(worker.service.secret, topic, user_id)) == '{"type":"auth_ok"}'
        return client

    yield open_client
    for client in opened:
        client.close()


def disconnect(worker, **body):
    return worker.api.call("disconnect", body)


def ready(worker, count):
    wait_until(lambda: worker.api.status("?topics=0").json["connected_sockets"] == count, f"{count} sockets counted")


def assert_gone(client):
    assert client.receive() == GOODBYE
    assert client.close_code() == 1008


def assert_stays(worker, client, topic):
    worker.api.publish(topic, "still here")
    assert client.receive() == '{"type":"push","payload":"still here"}'


def test_the_sockets_of_a_topic_a_user_or_both_are_closed_and_counted(worker, clients):
    for topic in ("a", "b"):
        worker.api.register(topic, require_token=True)
    a1, a2, b1, b2 = clients("a", 1), clients("a", 2), clients("b", 1), clients("b", 2)
    ready(worker, 4)

    reply = disconnect(worker, topic="a", user_id=1)
    assert (reply.status, reply.headers["Content-Type"], reply.body) == (200, "application/json", b'{"sockets":1}')
    assert_gone(a1)
    assert_stays(worker, a2, "a")
    ready(worker, 3)

    assert disconnect(worker, user_id=2).json == {"sockets": 2}
    assert_gone(a2)
    assert_gone(b2)
    assert_stays(worker, b1, "b")
    ready(worker, 1)

    assert disconnect(worker, topic="b").json == {"sockets": 1}
    assert_gone(b1)
    ready(worker, 0)
    assert disconnect(worker, topic="b").json == {"sockets": 0}


def test_anonymous_sockets_are_user_0(worker, clients):
    worker.api.register("open", require_token=False)
    worker.api.register("c", require_token=True)
    known = clients("c", 7)
    anonymous = worker.subscribe("open")
    anonymous.authenticate()
    ready(worker, 2)
    assert disconnect(worker, user_id=0).json == {"sockets": 1}
    assert_gone(anonymous)
    assert_stays(worker, known, "c")
    anonymous.close()


def test_a_user_who_comes_back_later_is_let_in(worker, clients):
    worker.api.register("d", require_token=True)
    first = clients("d", 1)
    ready(worker, 1)
    disconnect(worker, topic="d")
    assert_gone(first)
    assert_stays(worker, clients("d", 1), "d")


@pytest.mark.parametrize(
    "body, text",
    [
        (b"{}", b"missing topic or user_id\n"),
        (b'{"topic":null,"user_id":null}', b"missing topic or user_id\n"),
        (b'{"user_id":"1"}', b"bad request: user_id is not an integer\n"),
        (b'{"user_id":1.0}', b"bad request: user_id is not an integer\n"),
        (b'{"topic":7}', b"bad topic: not a string\n"),
        (b'{"topic":"","user_id":1}', b"bad topic: empty\n"),
    ],
)
def test_a_bad_body_is_400(worker, body, text):
    reply = worker.api.call("disconnect", raw=body)
    assert (reply.status, reply.body) == (400, text)


def test_it_needs_the_secret_and_a_post(worker):
    assert worker.api.call("disconnect", {"user_id": 1}, headers={"X-Worker-Secret": "no"}).status == 403
    reply = worker.api.call("disconnect", method="GET")
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")
