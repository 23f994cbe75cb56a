"""Resume (docs/clients.md): no gap, no repeat, ids rising, whatever happens in between."""

import contextlib
import json
import os
import re
import signal
import threading

import pytest

from harness.api import make_token
from harness.crowd import Crowd
from harness.process import log_tail, wait_until
from harness.sqlite import rows, wait_until_counted
from harness.web_servers import Nginx
from harness.websocket import ConnectionEnded, Subscriber, auth_frame, ends_with, upgraded


def subscriber(worker, topic):
    return Subscriber(worker.ws_url, topic)


def publish_many(api, topic, count, start=0):
    """Returns the ids."""
    return [api.publish(topic, {"n": n}).json["id"] for n in range(start, start + count)]


def test_null_resumes_from_now(worker):
    topic = "resume now"
    worker.api.register(topic)
    before = worker.api.publish(topic, "before").json["id"]
    with subscriber(worker, topic) as client:
        answer = client.authenticate(last_event_id=None)
        assert answer == f'{{"type":"auth_ok","last_event_id":{before},"recovered":true}}'
        later = worker.api.call("publish", raw=b'{"topic":"resume now","payload":[1.10, "\\u2028"]}').json["id"]
        assert client.receive() == f'{{"type":"push","id":{later},"payload":[1.10, "\\u2028"]}}'


def test_the_position_of_an_empty_topic_is_a_position_to_resume_from(worker):
    topic = "resume empty"
    worker.api.register(topic)
    with subscriber(worker, topic) as client:
        position = json.loads(client.authenticate(last_event_id=None))["last_event_id"]
    missed = worker.api.publish(topic, "missed").json["id"]
    with subscriber(worker, topic) as client:
        assert json.loads(client.authenticate(last_event_id=position))["recovered"] is True
        assert client.receive_json() == {"type": "push", "id": missed, "payload": "missed"}


def test_what_was_missed_comes_in_order_and_only_of_this_topic(worker):
    topic, other = "resume mine", "resume other"
    for name in (topic, other):
        worker.api.register(name)
    ids = []
    for _ in range(40):
        ids += publish_many(worker.api, topic, 1)
        publish_many(worker.api, other, 3)
    for start in (0, 5, 38, 39):
        with subscriber(worker, topic) as client:
            answer = json.loads(client.authenticate(last_event_id=ids[start]))
            assert answer["recovered"] is True and answer["last_event_id"] >= ids[-1]
            assert [client.receive_json()["id"] for _ in ids[start + 1 :]] == ids[start + 1 :]
            after = worker.api.publish(topic, "live").json["id"]
            assert client.receive_json() == {"type": "push", "id": after, "payload": "live"}
            ids.append(after)


def test_a_position_that_cannot_be_vouched_for_is_not_recovered_and_nothing_is_replayed(worker):
    topic = "resume nothing"
    worker.api.register(topic)
    last = publish_many(worker.api, topic, 3)[-1]
    for position in (0, 1, "ahead", 2**53, 2**62):
        position = last + 1 if position == "ahead" else position
        with subscriber(worker, topic) as client:
            answer = client.authenticate(last_event_id=position)
            assert answer == f'{{"type":"auth_ok","last_event_id":{last},"recovered":false}}', position
            live = worker.api.publish(topic, "live").json["id"]
            assert client.receive_json()["id"] == live
            last = live


@pytest.mark.parametrize("value", ["-1", "1.0", "1e3", '"7"', "true", "[]", "{}", "9223372036854775808"])
def test_any_other_value_is_auth_required(worker, value):
    topic = "resume wrong"
    worker.api.register(topic)
    with subscriber(worker, topic) as client:
        client.send(f'{{"type":"auth","token":"","last_event_id":{value}}}')
        assert client.receive_json()["code"] == "auth_required"
        assert client.close_code() == 1008


def test_without_the_member_frames_have_no_id(worker):
    topic = "resume not"
    worker.api.register(topic)
    with subscriber(worker, topic) as client:
        assert client.authenticate() == '{"type":"auth_ok"}'
        worker.api.publish(topic, 1)
        assert client.receive() == '{"type":"push","payload":1}'


def wait_until_gone(server, event_id):
    """Requests are what drives the API's pruning."""

    def is_gone():
        server.api.status()
        return rows(server.service, "SELECT min(id) FROM events")[0][0] > event_id

    wait_until(is_gone, f"event {event_id} is pruned")


def test_pruned_events_are_not_recovered(make_service, certificates):
    server = Nginx(make_service(event_limit=10, event_retention="1h").start(), certificates)
    server.api.register("t")
    ids = publish_many(server.api, "t", 400)
    wait_until_gone(server, ids[0])
    for position, recovered in ((ids[0], False), (ids[-3], True)):
        with subscriber(server, "t") as client:
            assert json.loads(client.authenticate(last_event_id=position))["recovered"] is recovered


def test_of_several_workers_the_one_that_missed_events_says_so_to_its_own_browsers(make_service, certificates):
    kinds = ("busy", {"last_event_id": None}), ("busy", {}), ("quiet", {"last_event_id": None})
    server = Nginx(make_service(gateway_processes=2, event_limit=100, event_retention="1h").start(), certificates)
    service = server.service
    for topic in ("busy", "quiet"):
        server.api.register(topic, require_token=True)
    with contextlib.ExitStack() as stack:
        places, user = {}, 0  # (process, kind) -> clients
        while len(places) < 2 * len(kinds):
            kind, user = user % len(kinds), user + 1
            topic, members = kinds[kind]
            client = stack.enter_context(upgraded(service, topic))
            client.send_frame(auth_frame(make_token(service.secret, topic, user), **members))
            assert json.loads(client.read_message())["type"] == "auth_ok"
            query = f"SELECT gateway FROM sessions WHERE user_id = {user}"
            process = wait_until(lambda query=query: rows(service, query), "it has a row")[0][0]
            places.setdefault((process, kind), []).append(client)
            assert user < 100
        (hung, other) = {process for process, _ in places}
        os.kill(hung, signal.SIGSTOP)
        try:
            ids = publish_many(server.api, "busy", 300)
            wait_until_gone(server, ids[0])
        finally:
            os.kill(hung, signal.SIGCONT)
        for client in places[hung, 0]:
            assert ends_with(client, 1013)
        for client in places[other, 0]:
            assert [json.loads(client.read_message())["id"] for _ in ids] == ids
        only = server.api.publish("quiet", "only").json["id"]
        for client in places[hung, 2] + places[other, 2]:
            assert json.loads(client.read_message())["id"] == only
        for client in places[hung, 1] + places[other, 1]:
            while json.loads(client.read_message())["payload"]["n"] < 299:
                pass
        told = re.findall(r'"pruned" after=\d+ closed=(\d+) drops=(\d+)', log_tail(service.log_dir))
        assert sum(int(closed) for closed, _ in told) == len(places[hung, 0])
        assert sum(int(drops) for _, drops in told) >= len(places[hung, 1])


def test_a_quiet_topic_is_recovered_although_events_of_others_were_pruned(make_service, certificates):
    server = Nginx(make_service(event_limit=10, event_retention="1h").start(), certificates)
    for topic in ("quiet", "busy"):
        server.api.register(topic)
    with subscriber(server, "quiet") as client:
        empty = json.loads(client.authenticate(last_event_id=None))["last_event_id"]
    wait_until_gone(server, publish_many(server.api, "busy", 200)[0])
    with subscriber(server, "quiet") as client:
        assert json.loads(client.authenticate(last_event_id=empty))["recovered"] is True
        only = server.api.publish("quiet", "only").json["id"]
        assert client.receive_json()["id"] == only
    with subscriber(server, "quiet") as client:
        assert json.loads(client.authenticate(last_event_id=empty))["recovered"] is True
        assert client.receive_json()["id"] == only, "still there"
    ids = publish_many(server.api, "busy", 200)
    wait_until_gone(server, ids[0])
    for topic, position, recovered in (
        ("quiet", empty, False),
        ("quiet", only - 1, False),
        ("quiet", only, True),
        ("quiet", only + 1, True),
        ("busy", ids[0], False),
        ("busy", ids[-2], True),
    ):
        with subscriber(server, topic) as client:
            answer = json.loads(client.authenticate(last_event_id=position))
            assert answer["recovered"] is recovered, (topic, position)
            if recovered and topic == "busy":
                assert client.receive_json()["id"] == ids[-1]


def test_a_topic_registered_anew_vouches_for_nothing_that_was_pruned_before(make_service, certificates):
    server = Nginx(make_service(event_limit=10, event_retention="1h").start(), certificates)
    server.api.register("t")
    first = publish_many(server.api, "t", 1)[0]
    server.api.unregister("t")
    server.api.register("other")
    wait_until_gone(server, publish_many(server.api, "other", 200)[0])
    server.api.register("t")
    last = publish_many(server.api, "other", 1)[0]
    for position, recovered in ((first - 1, False), (last, True)):
        with subscriber(server, "t") as client:
            assert json.loads(client.authenticate(last_event_id=position))["recovered"] is recovered


@contextlib.contextmanager
def stopped(service):
    service.gateway.send(signal.SIGSTOP)
    try:
        yield
    finally:
        service.gateway.send(signal.SIGCONT)


def test_a_gateway_that_was_stopped_past_the_limit_says_who_missed_something(make_service, certificates):
    server = Nginx(make_service(event_limit=10, event_retention="1h").start(), certificates)
    service = server.service
    clients = {}
    with contextlib.ExitStack() as stack:
        for topic in ("quiet", "busy"):
            server.api.register(topic)
            for kind, members in (("plain", {}), ("resumable", {"last_event_id": None})):
                client = clients[kind, topic] = stack.enter_context(subscriber(server, topic))
                position = json.loads(client.authenticate(**members)).get("last_event_id")
        with stopped(service):
            wait_until_gone(server, publish_many(server.api, "busy", 200)[0])
        assert clients["resumable", "busy"].close_code() == 1013
        numbers = [clients["plain", "busy"].receive_json()["payload"]["n"]]
        while numbers[-1] != 199:
            numbers.append(clients["plain", "busy"].receive_json()["payload"]["n"])
        assert numbers == list(range(numbers[0], 200)) and numbers[0] > 0
        with subscriber(server, "busy") as again:
            assert json.loads(again.authenticate(last_event_id=position))["recovered"] is False
        live = server.api.publish("quiet", "live").json["id"]
        assert clients["resumable", "quiet"].receive_json() == {"type": "push", "id": live, "payload": "live"}
        assert clients["plain", "quiet"].receive_json() == {"type": "push", "payload": "live"}
    wait_until_counted(service, "drops", "pruned", 1)
    wait_until_counted(service, "closes", "pruned", 1)
    assert server.api.status().json["dropped_pushes"] == 1
    (line,) = [line for line in (service.log_dir / "gateway.log").read_text().splitlines() if "pruned" in line]
    assert "level=warn" in line and "closed=1 drops=1" in line


def test_when_an_order_was_pruned_unseen_everyone_is_sent_away(make_service, certificates):
    """It may have been meant for any of them: to be disconnected, or that their topic is gone."""
    server = Nginx(make_service(event_limit=10, event_retention="1h").start(), certificates)
    for topic in ("quiet", "busy"):
        server.api.register(topic)
    with subscriber(server, "quiet") as quiet, subscriber(server, "busy") as busy:
        quiet.authenticate()
        busy.authenticate()
        with stopped(server.service):
            server.api.unregister("quiet")
            wait_until_gone(server, publish_many(server.api, "busy", 200)[0])
        assert quiet.close_code() == 1013
        assert busy.close_code() == 1013


def test_a_replay_that_is_overtaken_by_pruning_ends_with_1013(make_service, certificates):
    """The client stands still; over a UNIX socket, whose kernel buffer is small and does not grow."""
    server = Nginx(make_service(unix=True, event_limit=100, event_retention="1h").start(), certificates)
    server.api.register("t")
    ids = [server.api.publish("t", "x" * 20000).json["id"] for _ in range(100)]
    got = []
    with upgraded(server.service, "t") as client:
        client.send_frame(auth_frame(last_event_id=ids[0]))
        wait_until_counted(server.service, "resumes", "recovered", 1)
        publish_many(server.api, "t", 200)
        wait_until_gone(server, ids[-1])
        assert json.loads(client.read_message())["recovered"] is True
        with pytest.raises(ConnectionEnded, match=re.escape(repr((1013).to_bytes(2, "big")))):
            while True:
                got.append(json.loads(client.read_message())["id"])
    assert got == ids[1 : len(got) + 1] and len(got) < 99
    wait_until_counted(server.service, "closes", "pruned", 1)


def test_a_recreated_database_never_repeats_an_id_or_recovers_positions_of_the_old_one(make_service, certificates):
    server = Nginx(make_service().start(), certificates)
    service = server.service
    server.api.register("t")
    old = publish_many(server.api, "t", 5)
    assert max(old) < 2**53
    assert service.gateway.stop() is None
    assert service.stop_api() == []
    for path in service.state_dir.iterdir():
        path.unlink()
    service.start()
    server.api.register("t")
    with subscriber(server, "t") as client:
        assert json.loads(client.authenticate(last_event_id=old[-1]))["recovered"] is False
    assert min(publish_many(server.api, "t", 5)) > max(old)


def test_clients_that_come_and_go_under_full_load_miss_and_repeat_nothing(make_service, certificates):
    """Also when the gateway is restarted, or killed."""
    server = Nginx(make_service(log_level="warn").start(), certificates)
    service = server.service
    server.api.register("t")
    published, faults, stop = [], [], threading.Event()

    def publish():
        while not stop.is_set():
            reply = server.api.publish("t", "x" * 200)
            if reply.status == 200:
                published.append(reply.json["id"])
            else:
                faults.append(reply.status)

    with Crowd() as crowd:
        followers = crowd.follow(service.ws_address, "t", 4)
        threads = [threading.Thread(target=publish) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for turn in range(4):
                seen = len(published)
                wait_until(lambda: len(published) >= seen + 300, "publishes go on", limit_s=60)
                if turn % 2:
                    service.gateway.kill()
                    service.start_gateway()
                else:
                    service.restart_gateway()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        last = max(published)
        wait_until(lambda: all(follower.position == last for follower in followers), "the last event arrives", 60)
    assert not faults
    for follower in followers:
        assert list(follower.ids) == sorted(published)
        assert len(follower.starts) >= 5 and not follower.unrecovered
