"""The totals of GET /internal/metrics: the same in the database, written about once a second and not for nothing, and
longer-lived than the processes that counted."""

import signal
import time

from harness import sqlite
from harness.direct import authenticated, path_of
from harness.metrics import PREFIX, counted, scrape
from harness.metrics import server  # a fixture
from harness.nginx import Nginx
from harness.publishing import publishing
from harness.raw_websocket import RawWebSocket
from harness.waiting import wait_until

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


def test_totals_outlive_a_gateway_that_ends_in_order(server):
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
            with RawWebSocket(server.service.ws_address) as socket:
                assert socket.handshake(path_of("nobody"))[0] == 404
            assert server.api.publish("t", 1).status == 503
        time.sleep(1.5)  # the gateway is to try, and fail
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
    counted(server, {"publishes_total": 40, "commit_seconds_count": 40}, FLUSH_LIMIT_S)  # nobody asks but we
    assert scrape(server)["api_processes"] == 3
    for process in service.api:
        process.kill()
    service.api_socket.unlink()
    service.start_api(3)
    assert scrape(server)["publishes_total"] == 40
    for number in range(25):
        server.api.publish("t", number)
    assert service.stop_api() == []  # in order, and at once: nothing is lost
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


def test_an_idle_service_writes_nothing_for_its_accounts(server):
    server.api.register("t")
    with authenticated(server.service, "t"):
        server.api.publish("t", 1)
        counted(server, {"deliveries_total": 1, "publishes_total": 1})
        before = table(server)
        wal = server.service.state_dir / "worker.db-wal"
        changes, last = 0, wal.stat().st_mtime_ns
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:  # an observation: nothing is to happen
            scrape(server)
            now = wal.stat().st_mtime_ns
            changes += now != last
            last = now
            time.sleep(0.05)
        assert changes <= 1  # the gateway says every 5 s that it is alive
        assert table(server) == before
