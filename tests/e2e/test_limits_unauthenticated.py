"""The limit on connections without authentication (max_unauthenticated): the one that has waited longest makes room,
those on their way out before it, and it is counted; whoever has authenticated notices nothing. For max_connections they
count like any other."""

import json

from harness.counters import counted, wait_until_counted
from harness.direct import AUTH_OK, auth_frame, authenticated, path_of, upgraded
from harness.limits import assert_refused, assert_served
from harness.limits import make_server  # a fixture
from harness.raw_websocket import RawWebSocket

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
    silent = RawWebSocket(service.ws_address)
    half = RawWebSocket(service.ws_address)
    half.send(RawWebSocket.request(path_of("t"))[:-1])
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
    refused = RawWebSocket(service.ws_address)
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
