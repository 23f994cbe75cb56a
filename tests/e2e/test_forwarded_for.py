"""Whose address is in the log and in the sessions table: the peer's, or behind a trusted proxy (loopback, a UNIX
socket, trusted_proxies) the last untrusted hop of X-Forwarded-For. Nothing of the header reaches the log raw."""

import os

import pytest

from harness.api import make_token
from harness.process import GID, UID, Process, wait_until
from harness.service import Service
from harness.sqlite import rows
from harness.web_servers import OTHER_NETWORK, PUBLIC_ADDRESS, VISITOR_ADDRESS, in_network_of
from harness.websocket import Subscriber, WebSocket, authenticated


def started(service):
    service.start_gateway()
    return service


@pytest.fixture(scope="module")
def trusting(certificates):
    """Behind two networks of proxies besides loopback."""
    service = Service(log_connections=True, trusted_proxies=["203.0.113.0/24", "2001:db8:aa::/48"])
    try:
        yield started(service)
    finally:
        faults = service.close()
        assert not faults, "\n".join(faults)


def behind(service, headers):
    """A connection with these headers."""
    token = make_token(service.secret, "worker.status", user_id=4711)
    return authenticated(service, "worker.status", token, headers=headers)


def seen_address(service, connect):
    """The address that the sessions table has for a connection; it must be in the log too."""
    with connect():
        found = wait_until(
            lambda: rows(service, "SELECT address FROM sessions WHERE user_id = 4711"), "the session is written"
        )
        log = (service.log_dir / "gateway.log").read_bytes()
    wait_until(lambda: not rows(service, "SELECT 1 FROM sessions"), "the session is gone")
    [(address,)] = found
    assert f'address="{address}"'.encode() in log
    assert all(byte == 10 or 32 <= byte < 127 for byte in log), "raw bytes in the log"
    return address


FORWARDED = {
    "203.0.113.9": "203.0.113.9",  # a trusted one, and nobody before it: the best that is known
    "198.51.100.7": "198.51.100.7",
    "198.51.100.7, 203.0.113.9": "198.51.100.7",
    "192.0.2.66, 198.51.100.7, 203.0.113.9, 127.0.0.1": "198.51.100.7",
    "192.0.2.66,198.51.100.7": "198.51.100.7",
    "  198.51.100.7  ": "198.51.100.7",
    "198.51.100.7:4711": "198.51.100.7",
    "2001:db8::7": "2001:db8::7",
    "2001:DB8:0:0:0:0:0:7": "2001:db8::7",
    "[2001:db8::7]:443": "2001:db8::7",
    "2001:db8::7, 2001:db8:aa::1": "2001:db8::7",
    "::ffff:198.51.100.7": "198.51.100.7",
    "": "127.0.0.1",
    "unknown": "127.0.0.1",
    "_hidden": "127.0.0.1",
    "198.51.100.7, rubbish": "127.0.0.1",
    "198.51.100.7, rubbish, 203.0.113.9": "203.0.113.9",
    "1.2.3": "127.0.0.1",
    "1.2.3.4.5": "127.0.0.1",
    "999.1.1.1": "127.0.0.1",
    "198.51.100.7\tx": "127.0.0.1",
    '198.51.100.7" level=error msg="forged': "127.0.0.1",
    "<script>alert(1)</script>": "127.0.0.1",
    "évil 📻": "127.0.0.1",
    "%0d%0a": "127.0.0.1",
    "x, " * 1000 + "198.51.100.7": "198.51.100.7",
    "198.51.100.7, " + "x" * 3000: "127.0.0.1",
}


@pytest.mark.parametrize("value", FORWARDED, ids=lambda value: value[:40])
def test_behind_a_trusted_proxy_the_last_untrusted_hop_counts(trusting, value):
    assert seen_address(trusting, lambda: behind(trusting, {"X-Forwarded-For": value})) == FORWARDED[value]


def test_without_the_header_the_peer_counts(trusting):
    assert seen_address(trusting, lambda: behind(trusting, {})) == "127.0.0.1"


def test_several_headers_are_one_list(trusting):
    headers = {"X-Forwarded-For": "192.0.2.66", "x-forwarded-for": "198.51.100.7", "X-FORWARDED-FOR": "203.0.113.9"}
    assert seen_address(trusting, lambda: behind(trusting, headers)) == "198.51.100.7"


def test_other_headers_that_claim_an_address_are_ignored(trusting):
    headers = {"Forwarded": "for=198.51.100.7", "X-Real-IP": "198.51.100.7", "X-Client-IP": "198.51.100.7"}
    assert seen_address(trusting, lambda: behind(trusting, headers)) == "127.0.0.1"


@pytest.mark.parametrize("byte", [*range(1, 9), 11, 12, *range(14, 32), 127])
def test_a_control_character_in_the_header_is_refused_or_harmless(trusting, byte):
    headers = {"X-Forwarded-For": f"1.2.3.4{chr(byte)}[31m"}
    with WebSocket(trusting.ws_address) as client:
        status, _, _ = client.handshake("/ws?topic=worker.status", headers=headers)
    assert status in (101, 400)
    log = (trusting.log_dir / "gateway.log").read_bytes()
    assert all(byte == 10 or 32 <= byte < 127 for byte in log)


def test_behind_a_unix_socket_the_header_counts(make_service):
    service = started(make_service(unix=True, log_connections=True))
    assert seen_address(service, lambda: behind(service, {})) == "local"
    for value, address in {"192.0.2.66, 198.51.100.7": "198.51.100.7", "rubbish": "local"}.items():
        assert seen_address(service, lambda value=value: behind(service, {"X-Forwarded-For": value})) == address


def test_on_loopback_of_ipv6_the_header_counts(make_service):
    service = started(make_service(ws_bind="", log_connections=True))

    def connect(headers):
        client = Subscriber(f"ws://[::1]:{service.ws_port}/ws", "worker.status", headers=headers)
        client.authenticate(make_token(service.secret, "worker.status", user_id=4711))
        return client

    assert seen_address(service, lambda: connect({})) == "::1"
    assert seen_address(service, lambda: connect({"X-Forwarded-For": "198.51.100.7"})) == "198.51.100.7"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a network of its own")
@pytest.mark.parametrize("trusted, seen", [([], VISITOR_ADDRESS), ([VISITOR_ADDRESS], "198.51.100.7")])
def test_a_stranger_is_not_believed_unless_trusted_proxies_names_it(make_service, trusted, seen):
    service = make_service(ws_bind="", log_connections=True, trusted_proxies=trusted)
    command = [*OTHER_NETWORK, "setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups"]
    command += [service.gateway_program, "-c", service.config_file]
    service.gateway = Process.start("gateway", command, service.log_dir / "gateway.log", as_user=False)
    wait_until(lambda: "listening" in (service.log_dir / "gateway.log").read_text(), "the gateway listens")
    service.ws_address = (PUBLIC_ADDRESS, service.ws_port)

    def connect():
        token = make_token(service.secret, "worker.status", user_id=4711)
        headers = {"X-Forwarded-For": "198.51.100.7"}
        return authenticated(service, "worker.status", token, source=VISITOR_ADDRESS, headers=headers)

    assert seen_address(service, lambda: in_network_of(service.gateway.pid, connect)) == seen
