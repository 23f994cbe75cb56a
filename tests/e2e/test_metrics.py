"""GET /internal/metrics: its format, who may ask, and that its numbers are right: those of the API, of connections and of
pushes; and the totals, which are the same in the database, and longer-lived than the processes that counted."""

import signal
import time

import pytest

from harness import sqlite
from harness.api import make_token, publishing
from harness.metrics import PREFIX, Malformed, Metrics, counted, scrape
from harness.process import wait_until
from harness.web_servers import Nginx
from harness.websocket import WebSocket, auth_frame, authenticated, path_of, upgraded


@pytest.fixture
def server(make_service, certificates):
    """A service of the test's own, so that all counts are known."""
    return Nginx(make_service().start(), certificates)


def test_the_format_is_what_prometheus_takes(server):
    server.api.register("t")
    server.api.publish("t", 1)
    metrics = scrape(server)
    types = {name.removeprefix(PREFIX): family.type for name, family in metrics.families.items()}
    assert {name for name, kind in types.items() if kind == "histogram"} == {
        "commit_seconds", "delivery_seconds", "fanout_seconds",
    }  # fmt: skip
    for name in ("publishes", "registers", "unregisters", "refusals", "deliveries", "drops", "resumes",
                 "replayed_events", "connections", "refused_connections", "closes"):  # fmt: skip
        assert types[f"{name}_total"] == "counter"
    for name in ("outbox_bytes", "wal_bytes", "event_rows", "database_bytes", "committed_event_id",
                 "delivered_event_id", "sessions", "gateways"):  # fmt: skip
        assert types[name] == "gauge"


GOOD = "# HELP a_total b\n# TYPE a_total counter\na_total 1\n"
HISTOGRAM = (
    "# HELP h b\n# TYPE h histogram\n"
    'h_bucket{le="0.1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'
)  # fmt: skip


@pytest.mark.parametrize("text, old, new", [
    (GOOD, "\na_total 1\n", "\na_total 1"), (GOOD, "a_total 1", "a_total"), (GOOD, "a_total 1", "a_total x"),
    (GOOD, "a_total 1", "b_total 1"), (GOOD, "a_total 1", "a_total -1"), (GOOD, "a_total 1", "a_total 1\na_total 2"),
    (GOOD, "a_total 1", 'a_total{x="1} 1'), (GOOD, "a_total 1", 'a_total{x="1",} 1'),
    (GOOD, "a_total 1", "a_total{} 1"), (GOOD, "a_total 1", 'a_total{0="1"} 1'),
    (GOOD, "a_total 1", r'a_total{x="\y"} 1'), (GOOD, "counter", "count"),
    (GOOD, "# HELP a_total b\n", ""), (GOOD, "# TYPE a_total counter\n", ""), (GOOD, "# HELP", "# HALP"),
    (GOOD, "a_total", "a"), (HISTOGRAM, "h_count 2", "h_count 1"), (HISTOGRAM, "h_count 2\n", ""),
    (HISTOGRAM, "h_sum 3\n", ""), (HISTOGRAM, '+Inf"} 2', '+Inf"} 0'), (HISTOGRAM, "+Inf", "7"),
    (HISTOGRAM, '"0.1"} 1', '"0.1"} 3'), (HISTOGRAM, "0.1", "+Inf"), (HISTOGRAM, "{le=", "{el="),
])  # fmt: skip
def test_the_reader_of_the_format_is_strict(text, old, new):
    Metrics(text)
    assert old in text
    with pytest.raises(Malformed):
        Metrics(text.replace(old, new))


def test_only_a_get_with_the_secret_is_answered(server):
    assert server.api.call("metrics", method="POST", body={}).status == 405
    assert server.api.call("metrics", method="GET", headers={"X-Worker-Secret": "x"}).status == 403
    assert server.api.call("metrics?x=1", method="GET", raw=b"not json").status == 200


def test_what_the_api_did_is_counted(server):
    for topic in ("a", "b", "a"):
        server.api.register(topic)
    for number in range(7):
        assert server.api.publish("a", number).status == 200
    server.api.unregister("b")
    server.api.publish("b", 1)
    server.api.publish("a", 1)
    server.api.call("publish", raw=b"{")
    server.api.call("nothing", {})
    server.api.call("status", method="GET", headers={"X-Worker-Secret": "x"})
    server.api.call("register", raw=b"x" * (1024 * 1024 + 1))
    metrics = counted(server, {
        "publishes_total": 8, "registers_total": 3, "unregisters_total": 1, "commit_seconds_count": 8,
        "refusals_total": {"400": 1, "403": 1, "404": 2, "413": 1}, "deliveries_total": 0,
    })  # fmt: skip
    assert 0 < metrics["commit_seconds_sum"] < 8
    assert metrics["event_rows"] == sqlite.value(server.service.database, "SELECT count(*) FROM events") == 10
    assert metrics["database_bytes"] >= 4096 * 5
    assert metrics["wal_bytes"] == (server.service.state_dir / "worker.db-wal").stat().st_size > 0


def test_without_a_gateway_the_totals_are_shown_and_no_position(server):
    server.api.register("t")
    server.api.publish("t", 1)
    assert server.service.gateway.stop() is None
    metrics = counted(server, {"publishes_total": 1, "gateways": 0})
    assert metrics.families[PREFIX + "delivered_event_id"].samples == []


def test_the_numbers_are_right_with_many_sessions_and_topics(make_service, certificates):
    """Over two workers, so that each row is looked at: a single one has already counted."""
    service = make_service(gateway_processes=2).start()
    server = Nginx(service, certificates)
    pids = "SELECT pid FROM gateways"
    wait_until(lambda: len(sqlite.ask(service.database, pids)) == 2, "both workers have introduced themselves")
    sqlite.change(
        service.database,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
        "INSERT INTO topics SELECT printf('a topic of a usual length %06d', i), 0, 1, 9223372036854775806 FROM n;"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) "
        f"INSERT INTO sessions (gateway, slot, topic, user_id, address, connected_ms, expires_ms) SELECT ({pids} LIMIT 1), i + 1000, "
        "printf('a topic of a usual length %06d', i), i, '192.0.2.1', 0, NULL FROM n",
    )

    assert server.api.status("?topics=0").json["connected_sockets"] == 10000
    assert scrape(server)["topics"] == 100001
    sqlite.change(service.database, "DELETE FROM sessions WHERE slot > 1000")


def send_auth(service, topic, frame):
    """The close code that this first frame leads to."""
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
        with WebSocket(server.service.ws_address) as socket:
            assert socket.handshake(path_of("nobody"))[0] == 404
    for path, options in (("/other", {}), ("/ws", {}), (path_of("t"), {"headers": {"Upgrade": None}})):
        with WebSocket(server.service.ws_address) as socket:
            assert socket.handshake(path, **options)[0] in (400, 404, 426)
    with WebSocket(server.service.ws_address) as socket:
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


# Delivered


def test_deliveries_and_their_latencies_are_counted(server):
    server.api.register("t")
    browsers = [authenticated(server.service, "t") for _ in range(3)]
    for number in range(20):
        server.api.publish("t", number)
    for browser in browsers:
        for _ in range(20):
            browser.read_message()
    server.api.register("nobody is here")
    server.api.publish("nobody is here", 1)
    last = server.api.publish("t", "last").json["id"]
    metrics = counted(server, {
        "deliveries_total": 63, "delivery_seconds_count": 21, "fanout_seconds_count": 21, "drops_total": {},
        "committed_event_id": last, "delivered_event_id": last, "sessions": 3, "clients": 3, "active_topics": 1,
        "topics": 3, "gateways": 1, "outbox_bytes": 0,
    })  # fmt: skip
    assert 0 < metrics["fanout_seconds_sum"] <= metrics["delivery_seconds_sum"] < 21 * 5
    for browser in browsers:
        browser.close()


def test_the_latency_of_what_waited_for_a_gateway_is_how_long_it_waited(server):
    server.api.register("t")
    browser = authenticated(server.service, "t")
    server.service.gateway.send(signal.SIGSTOP)
    try:
        server.api.publish("t", 1)
        time.sleep(0.6)  # what is measured
    finally:
        server.service.gateway.send(signal.SIGCONT)
    browser.read_message()
    metrics = counted(server, {"delivery_seconds_count": 1})
    assert metrics["delivery_seconds_bucket", "0.524288"] == 0
    assert metrics["delivery_seconds_sum"] >= 0.6
    assert metrics["fanout_seconds_sum"] < 0.6
    browser.close()


# Dropped

PAYLOAD = "x" * 100000
FRAME_BYTES = len(PAYLOAD) + len('{"type":"push","payload":""}')


def fall_behind(server, count, cause="outbox_full"):
    """A client that does not read, when some of `count` pushes to it have been dropped, and the rest waits."""
    server.api.register("t")
    slow = authenticated(server.service, "t")
    for _ in range(count):
        assert server.api.publish("t", PAYLOAD).status == 200

    def accounts():
        metrics = scrape(server)
        waiting = metrics["outbox_bytes"]
        return metrics["deliveries_total"], metrics.labels("drops_total"), waiting, metrics["gateways"]

    def settled():
        delivered, drops, waiting, gateways = accounts()
        if delivered + drops.get(cause, 0) + waiting / FRAME_BYTES == count:
            return drops, waiting, gateways
        return None

    drops, waiting, gateways = wait_until(settled, lambda: f"{count} pushes are accounted for, not {accounts()}")
    assert gateways == 1
    assert drops.keys() == {cause}
    assert 0 < waiting <= 1048576
    return slow


@pytest.fixture
def small_outboxes(make_service, certificates):
    return Nginx(make_service(outbox_max_bytes=1048576, outbox_max_frames=100).start(), certificates)


def test_every_push_to_a_slow_reader_is_delivered_or_counted_as_dropped(small_outboxes):
    """The gauge of the outbox says what waits."""
    server, count = small_outboxes, 200
    slow = fall_behind(server, count)
    waiting = scrape(server)["outbox_bytes"]
    assert sqlite.value(server.service.database, "SELECT outbox_bytes FROM gateways") == waiting
    last = server.api.publish("t", "last")
    assert last.status == 200
    received = 1
    while slow.read_message() != '{"type":"push","payload":"last"}':
        received += 1
    metrics = counted(server, {"outbox_bytes": 0, "deliveries_total": received})
    assert received + metrics["drops_total", "outbox_full"] == count + 1
    assert metrics.labels("drops_total").keys() == {"outbox_full"}
    slow.close()


def test_drops_because_all_outboxes_together_are_full_have_a_cause_of_their_own(make_service, certificates):
    server = Nginx(make_service(outbox_total_max_bytes=1048576).start(), certificates)
    fall_behind(server, 200, "all_outboxes_full").close()


def test_what_waits_for_a_connection_that_ends_is_counted_as_dropped(small_outboxes):
    server, count = small_outboxes, 200
    slow = fall_behind(server, count)
    waiting = scrape(server)["outbox_bytes"] / FRAME_BYTES
    slow.close()
    metrics = counted(server, {"outbox_bytes": 0})
    drops = metrics.labels("drops_total")
    assert drops["connection_closed"] == waiting
    assert metrics["deliveries_total"] + sum(drops.values()) == count


FLUSH_LIMIT_S = 2.0  # the second between two flushes, and some time for a slow machine


def table(server):
    rows = sqlite.ask(server.service.database, "SELECT name, label, value FROM counters")
    found = {(row["name"], row["label"]): row["value"] for row in rows}
    for latency in ("commit_us", "delivery_us", "fanout_us"):
        found[latency, "sum of buckets"] = sum(value for (name, _), value in found.items() if name == latency)
    return found


def test_the_database_has_the_same_numbers(server):
    server.api.register("t")
    browser = authenticated(server.service, "t")
    for number in range(30):
        server.api.publish("t", number)
        server.api.publish("nobody", number)
        browser.read_message()
    browser.close()
    metrics = counted(server, {
        "publishes_total": 30, "refusals_total": {"404": 30}, "deliveries_total": 30, "closes_total": {"gone": 1},
        "delivery_seconds_count": 30,
    })  # fmt: skip
    rows = table(server)
    shown = {}
    for name, family in metrics.families.items():
        for sample, labels, value in family.samples:
            name = sample.removeprefix(PREFIX)
            if family.type == "counter" and value:
                shown[name.removesuffix("_total"), next(iter(labels.values()), "")] = value
            elif name.endswith("_seconds_sum") and value:
                shown[name.removesuffix("_seconds_sum") + "_us_sum", ""] = round(value * 1e6)
    assert shown == {key: value for key, value in rows.items() if not key[0].endswith("_us")}
    for latency in ("commit", "delivery", "fanout"):
        assert rows[f"{latency}_us", "sum of buckets"] == metrics[f"{latency}_seconds_count"] == 30
    overview = sqlite.ask(server.service.database, "SELECT * FROM gauge_overview")[0]
    for column in overview:
        assert overview[column] == metrics[{"events": "event_rows", "sockets": "sessions"}.get(column, column)], column


def test_totals_outlive_a_gateway_that_ends_cleanly(server):
    service = server.service
    server.api.register("t")
    for turn in range(1, 4):
        with authenticated(service, "t") as browser:
            for number in range(10):
                server.api.publish("t", number)
                browser.read_message()
        assert service.gateway.stop(signal.SIGINT) is None  # at once: its last numbers are not written yet
        rows = table(server)
        assert rows["deliveries", ""] == rows["delivery_us", "sum of buckets"] == 10 * turn
        assert rows["connections", "accepted"] == turn
        assert sum(value for (name, _), value in rows.items() if name == "closes") == turn
        service.start_gateway()
        assert scrape(server)["deliveries_total"] == 10 * turn


def test_what_is_counted_while_the_database_is_locked_is_written_when_it_is_free(server):
    server.api.register("t")
    counted(server, {"registers_total": 1})
    with sqlite.OpenTransaction(server.service.database):
        for _ in range(10):
            with WebSocket(server.service.ws_address) as socket:
                assert socket.handshake(path_of("nobody"))[0] == 404
            assert server.api.publish("t", 1).status == 503
        time.sleep(1.5)  # an observation: what the gateway tries meanwhile is to fail
        assert scrape(server)["refused_connections_total", "not_registered"] == 0
    counted(server, {
        "refused_connections_total": {"gone": 1, "not_registered": 10}, "refusals_total": {"503": 10},
    }, FLUSH_LIMIT_S)  # fmt: skip


def test_totals_outlive_a_killed_gateway(server):
    server.api.register("t")
    browser = authenticated(server.service, "t")
    for number in range(10):
        server.api.publish("t", number)
    counted(server, {"deliveries_total": 10, "connections_total": {"accepted": 1}})
    server.service.gateway.kill()
    server.service.start_gateway()
    metrics = scrape(server)
    assert (metrics["deliveries_total"], metrics["connections_total", "accepted"]) == (10, 1)
    browser.close()
    with authenticated(server.service, "t"):
        server.api.publish("t", 1)
        counted(server, {"deliveries_total": 11, "connections_total": {"accepted": 2}})


def test_totals_outlive_api_processes_and_a_killed_one_loses_a_second_at_most(make_service, certificates):
    service = make_service().start(api_processes=3)
    server = Nginx(service, certificates)
    server.api.register("t")
    for number in range(40):
        server.api.publish("t", number)
    counted(server, {"publishes_total": 40, "commit_seconds_count": 40}, FLUSH_LIMIT_S)  # nobody but us asks
    assert scrape(server)["api_processes"] == 3
    for process in service.api:
        process.kill()
    service.api_socket.unlink()
    service.start_api(3)
    assert scrape(server)["publishes_total"] == 40
    for number in range(25):
        server.api.publish("t", number)
    assert service.stop_api() == []  # cleanly, and at once: nothing is lost
    assert table(server)["publishes", ""] == 65
    service.start_api(1)
    counted(server, {"publishes_total": 65, "api_processes": 1})


def test_an_idle_process_writes_what_it_counted_without_another_request(make_service, certificates):
    service = make_service().start(api_processes=1)
    server = Nginx(service, certificates)
    server.api.register("t")
    server.api.publish("t", 1)
    wait_until(lambda: table(server).get(("publishes", "")) == 1, "the row is there", FLUSH_LIMIT_S)


def test_totals_never_seem_to_fall_whichever_process_answers(make_service, certificates):
    service = make_service().start(api_processes=4)
    server = Nginx(service, certificates)
    server.api.register("t")
    with publishing(server, "t", publishers=3), authenticated(service, "t"):
        before = scrape(server)
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            now = scrape(server)
            for family in now.families.values():
                for name, labels, value in family.samples:
                    if family.type != "gauge":
                        key = (name.removeprefix(PREFIX), *labels.values())
                        assert value >= before[key if labels else key[0]], name
            assert now["delivered_event_id"] <= now["committed_event_id"]
            before = now
    assert before["publishes_total"] > 0 and before["deliveries_total"] > 0


def written_files(server):
    return {path.name: path.stat().st_mtime_ns for path in server.service.state_dir.iterdir()}


def rest(server):
    """Waits until all that was counted and connected is written: then nothing is for 1.5 s."""
    since, last = time.monotonic(), written_files(server)

    def is_over():
        nonlocal since, last
        now = written_files(server)
        if now != last:
            since, last = time.monotonic(), now
        return time.monotonic() - since > 1.5 and now

    return wait_until(is_over, "the service rests")


def test_an_idle_service_writes_nothing(server):
    server.api.register("t")
    with authenticated(server.service, "t"):
        server.api.publish("t", 1)
        counted(server, {"deliveries_total": 1, "publishes_total": 1})
        before, written = table(server), rest(server)
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:  # an observation: nothing is to happen
            scrape(server)
            assert written_files(server) == written
            time.sleep(0.05)
        assert table(server) == before
