"""Authentication (docs/clients.md): what is an auth frame and what is not, each kind of token in it, and silence
instead of it; then which frames of a connection that is authenticated are ignored, what a later auth frame changes, and
how the connection ends with its token or its topic."""

import hashlib
import hmac
import json
import signal
import time

import pytest

from harness.api import make_token, sign
from harness.process import wait_until
from harness.sqlite import rows
from harness.websocket import (
    AUTH_EXPIRED, AUTH_OK, AUTH_REQUIRED, BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, TOPIC_UNREGISTERED,
    UNAUTHORIZED, ConnectionEnded, auth_frame, authenticated, close_payload, push_of, subscriber, upgraded,
)  # fmt: skip


@pytest.fixture(scope="module")
def service(worker):
    assert worker.api.register("open").status == 200
    assert worker.api.register("closed", meta={"require_token": True}).status == 200
    return worker.service


def close_code(client):
    """Answers the server's close frame, after which the server must end the connection; returns its code."""
    code = client.close_code()
    client.send_frame(close_payload(code), opcode=CLOSE)
    assert client.ended()
    return code


def answer_to(service, topic, frame, **options):
    """What the first frame gets: (text, close code). The code is None when the connection stays open."""
    with upgraded(service, topic) as client:
        client.send_frame(frame, **options)
        text = client.read_message()
        return text, None if text == AUTH_OK else close_code(client)


def good_token(service, **options):
    return make_token(service.secret, "closed", **options)


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
def test_a_first_frame_that_is_not_an_auth_frame_gets_auth_required(service, frame):
    answer = answer_to(service, "closed", frame.replace("TOKEN", good_token(service)))
    assert answer == (AUTH_REQUIRED, 1008)


@pytest.mark.parametrize("frame", ["hello", "[]", '{"type":"status"}', "{}", '{"type":"auth","token":1}'])
def test_so_does_one_on_an_open_topic(service, frame):
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


def test_a_topic_that_requires_tokens_since_the_upgrade_gets_one(worker, service):
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


def test_silence_for_10_seconds_closes_with_1008_and_no_message(service):
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


# auth_ok


def test_a_good_token_is_accepted(service):
    assert answer_to(service, "closed", auth_frame(good_token(service))) == (AUTH_OK, None)


def test_a_token_on_an_open_topic_is_ignored(service):
    for token in ("rubbish", "x" * 4000, good_token(service), make_token(service.secret, "open", expires=1)):
        assert answer_to(service, "open", auth_frame(token)) == (AUTH_OK, None), token[:50]


def test_an_expired_token_on_an_open_topic_ends_nothing(worker, service):
    with authenticated(service, "open", make_token(service.secret, "open", expires=int(time.time()))) as client:
        assert client.is_quiet(2), "its expiry was looked at"
        worker.api.publish("open", 1)
        assert client.read_message() == push_of("1")


CLAIMS = {
    "no user": '{"topic":"closed","expires":EXPIRES}',
    "user null": '{"user_id":null,"topic":"closed","expires":EXPIRES}',
    "user 0": '{"user_id":0,"topic":"closed","expires":EXPIRES}',
    "user -1": '{"user_id":-1,"topic":"closed","expires":EXPIRES}',
    "largest user": '{"user_id":9223372036854775807,"topic":"closed","expires":EXPIRES}',
    "another order": '{"expires":EXPIRES,"topic":"closed","user_id":7}',
    "white space": ' {"user_id": 7, "topic" : "closed" ,\n"expires":EXPIRES} ',
    "more members": '{"user_id":7,"topic":"closed","expires":EXPIRES,"scope":["a"]}',
    "escaped topic": '{"user_id":7,"topic":"cl\\u006fsed","expires":EXPIRES}',
    "expires in 2^53": '{"user_id":7,"topic":"closed","expires":9007199254740993}',
    "expires never": '{"user_id":7,"topic":"closed","expires":9223372036854775807}',
    "expires in ms": '{"user_id":7,"topic":"closed","expires":9223372036854775}',
}


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=CLAIMS.keys())
def test_every_spelling_of_good_claims_is_accepted(service, claims):
    token = sign(service.secret, claims.replace("EXPIRES", str(int(time.time()) + 60)).encode())
    assert answer_to(service, "closed", auth_frame(token)) == (AUTH_OK, None)


def test_a_token_is_valid_to_the_end_of_its_second(service):
    expires = int(time.time())
    answer = answer_to(service, "closed", auth_frame(good_token(service, expires=expires)))
    if int(time.time()) == expires:  # else it was too late to ask
        assert answer == (AUTH_OK, None)


# unauthorized


def flipped(text, at):
    return text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]


def broken_tokens(secret):
    """Each kind of token that must not be let in."""
    good = make_token(secret, "closed")
    claims, signature = good.split(".")
    later = int(time.time()) + 60

    def signed(**changes):
        whole = {"user_id": 1, "topic": "closed", "expires": later, **changes}
        return sign(secret, {name: value for name, value in whole.items() if value != "left out"})

    return {
        "rubbish": "x",
        "a dot": ".",
        "no claims": "." + signature,
        "no signature": claims + ".",
        "claims alone": claims,
        "no dot": claims + signature,
        "two dots": claims + ".." + signature,
        "three parts": good + "." + signature,
        "another first letter": flipped(good, 0),
        "another last letter": flipped(good, len(good) - 1),
        "signature one letter short": good[:-1],
        "signature one letter long": good + "0",
        "signature in upper case": claims + "." + signature.upper(),
        "claims in upper case": sign(secret, b"{}") and claims.upper() + "." + signature,
        "swapped": signature + "." + claims,
        "signature of nothing": claims + "." + "0" * 64,
        "white space before": " " + good,
        "white space after": good + "\n",
        "NUL after": good + "\0",
        "another secret": make_token("x" * 40, "closed"),
        "empty secret": make_token("", "closed"),
        "a longer secret": make_token(secret + "x", "closed"),
        "a shorter secret": make_token(secret[:-1], "closed"),
        "another topic": signed(topic="open"),
        "a longer topic": signed(topic="closed2"),
        "a shorter topic": signed(topic="close"),
        "topic in upper case": signed(topic="CLOSED"),
        "topic with NUL": signed(topic="closed\0"),
        "topic with white space": signed(topic="closed "),
        "empty topic": signed(topic=""),
        "topic a number": signed(topic=1),
        "topic an array": signed(topic=["closed"]),
        "no topic": signed(topic="left out"),
        "no expiry": signed(expires="left out"),
        "expiry null": signed(expires=None),
        "expiry a string": signed(expires=str(later)),
        "expiry a fraction": signed(expires=later + 0.5),
        "expiry with an exponent": sign(secret, b'{"user_id":1,"topic":"closed","expires":1e12}'),
        "expiry of 30 digits": sign(secret, b'{"user_id":1,"topic":"closed","expires":' + b"9" * 30 + b"}"),
        "expiry true": signed(expires=True),
        "user a string": signed(user_id="1"),
        "user a fraction": signed(user_id=1.5),
        "user of 30 digits": signed(user_id=10**30),
        "claims an array": sign(secret, b'["closed"]'),
        "claims not JSON": sign(secret, b"closed"),
        "claims cut off": sign(secret, b'{"topic":"closed","expires":9999999999'),
        "claims with more after them": sign(secret, b'{"topic":"closed","expires":9999999999}x'),
        "claims not UTF-8": sign(secret, b'{"topic":"closed","expires":9999999999,"x":"\xff"}'),
        "claims with NUL": sign(secret, b'{"topic":"closed","expires":9999999999}\0'),
        "3,000 letters": sign(secret, b'{"topic":"closed","expires":9999999999,"x":"' + b"y" * 1400 + b'"}') + "0",
        "expired and of another secret": make_token("x" * 40, "closed", expires=1),
        "expired and of another topic": make_token(secret, "open", expires=1),
    }


@pytest.mark.parametrize("kind", broken_tokens("s" * 48))
def test_a_broken_token_is_unauthorized(service, kind):
    token = broken_tokens(service.secret)[kind]
    if kind == "claims in upper case" and token.split(".")[0] == good_token(service).split(".")[0]:
        pytest.skip("no letter in the hex of these claims")
    assert answer_to(service, "closed", auth_frame(token)) == (UNAUTHORIZED, 1008)


@pytest.mark.parametrize("level, user_id, is_said", [("debug", "7", True), ("debug", 7, False), ("info", "7", False)])
def test_a_user_that_is_a_text_is_said_at_debug(make_server, level, user_id, is_said):
    """PHP's numbers become texts easily, and the browser hears no more than \"unauthorized\"."""
    server = make_server(log_level=level)
    assert server.api.register("closed", require_token=True).status == 200
    for forged in (True, False):
        secret = "x" * 48 if forged else server.service.secret
        token = sign(secret, {"user_id": user_id, "topic": "closed", "expires": int(time.time()) + 60})
        with server.subscribe("closed") as browser:
            browser.authenticate(token)
    server.service.gateway.stop()
    log = (server.service.log_dir / "gateway.log").read_text()
    lines = [line for line in log.splitlines() if "the user_id of a token is not an integer" in line]
    assert len(lines) == is_said
    assert all('level=debug' in line and 'topic="closed"' in line for line in lines)


@pytest.mark.parametrize("claims", ["hex", "not hex", "odd"])
def test_only_lower_case_hex_is_a_token(service, claims):
    """Correctly signed, but over text that is not lower-case hex."""
    good = json.dumps({"user_id": 1, "topic": "closed", "expires": int(time.time()) + 60}).encode().hex()
    text = {"hex": good.upper(), "not hex": good[:-1] + "g", "odd": good + "0"}[claims]
    token = text + "." + hmac.new(service.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    assert answer_to(service, "closed", auth_frame(token)) == (UNAUTHORIZED, 1008)


# auth_expired


@pytest.mark.parametrize("expires", [-(2**63), -1, 0, 1, 1_000_000_000])
def test_a_token_past_its_expiry_gets_auth_expired(service, expires):
    assert answer_to(service, "closed", auth_frame(good_token(service, expires=expires))) == (AUTH_EXPIRED, 1008)


def test_a_token_that_has_just_expired_gets_auth_expired(service):
    answer = answer_to(service, "closed", auth_frame(good_token(service, expires=int(time.time()) - 1)))
    assert answer == (AUTH_EXPIRED, 1008)


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


def test_where_expiry_is_kept_a_token_is_judged_only_when_it_is_shown(make_server):
    """token_expiry: keep. Then `close` again, by SIGHUP: those whose time is over go at once."""
    server = make_server(token_expiry="keep")
    service, expires = server.service, int(time.time()) + 1
    server.api.register("closed", meta={"require_token": True})
    with authenticated(service, "closed", good_token(service, expires=expires)) as client:
        time.sleep(max(0.0, expires + 1 + LATE_S + SLACK_S - time.time()))
        server.api.publish("closed", "long over")
        assert client.read_message() == push_of('"long over"')
        answer = answer_to(service, "closed", auth_frame(good_token(service, expires=expires)))
        assert answer == (AUTH_EXPIRED, 1008), "a newcomer shows one that is over"
        with authenticated(service, "closed", good_token(service)) as other:
            other.send_frame(auth_frame(good_token(service, expires=expires)))
            assert other.read_message() == AUTH_EXPIRED and close_code(other) == 1008
        client.send_frame(auth_frame(good_token(service)))
        assert client.read_message() == AUTH_OK
        client.send_frame(auth_frame(good_token(service, expires=int(time.time()))))
        assert client.read_message() == AUTH_OK
        assert client.is_quiet(1 + LATE_S + SLACK_S)
        service.write_config(token_expiry="close")
        service.gateway.send(signal.SIGHUP)
        assert client.read_message() == AUTH_EXPIRED and close_code(client) == 1008


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
