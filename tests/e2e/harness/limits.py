"""A service with limits: who is refused at the door and told so, who is served, and addresses to come from."""

import json
import time

import pytest

from .direct import authenticated, path_of, push_of, rows
from .handshakes import ask
from .nginx import Nginx


@pytest.fixture
def make_server(make_service, certificates):
    """An Nginx before a service with the topic "t"."""

    def make(**config):
        server = Nginx(make_service(**config).start(), certificates)
        assert server.api.register("t").status == 200
        return server

    return make


def assert_refused(service, status, text, retry=False, topic="t", **options):
    answer, headers, body = ask(service, path_of(topic), **options)
    assert (answer, body) == (status, text.encode() + b"\n"), (answer, body)
    assert headers.get("retry-after") == ("1" if retry else None)
    assert headers["connection"] == "close" and headers["x-content-type-options"] == "nosniff"


def assert_served(server, *clients):
    """Each of them gets a push."""
    payload = json.dumps(str(time.monotonic()))
    assert server.api.call("publish", raw=b'{"topic":"t","payload":%s}' % payload.encode()).status == 200
    for client in clients:
        assert client.read_message() == push_of(payload)


def sessions(service):
    return rows(service, "SELECT count(*) FROM sessions")[0][0]


def forwarded(address):
    return {"headers": {"X-Forwarded-For": address}}


def from_address(service, address):
    return authenticated(service, "t", **forwarded(address))
