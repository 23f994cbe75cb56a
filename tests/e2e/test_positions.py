"""Positions of a cluster (docs/clients.md, shared/contract/position.h): a client that comes from another node gets what it
has not had, once and in order, by each transport, and `recovered` is honest. One real node whose Redis is out of reach; what
other nodes would have sent it is put into its database. Real clusters are in test_cluster*.py."""

import contextlib
import json
import signal
import time

import pytest

from harness import sqlite
from harness.process import wait_until
from harness.service import Service
from harness.sqlite import wait_until_counted
from harness.stream import started
from harness.web_servers import Nginx
from harness.websocket import Subscriber, upgraded

NOWHERE = "redis://127.0.0.1:1"
A, C, FOREIGN, UNKNOWN = "a" * 16, "0123456789abcdef", "f" * 16, "00000000000000ee"
TRANSPORTS = ("websocket", "stream", "poll")
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(number):
    return (base36(number // 36) if number >= 36 else "") + DIGITS[number % 36]


def position_of(node, id, own, **others):
    """As that node gives it; `others` by name."""
    pairs = [f"{base36(int(name, 16))}-{base36(newest)}" for name, newest in others.items()]
    return ".".join([f"{base36(int(node, 16))}-{base36(id)}-{base36(own)}", *pairs])


def numbers_of(position):
    """What a client with that position has had of each node, and the id at the node that gave it."""
    first, *pairs = [[int(part, 36) for part in pair.split("-")] for pair in position.split(".")]
    return {f"{node:016x}": newest for node, newest in [(first[0], first[2]), *pairs]}, first[1]


class Node:
    """The real one; `server` is its Nginx."""

    def __init__(self, server):
        self.server, self.database, self.api = server, server.service.database, server.api
        # What its relay does when it has come to a cluster.
        sqlite.change(
            self.database,
            "UPDATE cluster SET relayed_id = (SELECT max(id) FROM events), joined_id = (SELECT max(id) FROM events) "
            "WHERE relayed_id IS NULL",
        )
        self.id = sqlite.value(self.database, "SELECT node FROM cluster")

    def register(self, topic):
        assert self.api.register(topic).status == 200
        return topic

    def publish(self, topic, payload):
        return self.api.publish(topic, payload).json["id"]

    def receive(self, node, number, topic, payload=None, age_s=0, kind=0):
        """An event of another node comes; `number` is None for a foreign one. Returns its id here."""
        origin = node if number is None else f"{node}.{number:016}"
        missing = number if kind == 5 else 0
        at_ms = int((time.time() - age_s) * 1000)
        sqlite.change(
            self.database,
            f"""BEGIN IMMEDIATE;
            INSERT INTO events (kind, topic, created_ms, origin, payload)
            VALUES ({kind}, '{topic}', {at_ms}, '{origin}', '{json.dumps(payload)}');
            INSERT INTO nodes (node, last_id, missing_id) VALUES ('{node}', {number or 0}, {missing})
            ON CONFLICT DO UPDATE SET last_id = max(last_id, excluded.last_id), missing_id = max(missing_id, excluded.missing_id);
            COMMIT""",
        )
        return sqlite.value(self.database, f"SELECT max(id) FROM events WHERE origin = '{origin}'")

    def tap(self):
        """What was put into the database is looked at now."""
        assert self.api.publish("worker.status", 0).status == 200


class Client:
    """One that resumes, by any transport; .recovered and .position are of the answer."""

    def __init__(self, node, topic, position, transport="websocket"):
        self.node, self.topic, self.transport = node, topic, transport
        if transport == "websocket":
            self.connection = Subscriber(node.server.ws_url, topic)
            answer = json.loads(self.connection.authenticate(last_event_id=position))
        elif transport == "stream":
            self.connection = started(node.server.service.ws_address, topic, last_event_id=position)
            answer = json.loads(self.connection.answer)
        else:
            self.connection = contextlib.closing(self)
            self.pushes = []
            answer = self.poll(position)
        self.answer, self.recovered, self.position = answer, answer["recovered"], answer["last_event_id"]

    def close(self):
        pass

    def poll(self, position):
        reply = self.node.server.poll(self.topic, last_event_id=position)
        if reply.status == 204:
            return {"recovered": True, "last_event_id": position}
        answer = reply.json
        self.pushes += [{"type": "push", **push} for push in answer["pushes"]]
        return answer

    def receive(self):
        """The next push: its id, and its payload."""
        if self.transport == "websocket":
            push = self.connection.receive_json()
        elif self.transport == "stream":
            event = self.connection.read_event()
            push = json.loads(event.data)
            assert event.id == push["id"], event
        else:
            push = self.pushes.pop(0)
        assert push["type"] == "push", push
        return push["id"], push["payload"]

    def has_nothing_more(self):
        """All that came was received; ends it."""
        if self.transport == "poll":
            return self.pushes == []
        assert self.node.api.call("disconnect", {"topic": self.topic}).status == 200
        last = self.connection.receive_json() if self.transport == "websocket" else self.connection.read_json()
        return last.get("code") == "disconnected"

    def __enter__(self):
        self.connection.__enter__()
        return self

    def __exit__(self, *error):
        self.connection.__exit__(*error)


@pytest.fixture(scope="module")
def node(certificates):
    service = Service(redis_url=NOWHERE)
    try:
        yield Node(Nginx(service.start(), certificates))
    finally:
        assert not service.close()


def resumed(node, topic, position, transport, count):
    """What comes after that position: the payloads, and the ids."""
    with Client(node, topic, position, transport) as client:
        assert client.recovered is True, (position, client.answer)
        pushes = [client.receive() for _ in range(count)]
        assert client.has_nothing_more(), (position, transport)
        return [payload for _, payload in pushes], [id for id, _ in pushes]


def test_a_client_from_another_node_gets_what_it_has_not_had_in_the_order_of_this_one(node):
    topic, other = node.register("hop"), node.register("hop other")
    before = node.publish(topic, "b0")
    node.receive(C, 500, topic, "c500")
    node.receive(A, 10, topic, "a10")
    b1 = node.publish(topic, "b1")
    node.receive(A, 20, topic, "a20")
    node.receive(C, 505, topic, "c505")
    node.receive(A, 25, other, "not of the topic")
    b2 = node.publish(topic, "b2")
    node.receive(A, 30, topic, "a30")
    all = ["b0", "c500", "a10", "b1", "a20", "c505", "b2", "a30"]
    b = node.id
    cases = [  # from A and from C, which have had other things in another order; and what is left
        (position_of(A, 9000, 10, **{b: before, C: 500}), ["b1", "a20", "c505", "b2", "a30"]),
        (position_of(A, 9000, 10, **{b: b2, C: 500}), ["a20", "c505", "a30"]),
        (position_of(A, 9000, 24, **{b: before, C: 505}), ["b1", "b2", "a30"]),
        (position_of(A, 9000, 30, **{b: b1, C: 505}), ["b2"]),
        (position_of(A, 9000, 30, **{b: b2, C: 505}), []),
        (position_of(C, 7, 500, **{A: 30, b: b2}), ["c505"]),
        (position_of(C, 7, 505, **{A: 10}), ["b0", "b1", "a20", "b2", "a30"]),
        (position_of(C, 7, 0), all),  # it has had nothing yet, and C has said nothing
        (position_of(UNKNOWN, 1, 0, **{A: 30, b: b2, C: 505}), []),  # nobody has heard of that node, which is silent
    ]
    for transport in TRANSPORTS:
        for position, left in cases:
            payloads, ids = resumed(node, topic, position, transport, len(left))
            assert payloads == left, (transport, position)
            for n, id in enumerate(ids):  # each of them is a position, here and for the next node
                assert resumed(node, topic, id, "poll", len(left) - n - 1)[0] == left[n + 1 :], (transport, position, id)


def test_what_this_node_gives_says_all_that_the_client_has_had(node):
    topic = node.register("given")
    node.receive(A, 40, topic, 1)
    with Client(node, topic, None) as client, Client(node, topic, None, "stream") as stream:
        assert client.recovered is stream.recovered is True and client.position == stream.position
        given = [client.position]
        own = node.publish(topic, 2)
        node.receive(A, 41, topic, 3)
        node.receive(C, 600, "worker.status", 4)
        node.tap()
        node.receive(C, 601, topic, 5)
        node.tap()
        given += [client.receive()[0] for _ in range(3)]
        assert [stream.receive()[0] for _ in range(3)] == given[1:]
        numbers = [numbers_of(position)[0] for position in given]
        assert [each[A] for each in numbers] == [40, 40, 41, 41] and numbers[3][C] == 601
        assert numbers[1][node.id] == numbers[2][node.id] == own < numbers[3][node.id]
    for position, left in zip(given, ([2, 3, 5], [3, 5], [5], [])):
        for transport in TRANSPORTS:
            assert resumed(node, topic, position, transport, len(left))[0] == left


def test_one_that_is_ahead_gets_nothing_twice_until_this_node_has_caught_up(node):
    topic = node.register("ahead")
    node.receive(A, 50, topic, "a50")
    own = node.publish(topic, "b")
    ahead = position_of(A, 9000, 53, **{node.id: own, UNKNOWN: 7})
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(node, topic, ahead, transport)) for transport in TRANSPORTS[:2]]
        behind = stack.enter_context(Client(node, topic, None))
        poller = Client(node, topic, ahead, "poll")
        assert numbers_of(poller.position)[0].items() >= {A: 53, UNKNOWN: 7}.items()
        poller.position = poller.poll(poller.position)["last_event_id"]

        def comes(payload, *expected):
            node.tap()
            for client in (behind, *(clients if payload in expected else [])):
                given, brought = client.receive()
                assert brought == payload
            if payload not in expected:
                return None
            return numbers_of(given)[0]

        node.receive(A, 51, topic, "a51")  # it has had that
        comes("a51")
        node.publish(topic, "live")
        seen = comes("live", "live")
        assert seen.items() >= {A: 53, UNKNOWN: 7}.items()  # it still has had more than this node
        assert seen[C] == sqlite.value(node.database, f"SELECT last_id FROM nodes WHERE node = '{C}'")  # and all of it
        node.receive(A, 53, topic, "a53")
        comes("a53")
        node.receive(A, 54, topic, "a54")
        assert comes("a54", "a54")[A] == 54
        node.receive(UNKNOWN, 7, topic, "u7")
        comes("u7")
        node.receive(UNKNOWN, 8, topic, "u8")
        assert comes("u8", "u8")[UNKNOWN] == 8
        node.publish(topic, "last")
        node.tap()
        ids = [client.receive() for client in (behind, *clients)]
        assert ids[0] == ids[1] == ids[2]  # from now on it gets what everybody gets
        while (position := poller.poll(poller.position)["last_event_id"]) != poller.position:
            poller.position = position
        assert [push["payload"] for push in poller.pushes] == ["live", "a54", "u8", "last"]


def test_recovered_is_false_where_something_may_be_missing(node):
    topic = node.register("missing")
    node.receive(A, 60, topic, "a60")
    own, b = node.publish(topic, "b"), node.id
    good = position_of(A, 9000, 60, **{b: own, C: 10**6})
    unsure = {
        "its own number is in the future": position_of(A, 9000, 60, **{b: own + 10**6}),
        "the id is in the future": position_of(b, own + 10**6, own, **{A: 60}),
        "the topic was registered later": position_of(b, own - 10**6, own, **{A: 60}),
        "a number": own,
        "zero": 0,
    }
    for transport in TRANSPORTS:
        for what, position in unsure.items():
            with Client(node, topic, position, transport) as client:
                assert client.recovered is False, (transport, what)
                again = client.position
            assert resumed(node, topic, again, transport, 0) == ([], []), (transport, what)
        assert resumed(node, topic, good, transport, 0) == ([], [])
    sqlite.change(node.database, f"UPDATE nodes SET missing_id = 61, last_id = 62 WHERE node = '{A}'")
    for position, recovered in ((good, False), (good.replace(base36(60), base36(61)), True)):
        for transport in TRANSPORTS:
            with Client(node, topic, position, transport) as client:
                assert client.recovered is recovered, (transport, position)


def test_events_of_a_foreign_node_are_known_by_their_time_alone(node):
    topic, quiet = node.register("foreign"), node.register("foreign quiet")
    node.receive(A, 100, topic, "a100", age_s=100)
    node.receive(FOREIGN, None, topic, "old", age_s=500)
    own = node.publish(quiet, 0)
    here = Client(node, topic, None, "poll").position
    elsewhere = position_of(A, 9000, 100, **{node.id: own, C: 10**6})
    for transport in TRANSPORTS:
        assert resumed(node, topic, elsewhere, transport, 0)[0] == []
    with Client(node, topic, elsewhere) as client:
        node.receive(FOREIGN, None, topic, "new")
        node.tap()
        assert client.receive()[1] == "new"
    for transport in TRANSPORTS:
        assert resumed(node, topic, here, transport, 1)[0] == ["new"]
        with Client(node, topic, elsewhere, transport) as client:
            assert client.recovered is False
        with Client(node, quiet, elsewhere, transport) as client:
            assert client.recovered is True


def test_a_gap_sends_away_who_resumes_unless_it_has_had_what_is_missing(node):
    topic = node.register("gap")
    node.receive(A, 200, topic, "a200")
    own = node.publish(topic, "b")
    with contextlib.ExitStack() as stack:
        resumes = stack.enter_context(Client(node, topic, None))
        ahead = stack.enter_context(Client(node, topic, position_of(A, 9000, 230, **{node.id: own, C: 10**6})))
        plain = stack.enter_context(Subscriber(node.server.ws_url, topic))
        assert plain.authenticate() == '{"type":"auth_ok"}'
        node.receive(A, 220, topic, kind=5)
        late = stack.enter_context(Client(node, topic, None))  # its position says so already
        node.receive(A, 231, topic, "a231")
        node.tap()
        assert resumes.connection.close_code() == 1013
        assert ahead.receive()[1] == late.receive()[1] == plain.receive_json()["payload"] == "a231"
        wait_until_counted(node.server.service, "drops", "pruned", 1)
        assert sqlite.value(node.database, "SELECT count(*) FROM event_overview WHERE kind = 'events missing'") == 1
        for transport in TRANSPORTS:
            with Client(node, topic, resumes.position, transport) as client:
                assert client.recovered is False
                again = client.position
        assert resumed(node, topic, again, "poll", 0)[0] == []


def test_one_that_is_ahead_is_sent_away_when_events_are_gone_before_they_were_read(make_server):
    node = Node(make_server(redis_url=NOWHERE, event_limit=50, event_retention="1h"))
    service = node.server.service
    with Client(node, "t", position_of(A, 9000, 0, **{UNKNOWN: 7})) as ahead:
        assert ahead.recovered is True
        node.publish("t", 0)
        assert ahead.receive()[1] == 0
        service.gateway.send(signal.SIGSTOP)
        last = [node.publish("t", n) for n in range(300)][-1]
        wait_until(
            lambda: node.api.status() and sqlite.value(node.database, "SELECT min(id) FROM events") > last - 200, "pruned"
        )
        service.gateway.send(signal.SIGCONT)
        assert ahead.connection.close_code() == 1013


HOSTILE = [
    "", "1", "a", "1-1", "1-1-", "1-1-1-1", "1-1-1.", "1-1-1.2", "1-1-1.2-0", "1-1-1.1-1", "1-1-1.2-1.2-2", "0-1-1", "1--1-1",
    "1-01-1", "A-1-1", "1-1-1 ", "1-1-1\0", "-1", "1-1-1y2p0ij32e8e8", "3w5e11264sgsg-1-1", "é-1-1", "1-1-1" + ".2-1" * 1000,
    "1-1-1" + "".join(f".{base36(n)}-1" for n in range(2, 35)),
]  # fmt: skip


def test_what_is_no_position_is_refused(node):
    topic = node.register("hostile")
    for text in HOSTILE:
        reply = node.server.poll(topic, last_event_id=text)
        assert (reply.status, reply.json["code"]) == (400, "auth_required"), text
        with upgraded(node.server.service, topic) as client:
            client.send_frame(json.dumps({"type": "auth", "last_event_id": text}))
            assert json.loads(client.read_message())["code"] == "auth_required", text
    for text in ("1-1-1", "3w5e11264sgsf-1y2p0ij32e8e7-1y2p0ij32e8e7", "1-1-1" + "".join(f".{base36(n)}-1" for n in range(2, 34))):
        assert node.server.poll(topic, last_event_id=text).status == 200, text
    with Subscriber(node.server.ws_url, topic) as client:
        assert client.authenticate(last_event_id=[1]) != '{"type":"auth_ok"}'


def test_a_single_node_takes_the_position_of_a_cluster_for_one_of_another_database(make_server):
    server = make_server()
    last = server.api.publish("t", 1).json["id"]
    for position in (position_of(A, 9000, 0), position_of(A, last, last)):
        reply = server.poll("t", last_event_id=position)
        assert reply.text == f'{{"type":"auth_ok","last_event_id":{last},"recovered":false,"pushes":[]}}'
        with Subscriber(server.ws_url, "t") as client:
            assert client.authenticate(last_event_id=position) == f'{{"type":"auth_ok","last_event_id":{last},"recovered":false}}'
