"""What the tests of the WebSocket try at its door, tried at the others: the stream, the poll, and the poll through worker.php.
Each auth frame, token and topic gets the same answer there."""

import time
from urllib.parse import quote

import pytest

from harness.api import make_token, sign
from harness.stream import Stream, request
from harness.websocket import AUTH_EXPIRED, AUTH_OK, AUTH_REQUIRED, UNAUTHORIZED, auth_frame
from test_authentication import CLAIMS, NO_AUTH, broken_tokens
from test_handshake import IMPOSSIBLE, NO_TOPIC, NOT_REGISTERED, TOPICS
from test_worker_php import Php, settings_of

CONFIG = {"poll_rate": 0}  # a hundred inputs a second come from one address


def by_stream(worker):
    def ask(query, body):
        with Stream(worker.service.ws_address) as stream:
            stream.send(request(f"/stream{query}", body))
            status, headers = stream.head()
            return status, headers, stream.read_message() if status == 200 else stream.rest().decode()

    return ask


def by_poll_of(api, path):
    def ask(query, body):
        raw = body if isinstance(body, bytes) else body.encode()
        reply = api.call(f"{path}{query}", raw=raw, headers={"X-Worker-Secret": None, "Content-Type": "text/plain"})
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return reply.status, headers, AUTH_OK if b'"auth_ok"' in reply.body else reply.text

    return ask


def by_poll(worker):
    return by_poll_of(worker.api, "/worker/poll")


def by_php(worker):
    return by_poll_of(Php(worker.service, **settings_of(worker.service, "socket")).api, "/poll")


@pytest.fixture(scope="module", params=[by_stream, by_poll, by_php], ids=lambda by: by.__name__)
def door(request, worker):
    """door(query, body): status and text of the answer, of a stream that begins its first message."""
    for topic, needs_token in (("t", False), ("closed", True)):
        assert worker.api.register(topic, require_token=needs_token).status == 200
    ask = request.param(worker)

    def checked(query, body):
        status, headers, text = ask(query, body)
        is_ours = status != 414  # which is nginx's
        assert "x-injected" not in headers and headers.get("x-content-type-options") == ("nosniff" if is_ours else None), query[:50]
        return status, text.removesuffix("\n")

    return checked


OK, REQUIRED, REFUSED, EXPIRED = (200, AUTH_OK), (400, AUTH_REQUIRED), (401, UNAUTHORIZED), (401, AUTH_EXPIRED)
LIMIT = 4096


def test_each_auth_frame_and_token_is_judged_as_by_websocket(door, worker):
    secret = worker.service.secret
    good = make_token(secret, "closed")
    expected = [(name, frame.replace("TOKEN", good), REQUIRED) for name, frame in NO_AUTH.items()]
    expected += [(name, auth_frame(token), REFUSED) for name, token in broken_tokens(secret).items()]
    for name, claims in CLAIMS.items():
        expected.append((name, auth_frame(sign(secret, claims.replace("EXPIRES", str(int(time.time()) + 60)).encode())), OK))
    for expires in (-(2**63), -1, 0, 1, int(time.time()) - 1):
        expected.append((f"expired {expires}", auth_frame(make_token(secret, "closed", expires=expires)), EXPIRED))
    expected += [(f"of {LIMIT} bytes", auth_frame(good).ljust(LIMIT), OK),
                 ("of a byte more", auth_frame(good).ljust(LIMIT + 1), (413, "body too large")),
                 ("not UTF-8", b'{"type":"auth","token":"\xff"}', REQUIRED)]  # fmt: skip
    assert {name: answer for name, frame, wanted in expected if (answer := door("?topic=closed", frame)) != wanted} == {}


def test_each_topic_is_found_or_refused_as_by_websocket(door, worker):
    auth = auth_frame()
    assert {door(query, auth) for query in NO_TOPIC} == {(400, "missing topic")}
    assert {door(f"?topic={quote(topic, safe='')}", auth) for topic in NOT_REGISTERED} == {(404, "topic not registered")}
    for written in IMPOSSIBLE:
        assert door(f"?topic={written}", auth)[0] in (400, 404, 414, 431), written[:20]
    for topic in TOPICS:
        assert worker.api.register(topic).status == 200
        assert door(f"?topic={quote(topic, safe='')}", auth) == OK, topic
    assert [door(query, auth)[0] for query in ("?topic=t&topic=unknown", "?topic=unknown&topic=t", "?a=%zz&xtopic=u&topic=t")] == [200, 404, 200]
