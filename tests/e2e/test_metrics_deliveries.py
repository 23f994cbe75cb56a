"""What GET /internal/metrics says of pushes: each is delivered, with its latency, or waits for a slow reader, or is
counted as dropped with its cause."""

import signal
import time

import pytest

from harness import sqlite
from harness.direct import authenticated
from harness.metrics import counted, scrape
from harness.metrics import server  # a fixture
from harness.nginx import Nginx
from harness.waiting import wait_until


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
        time.sleep(0.6)  # it is to wait
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
    """And what waits is the outbox's gauge."""
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
