"""The database as an operator sees it with the sqlite3 command line while the service runs, and how it stays small."""

import json
import os
import re
import stat
import time

import pytest

from harness import sqlite
from harness.api import FastCgi, make_token
from harness.process import Process, wait_until
from harness.service import REPO
from harness.web_servers import Nginx
from harness.websocket import refusal

READABLE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def is_now(text):
    """A view's time, in UTC, that was a moment ago."""
    seconds = time.strptime(text[:19], "%Y-%m-%d %H:%M:%S")
    return abs(time.time() - (time.mktime(seconds) - time.timezone)) < 60


def test_sessions_say_who_is_connected_to_what_since_when(worker):
    database, secret = worker.service.database, worker.service.secret
    worker.api.register("chat", require_token=True)
    worker.api.register("open")
    expires = int(time.time()) + 600
    proxied = {"X-Forwarded-For": "203.0.113.9"}
    with worker.subscribe("chat", headers=proxied) as user, worker.subscribe("open") as other:
        user.authenticate(make_token(secret, "chat", user_id=42, expires=expires))
        other.authenticate()
        wait_until(lambda: sqlite.value(database, "SELECT count(*) FROM sessions") == 2, "two rows")
        rows = sqlite.ask(database, "SELECT * FROM session_overview")
        assert [row["topic"] for row in rows] == ["chat", "open"]
        assert [row["user_id"] for row in rows] == [42, 0]
        assert [row["address"] for row in rows] == ["203.0.113.9", "127.0.0.1"]
        assert [row["gateway"] for row in rows] == [worker.service.gateway.pid] * 2
        assert all(is_now(row["connected"]) for row in rows)
        assert rows[0]["token_expires"] == time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(expires))
        assert rows[1]["token_expires"] is None
    wait_until(lambda: sqlite.ask(database, "SELECT * FROM sessions") == [], "the rows go with the sockets")


def test_topic_overview_shows_names_times_subscribers_and_the_last_push(worker):
    worker.api.register("overview", require_token=True)
    with worker.subscribe("overview") as browser:
        browser.authenticate(make_token(worker.service.secret, "overview"))
        for number in range(3):
            worker.api.publish("overview", number)
        wait_until(lambda: sqlite.ask(worker.service.database, "SELECT * FROM sessions"), "the row")
        rows = {row["topic"]: row for row in sqlite.ask(worker.service.database, "SELECT * FROM topic_overview")}
    row, always = rows["overview"], rows["worker.status"]
    assert (row["access"], row["subscribers"], row["pushes_kept"]) == ("token", 1, 3)
    assert is_now(row["registered"]) and is_now(row["last_push"]) and re.fullmatch(READABLE, row["expires"])
    assert (always["access"], always["expires"], always["registered"]) == ("token", "never", None)


def test_gateway_overview_shows_the_one_that_runs(worker):
    worker.api.register("t")
    worker.api.publish("t", 1)

    def row():
        (found,) = sqlite.ask(worker.service.database, "SELECT * FROM gateway_overview")
        return found

    found = wait_until(lambda: (now := row())["events_behind"] == 0 and now, "the gateway says how far it is")
    assert (found["pid"], found["version"]) == (worker.service.gateway.pid, "0.1.0")
    assert str(worker.service.ws_port) in found["address"]
    assert is_now(found["started"]) and is_now(found["seen"])


def test_event_overview_shows_what_happened_in_its_order(worker):
    worker.api.register("story")
    worker.api.publish("story", "ü")
    worker.api.unregister("story")
    rows = sqlite.ask(worker.service.database, "SELECT * FROM event_overview WHERE topic = 'story'")
    assert [(row["kind"], row["bytes"], row["payload_begins"], row["origin"]) for row in rows] == [
        ("push", 8, '"\\u00fc"', "here"), ("unregister", None, None, "here"),
    ]  # fmt: skip
    assert rows[0]["id"] < rows[1]["id"] and all(is_now(row["created"]) for row in rows)
    (made,) = sqlite.ask(worker.service.database, "SELECT * FROM event_overview ORDER BY id LIMIT 1")
    assert made["kind"] == "database made"


def test_nobody_else_can_read_the_database(make_service):
    old_mask = os.umask(0)
    try:
        service = make_service()
        service.state_dir.rmdir()
        service.dir.chmod(0o777)  # so that the unprivileged user can make state_dir in it
        service.start()
    finally:
        os.umask(old_mask)
    files = {"worker.db", "worker.db-wal", "worker.db-shm", "write.lock", "gateway.lock", "wakeup.sock"}
    wait_until(lambda: files <= set(os.listdir(service.state_dir)), "all files are there")
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in service.state_dir.iterdir()}
    assert modes == dict.fromkeys(modes, "0o600")
    assert stat.S_IMODE(service.state_dir.stat().st_mode) == 0o700


def test_a_database_passes_sqlites_own_check_while_it_is_used(worker):
    worker.api.register("check")
    for _ in range(20):
        worker.api.publish("check", "x" * 5000)
    assert sqlite.value(worker.service.database, "PRAGMA integrity_check") == "ok"


# Pruning


def kept(service, topic):
    rows = sqlite.ask(service.database, f"SELECT id FROM events WHERE topic = '{topic}' ORDER BY id")
    return [row["id"] for row in rows]


def ask_unless(gateway_runs, server):
    """Requests are what drives the API's pruning; where the gateway runs it has to do it alone."""
    if not gateway_runs:
        server.api.status()


@pytest.mark.parametrize("gateway_runs", [True, False], ids=["with-gateway", "without-gateway"])
def test_old_events_are_pruned_and_the_newest_stays(make_service, certificates, gateway_runs):
    service = make_service(event_retention="1s")
    if gateway_runs:
        service.start_gateway()
    service.start_api()
    server = Nginx(service, certificates)
    server.api.register("t")
    ids = [server.api.publish("t", number).json["id"] for number in range(700)]

    def pruned():
        ask_unless(gateway_runs, server)
        return kept(service, "t") == ids[-1:]

    wait_until(pruned, "only the newest event is kept")
    assert server.api.publish("t", "more").json["id"] == ids[-1] + 1


@pytest.mark.parametrize("gateway_runs", [True, False], ids=["with-gateway", "without-gateway"])
def test_events_over_the_limit_are_pruned_oldest_first(make_service, certificates, gateway_runs):
    service = make_service(event_limit=100)
    if gateway_runs:
        service.start_gateway()
    service.start_api()
    server = Nginx(service, certificates)
    server.api.register("t")
    ids = [server.api.publish("t", number).json["id"] for number in range(700)]

    def pruned():
        ask_unless(gateway_runs, server)
        return kept(service, "t") == ids[-100:]

    wait_until(pruned, "the newest 100 events are kept")
    assert sqlite.value(service.database, "SELECT count(*) FROM events") == 100


@pytest.mark.parametrize("gateway_runs", [True, False], ids=["with-gateway", "without-gateway"])
def test_expired_topics_are_pruned(make_service, certificates, gateway_runs):
    service = make_service(topic_ttl="1s")
    if gateway_runs:
        service.start_gateway()
    service.start_api()
    server = Nginx(service, certificates)
    for number in range(5):
        server.api.register(f"topic {number}")

    def pruned():
        ask_unless(gateway_runs, server)
        return sqlite.ask(service.database, "SELECT topic FROM topics") == [{"topic": "worker.status"}]

    wait_until(pruned, "the expired topics are gone")


def test_the_write_ahead_log_stays_small_under_load(make_service, certificates):
    server = Nginx(make_service().start(), certificates)
    server.api.register("t")
    wal = server.service.state_dir / "worker.db-wal"
    longest = 0
    for _ in range(100):
        assert server.api.publish("t", "x" * 500_000).status == 200
        longest = max(longest, wal.stat().st_size)
    assert longest < 20_000_000  # of 50 MB written
    assert sqlite.value(server.service.database, "SELECT count(*) FROM events WHERE topic = 't'") == 100


def test_sockets_of_an_expired_topic_stay_and_come_back_with_a_later_register(make_service, certificates):
    service = make_service(topic_ttl="1s")
    server = Nginx(service.start(), certificates)
    server.api.register("t")
    with server.subscribe("t") as browser:
        browser.authenticate()
        wait_until(lambda: server.api.publish("t", "late").status == 404, "the topic expires")
        wait_until(lambda: not sqlite.ask(service.database, "SELECT * FROM topics WHERE topic = 't'"), "its row goes")
        assert refusal(server.wss_url, "t", tls=server.tls) == 404
        assert server.api.status().json["connected_sockets"] == 1

        server.api.register("t")
        published = server.api.publish("t", "again")
        assert published.status == 200
        while (frame := browser.receive_json())["payload"] == "late":
            pass  # published before it expired
        assert frame["payload"] == "again"


# Versions, and who comes first


def start_and_wait_for_the_end(service, program):
    """Starts a program on a database that it cannot use; returns its exit code and its log."""
    log = service.log_dir / f"{program}.log"
    if program == "gateway":
        process = Process.start(program, [service.gateway_program, "-c", service.config_file], log)
    else:
        with service.listen_api() as listener:
            process = service.spawn_api(listener)
    return process.wait(), log.read_text()


@pytest.mark.parametrize("program", ["gateway", "api"])
def test_a_database_of_a_newer_version_is_refused(make_service, program):
    service = make_service()
    service.start_gateway()
    assert service.gateway.stop() is None
    version = sqlite.value(service.database, "PRAGMA user_version")
    assert version == len(list((REPO / "sql").glob("*.sql")))
    sqlite.change(service.database, "PRAGMA user_version = 99")
    code, log = start_and_wait_for_the_end(service, program)
    assert code == 1
    assert "schema version 99" in log and f"knows {version}" in log and "newer version" in log
    assert sqlite.value(service.database, "PRAGMA user_version") == 99


@pytest.mark.parametrize("program", ["gateway", "api"])
def test_a_file_that_is_not_a_database_is_refused_and_left_alone(make_service, program):
    service = make_service()
    content = b"this is not a database, and somebody may need it" * 100
    service.database.write_bytes(content)
    service.database.chmod(0o666)
    code, log = start_and_wait_for_the_end(service, program)
    assert code == 1 and "not a database" in log
    assert service.database.read_bytes() == content


@pytest.mark.parametrize("attempt", range(3))
def test_programs_that_start_at_once_on_an_empty_state_dir_all_come_up(make_service, certificates, attempt):
    service = make_service()
    with service.listen_api() as listener:
        service.api = [service.spawn_api(listener) for _ in range(3)]
        command = [service.gateway_program, "-c", service.config_file]
        service.gateway = Process.start("gateway", command, service.log_dir / "gateway.log")
        service.api += [service.spawn_api(listener) for _ in range(3)]
    server = Nginx(service, certificates)
    wait_until(lambda: server.api.status().status == 200, "the gateway is up")
    for number in range(12):
        assert server.api.register(f"t{number}").status == 200
    assert all(process.runs() for process in [service.gateway, *service.api])
    assert sqlite.value(service.database, "SELECT count(*) FROM events WHERE kind = 3") == 1
    assert sqlite.value(service.database, "PRAGMA integrity_check") == "ok"


def test_a_recreated_database_starts_above_the_ids_of_its_predecessor(make_service, certificates):
    service = make_service()
    server = Nginx(service.start(), certificates)
    server.api.register("t")
    last = server.api.publish("t", 1).json["id"]
    assert service.stop_api() == [] and service.gateway.stop() is None
    for path in service.state_dir.iterdir():
        path.unlink()
    service.start()
    wait_until(lambda: server.api.register("t").status == 200, "the service is up")
    assert last < server.api.publish("t", 1).json["id"] < 2**53


def resumed(server, position):
    """What a client is told that was at that position: whether it was recovered, and its socket."""
    client = server.subscribe("t")
    answer = client.authenticate(make_token(server.service.secret, "t"), last_event_id=position)
    return json.loads(answer)["recovered"], client


def test_after_a_power_cut_no_id_is_used_twice_and_nobody_is_told_that_lost_events_were_recovered(
    make_service, certificates
):
    service = make_service()
    server = Nginx(service.start(), certificates)
    server.api.register("t")
    safe = [server.api.publish("t", n).json["id"] for n in range(5)]
    stop = lambda: (service.stop_api(), service.gateway.stop())  # noqa: E731
    assert stop() == ([], None)
    saved = {path: path.read_bytes() for path in service.state_dir.glob("worker.db*")}
    service.start()
    lost = [server.api.publish("t", n).json["id"] for n in range(20)]
    assert lost[0] == safe[-1] + 1, "a start is no boot"
    assert stop() == ([], None)
    for path, content in saved.items():
        path.write_bytes(content)
    service.environment = ["env", "WAVELOG_WORKER_BOOT_ID=b007"]
    service.start()

    new = server.api.publish("t", "new").json["id"]
    assert lost[-1] < new < 2**53
    for position in lost:
        recovered, client = resumed(server, position)
        client.close()
        assert not recovered
    for position in (safe[2], safe[4]):
        recovered, client = resumed(server, position)
        assert recovered
        ids = [client.receive_json()["id"] for _ in range(5 - safe.index(position))]
        assert ids == [*safe[safe.index(position) + 1 :], new]
        client.close()
    assert stop() == ([], None)
    service.start()
    assert server.api.publish("t", "newer").json["id"] == new + 1, "the same boot"
    rows = sqlite.ask(service.database, "SELECT kind FROM event_overview WHERE kind = 'ids jumped'")
    assert len(rows) == 1
    assert sqlite.value(service.database, "SELECT events FROM event_count") == sqlite.value(
        service.database, "SELECT count(*) FROM events"
    )


def test_a_program_that_cannot_know_the_boot_makes_no_jump(make_service, certificates):
    """In a chroot without /proc, beside others that can."""
    service = make_service(drain="100ms")
    server, ids = Nginx(service, certificates), []
    for boot in ("", "b007", "", "b007", ""):
        service.environment = ["env", f"WAVELOG_WORKER_BOOT_ID={boot}"]
        service.start()
        server.api.register("t")
        ids.append(server.api.publish("t", boot).json["id"])
        assert (service.stop_api(), service.gateway.stop()) == ([], None)
    assert ids == list(range(ids[0], ids[0] + 5))
    service.environment = ["env", "WAVELOG_WORKER_BOOT_ID=b008"]
    service.start()
    assert server.api.publish("t", "new").json["id"] > ids[-1] + 1


def test_the_schema_is_what_the_sql_files_say(worker):
    made_by_hand = worker.service.dir / "by-hand.db"
    sqlite.change(made_by_hand, "".join(path.read_text() for path in sorted((REPO / "sql").glob("*.sql"))))
    schema = "SELECT type, name, sql FROM sqlite_schema ORDER BY name"
    assert sqlite.ask(worker.service.database, schema) == sqlite.ask(made_by_hand, schema)


@pytest.mark.parametrize("use, trigger", [("housekeeping", "DELETE ON topics"), ("counting", "INSERT ON counters")])
def test_upkeep_that_the_api_cannot_do_is_said_when_it_begins_and_when_it_ends(make_service, use, trigger):
    """Without a gateway, so that the API has it to do."""
    service = make_service()
    service.start_api(1)
    log = service.log_dir / "api.log"

    def lines(message):
        assert FastCgi(service.api_socket, service.secret).call("register", b'{"topic":"t"}').status == 200
        return [line for line in log.read_text().splitlines() if f'msg="{message}" use="{use}"' in line]

    lines("")
    sqlite.change(service.database, f"CREATE TRIGGER t BEFORE {trigger} BEGIN SELECT raise(ABORT, 'in the way'); END")
    sqlite.change(service.database, "INSERT INTO topics VALUES ('old', 0, 0, 1)")
    wait_until(lambda: lines("database unavailable"), "the trouble is said")
    end = time.monotonic() + 3  # of which each second is another failure
    while time.monotonic() < end:
        assert len(lines("database unavailable")) == 1
        time.sleep(0.1)
    sqlite.change(service.database, "DROP TRIGGER t")
    (line,) = wait_until(lambda: lines("database available again"), "its end is said")
    assert int(re.search(r"times=(\d+)", line)[1]) >= 3
