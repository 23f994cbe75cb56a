"""From which sites browsers may come (allowed_origins): others are refused and counted, and the list changes with the
file."""

import signal

import pytest

from harness.counters import counted
from harness.handshakes import ask
from harness.limits import assert_refused, forwarded, from_address
from harness.limits import make_server  # a fixture
from harness.nginx import Nginx
from harness.service import Service
from harness.subscriber import refusal
from harness.waiting import wait_until

ORIGINS = ["https://log.example.org", "http://localhost:8080", "HTTPS://Other.example:443"]


def browser_from(origin):
    return {"headers": {"Origin": origin}}


@pytest.fixture(scope="module")
def choosy(certificates):
    """As `worker`, but only browsers from ORIGINS may come."""
    service = Service(allowed_origins=ORIGINS)
    try:
        server = Nginx(service.start(), certificates)
        server.api.register("t")
        yield server
    finally:
        faults = service.close()
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "origin",
    [None, "https://log.example.org", "https://LOG.example.org:443", "HTTPS://log.example.org", "http://localhost:8080",
     "https://other.example"],
)  # fmt: skip
def test_an_origin_that_is_allowed_passes_in_any_spelling(choosy, origin):
    assert ask(choosy.service, headers={"Origin": origin})[0] == 101


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://log.example.org", "https://log.example.org:444", "https://x.log.example.org",
     "https://log.example.org.evil.example", "http://localhost", "https://log.example.org/",
     "https://log.example.org@evil.example", "https://log.example.org,https://evil.example", "null", "", "*",
     "x" * 4000],
    ids=lambda origin: origin[:40],
)  # fmt: skip
def test_a_browser_from_elsewhere_is_403(choosy, origin):
    assert_refused(choosy.service, 403, "origin not allowed", **browser_from(origin))


def test_a_browser_from_elsewhere_is_403_behind_nginx(choosy):
    before = counted(choosy.service, "refused_connections", "origin")
    origin = {"headers": {"Origin": "https://evil.example"}}
    assert refusal(choosy.wss_url, "t", tls=choosy.tls, **origin) == 403
    wait_until(lambda: counted(choosy.service, "refused_connections", "origin") > before, "it is counted")


def test_any_origin_passes_where_none_is_named(worker):
    worker.api.register("t")
    for origin in ("https://evil.example", "null", ""):
        assert ask(worker.service, **browser_from(origin))[0] == 101


def test_origins_and_rates_change_with_the_file(make_server):
    server = make_server(allowed_origins=["https://a.example"])
    service = server.service
    assert ask(service, **browser_from("https://b.example"))[0] == 403
    service.write_config(allowed_origins="https://b.example, https://c.example", max_connections_per_address=1)
    service.gateway.send(signal.SIGHUP)
    wait_until(lambda: ask(service, **browser_from("https://b.example"))[0] == 101, "b may come")
    assert ask(service, **browser_from("https://a.example"))[0] == 403
    with from_address(service, "192.0.2.1"):
        assert ask(service, **forwarded("192.0.2.1"))[0] == 429
