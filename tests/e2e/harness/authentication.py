"""An open and a closed topic, good tokens for the closed one, and what a first frame gets in answer."""

import pytest

from .direct import AUTH_OK, close_payload, upgraded
from .raw_websocket import CLOSE
from .tokens import make_token


@pytest.fixture(scope="module")
def service(worker):
    assert worker.api.register("open").status == 200
    assert worker.api.register("closed", meta={"require_token": True}).status == 200
    return worker.service


def close_code(client):
    """The code of the server's close frame, which is answered; then the server must end the connection."""
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
