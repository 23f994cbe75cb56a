"""The limits of the configuration and of the system: each has an answer for what is one too many, and is counted; whoever
is within them notices nothing. Connections, those without authentication, a client's pace, topics, descriptors, and the
sites that browsers may come from."""

import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from harness import sqlite
from harness.process import GID, UID, Process, accepts, log_tail, wait_until
from harness.service import Service
from harness.sqlite import counted, rows, wait_until_counted
from harness.web_servers import Nginx
from harness.websocket import (
    AUTH_OK, CONTINUATION, PING, ConnectionEnded, WebSocket, ask, auth_frame, authenticated, build_frame,
    path_of, push_of, refusal, upgraded,
)  # fmt: skip


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


def test_a_faulty_request_gets_its_own_answer_also_when_it_is_full(make_server):
    service = make_server(max_connections=1).service
    with authenticated(service, "t"):
        with WebSocket(service.ws_address) as client:
            assert client.handshake("/elsewhere")[0] == 404
        with WebSocket(service.ws_address) as client:
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


TRY_AGAIN = 1013


def test_those_that_have_not_authenticated_count_too(make_server):
    service = make_server(max_connections=2).service
    with upgraded(service, "t"), authenticated(service, "t"):
        assert_refused(service, 503, "too many connections", retry=True)


def assert_made_room(client):
    """It was closed with 1013."""
    frame = client.read_frame()
    assert frame.payload == TRY_AGAIN.to_bytes(2, "big") + b"too many connections"
    assert client.ended()


def test_the_one_that_has_waited_longest_makes_room(make_server):
    server = make_server(max_unauthenticated=3)
    service = server.service
    with authenticated(service, "t") as member:
        waiting = [upgraded(service, "t") for _ in range(3)]
        for _ in range(5):
            waiting.append(upgraded(service, "t"))
            assert_made_room(waiting.pop(0))
        for client in waiting:
            client.send_frame(auth_frame())
            assert client.read_message() == AUTH_OK
        more = [upgraded(service, "t") for _ in range(3)]  # there is room again
        assert_served(server, member, *waiting)
        for client in more:
            client.send_frame(auth_frame())
            assert client.read_message() == AUTH_OK
    wait_until_counted(service, "connections", "pending_full", 5)
    assert counted(service, "refused_connections", "pending_full") == 0


def test_handshakes_that_are_under_way_make_room_too(make_server):
    server = make_server(max_unauthenticated=3)
    service = server.service
    silent = WebSocket(service.ws_address)
    half = WebSocket(service.ws_address)
    half.send(WebSocket.request(path_of("t"))[:-1])
    third = upgraded(service, "t")
    fourth = upgraded(service, "t")
    assert silent.ended(), "it had said nothing, it is told nothing"
    with upgraded(service, "t") as fifth:
        assert half._read_to_end().split(b"\r\n")[0] == b"HTTP/1.1 503 Service Unavailable"
        for client in (third, fourth, fifth):
            client.send_frame(auth_frame())
            assert client.read_message() == AUTH_OK
        assert_served(server, third, fourth, fifth)
    wait_until_counted(service, "refused_connections", "pending_full", 2)


def test_those_on_their_way_out_make_room_first(make_server):
    """A refused handshake and a wrong first frame whose senders stay, and one that waits for its user."""
    server = make_server(max_unauthenticated=3)
    service = server.service
    server.api.register("closed", require_token=True)
    patient = upgraded(service, "t")
    refused = WebSocket(service.ws_address)
    assert refused.handshake(path_of("unknown"))[0] == 404
    wrong = upgraded(service, "closed")
    wrong.send_frame(auth_frame("wrong"))
    assert json.loads(wrong.read_message())["code"] == "unauthorized"
    newer = [upgraded(service, "t") for _ in range(2)]
    assert refused.ended(1.5) and wrong.ended(3), "before their own time is over"
    for client in (patient, *newer):
        client.send_frame(auth_frame())
        assert client.read_message() == AUTH_OK
    assert_served(server, patient, *newer)


POLICY = 1008


# handshake_timeout


def test_a_slow_handshake_is_408_and_a_silent_one_just_ends(make_server):
    service = make_server(handshake_timeout="1s").service
    request = WebSocket.request(path_of("t"))
    started = time.monotonic()
    silent, half, slow = (WebSocket(service.ws_address) for _ in range(3))
    half.send(request[:-1])
    sent = 0
    try:
        while time.monotonic() < started + 5:
            slow.send(request[sent : sent + 1])
            sent += 1
            time.sleep(0.05)  # its pace
    except OSError:
        pass  # it has been closed
    assert 0.9 <= time.monotonic() - started < 3 and sent < len(request)
    assert silent._read_to_end() == b""
    answer = half._read_to_end()
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n") and answer.endswith(b"\r\n\r\nrequest timeout\n")
    wait_until_counted(service, "refused_connections", "timeout", 3)


def test_silence_after_the_upgrade_is_1008(make_server):
    service = make_server(handshake_timeout="1s").service
    with upgraded(service, "t") as silent, upgraded(service, "t") as talker, authenticated(service, "t") as member:
        started = time.monotonic()
        talker.send_frame("{", fin=False)  # the first byte of a first frame
        while time.monotonic() < started + 0.5:
            talker.send_frame(b"", opcode=PING)
            talker.send_frame(b"", opcode=CONTINUATION, fin=False)
            time.sleep(0.05)  # its pace
        assert silent.close_code(5) == POLICY
        assert talker.close_code(5) == POLICY
        assert 0.9 <= time.monotonic() - started < 3
        member.send_frame(b"x", opcode=PING)
        assert member.read_frame().payload == b"x"
    wait_until_counted(service, "connections", "timeout", 2)


# message_rate


def test_a_client_that_sends_too_much_is_closed_with_1008(make_server):
    server = make_server(message_rate=10)
    service = server.service
    with authenticated(service, "t") as member, authenticated(service, "t") as talker:
        for _ in range(200):
            talker.send_frame("{}")
        frame = talker.read_frame()
        assert frame.payload == POLICY.to_bytes(2, "big") + b"too many messages"
        assert_served(server, member)
    with upgraded(service, "t") as early:
        early.send_frame("{")  # one is enough for a close
        assert early.close_code() == POLICY
    wait_until_counted(service, "closes", "too_many_messages", 1)


def test_a_burst_and_the_steady_rate_are_allowed(make_server):
    server = make_server(message_rate=10)
    with authenticated(server.service, "t") as client:  # that was one
        for _ in range(19):
            client.send_frame("{}")
        started = time.monotonic()
        for n in range(1, 21):
            time.sleep(max(0.0, started + n * 0.11 - time.monotonic()))  # its pace
            client.send_frame("{}")
        assert_served(server, client)
        for _ in range(10):
            client.send_frame("a message in pieces", fin=False)
            client.send_frame(b"x", opcode=PING)
            for _ in range(10):
                client.send_frame(b"", opcode=CONTINUATION, fin=False)
            client.send_frame(" is one", opcode=CONTINUATION)
            time.sleep(0.11)  # its pace
        assert_served(server, client)
        with pytest.raises(ConnectionEnded, match="too many messages"):
            for _ in range(100):
                client.send_frame("{}")
            while True:
                client.read_message()


def test_fragments_do_not_escape_it(make_server):
    """A message may be cut into any number of them, and hold none at all."""
    server = make_server(message_rate=10)
    with authenticated(server.service, "t") as client:
        client.send_frame("{", fin=False)
        client.send(build_frame(b"", opcode=CONTINUATION, fin=False) * 15000)
        with pytest.raises(ConnectionEnded, match="too many messages"):
            client.read_message()


def test_no_rate_is_no_limit(make_server):
    server = make_server(message_rate=0)
    with authenticated(server.service, "t") as client:
        for _ in range(5000):
            client.send_frame("{}")
        assert_served(server, client)


@pytest.fixture
def full(make_server):
    """A server with "t" and two more topics, where three are allowed."""
    server = make_server(max_topics=3, topic_ttl="1h")
    for topic in ("a", "b"):
        assert server.api.register(topic).status == 200
    return server


def assert_full(server):
    reply = server.api.register("one too many")
    assert (reply.status, reply.body) == (503, b"unavailable: too many topics\n")
    assert reply.headers["Retry-After"] == "1"
    assert server.api.publish("one too many", 1).status == 404


def test_one_too_many_is_503_and_the_others_go_on(full):
    with authenticated(full.service, "t") as member:
        for _ in range(3):
            assert_full(full)
            for topic in ("t", "a", "b", "worker.status"):
                assert full.api.register(topic).status == 200  # again
            assert_served(full, member)
    assert full.api.status().json["registered_topics"] == 4  # worker.status is one


def test_an_unregistered_topic_makes_room_for_one(full):
    assert full.api.unregister("a").status == 200
    assert full.api.unregister("a").status == 200  # twice: no more room for that
    assert full.api.register("c").status == 200
    assert_full(full)


def test_an_expired_topic_makes_room_when_it_is_pruned(full):
    sqlite.change(full.service.database, "UPDATE topics SET expires_ms = 1 WHERE topic IN ('a', 'b')")
    wait_until(lambda: full.api.register("c").status == 200, "one of the two has made room")
    wait_until(lambda: full.api.register("d").status == 200, "so has the other")
    assert_full(full)


def test_the_limit_can_be_changed_while_it_is_reached(full):
    full.service.write_config(max_topics=4)
    wait_until(lambda: full.api.register("c").status == 200, "the API has read the new limit")
    assert_full(full)


# As many as there are


def start_gateway_with_descriptors(service, count):
    limit = ["prlimit", f"--nofile={count}:{count}"]
    command = [*limit, service.gateway_program, "-c", service.config_file]
    service.gateway = Process.start("gateway", command, service.log_dir / "gateway.log")
    wait_until(lambda: accepts(service.ws_address), "the gateway accepts connections")


@pytest.mark.parametrize("configured", [0, 5000])
def test_as_many_as_the_descriptors_reach_are_served_and_the_rest_gets_503(make_service, certificates, configured):
    """Full, the gateway still has descriptors for all that it does."""
    service = make_service(max_connections=configured, log_level="info")
    start_gateway_with_descriptors(service, 200)
    service.start_api()
    server = Nginx(service, certificates)
    server.api.register("t")
    clients = []
    while (client := WebSocket(service.ws_address)).handshake(path_of("t"))[0] == 101:
        client.send_frame(auth_frame())
        assert client.read_message() == AUTH_OK
        clients.append(client)
    client.close()
    assert 100 <= len(clients) < 150
    assert_refused(service, 503, "too many connections", retry=True)
    assert_served(server, *clients)
    wait_until(lambda: sessions(service) == len(clients), "all are written down")
    for client in clients:
        client.close()
    with authenticated(service, "t") as client:
        assert_served(server, client)
    text = "the limit of descriptors is too low for max_connections"
    assert (text in log_tail(service.log_dir)) == (configured > 0)


@pytest.mark.parametrize(("count", "configured"), [(40, 0), (40, 1000), (1000, 0), (1000, 1000)])
def test_a_low_limit_is_said_at_the_start_with_what_it_allows(make_service, certificates, count, configured):
    service = make_service(max_connections=configured)
    start_gateway_with_descriptors(service, count)
    service.start_api()
    server = Nginx(service, certificates)
    server.api.register("t")
    text = "the limit of descriptors is " + ("too low for max_connections" if configured else "low")
    (line,) = [line for line in log_tail(service.log_dir).splitlines() if text in line]
    assert f"descriptors={count} " in line
    allowed = int(re.search(r"connections=(\d+)", line)[1])
    clients = [authenticated(service, "t") for _ in range(allowed)]
    assert_refused(service, 503, "too many connections", retry=True)
    assert_served(server, *clients)
    for client in clients:
        client.close()


# Out of descriptors


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def allow_descriptors(pid, count):
    """Sets the soft limit of a running process, as its own user may; returns what it was."""
    own_user = {"user": UID, "group": GID, "extra_groups": []} if os.geteuid() == 0 else {}
    command = ["prlimit", f"--pid={pid}"]
    before = subprocess.check_output([*command, "--nofile", "--raw", "--noheadings", "--output=SOFT"], **own_user)
    subprocess.run([*command, f"--nofile={count}:"], check=True, **own_user)
    return int(before)


def test_out_of_descriptors_it_waits_without_spinning_and_goes_on_when_there_are_some(make_server):
    """Nobody is refused: they wait in the kernel's queue."""
    server = make_server()
    service, pid = server.service, server.service.gateway.pid
    with authenticated(service, "t") as member:
        usual = allow_descriptors(pid, descriptors(pid) + 1)
        queue = []
        for _ in range(30):
            client = WebSocket(service.ws_address)
            client.send(WebSocket.request(path_of("t")))
            queue.append(client)
        wait_until(lambda: "cannot accept connections" in log_tail(service.log_dir), "it says so")
        cpu, started = cpu_seconds(pid), time.monotonic()
        while time.monotonic() < started + 2:
            assert_served(server, member)
            time.sleep(0.1)  # the measurement takes its time
        busy = cpu_seconds(pid) - cpu
        assert busy < 0.4, f"{busy:.2f} s of CPU in 2 s"
        allow_descriptors(pid, usual)
        freed = time.monotonic()
        for client in queue:
            assert client._read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
            client.send_frame(auth_frame())
            assert client.read_message() == AUTH_OK
        assert time.monotonic() - freed < 2
        assert_served(server, member, *queue)
        for client in queue:
            client.close()
    log = (service.log_dir / "gateway.log").read_text()
    assert log.count("cannot accept connections for now") == 1 and "Too many open files" in log
    assert log.count("connections are accepted again") == 1


def test_a_descriptor_that_comes_free_is_used(make_server):
    server = make_server()
    service, pid = server.service, server.service.gateway.pid
    first = authenticated(service, "t")
    usual = allow_descriptors(pid, descriptors(pid))
    with WebSocket(service.ws_address) as waiting:
        waiting.send(WebSocket.request(path_of("t")))
        waiting.socket.settimeout(0.5)
        with pytest.raises(socket.timeout):
            waiting.socket.recv(1)
        first.close()
        assert waiting._read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
    allow_descriptors(pid, usual)


ORIGINS = ["https://log.example.org", "http://localhost:8080", "HTTPS://Other.example:443", "https://*.many.example"]


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
     "https://other.example", "https://one.many.example", "https://a.B.many.example"],
)  # fmt: skip
def test_an_origin_that_is_allowed_passes_in_any_spelling(choosy, origin):
    assert ask(choosy.service, headers={"Origin": origin})[0] == 101


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://log.example.org", "https://log.example.org:444", "https://x.log.example.org",
     "https://log.example.org.evil.example", "http://localhost", "https://log.example.org/",
     "https://log.example.org@evil.example", "https://log.example.org,https://evil.example", "https://many.example",
     "https://*.many.example", "https://one.many.example:8443", "https://one.many.example.evil.example", "null", "", "*",
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
