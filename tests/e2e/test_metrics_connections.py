"""What GET /internal/metrics counts of connections: what became of each, how it ended, why a handshake was refused (the
log says that too, but not each time), and what resuming came to."""

import time

from harness.direct import auth_frame, authenticated, path_of, upgraded
from harness.metrics import counted, scrape
from harness.metrics import server  # a fixture
from harness.raw_websocket import RawWebSocket
from harness.tokens import make_token


def send_auth(service, topic, frame):
    """The close code that this first frame ends in."""
    socket = upgraded(service, topic)
    socket.send_frame(frame)
    return socket.close_code()


def test_connections_are_counted_by_what_became_of_them(server):
    service = server.service
    server.api.register("open")
    server.api.register("closed", require_token=True)
    assert send_auth(service, "open", "not json") == 1008
    assert send_auth(service, "closed", auth_frame()) == 1008
    assert send_auth(service, "closed", auth_frame("x.y")) == 1008
    assert send_auth(service, "closed", auth_frame(make_token(service.secret, "open"))) == 1008
    assert send_auth(service, "closed", auth_frame(make_token(service.secret, "closed", expires=1))) == 1008
    assert send_auth(service, "open", "x" * 5000) == 1009
    upgraded(service, "open").close()
    good = authenticated(service, "closed", make_token(service.secret, "closed", user_id=1))
    counted(server, {
        "connections_total": {
            "accepted": 1, "auth_required": 2, "unauthorized": 2, "auth_expired": 1, "message_too_big": 1, "gone": 1,
        },
        "closes_total": {},
    })  # fmt: skip
    good.close()
    counted(server, {"closes_total": {"gone": 1}})


def test_closes_are_counted_by_their_cause(server):
    service = server.service
    server.api.register("t")
    server.api.register("closed", require_token=True)
    token = make_token(service.secret, "closed", user_id=1)
    bad, big, ended, out = [authenticated(service, "closed", token) for _ in range(4)]
    bad.send_frame(auth_frame("x.y"))
    assert bad.close_code() == 1008
    big.send_frame("x" * 5000)
    assert big.close_code() == 1009
    server.api.call("disconnect", {"user_id": 1})
    assert (ended.close_code(), out.close_code()) == (1008, 1008)
    topic = authenticated(service, "t")
    server.api.unregister("t")
    assert topic.close_code() == 1000
    server.api.register("t")
    expiring = authenticated(service, "closed", make_token(service.secret, "closed", expires=int(time.time()) + 1))
    assert expiring.close_code() == 1008
    away = authenticated(service, "t")
    service.restart_gateway()
    assert away.close_code() == 1001
    counted(server, {
        "closes_total": {
            "unauthorized": 1, "message_too_big": 1, "disconnected": 2, "topic_unregistered": 1, "auth_expired": 1,
            "shutdown": 1,
        },
        "disconnects_total": 1, "connections_total": {"accepted": 7},
    })  # fmt: skip


def test_refused_handshakes_are_counted_by_cause_and_logged_once(server):
    server.api.register("t")
    for _ in range(10):
        with RawWebSocket(server.service.ws_address) as socket:
            assert socket.handshake(path_of("nobody"))[0] == 404
    for path, options in (("/other", {}), ("/ws", {}), (path_of("t"), {"headers": {"Upgrade": None}})):
        with RawWebSocket(server.service.ws_address) as socket:
            assert socket.handshake(path, **options)[0] in (400, 404, 426)
    with RawWebSocket(server.service.ws_address) as socket:
        socket.send(b"\0\r\n\r\n")
        socket.ended()
    causes = {"not_registered": 10, "not_found": 1, "bad_topic": 1, "not_an_upgrade": 1, "malformed": 1}
    found = scrape(server).labels("refused_connections_total").get("gone", 0)  # who looked whether the port is there
    counted(server, {"refused_connections_total": {**causes, **({"gone": found} if found else {"gone": 1})}})
    assert server.service.gateway.stop() is None
    log = (server.service.log_dir / "gateway.log").read_text().splitlines()
    said = [line.partition("msg=")[2] for line in log if "refused a connection" in line and "not_registered" in line]
    assert said[0] == '"refused a connection" cause="not_registered"'
    assert len(said) == 2 and said[1].startswith(said[0] + " times=9 seconds=")
    server.service.start_gateway()


def test_resumes_are_counted_by_outcome(server):
    service = server.service
    server.api.register("t")
    first = server.api.publish("t", 0).json["id"]
    for _ in range(4):
        server.api.publish("t", 1)
    for position in (None, first, 5):
        with upgraded(service, "t") as socket:
            socket.send_frame(auth_frame(last_event_id=position))
            socket.read_message()
            if position == first:
                for _ in range(4):
                    socket.read_message()
    counted(server, {
        "resumes_total": {"recovered": 1, "lost": 1, "from_now": 1}, "replayed_events_total": 4, "deliveries_total": 0,
    })  # fmt: skip
