"""The limits on connections, in all (max_connections) and of one address (max_connections_per_address): one too many is
refused and counted, and whoever is within them notices nothing."""

from harness.counters import wait_until_counted
from harness.direct import AUTH_OK, authenticated, upgraded
from harness.handshakes import ask
from harness.limits import assert_refused, assert_served, forwarded, from_address, sessions
from harness.limits import make_server  # a fixture
from harness.nginx import Nginx
from harness.raw_websocket import RawWebSocket
from harness.subscriber import refusal
from harness.waiting import wait_until


# max_connections


def test_a_connection_too_many_is_503_and_the_others_go_on(make_server):
    server = make_server(max_connections=3)
    service = server.service
    with authenticated(service, "t") as first, authenticated(service, "t") as second:
        third = authenticated(service, "t")
        assert_refused(service, 503, "too many connections", retry=True)
        assert_refused(service, 503, "too many connections", retry=True, topic="not registered")
        assert refusal(server.wss_url, "t", tls=server.tls) == 503
        assert_served(server, first, second, third)
        third.close()
        wait_until(lambda: sessions(service) == 2, "the third has gone")
        with authenticated(service, "t") as fourth:
            assert_refused(service, 503, "too many connections", retry=True)
            assert_served(server, first, second, fourth)
    wait_until_counted(service, "refused_connections", "full", 4)


def test_what_was_wrong_before_is_told_when_it_is_full(make_server):
    service = make_server(max_connections=1).service
    with authenticated(service, "t"):
        with RawWebSocket(service.ws_address) as client:
            assert client.handshake("/elsewhere")[0] == 404
        with RawWebSocket(service.ws_address) as client:
            assert client.handshake("/ws")[0] == 400


# max_connections_per_address


def test_a_connection_too_many_of_one_address_is_429(make_server):
    server = make_server(max_connections_per_address=2)
    service, text = server.service, "too many connections from this address"
    with from_address(service, "192.0.2.1") as first, from_address(service, "192.0.2.1") as second:
        assert_refused(service, 429, text, retry=True, **forwarded("192.0.2.1"))
        assert_refused(service, 429, text, retry=True, **forwarded("203.0.113.9, 192.0.2.1"))
        with from_address(service, "192.0.2.2") as other:
            assert_served(server, first, second, other)
        second.close()
        wait_until(lambda: sessions(service) == 1, "the second has gone")
        with from_address(service, "192.0.2.1") as third:
            assert_refused(service, 429, text, retry=True, **forwarded("192.0.2.1"))
            assert_served(server, first, third)
    wait_until_counted(service, "refused_connections", "address_full", 3)


def test_an_address_is_counted_from_the_upgrade_on(make_server):
    service = make_server(max_connections_per_address=1).service
    with upgraded(service, "t", **forwarded("192.0.2.1")):
        assert ask(service, **forwarded("192.0.2.1"))[0] == 429
    wait_until(lambda: ask(service, **forwarded("192.0.2.1"))[0] == 101, "it has gone")


def test_an_ipv6_client_is_one_64(make_server):
    service = make_server(max_connections_per_address=1).service
    with from_address(service, "2001:db8:0:1::1"):
        assert ask(service, **forwarded("2001:db8:0:1:ffff::2"))[0] == 429
        assert ask(service, **forwarded("[2001:db8:0:1::3]:4711"))[0] == 429
        assert ask(service, **forwarded("2001:db8:0:2::1"))[0] == 101


def test_behind_nginx_it_is_the_browsers_address_that_counts(make_server):
    server = make_server(max_connections_per_address=2)
    with server.subscribe("t") as first, server.subscribe("t") as second:
        assert refusal(server.wss_url, "t", tls=server.tls) == 429
        for client in (first, second):
            assert client.authenticate() == AUTH_OK


def test_clients_whose_address_is_not_known_are_not_one_client(make_service, certificates):
    service = make_service(unix=True, max_connections_per_address=1).start()
    Nginx(service, certificates).api.register("t")
    with authenticated(service, "t"), authenticated(service, "t"), from_address(service, "192.0.2.1"):
        assert ask(service, **forwarded("192.0.2.1"))[0] == 429
