"""gateway/client/wavelog-worker.js in Chromium, with a switchboard between it and nginx that shuts one way after the other
while the page runs: what is published arrives once and in order, by whatever transport is left."""

import gzip
import json
import os
import socket
import subprocess
import threading
import time

import pytest

from harness import sqlite
from harness.api import make_token
from harness.browser import Browser, Switchboard
from harness.process import GID, LIMIT_S, UID, Process, wait_until
from harness.service import REPO
from harness.web_servers import in_network_of
from test_restart import replace
from test_worker_php import Php, settings_of

CLIENT = REPO / "gateway/client"
MOST_BYTES = 6144  # minified and gzipped

PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script src="/worker/client.js"></script>
<script>
'use strict';
function go(options, name = 'sub') {
	const seen = { pushes: [], texts: [], states: [], gaps: 0, errors: [], tokens: 0 };
	if (options.tokens)
		options.getToken = async () => options.tokens[Math.min(seen.tokens++, options.tokens.length - 1)];
	window.seen = seen;
	window[name] = WavelogWorker.subscribe({
		url: '/worker', retryMs: 50, retryMaxMs: 300, climbMs: 300, climbMaxMs: 400, pollMs: 100, pollMaxMs: 200, pollHiddenMs: 200,
		onPush(payload, { text }) { seen.pushes.push(payload); seen.texts.push(text); },
		onState(news) { seen.states.push(news); },
		onGap() { seen.gaps++; },
		onError(fault) { seen.errors.push(fault.code); },
		...options,
	});
}
</script>"""


@pytest.fixture(scope="module")
def board(worker):
    with Switchboard(worker.plain_port, page=PAGE) as board:
        yield board


@pytest.fixture(scope="module")
def browser(board):  # after the board, so that it is closed first
    browser = Browser()
    yield browser
    browser.close()


class Page:
    def __init__(self, browser, board, worker, topic, **options):
        self.browser, self.board, self.worker, self.topic, self.number = browser, board, worker, topic, 0
        browser.open(f"{board.url}/page")
        browser.run("sessionStorage.clear(); go(arguments[0])", {"topic": topic, **options})

    def publish(self, count=3):
        for _ in range(count):
            assert self.worker.api.publish(self.topic, self.number).status == 200
            self.number += 1

    def has_all(self):
        """Waits for what has been published; it came once and in order."""
        self.browser.wait_for(f"seen.pushes.length >= {self.number}", "all pushes have come")
        assert self.browser.run("return seen.pushes") == list(range(self.number))

    def is_live(self, transport="websocket"):
        self.browser.wait_for(f"sub.state === 'live' && sub.transport === '{transport}'", f"it is live by {transport}")

    def seen(self, name):
        return self.browser.run(f"return seen.{name}")


@pytest.fixture
def page(browser, board, worker):
    def page(topic, meta=None, **options):
        assert worker.api.register(topic, meta=meta or {}).status == 200
        return Page(browser, board, worker, topic, **options)

    yield page
    board.open("ws", "stream", "poll")
    browser.run("window.sub && sub.close()")


def minified(*names):
    source = b"\n".join((CLIENT / name).read_bytes() for name in names)
    return subprocess.run(["esbuild", "--minify"], input=source, capture_output=True, check=True).stdout


def test_it_is_small_and_the_gateway_serves_it(worker):
    client, both = minified("wavelog-worker.js"), minified("wavelog-worker.js", "wavelog-worker-socket.js")
    assert len(gzip.compress(client, 9)) <= MOST_BYTES
    for name, source in (("client.js", client), ("client-socket.js", both)):
        answer = worker.api.call(f"/worker/{name}", method="GET")
        assert answer.status == 200 and answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["Cache-Control"] == "max-age=600"
        assert subprocess.run(["esbuild", "--minify"], input=answer.body, capture_output=True).stdout == source
        head = worker.api.call(f"/worker/{name}", method="HEAD")
        assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(answer.body)))
    assert worker.api.call("/worker/client.js", method="POST", raw=b"{}").status == 404


def test_it_is_a_module_too(board, browser):
    for name in ("wavelog-worker.js", "wavelog-worker.mjs"):
        board.pages[name] = (CLIENT / name).read_text()
    browser.open(f"{board.url}/page")
    assert browser.run("return import('/wavelog-worker.mjs').then((it) => it.subscribe === WavelogWorker.subscribe)")


# A network of its own, where the kernel takes no more than a page of what a program sends.
SMALL_BUFFERS = ["unshare", "--net", "--", "sh", "-c",
                 'ip link set lo up && echo 4096 4096 4096 >/proc/sys/net/ipv4/tcp_wmem && exec "$@"', "sh",
                 "setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups"]  # fmt: skip


def test_a_script_reaches_one_who_reads_slowly(make_service):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    service = make_service()
    service.gateway = Process.start(
        "gateway", [*SMALL_BUFFERS, service.gateway_program, "-c", service.config_file], service.log_dir / "gateway.log",
        as_user=False,
    )  # fmt: skip
    wait_until(lambda: 'msg="listening"' in (service.log_dir / "gateway.log").read_text(), "it listens")

    def fetch():
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        slow.settimeout(LIMIT_S)
        slow.connect(service.ws_address)
        return slow

    with in_network_of(service.gateway.pid, fetch) as slow:
        slow.sendall(b"GET /client-socket.js HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while piece := slow.recv(700):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head and body.endswith(b"})();\n")


def test_a_websocket_is_resumed_whatever_happens_to_it_and_to_the_page(page, worker, board, browser):
    view = page("ws", transports=["websocket"])
    view.is_live()
    view.publish()
    view.has_all()
    for happens in (
        lambda: (board.shut("ws"), view.publish(), board.open("ws")),
        lambda: (worker.service.gateway.kill(), view.publish(), worker.service.start_gateway()),
    ):
        happens()
        view.publish()
        view.has_all()
        view.is_live()
    # A payload comes as it was published.
    payload = '{"id":9007199254740993,  "text":"\\u00e9\\n", "e":1E2}'
    worker.api.call("publish", raw=f'{{"topic":"ws","payload":{payload}}}'.encode())
    browser.wait_for(f"seen.texts[{view.number}]", "it comes")
    assert view.seen("texts")[-1] == payload and view.seen("gaps") == 0

    browser.run("seen.pushes = []; seen.texts = []")
    view.number = 0
    freeze = lambda state: browser.driver.execute_cdp_cmd("Page.setWebLifecycleState", {"state": state})
    freeze("frozen")
    wait_until(lambda: not board.connections("ws"), "a frozen page leaves")
    view.publish()
    freeze("active")
    view.has_all()
    browser.driver.get(f"{board.url}/worker/client.js")  # and the page is kept for the way back
    view.publish()
    browser.driver.back()
    view.has_all()


def test_a_token_is_renewed_in_time_and_asked_for_once_more_when_it_is_refused(page, worker, board, browser):
    meta = {"require_token": True}
    sign = lambda topic, seconds: make_token(worker.service.secret, topic, expires=int(time.time()) + seconds)
    view = page("renewed", meta, transports=["websocket"], tokens=[sign("renewed", 3), sign("renewed", 3600)])
    view.is_live()
    count, until = board.seen["ws"], time.time() + 5
    browser.wait_for("seen.tokens === 2", "it asks for another")
    wait_until(lambda: time.time() > until, "the first one has expired", 8)
    view.publish()
    view.has_all()
    assert (board.seen["ws"], view.seen("errors")) == (count, []), "over the same connection"

    view = page("once", meta, transports=["websocket"], tokens=[sign("once", -60), sign("once", 3600)])
    view.is_live()
    assert (view.seen("errors"), view.seen("tokens")) == ([], 2)
    bad = sign("another", 60)
    view = page("bad", meta, transports=["websocket"], tokens=[bad, bad + "0", sign("bad", 3600)])
    view.is_live()
    assert view.seen("errors") == ["unauthorized"] and [s["state"] for s in view.seen("states")].count("refused") == 1
    # Somebody's page instead of a token, as after the end of a session, is asked for again.
    view = page("page", meta, transports=["websocket"], tokens=["<title>Log in</title>" + 5000 * " ", sign("page", 3600)])
    view.is_live()
    assert view.seen("errors") == ["token"]
    view = page("final", meta, transports=["websocket"], token=bad)
    browser.wait_for("sub.state === 'refused'", "it is refused")
    assert view.seen("states")[-1]["message"] == "invalid or expired token"
    # A request for a token that got lost is not waited for for ever.
    view = page("final", meta, transports=["websocket"], token=bad)
    browser.run("""
        const real = setTimeout, [answer, topic] = arguments;
        window.setTimeout = (call, ms, ...more) => real(call, ms === 30000 ? 300 : ms, ...more);
        sub.close();
        go({ topic, getToken: () => seen.tokens++ ? answer : new Promise(() => {}) });
    """, sign("once", 60), "once")  # fmt: skip
    view.is_live()
    assert view.seen("errors") == ["token"] and "getToken does not answer" in str(view.seen("states"))
    # No token is in an address or in the console.
    assert not [head for head in board.heads if bad in head] and bad not in browser.console()


SOON = "await new Promise((resolve) => setTimeout(resolve, 50));"


def test_a_token_that_is_late_delays_nothing_and_nothing_is_asked_for_after_the_end(page, worker, browser):
    token = make_token(worker.service.secret, "late")
    view = page("late", {"require_token": True}, transports=["poll"], token=token)
    ask = "sub.close(); window.asked = []; go({ topic: 'late', transports: ['poll'], %s })"
    pending = "getToken: () => new Promise((...both) => asked.push(both))"
    late = f"""return (async () => {{
        const real = setTimeout, late = [];
        sub.close();
        window.setTimeout = (...given) => {{ late.push(given[1]); return real(...given); }};
        asked.at(-1)[arguments[0]](arguments[1]);
        await new Promise((resolve) => real(resolve, 50));
        window.setTimeout = real;
        return late;
    }})()"""
    browser.run(ask % pending)
    browser.wait_for("asked.length === 1", "it asks")
    assert browser.run(late, 0, token) == []
    browser.run(ask % pending)
    browser.wait_for("asked.length === 1", "it asks")
    browser.run("asked[0][0](arguments[0])", token)
    view.is_live("poll")
    browser.run("sub.renew()")
    view.publish()
    view.has_all()
    assert browser.run(late, 1, "no") == []
    # Whoever has enough of being refused can leave.
    browser.run(ask % "getToken: () => { asked.push(1); return '0.0'; }, onState: ({ state }) => asked.length && sub.close()")
    browser.wait_for("sub.state === 'closed'", "it is closed")
    assert browser.run(f"return (async () => {{ {SOON} return [asked.length, sub.state]; }})()") == [1, "closed"]


def test_a_quiet_connection_is_kept_and_one_that_has_died_is_noticed(page, worker, board, browser):
    view = page("quiet", transports=["websocket"])
    browser.run("""
        const real = setTimeout, every = setInterval, now = Date.now;
        window.setTimeout = (call, ms, ...more) => real(call, { 8000: 600, 5000: 200 }[ms] ?? ms, ...more);
        window.setInterval = (call, ms) => every(call, ms === 5000 ? 50 : ms);
        window.later = 0;
        Date.now = () => now() + later;
        const { send } = WebSocket.prototype;
        window.sent = 0;
        WebSocket.prototype.send = function (text) { sent++; send.call(this, text); };
        sub.close();
        go({ topic: 'quiet', transports: ['websocket'] });
    """)
    view.is_live()
    count = board.seen["ws"]
    browser.run("later += 61e3")
    browser.wait_for("sent === 2", "it asks whether the gateway is there")
    browser.run("return new Promise((resolve) => setTimeout(resolve, 300))")  # longer than it waits for the answer
    assert (board.seen["ws"], browser.run("return sent")) == (count, 2)
    board.deaden("ws")
    view.publish()
    browser.run("later += 61e3")
    view.has_all()
    # Asleep: timers stood still, and the connection has died without a word.
    view.is_live()
    board.deaden("ws")
    view.publish(1)
    browser.run("later += 3600e3")
    view.has_all()

    browser.run("sub.close(); go({ topic: 'quiet', transports: ['stream'] })")
    view.is_live("stream")
    count = board.seen["stream"]
    browser.run("return new Promise((resolve) => setTimeout(resolve, 900))")  # longer than it may take to begin
    assert (board.seen["stream"], browser.run("return sub.state")) == (count, "live")


class Publishing:
    """Publishes the next number every 20 ms, while it is open."""

    def __init__(self, view, every_s=0.02):
        self.view, self.every_s, self.is_over = view, every_s, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.is_over.wait(self.every_s):
            self.view.publish(1)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()


def test_a_page_goes_down_the_ladder_and_comes_back_up(page, worker, board, browser):
    view = page("ladder")
    view.is_live("websocket")
    with Publishing(view):
        board.shut("ws")
        view.is_live("stream")
        board.shut("stream")
        view.is_live("poll")
        board.shut("poll")
        browser.wait_for("sub.state === 'waiting'", "nothing is left")
        board.open("poll")
        view.is_live("poll")
        worker.service.gateway.kill()
        worker.service.start_gateway()
        board.open("stream")
        view.is_live("stream")
        board.open("ws")
        view.is_live("websocket")
    view.has_all()
    assert view.seen("gaps") == 0 and view.seen("errors") == []
    transports = [news["transport"] for news in view.seen("states") if news["state"] == "live"]
    assert [one for one, before in zip(transports, [None, *transports]) if one != before] == [
        "websocket", "stream", "poll", "stream", "websocket",
    ]  # fmt: skip
    wait_until(lambda: not board.connections("stream"), "a stream that is not needed any more ends")


def test_a_way_on_which_nobody_can_stay_does_not_keep_a_page_from_the_others(page, board):
    view = page("short", retryMs=100, retryMaxMs=60000, transports=["websocket", "poll"])
    for _ in range(4):
        view.is_live("websocket")
        board.shut("ws")
        view.publish()
        view.has_all()
        view.is_live("poll")
        board.open("ws")
    waits = [news["retryMs"] for news in view.seen("states") if news["state"] == "waiting"]
    assert len(waits) >= 4 and max(waits) <= 300, waits


def test_the_texts_of_a_cluster_are_handed_back_and_compared_with_nothing(make_server, browser):
    server = make_server(redis_url="redis://127.0.0.1:1")
    with Switchboard(server.plain_port, page=PAGE) as board:
        view = Page(browser, board, server, "t", climbMs=100, climbMaxMs=150)
        view.is_live("websocket")
        with Publishing(view, every_s=0.004):
            for _ in range(3):
                board.shut("ws", "stream")
                view.is_live("poll")
                board.open("stream")
                view.is_live("stream")
                board.open("ws")
                view.is_live("websocket")
        view.has_all()
        assert view.seen("gaps") == 0 and view.seen("errors") == []
        position = browser.run("sub.close(); return sub.lastEventId")
        assert isinstance(position, str)
        view.publish(1)
        browser.run("go(arguments[0])", {"topic": "t", "lastEventId": position})
        browser.wait_for("seen.pushes.length > 0", "what came meanwhile")
        assert view.seen("pushes") == [view.number - 1]
        browser.run("sub.close()")


def test_each_rung_brings_each_push_once_and_in_order_whatever_is_killed(page, worker, board, browser):
    """From another origin: the page is the switchboard's, what it talks to is nginx, or PHP with worker.php, which asks the
    API that listens or starts it for each poll by CGI."""
    view, service = page("killed"), worker.service
    by_php = {name: Php(service, name, **settings_of(service, way)) for name, way in (("php", "socket"), ("cgi", "program"))}
    rungs = {rung: {"transports": [rung]} for rung in ("websocket", "stream", "poll")}
    rungs |= {name: {"transports": ["poll"], "pollUrl": f"{php.url}/poll"} for name, php in by_php.items()}
    for rung, options in rungs.items():
        browser.run("go(arguments[0], arguments[1]); window[arguments[1]].seen = seen", {
            "topic": "killed", "url": f"{worker.plain_url}/worker", "lastEventId": None, **options,
        }, rung)  # fmt: skip
        browser.wait_for(f"{rung}.state === 'live'", f"it is live by {rung}")

    for happens in (
        lambda: (service.gateway.kill(), service.start_gateway()),
        lambda: (service.api[0].kill(), service.api.pop(0)),
        lambda: replace(service),
        lambda: [server.restart() for server in (worker, *by_php.values())],
    ):
        view.publish(3)
        happens()
        view.publish(2)
    for rung in rungs:
        browser.wait_for(f"{rung}.seen.pushes.length >= {view.number}", f"all have come by {rung}")
        assert browser.run(f"return {rung}.seen.pushes") == list(range(view.number)), rung
        assert browser.run(f"return [{rung}.seen.gaps, {rung}.seen.errors]") == [0, []]


def test_what_works_is_remembered_and_what_says_nothing_is_not_waited_for(page, worker, board, browser):
    board.jam("ws", "stream")
    began = time.monotonic()
    view = page("jammed", climbMs=60000, climbMaxMs=60000)
    view.is_live("poll")
    assert time.monotonic() - began < 8, "a second for each of two, not the time in which each gives up"
    browser.driver.get("about:blank")
    board.open("ws", "stream")
    before = board.seen.copy()
    browser.driver.get(f"{board.url}/page")
    browser.run("go({ topic: 'jammed', climbMs: 60000 })")
    view.is_live("poll")
    assert (board.seen["ws"], board.seen["stream"]) == (before["ws"], before["stream"])
    browser.run("sub.retry()")  # as when the network is back
    view.is_live("websocket")


def test_polls_are_few_take_what_is_there_and_heed_the_server(page, worker, board, browser):
    view = page("polls", transports=["poll"])
    view.is_live("poll")
    board.answer("poll", b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    count = board.seen["poll"]
    wait_until(lambda: board.seen["poll"] > count, lambda: f"it is told to wait: {view.seen('states')[-3:]} {board.seen}")
    began, count = time.monotonic(), board.seen["poll"]
    board.open("poll")
    view.publish()
    view.has_all()
    assert time.monotonic() - began > 1.7
    assert board.seen["poll"] - count < 8 and view.seen("states")[-1]["state"] == "live"
    payload = '{"id":9007199254740993,  "text":"\\u00e9}]\\"", "e":1E2}'
    worker.api.call("publish", raw=f'{{"topic":"polls","payload":{payload}}}'.encode())
    browser.wait_for("seen.texts[3]", "it comes")
    assert view.seen("texts")[-1] == payload
    # What is no longer kept is missed, and said so.
    board.shut("poll")
    browser.wait_for("sub.state === 'waiting'", "it is cut off")
    view.publish(3)
    sqlite.change(worker.service.database, "DELETE FROM events WHERE id < (SELECT max(id) FROM events)")
    board.open("poll")
    browser.wait_for("seen.gaps === 1", "it is told")
    worker.api.publish("polls", "after")
    browser.wait_for("seen.pushes.at(-1) === 'after'", "it goes on")

    # More than an answer holds is fetched at once; a network that is back is used at once.
    slow = dict.fromkeys(("pollMs", "pollMaxMs", "pollHiddenMs", "retryMs", "retryMaxMs"), 60000)
    view = page("many", transports=["poll"], pollUrl="/worker/poll?/poll", **slow)  # as of a PHP file that gets no path
    view.is_live("poll")
    view.publish(250)
    board.shut("poll")
    back = "dispatchEvent(new Event('online'))"
    browser.run(back)
    browser.wait_for("sub.state === 'waiting'", "it waits")
    board.open("poll")
    browser.run(back)
    view.has_all()
    assert any(head.startswith("POST /worker/poll?/poll&topic=many HTTP") for head in board.heads)


def test_a_stream_leaves_connections_for_others_and_renews_its_token(page, worker, board, browser):
    sign = lambda seconds: make_token(worker.service.secret, "streams", expires=int(time.time()) + seconds)
    tokens = [sign(3), sign(3600)]
    view = page("streams", {"require_token": True}, transports=["stream"], tokens=tokens)
    view.is_live("stream")
    until = time.time() + 5
    with Publishing(view):
        wait_until(lambda: time.time() > until, "the first one has expired", 6)
    view.has_all()
    assert view.seen("errors") == [] and [news["state"] for news in view.seen("states")] == ["connecting", "live"]

    first = browser.driver.current_window_handle
    tabs = []
    for _ in range(4):
        browser.driver.switch_to.new_window("tab")
        tabs.append(browser.driver.current_window_handle)
        browser.driver.get(f"{board.url}/page")
        browser.run("go(arguments[0])", {"topic": "streams", "transports": ["stream", "poll"], "token": tokens[1]})
        browser.wait_for("sub.state === 'live'", "it is live")
        tabs[-1] = (tabs[-1], browser.run("return sub.transport"))
    assert [transport for _, transport in tabs] == ["stream", "stream", "poll", "poll"]
    worker.api.publish("streams", "for all")
    for tab, _ in tabs:
        browser.driver.switch_to.window(tab)
        browser.wait_for("seen.pushes[0] === 'for all'", "each has it")
    browser.driver.switch_to.window(tabs[0][0])
    browser.driver.close()

    def transport_of(tab):
        browser.driver.switch_to.window(tab)
        return browser.run("return sub.transport")

    wait_until(lambda: "stream" in (transport_of(tabs[2][0]), transport_of(tabs[3][0])), "another takes its place")
    for tab, _ in tabs[1:]:
        browser.driver.switch_to.window(tab)
        browser.driver.close()
    browser.driver.switch_to.window(first)


# As Wavelog's scripts: 1.5 s to connect, three tries a second apart, then deaf until the page is loaded anew.
SCRIPT = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script>const Native = WebSocket;</script><script src="/worker/client-socket.js"></script>
<script>
'use strict';
function go(topic, auth, seen = {}) {
	let tries = 3;
	Object.assign(seen, { texts: [], closes: [], errors: 0, opens: 0, isDeaf: false });
	(function connect() {
		const socket = new WebSocket(`ws://${location.host}/worker/ws?topic=${encodeURIComponent(topic)}`);
		const timer = setTimeout(() => socket.close(), 1500);
		seen.socket = socket;
		socket.onopen = () => {
			clearTimeout(timer);
			seen.opens++;
			socket.send(JSON.stringify({ type: 'auth', ...auth }));
		};
		socket.addEventListener('message', (event) => {
			seen.texts.push(event.data);
			if (JSON.parse(event.data).type === 'auth_ok')
				tries = 3;
		});
		socket.onerror = () => seen.errors++;
		socket.onclose = (event) => {
			clearTimeout(timer);
			seen.closes.push([event.code, event.wasClean, socket.readyState]);
			if (tries-- > 0)
				setTimeout(connect, 1000);
			else
				seen.isDeaf = true;
		};
	})();
}
</script>"""


class Script:
    """A page with such scripts in it."""

    def __init__(self, browser, board, worker):
        self.browser, self.worker = browser, worker
        board.pages["script"] = SCRIPT
        browser.open(f"{board.url}/script")
        browser.run("sessionStorage.clear()")

    def start(self, name, topic, meta=None, **auth):
        """What it sees is in window.<name>."""
        if meta is not None:
            assert self.worker.api.register(topic, meta=meta).status == 200
        self.browser.run("go(arguments[1], arguments[2], window[arguments[0]] = {})", name, topic, auth)

    def has(self, expression, what):
        self.browser.wait_for(expression, what)

    def see(self, expression):
        return self.browser.run(f"return {expression}")


@pytest.fixture
def script(browser, board, worker):
    yield Script(browser, board, worker)
    board.open("ws", "stream", "poll")
    browser.driver.get("about:blank")


def test_a_script_that_knows_only_websockets_misses_nothing(script, worker, board):
    token = lambda topic: make_token(worker.service.secret, topic)
    script.start("seen", "s", {"require_token": True}, token=token("s"))
    script.has("seen.texts.length === 1", "auth_ok")
    push = lambda text: worker.api.call("publish", raw=f'{{"topic":"s","payload":{text}}}'.encode())
    push('{"a": 1.0}')
    script.has("seen.texts.length === 2", "a push")
    board.shut("ws", "stream", "poll")
    push("2")
    # Where nothing is, it ends as a native one does, and the script gives up.
    script.start("none", "nothing there")
    script.has("none.isDeaf", "it gives up")
    assert script.see("none.closes") == [[1006, False, 3]] * 4 and script.see("none.errors") == 4
    board.open("ws", "stream", "poll")
    script.see("dispatchEvent(new Event('online'))")
    script.has("seen.texts.length === 3", "what came meanwhile")
    assert script.see("seen.texts") == [
        '{"type":"auth_ok"}', '{"type":"push","payload":{"a": 1.0}}', '{"type":"push","payload":2}',
    ]  # fmt: skip
    assert script.see("[seen.opens, seen.closes]") == [1, []]
    # When something is gone it is told, and comes back.
    board.shut("ws", "stream", "poll")
    push("3")
    push("4")
    sqlite.change(worker.service.database, "DELETE FROM events WHERE id < (SELECT max(id) FROM events)")
    board.open("ws", "stream", "poll")
    script.see("dispatchEvent(new Event('online'))")
    script.has("seen.opens === 2 && seen.texts.length === 4", "it connects again")
    assert script.see("seen.closes") == [[1013, True, 3]]
    push("5")
    script.has("seen.texts[4] === '{\"type\":\"push\",\"payload\":5}'", "it goes on")


def test_a_stand_in_is_what_a_websocket_is_and_others_are_left_alone(script, worker, board, browser):
    token = lambda topic: make_token(worker.service.secret, topic)
    # Upgrades are swallowed: it is open before the script gives up, and polls.
    board.jam("ws")
    board.shut("stream")
    script.start("seen", "s2", {"require_token": True}, token=token("s2"))
    script.has("seen.texts[0] === '{\"type\":\"auth_ok\"}'", "auth_ok")
    assert script.see("[seen.opens, seen.closes]") == [1, []]
    worker.api.publish("s2", "by poll")
    script.has("seen.texts[1] === '{\"type\":\"push\",\"payload\":\"by poll\"}'", "a push")
    board.open("ws")
    assert script.see("""(() => {
        const ws = seen.socket;
        const other = new WebSocket(`ws://${location.host}/elsewhere/ws?topic=s`);
        const name = (call) => { try { call(); } catch (error) { return error.name; } };
        const young = new WebSocket(`ws://${location.host}/worker/ws?topic=s2`, ['x']);
        const facts = [ws instanceof WebSocket, ws instanceof EventTarget, ws.readyState, ws.OPEN, WebSocket.OPEN, ws.url === young.url,
            ws.protocol, ws.binaryType, other.constructor === Native && Object.getPrototypeOf(other) === Native.prototype,
            name(() => young.send('x')), name(() => ws.close(1001)), name(() => ws.close(1000, 'x'.repeat(124))),
            name(() => new WebSocket(young.url, ['x', 'x'])), name(() => new WebSocket('nonsense://'))];
        young.close();
        other.close();
        ws.send('{"type":"auth","token":"x.y"}');
        return facts;
    })()""") == [True, True, 1, 1, 1, True, "", "blob", True, "InvalidStateError", "InvalidAccessError", "SyntaxError",
                 "SyntaxError", "SyntaxError"]  # fmt: skip
    script.has("seen.closes.length", "a bad token ends it")
    assert script.see("seen.closes[0]") == [1008, True, 3]
    assert json.loads(script.see("seen.texts.at(-1)"))["code"] == "unauthorized"

    script.start("open", "s3", {}, token=None)
    script.has("open.texts[0] === '{\"type\":\"auth_ok\"}'", "no token is needed")
    script.see("sessionStorage.clear()")
    script.start("counts", "worker.status", token=token("worker.status"), last_event_id=None)
    script.has("counts.texts.length === 1", "auth_ok")
    assert json.loads(script.see("counts.texts[0]"))["recovered"] is True
    script.has("(counts.socket.send('{\"type\":\"status\"}'), counts.texts.length > 1)", "a status, once it goes by WebSocket")
    assert json.loads(script.see("counts.texts[1]"))["type"] == "status"
    browser.run("counts.socket.close(3000, 'enough')")
    script.has("counts.closes.length", "it is closed")
    assert script.see("counts.closes[0]") == [3000, True, 3]
