"""SIGKILL of either program at random moments while publishers run: the database stays whole, topics stay
registered, nothing that was answered with 200 is lost, and the service is whole again after a restart."""

import contextlib
import json
import os
import random
import threading

import pytest

from harness import sqlite
from harness.process import Process, wait_until
from harness.service import REPO
from harness.web_servers import Nginx

SEED = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
KILLS = 14
API_PROCESSES = 3
TOPICS = ["a", "b/é", "c d"]
SCHEMA_VERSION = len(list((REPO / "sql").glob("*.sql")))


class Publisher(threading.Thread):
    """Publishes numbers to one topic without a pause, and remembers which id each 200 named."""

    def __init__(self, server, topic):
        super().__init__()
        self.server, self.topic = server, topic
        self.answered = {}
        self.statuses = set()
        self.stopping = threading.Event()

    def run(self):
        number = 0
        while not self.stopping.is_set():
            number += 1
            payload = {"number": number, "filler": "x" * (number * 37 % 3000)}
            try:
                reply = self.server.api.publish(self.topic, payload)
            except OSError:
                continue
            self.statuses.add(reply.status)
            if reply.status == 200:
                self.answered[reply.json["id"]] = payload


class Crashes:
    """The programs, and what kills them and starts them again."""

    def __init__(self, service, listener, chance):
        self.service, self.listener, self.chance = service, listener, chance
        service.start_gateway()
        service.api = [service.spawn_api(listener) for _ in range(API_PROCESSES)]

    def kill_an_api_process(self):
        victim = self.chance.randrange(API_PROCESSES)
        self.service.api[victim].kill()
        self.service.api[victim] = self.service.spawn_api(self.listener)

    def kill_the_gateway(self):
        self.service.gateway.kill()
        self.service.start_gateway()

    def kill_everything(self):
        for process in [self.service.gateway, *self.service.api]:
            process.send(9)
        for process in [self.service.gateway, *self.service.api]:
            process.wait()
        self.service.start_gateway()
        self.service.api = [self.service.spawn_api(self.listener) for _ in range(API_PROCESSES)]


def assert_whole(service):
    assert sqlite.value(service.database, "PRAGMA integrity_check") == "ok"
    topics = [row["topic"] for row in sqlite.ask(service.database, "SELECT topic FROM topics ORDER BY topic")]
    assert topics == [*TOPICS, "worker.status"]


def assert_kept(service, publishers):
    """Every id that a 200 named is an event with that payload, and no id was named twice."""
    kept = sqlite.ask(service.database, "SELECT id, topic, payload FROM events WHERE kind = 0")
    rows = {row["id"]: (row["topic"], json.loads(row["payload"])) for row in kept}
    for publisher in publishers:
        missing = {
            number: payload["number"] for number, payload in publisher.answered.items()
            if rows.get(number) != (publisher.topic, payload)
        }  # fmt: skip
        assert not missing, f"answered with 200 and not in the database: {missing}"
    answered = [number for publisher in publishers for number in publisher.answered]
    assert len(answered) == len(set(answered)) > 0


def assert_works(server):
    server.api.register("after")
    with server.subscribe("after") as browser:
        assert browser.authenticate() == '{"type":"auth_ok"}'
        for number in range(5):
            assert server.api.publish("after", number).status == 200
            assert browser.receive_json()["payload"] == number
        wait_until(lambda: server.api.status().json["connected_sockets"] == 1, "the status is right again")
    server.api.unregister("after")


def test_programs_killed_at_random_moments_lose_nothing_that_was_answered(make_service, certificates):
    print(f"CRASH_SEED={SEED}")
    chance = random.Random(SEED)
    service = make_service()
    with service.listen_api() as listener:
        crashes = Crashes(service, listener, chance)
        server = Nginx(service, certificates)
        for topic in TOPICS:
            assert server.api.register(topic).status == 200
        publishers = [Publisher(server, topic) for topic in TOPICS]
        for publisher in publishers:
            publisher.start()

        def progress():
            return sum(len(publisher.answered) for publisher in publishers)

        try:
            for kill in range(KILLS):
                goal = progress() + chance.randrange(1, 60)
                wait_until(lambda: progress() >= goal, "publishes go on", interval_s=0.0005)
                chance.choice([crashes.kill_an_api_process, crashes.kill_the_gateway, crashes.kill_everything])()
            goal = progress() + 20
            wait_until(lambda: progress() >= goal, "publishes go on after the last kill")
        finally:
            for publisher in publishers:
                publisher.stopping.set()
            for publisher in publishers:
                publisher.join()

        assert set().union(*(publisher.statuses for publisher in publishers)) <= {200, 502, 503, 504}
        assert_whole(service)
        assert_kept(service, publishers)
        assert_works(server)

        crashes.kill_everything()
        wait_until(lambda: server.api.status().status == 200, "the service is up")
        assert_whole(service)
        assert_kept(service, publishers)
        for topic in TOPICS:
            assert server.api.publish(topic, 0).status == 200


@pytest.mark.parametrize("program", ["gateway", "api"])
def test_a_program_killed_while_it_creates_the_database_leaves_it_whole(make_service, program):
    print(f"CRASH_SEED={SEED}")
    chance = random.Random(SEED)
    service = make_service()

    def start():
        if program == "api":
            service.api = [service.spawn_api(listener)]
            return service.api[0]
        command = [service.gateway_program, "-c", service.config_file]
        service.gateway = Process.start("gateway", command, service.log_dir / "gateway.log")
        return service.gateway

    def start_anew():
        for path in service.state_dir.iterdir():
            path.unlink()
        return start()

    def size():
        total = 0
        for path in service.state_dir.glob("worker.db*"):
            with contextlib.suppress(FileNotFoundError):  # the journal comes and goes
                total += path.stat().st_size
        return total

    def is_made():
        return size() > 0 and sqlite.value(service.database, "PRAGMA user_version") == SCHEMA_VERSION

    with service.listen_api() as listener:
        process = start_anew()
        wait_until(is_made, "it makes the database")
        process.kill()
        full_size = size()
        for _ in range(12):
            process = start_anew()
            moment = chance.randrange(1, full_size + 1)
            wait_until(lambda: size() >= moment, "it makes the database", interval_s=0)
            process.kill()
            process = start()
            wait_until(is_made, "the next one finishes it")
            assert sqlite.value(service.database, "PRAGMA integrity_check") == "ok"
            assert sqlite.value(service.database, "SELECT count(*) FROM events WHERE kind = 3") == 1
            process.kill()
    service.api = []
