"""The whole service through each web server, with the files that people copy, in each way of mounting it."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from harness import sqlite
from harness.api import is_error, make_token
from harness.process import LIMIT_S, wait_until
from harness.pages import blocks
from harness.service import REPO, Service
from harness.web_servers import PUBLIC_ADDRESS, VISITOR_ADDRESS, Apache, CgiHosting, Nginx, SharedHosting
from harness.stream import Stream, request, started, stream_path
from harness.websocket import AUTH_OK, UNAUTHORIZED, auth_frame, refusal

MIB = 1048576

MOUNTS = {
    "nginx-tcp": (Nginx, False, {}),
    "nginx-unix": (Nginx, True, {}),
    "apache-upgrade-tcp": (Apache, False, {}),
    "apache-fcgid-upgrade-unix": (Apache, True, {"fcgid": True}),
    "apache-fcgid-wstunnel-tcp": (Apache, False, {"wstunnel": True, "fcgid": True}),
    "apache-wstunnel-unix": (Apache, True, {"wstunnel": True}),
    "apache-htaccess-tcp": (SharedHosting, False, {}),
    "apache-htaccess-unix": (SharedHosting, True, {}),
    "apache-htaccess-cgid": (CgiHosting, False, {}),
    "apache-fcgi-path-info": (SharedHosting, False, {"direct": True}),
}


def start(service, certificates, mount, **options):
    kind, _, more = MOUNTS[mount]
    service.start_gateway()
    if kind is Nginx:
        service.start_api()
    return kind(service, certificates, **more, **options)


@pytest.fixture(scope="module", params=MOUNTS)
def mounted(request, certificates):
    service = Service(unix=MOUNTS[request.param][1])
    try:
        yield start(service, certificates, request.param)
    finally:
        faults = service.close()
        assert not faults, "\n".join(faults)


@pytest.fixture
def server(mounted):
    """Of a mount, shared by the tests; each finds a gateway that runs, and the topic "t"."""
    if not mounted.service.gateway.runs():
        mounted.service.start_gateway()
    wait_until(lambda: mounted.api.call("status", method="GET").status == 200, "the API knows of the gateway")
    assert mounted.api.register("t").status == 200
    return mounted


def test_the_main_job_works_from_register_to_unregister(server):
    secret = server.service.secret
    for name, api in {"plain": server.api, "tls": server.tls_api}.items():
        topic = f"talk {name}/é?&"
        reply = api.publish(topic, 1)
        assert (reply.status, reply.body) == (404, b"topic not registered\n")
        assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert reply.headers.get_all("X-Content-Type-Options") == ["nosniff"]
        assert api.register(topic, meta={"require_token": True}).status == 200

        with server.subscribe(topic) as browser:
            assert browser.authenticate(make_token(secret, topic)) == '{"type":"auth_ok"}'
            reply = api.call("publish", raw=f'{{"topic":"{topic}","payload":[1.10, "\\u2028"]}}'.encode())
            assert reply.status == 200 and reply.json["id"] > 0
            assert browser.receive() == '{"type":"push","payload":[1.10, "\\u2028"]}'

            status = wait_until(
                lambda: (now := api.status("?topics=1").json)["connected_sockets"] == 1 and now, "one socket counted"
            )
            assert status["status"] == "ok" and topic in status["topic_list"]
            assert status["active_topic_list"] == [topic]

            assert api.unregister(topic).status == 200
            assert browser.receive_json()["code"] == "topic_unregistered"
            assert browser.close_code() == 1000
        assert api.publish(topic, 1).status == 404
        assert refusal(server.wss_url, topic, tls=server.tls) == 404
        assert api.register(topic).status == 200
        wait_until(lambda: api.status().json["connected_sockets"] == 0, "no socket counted")


def test_a_stream_passes_event_by_event(server):
    secret = server.service.secret
    assert server.api.register("s", require_token=True).status == 200
    for port, tls in ((server.plain_port, None), (server.tls_port, server.tls)):
        prefix = os.path.dirname(server.ws_path)
        with started(("127.0.0.1", port), "s", make_token(secret, "s"), prefix, tls, last_event_id=None) as stream:
            assert stream.headers["content-type"] == "text/event-stream" and stream.headers["cache-control"] == "no-store"
            for n in range(3):
                id = server.api.call("publish", raw=b'{"topic":"s","payload":[%d,\r\n2]}' % n).json["id"]
                event = stream.read_event()
                assert event == (f'{{"type":"push","id":{id},"payload":[{n},\n2]}}', str(id))
            server.api.unregister("s")
            assert stream.read_json()["code"] == "topic_unregistered" and stream.is_over()
        server.api.register("s", require_token=True)
    with Stream(("127.0.0.1", server.plain_port)) as stream:
        stream.send(request(stream_path("s", prefix), auth_frame("x"), {"Origin": "https://x.example"}))
        status, headers = stream.head()
        assert status == 401 and headers["access-control-allow-origin"] == "*"
        assert stream.read_until(UNAUTHORIZED)


NO_SECRET = {"X-Worker-Secret": None}


def test_readyz_asks_for_no_secret_and_says_why_it_is_not_ready(server):
    def ask(**options):
        reply = server.api.call(server.ready_path, headers=NO_SECRET, **options)
        assert reply.headers.get_all("Content-Type") == ["text/plain; charset=utf-8"]
        return reply.status, reply.headers["Content-Length"], reply.body

    assert ask(method="GET") == (200, "3", b"ok\n")
    assert ask(method="HEAD") == (200, "3", b"")
    assert is_error(server.api.call(server.ready_path, headers=NO_SECRET), 405, "method not allowed")
    assert server.tls_api.call(server.ready_path, method="GET", headers=NO_SECRET).status == 200
    server.service.gateway.stop()
    wait_until(lambda: ask(method="GET") == (503, "35", b"unavailable: no gateway is running\n"), "not ready")
    assert ask(method="HEAD")[::2] == (503, b"")


def test_a_page_that_can_have_no_connection_polls_and_needs_no_gateway(server):
    server.service.gateway.stop()
    topic, token = "poll é?&+", make_token(server.service.secret, "poll é?&+")
    assert is_error(server.poll(topic), 404, "topic not registered")
    server.api.register(topic, require_token=True)
    reply = server.poll(topic, token=token, last_event_id=None)
    assert reply.status == 200 and reply.headers.get_all("Access-Control-Allow-Origin") == ["*"]
    start = reply.json["last_event_id"]
    assert reply.json == {"type": "auth_ok", "last_event_id": start, "recovered": True, "pushes": []}
    reply = server.poll(topic, token=token, last_event_id=start)
    assert (reply.status, reply.body, reply.headers["Content-Type"]) == (204, b"", None)
    payload = f'[1.10, "\\u2028", "{"x" * (MIB - 100)}"]'
    raw = f'{{"topic":"{topic}","payload":{payload}}}'
    assert server.api.call("publish", raw=raw.encode()).status == 200
    reply = server.poll(topic, token=token, last_event_id=start)
    expected = f'{{"type":"auth_ok","last_event_id":{start + 1},"recovered":true,"pushes":[{{"id":{start + 1},"payload":'
    assert reply.text == f"{expected}{payload}}}]}}"
    reply = server.poll(topic, token="x", headers={"Origin": "https://log.example.org"})
    assert (reply.status, reply.json["code"]) == (401, "unauthorized")
    assert reply.headers.get_all("Access-Control-Allow-Origin") == ["*"]
    assert server.poll(topic, token="x" * 4096).status == 413
    assert is_error(server.poll(topic, token="x" * 3 * MIB), 413, "body too large")


def test_the_secret_may_come_as_a_bearer_token(server):
    secret = server.service.secret
    for good in (f"Bearer {secret}", f"bearer {secret}"):
        for other in (None, "wrong"):
            headers = {"X-Worker-Secret": other, "Authorization": good}
            assert server.api.call("status", method="GET", headers=headers).status == 200, good
            assert server.api.call("register", {"topic": "t"}, headers=headers).status == 200, good
    assert server.api.call("status", method="GET", headers={"Authorization": "Bearer wrong"}).status == 200
    for bad in ("Bearer", "Bearer ", f"Bearer  {secret}", f"Bearer {secret}x", f"Bearer{secret}", f"Basic {secret}", secret):
        assert server.api.call("status", method="GET", headers={**NO_SECRET, "Authorization": bad}).status == 403, bad


def test_head_is_answered_as_get_is_but_without_a_body(server):
    parts = urlsplit(server.plain_url)
    for path, status in ((f"{parts.path}{server.ready_path}", 200), (f"{parts.path}/internal/status", 405)):
        replies = []
        for method in ("PUT" if status == 405 else "GET", "HEAD"):
            with socket.create_connection((parts.hostname, parts.port), LIMIT_S) as connection:
                connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
                replies.append((head.split()[1], re.search(rb"(?i)content-length: (\d+)", head)[1], body))
        (code, length, body), without = replies
        assert (int(code), int(length)) == (status, len(body)) and without == (code, length, b""), path


def test_a_wrong_secret_is_forbidden(server):
    for secret in ("x" * 48, "", None):
        reply = server.api.call("register", {"topic": "t"}, headers={"X-Worker-Secret": secret})
        assert (reply.status, reply.body) == (403, b"forbidden\n")
    assert server.api.call("nonsense").status == 404
    reply = server.api.call("publish", method="GET")
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


def test_a_body_of_1_mib_passes_and_a_longer_one_is_413(server):
    api = server.api
    assert api.register("big").status == 200
    head, tail = b'{"topic":"big","payload":"', b'"}'

    def publish(size, **options):
        return api.call("publish", raw=head + b"x" * (size - len(head) - len(tail)) + tail, **options)

    with server.subscribe("big") as browser:
        browser.authenticate()
        assert publish(MIB).status == 200
        assert len(browser.receive()) == MIB - len(head) - len(tail) + len('{"type":"push","payload":""}')
    for size in (MIB + 1, 2 * MIB, 2 * MIB + 1, 3 * MIB):
        for chunked in (False, True):
            reply = publish(size, chunked=chunked)
            assert (reply.status, reply.body) == (413, b"body too large\n"), f"{size} bytes, chunked: {chunked}"
            assert reply.headers.get_all("Content-Type") == ["text/plain; charset=utf-8"], size
            assert reply.headers.get_all("X-Content-Type-Options") == ["nosniff"], size


def test_a_request_that_is_not_an_upgrade_reaches_no_other_program(server):
    reply = subprocess.run(
        ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", server.wss_url.replace("wss:", "https:") + "?topic=t"],
        capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert reply in ("400", "404", "426"), reply


def test_neither_a_large_cookie_nor_a_restart_of_the_gateway_keeps_a_browser_out(server):
    with server.subscribe("t", headers={"Cookie": "c=" + "x" * 8100}) as browser:
        assert browser.authenticate() == '{"type":"auth_ok"}'
    assert server.service.gateway.stop() is None
    for _ in range(3):
        assert refusal(server.wss_url, "t", tls=server.tls) in (502, 503)
    server.service.start_gateway()
    with server.subscribe("t") as browser:
        assert browser.authenticate() == '{"type":"auth_ok"}'


def test_the_clients_address_of_x_forwarded_for_reaches_the_log(make_service, certificates):
    service = make_service(log_connections=True)
    server = Nginx(service.start(), certificates)
    assert server.api.register("t").status == 200
    with server.subscribe("t", headers={"X-Forwarded-For": "203.0.113.9"}) as browser:
        browser.authenticate()
        log = service.log_dir / "gateway.log"
        wait_until(lambda: "203.0.113.9" in log.read_text(), "the address is in the log")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a network of its own")
@pytest.mark.parametrize("mount", ["nginx-tcp", "apache-upgrade-tcp", "apache-fcgid-upgrade-unix", "apache-htaccess-tcp"])
def test_internal_is_refused_to_callers_from_elsewhere(make_service, certificates, mount):
    server = start(make_service(unix=MOUNTS[mount][1]), certificates, mount, other_network=True)
    url = f"https://{PUBLIC_ADDRESS}:{server.tls_port}{server.prefix}/internal/status"

    def get(*options):
        command = ["nsenter", f"--net=/proc/{server.process.pid}/ns/net", "curl", "-sk", "-w", "\n%{http_code}"]
        header = f"X-Worker-Secret: {server.service.secret}"
        return subprocess.run([*command, "-H", header, *options, url], capture_output=True, text=True).stdout

    for spoof in ("X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Real-IP: 127.0.0.1"):
        reply = get("--interface", VISITOR_ADDRESS, "-H", spoof)
        assert reply.endswith("\n403") and "forbidden\n" not in reply, reply
    ready_url = url.replace("/internal/status", server.ready_path)
    reply = subprocess.run(
        ["nsenter", f"--net=/proc/{server.process.pid}/ns/net", "curl", "-sk", "--interface", VISITOR_ADDRESS, ready_url],
        capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert reply == "ok\n"
    status_url = url
    for below in (ready_url, ready_url.replace("readyz", "poll")):
        url = below + "/internal/status"
        assert '"status"' not in get("--interface", VISITOR_ADDRESS), url
    url = status_url
    url = url.replace(PUBLIC_ADDRESS + f":{server.tls_port}", f"127.0.0.1:{server.plain_port}").replace("https", "http")
    assert get().endswith("\n200"), get()


class Host(NamedTuple):
    """What a host of shared hosting lacks, what its customer gets from internal/status and ws, and the words that the
    error log and docs/troubleshooting.md have for it."""

    modules: tuple = ()
    override: str = "All"
    internal: str = "200 JSON"
    ws: str = "404 text"
    logged: str = ""
    explained: str = ""


HOSTS = {
    "everything": Host(),
    "mod_proxy": Host(("proxy", "proxy_http", "proxy_wstunnel", "proxy_fcgi"), ws="403 HTML", logged="without proxy enabled",
                      explained="the host's Apache has no mod_proxy"),
    "mod_fcgid": Host(("fcgid",), internal="404 HTML", explained="has neither mod_fcgid nor CGI"),
    "mod_rewrite": Host(("rewrite",), internal="500 HTML", ws="500 HTML",
                        logged="Invalid command 'RewriteEngine'", explained="`Invalid command 'RewriteEngine'`"),
    "Options": Host(override="FileInfo AuthConfig Limit", internal="500 HTML", ws="500 HTML",
                    logged="Options not allowed here", explained="`Options not allowed here`"),
    "AllowOverride": Host(override="None", internal="404 HTML", ws="404 HTML", explained="`AllowOverride None`"),
}  # fmt: skip


@pytest.mark.parametrize("host", HOSTS.values(), ids=[f"without {name}" for name in HOSTS])
def test_what_a_host_lacks_shows_as_the_documentation_says(make_service, certificates, host):
    class Hosting(SharedHosting):
        modules = [module for module in SharedHosting.modules if module not in host.modules]
        override = host.override

    service = make_service()
    service.start_gateway()
    server = Hosting(service, certificates)

    def ask(path, *headers):
        options = [option for header in headers for option in ("-H", header)]
        url = f"http://127.0.0.1:{server.plain_port}/worker/{path}"
        body, status = subprocess.run(
            ["curl", "-s", "-w", "\n%{http_code}", *options, url], capture_output=True, text=True
        ).stdout.rsplit("\n", 1)
        return f"{status} {'HTML' if '<html>' in body else 'JSON' if body.startswith('{') else 'text'}"

    assert ask("internal/status", f"X-Worker-Secret: {service.secret}") == host.internal
    assert ask("ws?topic=t", "Upgrade: websocket", "Connection: Upgrade") == host.ws
    assert host.logged in server.log.read_text()
    assert host.explained in re.sub(r"\s+", " ", (REPO / "docs/troubleshooting.md").read_text())


class SmallApache(Apache):
    """With the numbers of docs/install-apache.md for many browsers, a tenth of the threads and of the processes."""

    def site(self):
        (text,) = [block.text for block in blocks("docs/install-apache.md", "More browsers", "sh")]
        names = "ThreadsPerChild", "ServerLimit", "MaxRequestWorkers"
        threads, processes, workers = (int(re.search(rf"{name} +(\d+)", text)[1]) for name in names)
        self.browsers = workers // 100 - 2  # what is left is for PHP
        return f"{super().site()}ThreadsPerChild {threads // 10}\nServerLimit {processes // 10}\nMaxRequestWorkers {workers // 100}\n"


def test_a_site_with_as_many_browsers_as_it_was_made_for_goes_on_after_a_reload(make_service, certificates):
    service = make_service()
    service.start_gateway()
    server = SmallApache(service, certificates)
    assert server.api.register("t").status == 200
    with ExitStack() as stack:

        def all_join():
            for _ in range(server.browsers):
                assert stack.enter_context(server.subscribe("t")).authenticate() == AUTH_OK

        all_join()
        server.process.send(signal.SIGUSR1)
        wait_until(lambda: server.log.read_text().count("resuming normal operations") > 1, "Apache has reloaded")
        all_join()
        wait_until(lambda: server.api.status().json["connected_sockets"] == 2 * server.browsers, "all are there")
    assert "AH03490" not in server.log.read_text() and "AH03490" in (REPO / "docs/troubleshooting.md").read_text()


BURST, RELOADS = 64, 3


def test_bursts_after_a_reload_of_apache_are_answered(make_service, certificates):
    """mod_proxy_fcgi onto the API that listens. How long they took is printed, and not judged here."""
    service = make_service()
    service.start_gateway()
    service.start_api(4)
    server = Apache(service, certificates)
    assert server.api.register("t").status == 200
    taken = []

    def publish(number):
        gate.wait(LIMIT_S)
        start = time.monotonic()
        reply = server.api.publish("t", number)
        taken.append(time.monotonic() - start)
        return reply.status

    with ThreadPoolExecutor(BURST) as pool:
        for reload in range(1, RELOADS + 1):
            gate = threading.Barrier(BURST)
            server.process.send(signal.SIGUSR1)
            wait_until(lambda: server.log.read_text().count("resuming normal operations") > reload, "Apache has reloaded")
            assert list(pool.map(publish, range(BURST))) == [200] * BURST
    count = sqlite.value(service.database, "SELECT count(*) FROM events WHERE kind = 0")
    assert count == BURST * RELOADS
    print(f"{count} publishes in bursts of {BURST}: {1000 * max(taken):.0f} ms at most, "
          f"{sum(seconds > 0.3 for seconds in taken)} over 300 ms")  # fmt: skip
