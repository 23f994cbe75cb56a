"""The PHP client, examples/php/WavelogWorker.php, through real web servers and against servers that do not answer as they
should."""

import base64
import contextlib
import http.server
import json
import os
import re
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import pytest

from harness.pages import blocks
from harness.process import Process, accepts, free_port, wait_until
from harness.service import REPO, Service, substitute
from harness.web_servers import Apache, Nginx
from harness.websocket import AUTH_OK, push_of

DRIVER = Path(__file__).parent / "php/client.php"
CURLOPT_CAINFO = "10065"
SECRET = "a secret of at least thirty-two characters"


def php(url, secret, *calls, **options):
    """Makes the calls, each [method, argument, ...], on one object of the client; what came of each."""
    task = {"url": url, "secret": secret, "options": options, "calls": [[call[0], list(call[1:])] for call in calls]}
    command = ["php", "-n", "-d", "extension=curl", DRIVER, REPO / "examples/php/WavelogWorker.php"]
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1"}
    done = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert not secret or secret not in done.stdout
    return json.loads(done.stdout)


def values(results):
    assert [result["error"] for result in results if result["error"]] == []
    return [result["value"] for result in results]


def other_bytes(data):
    return "base64:" + base64.b64encode(data).decode()


@pytest.fixture(scope="module", params=[Nginx, Apache], ids=["nginx", "apache"])
def server(request, certificates):
    service = Service()
    try:
        service.start_gateway()
        if request.param is Nginx:
            service.start_api()
        yield request.param(service, certificates)
    finally:
        faults = service.close()
        assert not faults, "\n".join(faults)


# What PHP has -> the bytes that a browser gets.
PAYLOADS = [
    (["publish", {"call": "DL1ABC", "nested": {"on": True, "none": None}}],
     '{"call":"DL1ABC","nested":{"on":true,"none":null}}'),
    (["publish", "a/b\\ \"Köln\" 📻 \x00\n"], '"a/b\\\\ \\"Köln\\" 📻 \\u0000\\n"'),
    (["publish", "float:one"], "1.0"),
    (["publish", []], "[]"),
    (["publish", None], "null"),
    (["publishJson", ' {"n":1.10, "id":9007199254740993,"e":1E400,"s":"\\/\\u00e9"} '],
     '{"n":1.10, "id":9007199254740993,"e":1E400,"s":"\\/\\u00e9"}'),
    (["publishJson", "[" * 1000 + "]" * 1000], "[" * 1000 + "]" * 1000),
    (["publish", "x" * 1000000], '"' + "x" * 1000000 + '"'),
]  # fmt: skip


def test_php_publishes_and_its_bytes_arrive(server):
    secret, topic = server.service.secret, "qso/läuft & 📻?#%41+"
    (token,) = values(php(server.plain_url, secret, ["token", topic, 7, 60]))
    # The first publish finds no topic; it registers it, with the token that is required unless one says otherwise.
    first, second = values(php(server.plain_url, secret, ["publish", topic, 1], ["publish", topic, 2]))
    assert 0 < first < second
    with server.subscribe(topic) as stranger:
        assert "unauthorized" in stranger.authenticate("0.0")
    with server.subscribe(topic) as browser:
        assert browser.authenticate(token) == AUTH_OK
        calls = [[call[0], topic, call[1]] for call, _ in PAYLOADS]
        ids = values(php(server.plain_url, secret, *calls))
        assert ids == sorted(ids) and all(ids)
        assert [browser.receive() for _ in PAYLOADS] == [push_of(expected) for _, expected in PAYLOADS]

        status, none = values(php(server.plain_url, secret, ["status", True], ["status", False]))
        assert (status["status"], status["connected_clients"]) == ("ok", 1)
        assert topic in status["topic_list"] and topic in status["active_topic_list"] and "topic_list" not in none
        assert values(php(server.plain_url, secret, ["disconnect", "nobody here"], ["disconnect", topic, 8])) == [0, 0]
        assert values(php(server.plain_url, secret, ["disconnect", None, 7])) == [1]
        assert '"disconnected"' in browser.receive()
    assert values(php(server.plain_url, secret, ["unregister", topic], ["unregister", topic])) == [True, True]


def test_php_registers_again_as_it_did_before(server):
    """An argument counts most, then what the object registered the topic with, then the option."""
    for register, publish, options, is_open in (
        (["register", "t", False], ["publish", "t", 1], {}, True),
        (["register", "t"], ["publish", "t", 1], {}, False),
        (["register", "t"], ["publish", "t", 1], {"require_token": False}, True),
        (["register", "t", False], ["publish", "t", 1, True], {}, False),
        (["register", "t", True], ["publishJson", "t", "1"], {"require_token": False}, False),
    ):
        calls = [register, ["other.unregister", "t"], publish]
        assert values(php(server.plain_url, server.service.secret, *calls, **options))[2] > 0
        with server.subscribe("t") as browser:
            assert ("auth_ok" in browser.authenticate()) == is_open, (register, publish, options)


def test_php_publishes_over_tls_and_to_any_form_of_the_url(server):
    authority = {"curl": {CURLOPT_CAINFO: str(server.certificates.authority)}}
    for url in (f"{server.tls_url}/", f"{server.tls_url}/internal", f"{server.tls_url}/internal/"):
        assert values(php(url, server.service.secret, ["publish", "over tls", 1], **authority))[0] > 0
    (untrusted,) = php(server.tls_url, server.service.secret, ["publish", "over tls", 1])
    assert untrusted["value"] is None and "certificate" in untrusted["error"], untrusted


REFUSED = [
    (["publish", "", 1], 400, "bad topic: empty"),
    (["publish", "t" * 256, 1], 400, "bad topic"),
    (["register", "a\nb"], 400, "bad topic"),
    (["unregister", "worker.status"], 400, "worker.status"),
    (["publish", "t", "x" * 1100000], 413, "body too large"),
    (["disconnect"], 400, "missing topic or user_id"),
    (["register", other_bytes(b"\xff")], 0, "the topic cannot be JSON: Malformed UTF-8"),
    (["unregister", other_bytes(b"\xff")], 0, "the topic cannot be JSON"),
    (["publish", other_bytes(b"\xff"), 1], 0, "the topic cannot be JSON"),
    (["publish", "t", other_bytes(b"\xc0\x80")], 0, "the payload cannot be JSON: Malformed UTF-8"),
    (["publish", "t", "float:nan"], 0, "the payload cannot be JSON: Inf and NaN"),
    (["publish", "t", "throws"], 0, "the payload cannot be JSON: not today"),
    (["publishJson", "t", ""], 0, "the payload is not JSON: Syntax error"),
    (["publishJson", "t", '1,"topic":"other"'], 0, "the payload is not JSON"),
    (["publishJson", "t", "1}"], 0, "the payload is not JSON"),
    (["publishJson", "t", "[" * 1024 + "]" * 1024], 0, "the payload is not JSON: Maximum stack depth"),
    (["publishJson", "t", other_bytes(b'"\xff"')], 0, "the payload is not JSON: Malformed UTF-8"),
    (["token", other_bytes(b"\xff")], 0, "the topic cannot be JSON"),
]  # fmt: skip


def test_php_says_what_is_wrong_with_a_call_and_goes_on(worker):
    results = php(worker.plain_url, worker.service.secret, *[call for call, _, _ in REFUSED], ["publish", "t", 1])
    for (call, code, words), result in zip(REFUSED, results):
        assert not result["value"] and result["code"] == code and words in result["error"], (call[0], result)
        assert "\n" not in result["error"]
    assert results[-1]["error"] == "" and results[-1]["value"] > 0

    for url, secret, options, words in (
        (worker.plain_url, "x" * 40, {}, "403: forbidden"),
        (worker.plain_url, "", {}, "the secret is empty"),
        (worker.plain_url, other_bytes(b"good\r\nX-Evil: 1"), {}, "control characters"),
        (f"{worker.plain_url}/nowhere/else.php?", SECRET, {}, "404: not the answer of wavelog-worker"),
        (worker.plain_url.replace("http", "ftp"), SECRET, {}, "the URL must begin with"),
        (f"{worker.plain_url}/a b", SECRET, {}, "the URL must begin with"),
        ("", SECRET, {}, "the URL must begin with"),
        (worker.plain_url, SECRET, {"time_out": 1}, "unknown option 'time_out'"),
        (worker.plain_url, SECRET, {"timeout_ms": "1000"}, "timeout_ms must be of type integer"),
        (worker.plain_url, SECRET, {"curl": {"999999": 1}}, "curl"),
        (f"http://127.0.0.1:{free_port()}", SECRET, {}, "connect"),
        ("http://localhost", SECRET, {"socket": "/nowhere/web.sock"}, "connect"),
    ):  # fmt: skip
        for result in php(url, secret, ["publish", "t", 1], ["register", "t"], ["status"], **options):
            assert not result["value"] and words in result["error"], (url, options, result)


class Scripted(http.server.BaseHTTPRequestHandler):
    """Answers with what the server has in its list: (status, headers, body), or None to hang up; a pair waits so many
    seconds first."""

    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.connections += 1

    def do_POST(self):
        self.server.seen.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
        assert self.headers["Expect"] is None, "curl would wait for a 100"
        answer = self.server.answers.pop(0)
        if answer and len(answer) == 2:
            self.server.released.wait(answer[0])
            answer = answer[1]
        if answer is None:
            self.close_connection = True
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def scripted(*answers, unix=None):
    family = type("Server", (http.server.ThreadingHTTPServer,), {"daemon_threads": True})
    if unix:
        family = type("Server", (family,), {
            "address_family": socket.AF_UNIX, "server_bind": http.server.socketserver.TCPServer.server_bind,
            "get_request": lambda self: (self.socket.accept()[0], ("unix", 0)),
        })  # fmt: skip
    server = family(str(unix) if unix else ("127.0.0.1", 0), Scripted)
    server.answers, server.seen, server.connections = list(answers), [], 0
    server.released = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_php_is_not_held_up_by_a_server_that_does_not_answer():
    not_registered = (404, {}, b"topic not registered\n")
    with scripted((10, None), (0.7, not_registered), (10, None), None, (200, {}, b"")) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        publish = ["publish", "t", "x" * 1500000]
        slow, half, cut, good = php(url, SECRET, publish, publish, publish, ["register", "t"], timeout_ms=1000)
        assert good["value"] is True and good["error"] == ""
        assert [result["value"] for result in (slow, half, cut)] == [None] * 3
        # The register that follows a 404 has what is left, not as much again.
        for result in (slow, half):
            assert "timed out" in result["error"].lower() and 950 < result["ms"] < 1600, result
        assert "reply" in cut["error"].lower(), cut


def test_php_takes_no_other_answer_for_that_of_the_service(tmp_path):
    page = b"<html><title>Log in</title></html>"
    answers = [
        ((200, {}, page), "not the answer of wavelog-worker"),
        ((200, {}, b'{"id":"7"}'), "not the answer of wavelog-worker"),
        ((302, {"Location": "https://www.example.org/worker/internal/publish"}, b""),
         "302: sent on to https://www.example.org/worker/internal/publish"),
        ((500, {}, page), "500: not the answer of wavelog-worker"),
        ((404, {}, b"not\x1b[2J\r\nfound\n"), "404: not [2J found"),
        ((503, {"Retry-After": "1"}, b"unavailable: the database is locked\n"), "503: unavailable: the database is locked"),
        ((200, {}, b"{}" + b" " * 17000000), "writ"),
    ]  # fmt: skip
    socket_path = tmp_path / "web.sock"
    with scripted(*[answer for answer, _ in answers], unix=socket_path) as server:
        results = php("http://localhost/x.php?", SECRET, *[["publish", "t", 1]] * len(answers),
                      socket=str(socket_path), timeout_ms=1000)  # fmt: skip
    for (_, words), result in zip(answers, results):
        assert result["value"] is None and words in result["error"] != "", result
    assert {path for path, _ in server.seen} == {"/x.php?/internal/publish"}
    # All over one connection.
    assert server.connections == 1


@pytest.mark.parametrize("options, words", [
    ([], "the curl extension of PHP is missing"), (["-d", "extension=curl", "-d", "disable_functions=curl_exec"], "PHP may not use curl here"),
], ids=["missing", "switched off"])  # fmt: skip
def test_php_without_curl_says_so_and_no_more(options, words):
    code = f"$worker = new WavelogWorker('http://127.0.0.1:1', '{SECRET}'); echo json_encode($worker->publish('t', 1)), $worker->error();"
    command = ["php", "-n", "-d", "display_errors=1", "-d", "error_reporting=-1", *options, "-r"]
    done = subprocess.run([*command, f"require '{REPO}/examples/php/WavelogWorker.php'; {code}"], capture_output=True, text=True)
    assert done.stdout.startswith(f"null{words}") and "\n" not in done.stdout + done.stderr, done


def test_php_keeps_its_connection_but_not_over_a_fork():
    with scripted(*[(200, {}, b'{"id":7}')] * 4) as server:
        publish = ["publish", "t", 1]
        results = php(f"http://127.0.0.1:{server.server_port}", SECRET, publish, publish, ["forked.publish", "t", 1], publish)
    assert [result["value"] for result in results] == [7, 7, True, 7] and server.connections == 2


def test_php_tries_a_503_again_only_when_it_may():
    busy, good = (503, {"Retry-After": "1"}, b"unavailable: busy\n"), (200, {}, b'{"id":7}')
    for options, answers, value, requests in (
        ({}, [busy], None, 1),
        ({"retry": True}, [busy, good], 7, 2),
        ({"retry": True}, [(503, {"Retry-After": "0"}, b"")] * 2, None, 2),
        ({"retry": True, "timeout_ms": 900}, [busy], None, 1),
        ({"retry": True}, [(503, {"Retry-After": "99999"}, b"")], None, 1),
        ({"retry": True}, [(503, {}, b"")], None, 1),
        ({"retry": True}, [(500, {"Retry-After": "0"}, b"")], None, 1),
        ({"retry": True}, [(504, {"Retry-After": "0"}, b"the API does not answer in time\n")], None, 1),
    ):
        with scripted(*answers) as server:
            start = time.monotonic()
            (result,) = php(f"http://127.0.0.1:{server.server_port}", SECRET, ["publish", "t", 1], **options)
            assert (result["value"], len(server.seen)) == (value, requests), (options, result)
            assert value is None or time.monotonic() - start > 0.9


def test_the_page_shows_how_an_application_uses_it(worker):
    port = free_port()
    environment = {"WORKER_URL": worker.plain_url, "WAVELOG_WORKER_CONFIG": str(worker.service.config_file)}
    page = Process.start(
        "php -S", ["php", "-S", f"127.0.0.1:{port}", REPO / "examples/php/page.php"], worker.service.log_dir / "page.log",
        env=environment, as_user=False,
    )  # fmt: skip
    try:
        wait_until(lambda: accepts(("127.0.0.1", port)), "php -S accepts connections")
        url = f"http://127.0.0.1:{port}/"
        html = urllib.request.urlopen(url, timeout=20).read().decode()
        assert worker.service.secret not in html
        settings = json.loads(re.search(r"settings = (\{.*\});", html)[1])
        assert (settings["url"], settings["topic"]) == ("ws://127.0.0.1:9001/worker", "note")
        assert '<script src="http://127.0.0.1:9001/worker/client.js">' in html
        with worker.subscribe("note") as browser:
            assert browser.authenticate(settings["token"]) == AUTH_OK
            note = "</script><b>é"
            said = urllib.request.urlopen(url, urlencode({"note": note}).encode(), timeout=20).read().decode()
            assert said.startswith("pushed as event ")
            assert json.loads(browser.receive())["payload"]["note"] == note
    finally:
        page.stop()


def test_the_lines_in_the_documentation_do_what_they_say(worker, tmp_path):
    (block,) = blocks("docs/clients.md", "From PHP", "php")
    script = tmp_path / "lines.php"
    script.write_text("<?php\n" + substitute(block.text, {
        "WavelogWorker.php": str(REPO / "examples/php/WavelogWorker.php"), "http://127.0.0.1:9001": worker.plain_url,
        "$secret": f"'{worker.service.secret}'", "$user_id": "7",
    }) + "echo $token;")  # fmt: skip
    done = subprocess.run(["php", script], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    assert "contest.42" in worker.api.status("?topics=1").json["topic_list"]
    with worker.subscribe("contest.42") as browser:
        assert browser.authenticate(done.stdout) == AUTH_OK
