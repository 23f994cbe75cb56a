"""Polls (docs/clients.md): nothing is missed or doubled, whatever dies in between; pages of other origins; floods and slow
ones; and all that without a write. The answers byte by byte are in tests/unit/api/test_poll.c, and each way of mounting
it in test_web_servers.py."""

import concurrent.futures
import json
import secrets
import socket
import time
from collections import Counter

import pytest
from harness import sqlite
from harness.api import InternalApi, is_error, make_token
from harness.browser import Browser, Switchboard
from harness.process import wait_until
from harness.web_servers import Apache, Nginx

OTHERS = 10_500  # events of others: more than one poll looks at


class Poller:
    """Polls like a page: goes on from the last answer, and asks again after a failure."""

    def __init__(self, server, topic):
        self.server, self.topic, self.got, self.recovered = server, topic, [], []
        self.position = server.poll(topic).json["last_event_id"]

    def poll(self):
        """Until nothing more is there; False when it could not be answered."""
        while True:
            reply = self.server.poll(self.topic, last_event_id=self.position)
            if reply.status != 200:
                assert reply.status in (204, 502, 503), reply
                return reply.status == 204
            answer = reply.json
            ids = [push["id"] for push in answer["pushes"]]
            assert ids == sorted(ids) and (not ids or self.position < ids[0] and ids[-1] <= answer["last_event_id"])
            self.got += [push["payload"] for push in answer["pushes"]]
            self.recovered.append(answer["recovered"])
            self.position = answer["last_event_id"]
            if not answer.get("more"):
                return True


def test_what_is_published_comes_once_and_in_order_whatever_dies(make_server):
    server = make_server()
    service = server.service
    often, seldom, never = (Poller(server, "t") for _ in range(3))
    numbers = iter(range(20))

    def publish(count):
        for _ in range(count):
            assert server.api.publish("t", next(numbers)).status == 200
            server.api.publish("another", 0)
            assert often.poll()

    server.api.register("another")
    publish(5)
    service.gateway.kill()
    publish(3)
    service.api[0].kill()
    wait_until(lambda: often.poll(), "the other process answers")
    publish(2)
    for process in service.api:
        process.kill()
    assert not often.poll()
    service.api_socket.unlink()
    service.start_api(1)
    publish(5)
    assert seldom.poll()
    sqlite.change(service.database, f"DELETE FROM events WHERE id <= {often.position - 2}")
    publish(5)
    assert seldom.poll() and never.poll()
    assert often.got == seldom.got == list(range(20))
    assert all(often.recovered + seldom.recovered)
    assert never.got == [] and never.recovered == [False] and never.position == often.position


def disk_files(service):
    return [(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(service.state_dir.glob("worker.db*"))
            if not path.name.endswith("-shm")]  # fmt: skip


def test_a_flood_of_polls_writes_nothing_is_held_back_and_leaves_no_trace(make_server):
    server = make_server(poll_rate=50)
    service = server.service
    service.gateway.stop()  # which has something to write
    token = make_token(service.secret, "closed")
    server.api.register("closed", require_token=True)
    position = server.poll("t").json["last_event_id"]
    wait_until(lambda: (before := disk_files(service), time.sleep(1.2), disk_files(service) == before)[2], "it rests")
    log = service.log_dir / "api.log"
    before, said = disk_files(service), log.read_text()
    polls = [
        ("t", {"last_event_id": position}, 204),
        ("t", {"last_event_id": None}, 200),
        ("t", {"last_event_id": -1}, 400),
        ("t", {"last_event_id": 2**53}, 200),
        ("closed", {}, 400),
        ("closed", {"token": token}, 200),
        ("closed", {"token": token[:-1] + "g"}, 401),
        ("closed", {"token": make_token(service.secret, "closed", expires=1)}, 401),
        ("nobody", {"token": token}, 404),
        ("closed", {"token": "x" * 4096}, 413),
        ("é" * 200, {"x": ["[" * 900]}, 404),
    ]

    def flood(number):
        topic, auth, status = polls[number % len(polls)]
        spread = {"X-Forwarded-For": f"198.51.{number % 100}.{number % 250}"} if number % 2 else {}
        reply = server.poll(topic, headers=spread, **auth)
        assert reply.status == status or not spread and is_error(reply, 429, "too many polls from this address"), reply
        return reply.status

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        counts = Counter(pool.map(flood, range(2000)))
    assert counts[429] > 100 and counts[204] > 50, counts
    assert log.read_text() == said
    time.sleep(1.2)  # by then each process has done what it had put off
    assert disk_files(service) == before
    assert server.api.publish("t", 1).status == 200


@pytest.mark.parametrize("front", [Nginx, Apache])
def test_slow_bodies_hold_up_nobody(make_service, certificates, front):
    server, slow = front(make_service().start(), certificates), []
    server.api.register("t")
    for _ in range(50):
        slow.append(socket.create_connection(("127.0.0.1", server.plain_port), 10))
        slow[-1].sendall(b'POST /worker/poll?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{"type":')
    begin = time.monotonic()
    assert server.poll("t").status == 200
    assert time.monotonic() - begin < 5
    for connection in slow:
        connection.sendall(b'"auth"}')
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.close()


def test_changed_secrets_and_origins_are_taken_over(make_server):
    server = make_server()
    server.api.register("closed", require_token=True)
    new = secrets.token_hex(24)
    old_token, new_token = (make_token(secret, "closed") for secret in (server.service.secret, new))
    assert [server.poll("closed", token=token).status for token in (old_token, new_token)] == [200, 401]
    server.service.write_config(
        worker_secret=new, worker_secret_previous=server.service.secret, allowed_origins=["https://a.example"]
    )
    wait_until(lambda: all(server.poll("closed", token=new_token).status == 200 for _ in range(20)), "it is taken over")
    assert server.poll("closed", token=old_token).status == 200
    server.service.write_config(worker_secret=new, worker_secret_previous="")
    wait_until(lambda: all(server.poll("closed", token=old_token).status == 401 for _ in range(20)), "the old one is over")
    refused = server.poll("closed", headers={"Origin": "https://b.example"}, token=new_token)
    assert is_error(refused, 403, "origin not allowed") and refused.headers["Access-Control-Allow-Origin"] is None
    allowed = server.poll("closed", headers={"Origin": "https://a.example"}, token="x")
    assert (allowed.status, allowed.headers["Access-Control-Allow-Origin"]) == (401, "https://a.example")
    assert InternalApi(server.plain_url, new).register("t").status == 200


PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script src="/worker/client.js"></script>
<script>
'use strict';
async function ask(url, type, body) {
	const answer = await fetch(url, { method: 'POST', body, headers: { 'Content-Type': type } });
	return [answer.status, await answer.text()];
}
function go(url, topic) {
	window.seen = [];
	window.sub = WavelogWorker.subscribe({ url, topic, transports: ['poll'], pollMs: 50, pollMaxMs: 50,
		onPush(payload) { seen.push(payload); } });
}
</script>"""


def test_a_page_of_another_origin_may_ask_and_is_told_why_not(make_server):
    server = make_server()
    server.api.register("closed", require_token=True)
    with Switchboard(server.plain_port, page=PAGE) as board:
        browser = Browser()
        try:
            browser.open(f"{board.url}/page")
            base = f"http://localhost:{server.plain_port}/worker"  # not the origin of the page
            for kind in ("text/plain", "application/json"):  # the latter wants a preflight
                status, text = browser.run("return ask(...arguments)", f"{base}/poll?topic=t", kind, '{"type":"auth"}')
                assert status == 200 and json.loads(text)["pushes"] == []
            status, text = browser.run("return ask(...arguments)", f"{base}/poll?topic=closed", "text/plain",
                                       '{"type":"auth","token":"x"}')  # fmt: skip
            assert status == 401 and json.loads(text)["code"] == "unauthorized"

            browser.run("go(...arguments)", base, "t")
            browser.wait_for("sub.state === 'live'", "it polls")
            sqlite.change(server.service.database, f"""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
                WHERE i < {OTHERS}) INSERT INTO events (kind, topic, created_ms, payload) SELECT 0, 'x', 0, i FROM n""")
            for number in range(3):
                assert server.api.publish("t", number).status == 200
            browser.wait_for("seen.length >= 3", "it passes what happened to others")
            assert browser.run("return seen") == [0, 1, 2]
        finally:
            browser.close()
