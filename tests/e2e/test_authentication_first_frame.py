"""The first frame (PROTOCOL.md section 2): what is an auth frame and what is not, what may have happened to the topic
since the upgrade, and that silence ends it. Its token is the matter of test_authentication_tokens.py."""

import json
import time

import pytest

from harness.authentication import answer_to, close_code, good_token
from harness.authentication import service  # a fixture
from harness.direct import (
    AUTH_OK, AUTH_REQUIRED, TOPIC_UNREGISTERED, UNAUTHORIZED, auth_frame, authenticated, push_of, upgraded,
)  # fmt: skip
from harness.raw_websocket import BINARY, CONTINUATION, PING, PONG, TEXT, ConnectionEnded
from harness.tokens import make_token

FIRST_FRAME_LIMIT_S = 10.0
CLOSE_LIMIT_S = 5.0


# auth_ok


def test_on_an_open_topic_the_token_may_be_left_out(service):
    for frame in ('{"type":"auth"}', '{"type":"auth","token":""}', '{"type":"auth","token":null}'):
        assert answer_to(service, "open", frame) == (AUTH_OK, None), frame


@pytest.mark.parametrize(
    "frame",
    [
        '{"token":"TOKEN","type":"auth"}',
        ' \r\n\t{ "type" : "auth" , "token" : "TOKEN" } \n',
        '{"type":"auth","token":"TOKEN","more":[1,{"type":"x"}],"é":"ü"}',
        '{"\\u0074ype":"\\u0061uth","tok\\u0065n":"TOKEN"}',
        '{"type":"nothing","token":"x","type":"auth","token":"TOKEN"}',
    ],
    ids=["order", "white space", "more members", "escapes", "the last one counts"],
)
def test_the_auth_frame_is_read_as_json(service, frame):
    assert answer_to(service, "closed", frame.replace("TOKEN", good_token(service))) == (AUTH_OK, None)


def test_the_auth_frame_may_come_in_fragments_with_a_ping_between(service):
    frame = json.dumps({"é📻": "ü", "type": "auth", "token": good_token(service)}, ensure_ascii=False).encode()
    with upgraded(service, "closed") as client:
        client.send_frame(frame[:3], fin=False)  # in the middle of a character
        client.send_frame(b"between", opcode=PING)
        pong = client.read_frame()
        assert (pong.opcode, pong.payload) == (PONG, b"between")
        for i in range(3, len(frame) - 1):
            client.send_frame(frame[i : i + 1], opcode=CONTINUATION, fin=False)
        client.send_frame(b"", opcode=CONTINUATION, fin=False)
        client.send_frame(frame[-1:], opcode=CONTINUATION)
        assert client.read_message() == AUTH_OK


# auth_required

NO_AUTH = {
    "empty": "",
    "not JSON": "hello",
    "the token alone": "TOKEN",
    "single quotes": "{'type':'auth','token':'TOKEN'}",
    "cut off": '{"type":"auth","token":"TOKEN"',
    "something after it": '{"type":"auth","token":"TOKEN"}x',
    "two objects": '{"type":"auth","token":"TOKEN"}{}',
    "a comma too many": '{"type":"auth","token":"TOKEN",}',
    "byte order mark": '\ufeff{"type":"auth","token":"TOKEN"}',
    "NUL after it": '{"type":"auth","token":"TOKEN"}\0',
    "array": '[{"type":"auth","token":"TOKEN"}]',
    "string": '"auth"',
    "null": "null",
    "number": "1",
    "no type": '{"token":"TOKEN"}',
    "another type": '{"type":"login","token":"TOKEN"}',
    "upper case": '{"type":"AUTH","token":"TOKEN"}',
    "type with NUL": '{"type":"auth\\u0000","token":"TOKEN"}',
    "type not a string": '{"type":["auth"],"token":"TOKEN"}',
    "status": '{"type":"status"}',
    "no token": '{"type":"auth"}',
    "another member": '{"type":"auth","Token":"TOKEN"}',
    "empty token": '{"type":"auth","token":""}',
    "null token": '{"type":"auth","token":null}',
    "number token": '{"type":"auth","token":1}',
    "true token": '{"type":"auth","token":true}',
    "array token": '{"type":"auth","token":["TOKEN"]}',
    "object token": '{"type":"auth","token":{"token":"TOKEN"}}',
    "deep": '{"type":"auth","token":"TOKEN","x":' + "[" * 1500 + "]" * 1500 + "}",
}


@pytest.mark.parametrize("frame", NO_AUTH.values(), ids=NO_AUTH.keys())
def test_a_first_frame_that_is_no_auth_frame_gets_auth_required(service, frame):
    answer = answer_to(service, "closed", frame.replace("TOKEN", good_token(service)))
    assert answer == (AUTH_REQUIRED, 1008)


@pytest.mark.parametrize("frame", ["hello", "[]", '{"type":"status"}', "{}", '{"type":"auth","token":1}'])
def test_on_an_open_topic_too(service, frame):
    assert answer_to(service, "open", frame) == (AUTH_REQUIRED, 1008)


@pytest.mark.parametrize("topic", ["open", "closed"])
def test_a_binary_first_frame_gets_auth_required(service, topic):
    assert answer_to(service, topic, auth_frame(good_token(service)), opcode=BINARY) == (AUTH_REQUIRED, 1008)


# The topic


def test_a_topic_unregistered_between_upgrade_and_auth_gets_topic_unregistered(worker, service):
    worker.api.register("goes")
    with upgraded(service, "goes") as client:
        worker.api.unregister("goes")
        client.send_frame(auth_frame())
        assert client.read_message() == TOPIC_UNREGISTERED
        assert close_code(client) == 1000


def test_a_topic_that_asks_for_tokens_since_the_upgrade_gets_one(worker, service):
    worker.api.register("changes")
    with upgraded(service, "changes") as first, authenticated(service, "changes") as before:
        worker.api.register("changes", require_token=True)
        first.send_frame(auth_frame())
        assert first.read_message() == AUTH_REQUIRED
        worker.api.publish("changes", 1)
        assert before.read_message() == push_of("1")
    with authenticated(service, "changes", make_token(service.secret, "changes")):
        pass


def test_worker_status_needs_a_token_and_cannot_be_unregistered(worker, service):
    assert answer_to(service, "worker.status", '{"type":"auth"}') == (AUTH_REQUIRED, 1008)
    assert answer_to(service, "worker.status", auth_frame(good_token(service))) == (UNAUTHORIZED, 1008)
    assert worker.api.register("worker.status", require_token=False).status == 200
    assert worker.api.unregister("worker.status").status == 400
    assert answer_to(service, "worker.status", '{"type":"auth"}') == (AUTH_REQUIRED, 1008)
    token = make_token(service.secret, "worker.status")
    assert answer_to(service, "worker.status", auth_frame(token)) == (AUTH_OK, None)


# Nothing is said


def test_no_first_frame_in_10_seconds_closes_with_1008_and_no_word(service):
    clients = {}
    for name in ("silent", "pings", "half a message", "a frame that never ends", "pongs"):
        clients[name] = upgraded(service, "open")
    started = time.monotonic()
    clients["half a message"].send_frame('{"type":"auth"', fin=False)
    clients["a frame that never ends"].send_frame("x", length=4000)
    closed = {}
    while len(closed) < len(clients) and time.monotonic() < started + FIRST_FRAME_LIMIT_S + 5:
        for name, client in clients.items():
            if name in closed:
                continue
            try:
                if name == "pings":
                    client.send_frame(b"x", opcode=PING)
                if name == "pongs":
                    client.send_frame(b"", opcode=PONG)
                frame = client.read_frame(0.1)
            except TimeoutError:
                continue
            except (ConnectionEnded, OSError):
                closed[name] = ("no close frame", time.monotonic() - started)
                continue
            assert frame.opcode != TEXT, frame
            if frame.opcode not in (PING, PONG):
                closed[name] = (int.from_bytes(frame.payload[:2], "big"), time.monotonic() - started)
    for client in clients.values():
        assert client.ended(CLOSE_LIMIT_S + 2), "one that does not answer the close frame is cut off"
        client.close()
    assert {name: code for name, (code, _) in closed.items()} == {name: 1008 for name in clients}
    for name, (_, after) in closed.items():
        assert FIRST_FRAME_LIMIT_S - 0.5 <= after <= FIRST_FRAME_LIMIT_S + 1.5, f"{name}: after {after:.1f} s"
