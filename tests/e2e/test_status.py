"""GET /internal/status: its members, what they count and how fresh they are, and what a dead gateway changes."""

import contextlib
import re
import signal
import statistics
import time

import pytest

from harness import sqlite
from harness.api import make_token, publishing
from harness.metrics import scrape
from harness.process import LIMIT_S, free_port, wait_until
from harness.web_servers import Nginx
from harness.websocket import ask

MEMBERS = [
    "status", "version", "uptime", "registered_topics", "active_topics", "connected_clients", "connected_sockets",
    "topic_list", "cluster_nodes", "dropped_pushes",
]  # fmt: skip
COUNTS = ["registered_topics", "active_topics", "connected_clients", "connected_sockets"]
STALE_LIMIT_S = 1.0
QUIET_LIMIT_S = 0.1
DEAD_LIMIT_S = 5.0


@pytest.fixture
def server(make_service, certificates):
    """A service of the test's own, so that all counts are known."""
    return Nginx(make_service().start(), certificates)


def counts(server):
    now = server.api.status().json
    return tuple(now[name] for name in COUNTS)


def rows(server):
    """The last three of the counts, from the row of each socket."""
    (found,) = sqlite.ask(
        server.service.database,
        "SELECT count(DISTINCT topic), count(DISTINCT nullif(user_id, 0)) + count(*) FILTER (WHERE user_id = 0), count(*) "
        "FROM sessions",
    )
    return tuple(found.values())


def counted(server, *expected, limit_s=STALE_LIMIT_S):
    """Waits until the counts are these: registered topics, active ones, clients, sockets. The rows say the same."""
    wait_until(lambda: counts(server) == expected, f"counts of {expected}, not {counts(server)}", limit_s)
    wait_until(lambda: rows(server) == expected[1:], lambda: f"rows of {expected[1:]}, not {rows(server)}")


def join(server, topic, user_id=None):
    browser = server.subscribe(topic)
    token = "" if user_id is None else make_token(server.service.secret, topic, user_id)
    assert browser.authenticate(token) == '{"type":"auth_ok"}'
    return browser


def test_every_member_is_there_in_the_order_that_clients_know(server):
    server.api.register("a topic")
    reply = server.api.status()
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    now = reply.json
    assert list(now)[: len(MEMBERS)] == MEMBERS
    uptime = now.pop("uptime")
    assert re.fullmatch(r"(\d+m)?\d+s", uptime)
    assert now == {
        "status": "ok", "version": "0.1.0", "registered_topics": 2, "active_topics": 0, "connected_clients": 0,
        "connected_sockets": 0, "topic_list": ["a topic", "worker.status"], "cluster_nodes": -1,
        "dropped_pushes": 0,
    }  # fmt: skip
    assert reply.text.startswith(f'{{"status":"ok","version":"0.1.0","uptime":"{uptime}","registered_topics":2,')


def test_only_a_get_with_the_secret_is_answered(server):
    assert server.api.call("status", method="POST", body={}).status == 405
    assert server.api.call("status", method="GET", headers={"X-Worker-Secret": "x"}).status == 403
    assert server.api.call("status", method="GET", raw=b"not json").status == 200


def test_topics_0_leaves_both_lists_out_and_topics_1_adds_the_active_one(server):
    for topic in ("b", "a", "é", "Z"):
        server.api.register(topic)
    everything = ["Z", "a", "b", "worker.status", "é"]
    with join(server, "b"):
        counted(server, 5, 1, 1, 1)
        for query in ("?topics=0", "?x=1&topics=0", "?topics=1&topics=0"):
            members = list(server.api.status(query).json)[: len(MEMBERS) - 1]
            assert members == [name for name in MEMBERS if name != "topic_list"], query
            assert "active_topic_list" not in server.api.status(query).json
        for query in ("?topics=1", "?topics=1&", "?topics=0&topics=1"):
            now = server.api.status(query).json
            assert list(now)[: len(MEMBERS)] == MEMBERS
            assert (sorted(now["topic_list"]), now["active_topic_list"]) == (everything, ["b"]), query
        for query in ("", "?", "?topics=", "?topics=2", "?topics", "?atopics=1", "?topics=10", "?&&"):
            now = server.api.status(query).json
            assert sorted(now["topic_list"]) == everything and "active_topic_list" not in now, query


def test_topic_list_ends_at_1000_unless_all_are_asked_for(server):
    sqlite.change(
        server.service.database,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1499) "
        "INSERT INTO topics SELECT printf('topic %04d', i), 0, 1, 9223372036854775806 FROM n",
    )
    now = server.api.status().json
    assert now["registered_topics"] == 1500 and len(now["topic_list"]) == 1000
    now = server.api.status("?topics=1").json
    assert len(set(now["topic_list"])) == len(now["topic_list"]) == 1500


def test_expired_topics_are_neither_counted_nor_listed(server):
    server.api.register("old")
    counted(server, 2, 0, 0, 0)
    sqlite.change(server.service.database, "UPDATE topics SET expires_ms = 1 WHERE topic = 'old'")
    now = server.api.status().json
    assert (now["registered_topics"], now["topic_list"]) == (1, ["worker.status"])


def test_a_user_counts_once_and_each_anonymous_socket_as_one(server):
    server.api.register("open")
    server.api.register("closed", require_token=True)
    secret = server.service.secret
    one = join(server, "closed", 7)
    counted(server, 3, 1, 1, 1)
    same = join(server, "closed", 7)
    counted(server, 3, 1, 1, 2)
    another = join(server, "closed", 8)
    counted(server, 3, 1, 2, 3)
    watcher = join(server, "worker.status", 7)
    counted(server, 3, 2, 2, 4)
    anonymous = [join(server, "closed", 0), join(server, "open"), join(server, "open")]
    counted(server, 3, 3, 5, 7)
    with server.subscribe("closed"):  # not authenticated
        with server.subscribe("closed") as refused:
            assert '"unauthorized"' in refused.authenticate(make_token(secret, "open", 9))
            refused.close_code()
        same.close()
        counted(server, 3, 3, 5, 6)
    for browser in (one, another, watcher, *anonymous):
        browser.close()
    counted(server, 3, 0, 0, 0)


def test_a_gateway_that_starts_counts_the_topics_anew(server):
    """Somebody's INSERT OR REPLACE makes the stored count one too high."""
    server.api.register("a")
    sqlite.change(server.service.database, "INSERT OR REPLACE INTO topics SELECT * FROM topics WHERE topic = 'a'")
    assert counts(server)[0] == 3
    server.service.restart_gateway()
    counted(server, 2, 0, 0, 0, limit_s=LIMIT_S)


def time_until_counted(server, sockets, action):
    """The age of the first right answer: how long after the action it was asked for."""
    action()
    done_at = time.monotonic()
    while True:
        asked_at = time.monotonic()
        if server.api.status("?topics=0").json["connected_sockets"] == sockets:
            return max(0, asked_at - done_at)
        assert asked_at - done_at < 15


def test_counts_are_not_staler_than_100_ms_when_the_service_is_quiet(server):
    server.api.register("t")
    ages = []
    for _ in range(5):
        browsers = []
        ages.append(time_until_counted(server, 1, lambda: browsers.append(join(server, "t"))))
        ages.append(time_until_counted(server, 0, lambda: browsers[0].close()))
    assert statistics.median(ages) < QUIET_LIMIT_S, ages


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_counts_are_not_staler_than_1_s_while_publishers_keep_the_database_busy(make_service, certificates, durability):
    """The gateway's thread only tries the write lock: nobody may hold it while a disk is synced."""
    server = Nginx(make_service(durability=durability).start(api_processes=8), certificates)
    server.api.register("t")
    server.api.register("busy")
    with contextlib.ExitStack() as browsers, publishing(server, "busy", publishers=16):
        for sockets in range(1, 11):
            age_s = time_until_counted(server, sockets, lambda: browsers.callback(join(server, "t").close))
            assert age_s < STALE_LIMIT_S


def assert_degraded(reply):
    assert (reply.status, reply.headers["Content-Type"]) == (503, "application/json")
    assert reply.headers["Retry-After"] == "1"
    now = reply.json
    assert [name for name in now if name in MEMBERS] == [name for name in MEMBERS if name in now]
    assert set(MEMBERS) - set(now) <= {"topic_list"}
    assert (now["status"], now["version"], now["uptime"], now["cluster_nodes"]) == ("degraded", "0.1.0", "0s", -1)
    assert [now[name] for name in COUNTS] == [0, 0, 0, 0]
    why = {name: text for name, text in now.items() if name not in (*MEMBERS, "active_topic_list")}
    assert list(why.values()) == ["no gateway is running, and gateway_autostart is off"]


def test_without_a_gateway_the_answer_is_503_degraded_with_zero_counts_and_the_reason(make_service, certificates):
    service = make_service()
    service.start_api()
    server = Nginx(service, certificates)
    assert server.api.register("t").status == 200
    for query in ("", "?topics=0", "?topics=1"):
        reply = server.api.status(query)
        assert_degraded(reply)
        assert ("topic_list" in reply.json) == (query != "?topics=0")
        assert ("active_topic_list" in reply.json) == (query == "?topics=1")
    service.start_gateway()
    wait_until(lambda: server.api.status().status == 200, "the gateway is counted")
    counted(server, 2, 0, 0, 0)
    assert service.gateway.stop() is None
    assert_degraded(server.api.status())


def leave_rows(server):
    """Two sockets that are counted, and whose gateway goes without a goodbye."""
    server.api.register("t")
    browsers = [join(server, "t", 5), join(server, "t", 6)]
    counted(server, 2, 1, 2, 2)
    return browsers


def sessions(server):
    return sqlite.ask(server.service.database, "SELECT gateway, slot FROM sessions")


def test_a_killed_gateway_is_not_counted_and_its_rows_are_cleared_by_the_next(server):
    browsers = leave_rows(server)
    dead = server.service.gateway.pid
    server.service.gateway.kill()
    wait_until(lambda: server.api.status().status == 503, "the dead gateway is noticed", DEAD_LIMIT_S)
    assert_degraded(server.api.status())
    assert [row["gateway"] for row in sessions(server)] == [dead, dead]

    server.service.start_gateway()
    wait_until(lambda: server.api.status().status == 200, "the next gateway is counted")
    counted(server, 2, 0, 0, 0)
    assert sessions(server) == []
    assert [row["pid"] for row in sqlite.ask(server.service.database, "SELECT pid FROM gateways")] == [
        server.service.gateway.pid
    ]
    for browser in browsers:
        browser.close()


def test_a_stopped_gateway_is_not_counted_after_5_s_and_counted_again_when_it_goes_on(server):
    browsers = leave_rows(server)
    server.service.gateway.send(signal.SIGSTOP)
    try:
        wait_until(lambda: server.api.status().status == 503, "the stopped gateway is noticed", DEAD_LIMIT_S)
        assert_degraded(server.api.status())
        assert server.api.publish("t", 1).status == 200  # the API does not wait for it
    finally:
        server.service.gateway.send(signal.SIGCONT)
    wait_until(lambda: server.api.status().status == 200, "the gateway is counted again")
    counted(server, 2, 1, 2, 2)
    for browser in browsers:
        assert browser.receive() == '{"type":"push","payload":1}'
        browser.close()


@pytest.mark.parametrize("seconds, text", [
    (59, "59s"), (60, "1m0s"), (14 * 60 + 22, "14m22s"), (3 * 3600 + 5, "3h0m5s"), (26 * 3600 + 60, "26h1m0s"),
])  # fmt: skip
def test_uptime_is_written_like_gos_duration(worker, seconds, text):
    def uptime():
        # The gateway rewrites its row every few seconds: set and read until nothing came in between.
        started = int(time.time() * 1000) - seconds * 1000
        sqlite.change(worker.service.database, f"UPDATE gateways SET started_ms = {started}")
        return worker.api.status().json["uptime"]

    wait_until(lambda: uptime() == text, f"an uptime of {text}")


def test_uptime_is_the_gateways_and_rises(server):
    server.service.restart_gateway()
    assert server.api.status().json["uptime"] in ("0s", "1s", "2s", "3s")
    before = int(server.api.status().json["uptime"][:-1])
    wait_until(lambda: int(server.api.status().json["uptime"][:-1]) > before, "the uptime rises", 3)


def test_a_node_whose_redis_is_away_says_so_and_goes_on(make_service, certificates):
    server = Nginx(make_service(redis_url=f"redis://127.0.0.1:{free_port()}").start(), certificates)
    assert server.api.register("a topic").status == 200
    with join(server, "a topic") as browser, join(server, "worker.status", 7) as watcher:
        assert server.api.publish("a topic", 1).status == 200
        assert browser.receive() == '{"type":"push","payload":1}'
        counted(server, 2, 2, 2, 2)
        watcher.send('{"type":"status"}')
        assert watcher.receive().endswith('"connected_sockets":2,"cluster_nodes":-1}}')
        now = server.api.status("?topics=0&cluster=1").json
    assert (now["status"], now["cluster_nodes"]) == ("ok", -1) and now["cluster_why"]
    assert list(now)[-4:] == ["cluster_lag_events", "cluster_lag_seconds", "node", "cluster"]
    (me,) = now["cluster"].pop("nodes")
    assert (me["id"], me["name"]) == (now["node"]["id"], now["node"]["name"]) and re.fullmatch("[0-9a-f]{16}", me["id"])
    assert (me["alive"], me["sockets"], me["clients"], me["topics"]) == (True, 2, 2, 2)
    assert now["cluster"] == {"alive": 1, "sockets": 2, "clients": 2, "topics": 2}
    reply = server.api.call(server.ready_path, method="GET", headers={"X-Worker-Secret": None})
    for answer in (reply.status, reply.body), ask(server.service, "/readyz")[::2]:
        assert answer[0] == 503 and re.fullmatch(b"unavailable: Redis away: [^\n]+\n", answer[1])
    metrics = scrape(server)
    assert (metrics["refused_connections_total", "unavailable"], metrics["cluster_received_total"]) == (0, 0)
    assert metrics["cluster_lag_events"] >= 0 and "wavelog_worker_cluster_away_seconds" in metrics.families
    waits = sqlite.ask(server.service.database, "SELECT topic, changes FROM topics_to_relay")
    assert waits == [{"topic": "a topic", "changes": 1}]


def test_the_nodes_of_a_cluster_are_listed_and_summed(make_cluster):
    cluster = make_cluster(2, start=False, node_name="east", gateway_processes=2)
    for service, url in zip(cluster.services, (f"{cluster.redis.unix_url}?db=3", f"{cluster.redis.url}/3")):
        service.write_config(redis_url=url)
    a, b = cluster.start().nodes
    cluster.register("t")
    with join(a, "t"), join(b, "t"), join(b, "worker.status", 7) as watcher:
        watcher.send('{"type":"status"}')
        assert watcher.receive().endswith('"cluster_nodes":2}}')
        wanted = {"alive": 2, "sockets": 3, "clients": 3, "topics": 3}

        def summed():
            found = a.api.status("?topics=1&cluster=1").json
            return {name: found["cluster"][name] for name in wanted} == wanted and found

        now = wait_until(summed, lambda: f"both are seen: {a.api.status('?cluster=1').text}")
    assert now["cluster_nodes"] == 2 and "cluster_why" not in now and now["active_topic_list"] == ["t"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", now["cluster_since"])
    rows = [(node["id"], node["name"], node["version"], node["alive"], node["sockets"]) for node in now["cluster"]["nodes"]]
    assert rows == [(a.id, "east", "0.1.0", True, 1), (b.id, "east", "0.1.0", True, 2)]
    reply = a.api.call(a.ready_path, method="GET", headers={"X-Worker-Secret": None})
    assert (reply.status, reply.body) == ask(a.service, "/readyz")[::2] == (200, b"ok\n")
    assert b.api.publish("t", 1).status == 200
    cluster.wait_until_relayed()
    wait_until(lambda: scrape(b)["cluster_lag_events"] == 0, "nothing lags")
    wait_until(lambda: scrape(a)["cluster_received_total"] == scrape(b)["cluster_relayed_total"] == 1, "they are counted")
    metrics = scrape(a)
    assert (metrics["cluster_nodes"], metrics["cluster_away_seconds"], metrics["cluster_lag_seconds"]) == (2, 0, 0)
