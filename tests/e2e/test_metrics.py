"""GET /internal/metrics: its format, who may ask, and that its numbers are right after known calls of the API, without
a gateway, and with very many sessions and topics."""

import pytest

from harness import sqlite
from harness.metrics import PREFIX, counted, scrape
from harness.metrics import server  # a fixture
from harness.nginx import Nginx
from harness.prometheus import Malformed, Metrics
from harness.waiting import wait_until


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


def test_it_answers_a_get_with_the_secret_only(server):
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
    """Over two workers, so that each row is looked at: one that is alone has counted already."""
    service = make_service(gateway_processes=2).start()
    server = Nginx(service, certificates)
    pids = "SELECT pid FROM gateways"
    wait_until(lambda: len(sqlite.ask(service.database, pids)) == 2, "both workers have introduced themselves")
    sqlite.change(
        service.database,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
        "INSERT INTO topics SELECT printf('a topic of a usual length %06d', i), 0, 1, 9223372036854775806 FROM n;"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) "
        f"INSERT INTO sessions SELECT ({pids} LIMIT 1), i + 1000, "
        "printf('a topic of a usual length %06d', i), i, '192.0.2.1', 0, NULL FROM n",
    )

    assert server.api.status("?topics=0").json["connected_sockets"] == 10000
    assert scrape(server)["topics"] == 100001
    sqlite.change(service.database, "DELETE FROM sessions WHERE slot > 1000")
