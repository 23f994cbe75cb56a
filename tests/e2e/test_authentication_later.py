"""A connection that is authenticated (PROTOCOL.md section 2): which of its frames are ignored, what a later auth frame
changes, and how it ends with its token or its topic."""

import time

import pytest

from harness.authentication import close_code, good_token
from harness.authentication import service  # a fixture
from harness.direct import (
    AUTH_EXPIRED, AUTH_OK, AUTH_REQUIRED, TOPIC_UNREGISTERED, UNAUTHORIZED, auth_frame, authenticated, push_of, rows,
    subscriber,
)  # fmt: skip
from harness.raw_websocket import BINARY, CONTINUATION, PING, PONG
from harness.tokens import make_token
from harness.waiting import wait_until

LATE_S = 1.0  # auth_expired comes at most this late
SLACK_S = 0.5  # for a loaded machine


# After auth


def test_after_auth_other_frames_are_ignored(worker, service):
    ignored = [
        ("hello", {}), ("", {}), ("{}", {}), ("[]", {}), ("null", {}), ('{"type":"status"}', {}),
        ('{"type":"push"}', {}), ('{"type":"subscribe","topic":"open"}', {}), ('{"type":1}', {}), ('{"type":"auth"', {}),
        (b"\x00\xff", {"opcode": BINARY}), (auth_frame("bad").encode(), {"opcode": BINARY}), (b"x" * 4096, {}),
        (b"", {"opcode": PONG}), (b"any", {"opcode": PONG}),
    ]  # fmt: skip
    with authenticated(service, "closed", good_token(service)) as client:
        for frame, options in ignored:
            client.send_frame(frame, **options)
        client.send_frame("in pieces", fin=False)
        client.send_frame("", opcode=CONTINUATION)
        client.send_frame(b"all read", opcode=PING)
        pong = client.read_frame()
        assert (pong.opcode, pong.payload) == (PONG, b"all read")
        worker.api.publish("closed", 1)
        assert client.read_message() == push_of("1")


def test_a_later_good_token_gets_auth_ok_and_moves_the_expiry_in_the_database(service):
    first, second = int(time.time()) + 500, int(time.time()) + 900
    query = "SELECT expires_ms FROM sessions WHERE topic = 'closed' AND user_id = 4711"
    with authenticated(service, "closed", good_token(service, user_id=4711, expires=first)) as client:
        wait_until(lambda: rows(service, query) == [(first * 1000,)], "the session is written")
        client.send_frame(auth_frame(good_token(service, user_id=4711, expires=second)))
        assert client.read_message() == AUTH_OK
        wait_until(lambda: rows(service, query) == [(second * 1000,)], "the expiry is moved")
    wait_until(lambda: rows(service, query) == [], "the session is gone")


@pytest.mark.parametrize(
    "kind, answer",
    {
        "another user": UNAUTHORIZED,
        "nobody": UNAUTHORIZED,
        "another topic": UNAUTHORIZED,
        "another secret": UNAUTHORIZED,
        "rubbish": UNAUTHORIZED,
        "expired": AUTH_EXPIRED,
        "empty": AUTH_REQUIRED,
        "left out": AUTH_REQUIRED,
        "a number": AUTH_REQUIRED,
    }.items(),
)
def test_a_later_bad_token_gets_the_error_and_the_close(worker, service, kind, answer):
    token = {
        "another user": good_token(service, user_id=2),
        "nobody": good_token(service, user_id=0),
        "another topic": make_token(service.secret, "open"),
        "another secret": make_token("x" * 40, "closed"),
        "rubbish": "x",
        "expired": good_token(service, expires=1),
        "empty": "",
        "left out": None,
        "a number": 1,
    }[kind]
    with authenticated(service, "closed", good_token(service)) as client:
        client.send_frame(auth_frame(token))
        assert client.read_message() == answer
        worker.api.publish("closed", "too late")
        assert close_code(client) == 1008


def test_a_later_auth_frame_on_an_open_topic_gets_auth_ok_whatever_its_token(worker, service):
    with authenticated(service, "open") as client:
        for token in (None, "", "x", good_token(service), make_token(service.secret, "open", expires=1)):
            client.send_frame(auth_frame(token))
            assert client.read_message() == AUTH_OK


# auth_expired


def read_expiry(client, limit_s=15.0):
    """Waits for auth_expired and the close; returns when it came, as wall time."""
    assert client.read_message(limit_s) == AUTH_EXPIRED
    came = time.time()
    assert close_code(client) == 1008
    return came


def assert_in_time(came, expires):
    end = expires + 1  # it is valid while the second lasts
    assert end - 0.01 <= came <= end + LATE_S + SLACK_S, f"{came - end:+.3f} s after the end of its second"


def test_an_open_connection_gets_auth_expired_when_its_token_expires(worker, service):
    """Alone, renewed to a later time, and renewed to an earlier one."""
    expires = int(time.time()) + 2
    with (
        authenticated(service, "closed", good_token(service, expires=expires)) as alone,
        authenticated(service, "closed", good_token(service, expires=expires)) as later,
        authenticated(service, "closed", good_token(service, expires=expires + 300)) as earlier,
        authenticated(service, "closed", good_token(service, expires=2**53)) as never,
    ):
        later.send_frame(auth_frame(good_token(service, expires=expires + 2)))
        earlier.send_frame(auth_frame(good_token(service, expires=expires + 1)))
        assert later.read_message() == AUTH_OK and earlier.read_message() == AUTH_OK
        assert_in_time(read_expiry(alone), expires)
        assert_in_time(read_expiry(earlier), expires + 1)
        worker.api.publish("closed", "for those who are left")
        assert later.read_message() == push_of('"for those who are left"')
        assert_in_time(read_expiry(later), expires + 2)
        assert never.read_message() == push_of('"for those who are left"')
        never.send_frame(b"", opcode=PING)
        assert never.read_frame().opcode == PONG


# The topic


def test_unregistering_a_topic_ends_its_subscribers_with_topic_unregistered(worker, service):
    worker.api.register("ends")
    with (
        authenticated(service, "ends") as one,
        authenticated(service, "ends") as two,
        subscriber(service, "open") as other,
    ):
        worker.api.publish("ends", "before")
        assert worker.api.unregister("ends").status == 200
        for client in (one, two):
            assert client.read_message() == push_of('"before"')
            assert client.read_message() == TOPIC_UNREGISTERED
            assert close_code(client) == 1000
        worker.api.register("ends")
        with authenticated(service, "ends") as again:
            worker.api.publish("ends", "after")
            assert again.read_message() == push_of('"after"')
        worker.api.publish("open", 1)
        assert other.receive() == push_of("1")
