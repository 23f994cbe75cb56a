"""Each kind of token in a first frame (PROTOCOL.md section 2): every spelling of a good one is let in, and a broken or
expired one only where nobody looks at it."""

import hashlib
import hmac
import json
import time

import pytest

from harness.authentication import answer_to, good_token
from harness.authentication import service  # a fixture
from harness.direct import AUTH_EXPIRED, AUTH_OK, UNAUTHORIZED, auth_frame, authenticated, push_of
from harness.tokens import make_token, sign


# auth_ok


def test_a_good_token_is_accepted(service):
    assert answer_to(service, "closed", auth_frame(good_token(service))) == (AUTH_OK, None)


def test_a_token_on_an_open_topic_is_not_looked_at(service):
    for token in ("rubbish", "x" * 4000, good_token(service), make_token(service.secret, "open", expires=1)):
        assert answer_to(service, "open", auth_frame(token)) == (AUTH_OK, None), token[:50]


def test_an_expired_token_on_an_open_topic_ends_nothing(worker, service):
    with authenticated(service, "open", make_token(service.secret, "open", expires=int(time.time()))) as client:
        time.sleep(2)  # past the expiry, had it been looked at
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


@pytest.mark.parametrize("claims", ["hex", "not hex", "odd"])
def test_only_lower_case_hex_is_a_token(service, claims):
    """Signed rightly over a text that is no lower-case hex."""
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
