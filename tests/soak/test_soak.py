"""SOAK_SECONDS (600) of 200 publishes a second through nginx and 1,000 connections that come and go, with strangers
among them. After the first minute, which has a storm in it, nothing grows any more: resident memory and descriptors of
each process, the database and its write-ahead log; no error is logged, the log is short, and whoever resumes has missed
nothing."""

import os
import statistics
import threading
import time
from pathlib import Path

from harness.crowd import Crowd, Member
from harness.ledger import Ledger, Publisher
from harness.process import LIMIT_S, SANITIZER_ENV, wait_until
from harness.web_servers import Nginx
from test_churn import QUIET_MEMORY, come, descriptors, go, resident_kb

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
FIRST_S = min(60.0, SECONDS / 3)  # then everything has its size
WINDOW_S = min(10.0, SECONDS / 6)  # of which the median counts: connections come and go
RATE, PUBLISHERS, CONNECTIONS, TOPICS = 200, 4, 1000, 40
LEAVING = 100  # a second: a connection lives for 10 s
STRANGERS = 20  # at a time
SLACK = 0.05
SANITIZER_SLACK = 0.25  # AddressSanitizer keeps freed memory for a while, and gives some back later
EVENT_LIMIT = int(RATE * FIRST_S / 2)  # reached within the first minute
DATABASE_SLACK = 0.2
LOG_MAX_BYTES = 32 * 1024 * 1024  # journal_size_limit
LINES_A_MINUTE = 20


class Strangers(threading.Thread):
    """Connections that get stuck on their way in, or should not get in (test_churn.py), a few at a time."""

    def __init__(self, service, chance):
        super().__init__(daemon=True)
        self.service, self.chance, self.stopping, self.count = service, chance, threading.Event(), 0
        self.error = None

    def run(self):
        clients = []
        try:
            while not self.stopping.wait(0.1):
                clients.append((come(self.service, self.count), self.count))
                self.count += 1
                if len(clients) > STRANGERS:
                    go(*clients.pop(self.chance.randrange(len(clients))))
        except Exception as error:  # the test tells
            self.error = error
        for client, number in clients:
            go(client, number)


def storm(crowd, server):
    """Once, in the first minute: everybody goes at once and comes back, then publishes come at full speed. What the
    allocator keeps of the largest peak it has by then, so that what is measured is growth."""
    def all_leave():
        for member in crowd.members:
            crowd.leave(member)

    crowd.call(all_leave)
    publishers = [Publisher(server.api, ["storm"], by) for by in range(PUBLISHERS)]
    start = time.monotonic()
    for publisher in publishers:
        publisher.start()
    # No more than are kept: who takes a while to come back has a right to what came meanwhile.
    while time.monotonic() - start < FIRST_S / 20 and sum(p.count for p in publishers) < EVENT_LIMIT / 2:
        time.sleep(0.01)
    for publisher in publishers:
        publisher.finish()


class Gauges:
    """What each process and file has, once a second."""

    def __init__(self, service):
        self.service, self.samples = service, []
        self.processes = {"gateway": service.gateway.pid}
        self.processes.update({f"api {number}": process.pid for number, process in enumerate(service.api)})

    def read(self, at_s):
        sample = {"at": at_s}
        for name, pid in self.processes.items():
            sample[f"{name}: KB resident"], sample[f"{name}: descriptors"] = resident_kb(pid), descriptors(pid)
        for name in ("worker.db", "worker.db-wal", "worker.db-shm"):
            sample[f"{name}: bytes"] = (self.service.state_dir / name).stat().st_size
        self.samples.append(sample)

    def median(self, name, start_s, end_s):
        return statistics.median(sample[name] for sample in self.samples if start_s <= sample["at"] <= end_s)

    def rows(self):
        """(name, after the first minute, at the end, highest)."""
        end_s = self.samples[-1]["at"]
        for name in self.samples[0]:
            if name != "at":
                yield (name, self.median(name, FIRST_S, FIRST_S + WINDOW_S), self.median(name, end_s - WINDOW_S, end_s),
                       max(sample[name] for sample in self.samples))  # fmt: skip


def populate(crowd, server, topics, over, are_staying):
    """Half of them resume, one in ten comes through nginx; and all the time some leave, to come back, until `over`: then
    `are_staying` is set."""
    for number in range(CONNECTIONS):
        straight = number % 10 != 9
        address = server.service.ws_address if straight else ("127.0.0.1", server.plain_port)
        kind = "always" if number // len(topics) % 2 else "no"
        crowd.add(Member(address, topics[number % len(topics)], kind, "/ws" if straight else server.ws_path))

    def some_leave():
        if over.is_set():
            are_staying.set()
            return
        for _ in range(LEAVING // 20):
            crowd.leave(crowd.chance.choice(crowd.members))
        crowd.after(1 / 20, some_leave)

    crowd.wait_until_open(60)
    crowd.call(some_leave)


def log_lines(service):
    return [line for path in service.log_dir.glob("*.log") if not path.name.startswith("nginx")
            for line in path.read_text().splitlines()]  # fmt: skip


def test_soak(make_service, certificates):
    SANITIZER_ENV.update(QUIET_MEMORY)
    service = make_service(event_limit=EVENT_LIMIT).start()
    server = Nginx(service, certificates)
    topics = [f"topic {number}" for number in range(TOPICS)]
    for topic in [*topics, "staying", "passing", "storm"]:
        assert server.api.register(topic).status == 200
    assert server.api.register("closed", require_token=True).status == 200
    alone = descriptors(service.gateway.pid)
    publishers = [
        Publisher(server.api, topics[by::PUBLISHERS], by, rate=RATE / PUBLISHERS) for by in range(PUBLISHERS)
    ]
    with Crowd() as crowd:
        over, are_staying, storms = threading.Event(), threading.Event(), []
        populate(crowd, server, topics, over, are_staying)
        strangers, gauges, start = Strangers(service, crowd.chance), Gauges(service), time.monotonic()
        for thread in (strangers, *publishers):
            thread.start()
        while (at_s := time.monotonic() - start) < SECONDS:
            gauges.read(at_s)
            crowd.check()
            assert not strangers.error, strangers.error
            if not storms and at_s > FIRST_S / 3:
                storms.append(threading.Thread(target=storm, args=(crowd, server)))
                storms[0].start()
            time.sleep(max(0.0, start + len(gauges.samples) - time.monotonic()))
        published = sum(publisher.count for publisher in publishers)
        strangers.stopping.set()
        for thread in (strangers, *storms):
            thread.join()
        over.set()
        assert are_staying.wait(LIMIT_S)
        crowd.wait_until_open()
        last = {}
        for publisher in publishers:
            last.update(publisher.finish())
        wait_until(lambda: all(m.last_key == last[m.topic] for m in crowd.members), "the last publishes come", 60)
    wait_until(lambda: descriptors(service.gateway.pid) == alone, "descriptors are given back", 20)

    members, rows, lines = crowd.members, list(gauges.rows()), log_lines(service)
    print(f"\n{SECONDS:g} s: {published} publishes ({published / SECONDS:.1f}/s), "
          f"{sum(len(m.keys) for m in members)} received, {sum(len(m.starts) for m in members)} connections, "
          f"{strangers.count} strangers, {len(lines)} lines of log")
    print(f"{'':28}{f'after {FIRST_S:g} s':>14}{'at the end':>14}{'highest':>14}")
    for name, first, end, highest in rows:
        print(f"{name:28}{first:14.0f}{end:14.0f}{highest:14.0f}")
    print("gateway, KB resident each minute:", *[sample["gateway: KB resident"] for sample in gauges.samples[::60]])

    assert not crowd.refusals()
    unrecovered = sum(member.unrecovered for member in members)
    assert unrecovered == 0, f"{unrecovered} times a client was told that what it missed is gone"
    assert Ledger(publishers, members).faults() == []
    assert sum((p.statuses[200] for p in publishers)) == sum(p.count for p in publishers)
    assert published >= RATE * SECONDS * (1 - SLACK), "the publishers did not keep up"
    sanitized = b"libasan" in Path(f"/proc/{service.gateway.pid}/maps").read_bytes()
    for name, first, end, highest in rows:
        if "bytes" not in name:
            slack = SANITIZER_SLACK if sanitized and "resident" in name else SLACK
            assert abs(end - first) <= first * slack, f"{name}: {first} and then {end}"
        else:
            assert highest <= (LOG_MAX_BYTES if "-" in name else first * (1 + DATABASE_SLACK)), f"{name}: {highest}"
    errors = [line for line in lines if "level=error" in line]
    assert not errors, errors
    assert len(lines) < 50 + LINES_A_MINUTE * (SECONDS / 60 + 1), "the log is long"
