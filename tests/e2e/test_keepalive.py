"""The server pings every 30 s and drops a peer silent for 60 s; streams get a comment every 15 s, and are dropped when nothing
is taken for 60 s. One test, because it takes a minute: all connections are open at once."""

import select
import time

import pytest

from harness.sqlite import rows, wait_until_counted
from harness.stream import Stream, StreamEnded, request, stream_path, streaming
from harness.websocket import CLOSE, PING, PONG, TEXT, ConnectionEnded, auth_frame, authenticated, push_of

PING_EVERY_S, SILENCE_LIMIT_S = 30, 60
SLACK_S = 2.5


class Streams:
    """Two, over a UNIX socket: there it is the client that takes what is sent, not its kernel."""

    def __init__(self, service):
        self.service, self.reads, self.stands = service, streaming(service), Stream(service.ws_address)
        self.stands.send(request(stream_path("t"), auth_frame()))
        self.started, self.comments = time.monotonic(), []

    def look(self):
        try:
            self.reads.read_event(0.01)
        except TimeoutError:
            pass
        if self.reads.comments > len(self.comments):
            self.comments.append(time.monotonic() - self.started)
        if 5 < time.monotonic() - self.started < SILENCE_LIMIT_S - 1:
            assert rows(self.service, "SELECT sockets FROM gateways") == [(2,)]

    def check(self):
        assert len(self.comments) == 4, self.comments
        for i, at in enumerate(self.comments):
            assert (i + 1) * 15 - 0.5 <= at <= (i + 1) * 15 + SLACK_S, self.comments
        wait_until_counted(self.service, "closes", "silent", 1)
        assert self.stands.head()[0] == 200
        with pytest.raises(StreamEnded):
            while True:
                self.stands.read_event()
        self.reads.close()


def test_it_pings_every_30_s_and_drops_whoever_is_silent_for_60_s(worker, make_server):
    streams = Streams(make_server(unix=True).service)
    worker.api.register("t")
    service = worker.service
    clients = {name: authenticated(service, "t") for name in ("silent", "answers", "talks", "reads nothing")}
    started = time.monotonic()
    pings, ended, received = {name: [] for name in clients}, {}, {name: [] for name in clients}
    talked_at = pushed_at = started
    number = 0
    while time.monotonic() < started + SILENCE_LIMIT_S + PING_EVERY_S / 10 + SLACK_S:
        now = time.monotonic()
        streams.look()
        if now - talked_at > 20:
            clients["talks"].send_frame("anything")
            talked_at = now
        if now - pushed_at > 5:  # what is sent to a silent peer does not count as life
            worker.api.publish("t", number)
            number += 1
            pushed_at = now
        open_ones = {name: client for name, client in clients.items() if name not in ended and name != "reads nothing"}
        ready, _, _ = select.select([client.socket for client in open_ones.values()], [], [], 0.1)
        for name, client in open_ones.items():
            if client.socket not in ready:
                continue
            try:
                frame = client.read_frame(1)
            except ConnectionEnded:
                ended[name] = time.monotonic() - started
                continue
            if frame.opcode == CLOSE:
                ended[name] = time.monotonic() - started
            elif frame.opcode == PING:
                pings[name].append(time.monotonic() - started)
                if name == "answers":
                    client.send_frame(frame.payload, opcode=PONG)
            elif frame.opcode == TEXT:
                received[name].append(frame.payload.decode())

    assert list(ended) == ["silent"], ended
    assert SILENCE_LIMIT_S - 0.5 <= ended["silent"] <= SILENCE_LIMIT_S + SLACK_S, ended
    for name in ("answers", "talks"):
        assert len(pings[name]) == 2, pings
        for i, at in enumerate(pings[name]):
            assert (i + 1) * PING_EVERY_S - 0.5 <= at <= (i + 1) * PING_EVERY_S + SLACK_S, pings
        assert received[name] == [push_of(str(i)) for i in range(number)], name
        worker.api.publish("t", name)
        while clients[name].read_message() != push_of(f'"{name}"'):
            pass
    try:
        while True:
            clients["reads nothing"].read_frame()
    except (ConnectionEnded, OSError):
        pass
    for client in clients.values():
        client.close()
    streams.check()
