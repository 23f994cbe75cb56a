"""Crashes under load: publishers at full speed through nginx, subscribers that resume and plain ones, and SIGKILL to
the gateway and to API processes at random moments, replacements (SIGUSR2) in between. Each publish that was answered
with 200 reaches every subscriber that resumes, exactly once and in order; nothing is invented; the database is whole.

CRASH_KILLS says how many kills (`make soak` asks for 200), CRASH_SEED repeats a run."""

import os
import random

import pytest

from harness import sqlite
from harness.crashes import API_PROCESSES, TEMPORARY, Crashes
from harness.crowd import Crowd, Member
from harness.ledger import PUBLISHERS_MAX, Ledger, Publisher, key_of
from harness.web_servers import Nginx

SEED = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
KILLS = int(os.environ.get("CRASH_KILLS", "40"))
TOPICS = ["a", "b/é"]
PUBLISHERS = 3
FIRST_MEMBERS = 12
BATCH = 5  # kills, then one more client comes


def crash(make_service, certificates, kills, resume="always", kinds=None, processes=1):
    """Returns (service, publishers, members, crashes) when all has come to rest; the members are still connected to
    nobody: their crowd has ended."""
    print(f"CRASH_SEED={SEED}")
    service = make_service(log_level="warn", drain="300ms", gateway_processes=processes).start(API_PROCESSES)
    server = Nginx(service, certificates)
    for topic in TOPICS:
        assert server.api.register(topic).status == 200
    publishers = [Publisher(server.api, TOPICS, by) for by in range(PUBLISHERS)]
    chance = random.Random(SEED)
    with Crowd(SEED) as crowd:
        straight, behind_nginx = service.ws_address, ("127.0.0.1", server.plain_port)
        for topic in TOPICS:
            for address, path in ((straight, "/ws"), (behind_nginx, server.ws_path)):
                for kind in (resume, resume, "no"):
                    crowd.add(Member(address, topic, kind, path))
        assert len(crowd.members) == FIRST_MEMBERS
        crowd.wait_until_open()
        for publisher in publishers:
            publisher.start()
        crashes = Crashes(service, chance, publishers, crowd)
        with crashes.to_the_end() as end:
            for done in range(0, kills, BATCH):
                crashes.run(min(BATCH, kills - done), [getattr(crashes, name) for name in kinds] if kinds else None)
                crowd.add(Member(straight, TOPICS[done % len(TOPICS)], resume))
    ends, statuses = end["ends"], end["statuses"]
    assert set(ends) <= {0, -9, TEMPORARY, -12}, ends  # -12: SIGUSR2 to a child between its fork and its exec
    assert set(statuses) <= {200, 502, 503, 504}
    return service, publishers, crowd.members, crashes


def assert_whole(service, publishers):
    """The database is, and has each event that a 200 named (of those that are not pruned yet)."""
    assert sqlite.value(service.database, "PRAGMA integrity_check") == "ok"
    query = "SELECT id, payload ->> 'by' AS by, payload ->> 'n' AS n FROM events WHERE kind = 0"
    rows = sqlite.ask(service.database, query)
    kept = {row["id"]: key_of(row["by"], row["n"]) for row in rows}
    oldest = sqlite.value(service.database, "SELECT min(id) FROM events")
    for publisher in publishers:
        for number, identity in publisher.answered.items():
            assert identity < oldest or kept[identity] == key_of(publisher.by, number)
    assert len(set(kept.values())) == len(kept)


@pytest.mark.parametrize("processes", [1, 2], ids=["one process", "a parent with workers"])
def test_through_random_kills_whoever_resumes_gets_each_event_once_and_in_order(make_service, certificates, processes):
    service, publishers, members, crashes = crash(make_service, certificates, KILLS, processes=processes)
    faults = Ledger(publishers, members).faults()
    assert not faults, "\n".join(faults[:20])
    assert all(member.unrecovered == 0 for member in members)
    assert_whole(service, publishers)
    assert crashes.kills() == KILLS
    assert all(len(member.starts) > 1 for member in members[:FIRST_MEMBERS]), "each has been cut off"


def test_without_resume_the_same_run_reports_losses(make_service, certificates):
    _, publishers, members, _ = crash(make_service, certificates, 3, resume="never", kinds=["the_gateway"])
    faults = Ledger(publishers, members).faults()
    losers = [member for member in members[:FIRST_MEMBERS] if member.resume == "never"]
    assert len(faults) == len(losers), faults
    assert all("lost" in fault and "answered with 200" in fault for fault in faults), faults


class Published:
    """Ten publishes to one topic, all answered, but 7, which may or may not have become an event."""

    by, count, answered = 1, 10, {n: 100 + n for n in range(1, 11) if n != 7}

    def topic_of(self, _):
        return "t"


def faults_of(*pairs, resume="always"):
    member = Member(None, "t", resume)
    member.first_position, member.starts = 100, [0]
    for number, identity in pairs:
        member.keys.append(key_of(1, number))
        if resume != "no":
            member.ids.append(identity)
    return " ".join(Ledger([Published()], [member]).faults())


def test_the_ledger_tells_loss_repetition_disorder_and_invention_apart():
    good = [(n, 100 + n) for n in range(1, 11)]
    without_7 = [pair for pair in good if pair[0] != 7]
    assert faults_of(*good) == faults_of(*without_7) == ""
    assert "lost: 1 events, 1 of them answered" in faults_of(*good[:4], *good[5:])
    assert "lost: 1 events" in faults_of(*good[:-1])
    assert "from before" in faults_of((0, 100), *good)
    assert "repeated: id 103" in faults_of(*good[:3], good[2], *good[3:])
    assert "came twice" in faults_of(*good, (10, 111))
    assert "out of order: id 103 after 104" in faults_of(*good[:2], good[3], good[2], *good[4:])
    assert "invented: 1/11" in faults_of(*good, (11, 111))
    assert "invented" in faults_of(*good, (PUBLISHERS_MAX, 111))
    assert "is not (1, 5)'s" in faults_of(*good[:4], (5, 99), *good[5:])
    assert faults_of(*without_7, resume="no") == faults_of(*without_7[3:], resume="no") == ""
    assert "a gap" in faults_of(*without_7[:2], *without_7[3:], resume="no")
    assert "a gap or a repeat" in faults_of(*without_7[:2], *without_7[1:], resume="no")
    assert "no resumable member has" in faults_of(*good, resume="no")
