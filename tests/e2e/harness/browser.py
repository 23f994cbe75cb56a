"""A headless Chromium, and a switchboard between it and a web server: each way to the service can be shut while it is in
use, so that a page must find another one."""

import collections
import socket
import tempfile
import threading

from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver

from .process import free_port, wait_until

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage "
    "--disable-background-networking --disable-component-update --disable-sync --ignore-certificate-errors"
).split()


BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Browser:
    """With an empty profile and no connections of its own."""

    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(prefix="wlw-chromium-", ignore_cleanup_errors=True)
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        for flag in (*FLAGS, f"--user-data-dir={self.profile.name}"):
            options.add_argument(flag)
        self.driver = webdriver.Chrome(service=Driver("/usr/bin/chromedriver"), options=options)

    def open(self, url):
        self.driver.get("about:blank")  # so that a change after # loads the page anew
        self.driver.get(url)

    def run(self, script, *values):
        """The body of a function; what it returns, awaited."""
        return self.driver.execute_script(script, *values)

    def console(self):
        """What was written since the last time, as text."""
        return "\n".join(entry["message"] for entry in self.driver.get_log("browser"))

    def wait_for(self, expression, what, limit_s=20.0):
        """Until a JavaScript expression is true; its value."""
        return wait_until(lambda: self.run(f"return {expression}"), lambda: f"{what}: {self.run('return window.seen')}", limit_s)

    def close(self):
        self.driver.quit()
        self.profile.cleanup()


class Switchboard:
    """In front of a web server's plain listener. `ways` are the last words of paths, such as "ws": shut(way) cuts what
    goes that way, and answers with 502; jam(way) takes requests and says nothing more; open(way) ends both. deaden(way)
    lets nothing through any more on what is open, and says so to nobody. `pages` are served by itself. `seen` counts the
    requests, `tops` the most at a time, `heads` has what they began with."""

    def __init__(self, upstream_port, **pages):
        self.upstream_port, self.pages = upstream_port, pages
        self.seen, self.tops = collections.Counter(), collections.Counter()
        self._states, self._open, self._dead = {}, collections.defaultdict(set), set()
        self._lock = threading.Lock()
        self.heads = []
        self.port = free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def open(self, *ways):
        for way in ways:
            self._set(way, None)

    def shut(self, *ways):
        for way in ways:
            self._set(way, "shut")

    def jam(self, *ways):
        for way in ways:
            self._set(way, "jammed")

    def answer(self, way, response):
        """Requests that come are answered with that."""
        self._set(way, response)

    def deaden(self, way):
        with self._lock:
            self._dead |= self._open[way]

    def connections(self, way):
        return len(self._open[way])

    def close(self):
        self._listener.close()
        for way in list(self._open):
            self._set(way, "shut")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _set(self, way, state):
        with self._lock:
            self._states[way] = state
            cut = [*self._open[way]]
        for one in cut:
            for end in one:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client:
            try:
                self._answer(client)
            except OSError:
                pass  # either side went away

    def _answer(self, client):
        data = b""
        while b"\r\n\r\n" not in data:
            piece = client.recv(65536)
            if not piece:
                return
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        path = head.split(b" ")[1].split(b"?")[0].decode()
        way = path.rpartition("/")[2]
        self.heads.append(head.decode())
        self.seen[way] += 1
        if way in self.pages:
            page = self.pages[way].encode()
            kind = b"javascript" if way.endswith("js") else b"html"
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/%b; charset=utf-8\r\nConnection: close\r\n"
                           b"Content-Length: %d\r\n\r\n%b" % (kind, len(page), page))  # fmt: skip
            return
        state = self._states.get(way)
        if state and state != "jammed":
            client.sendall(BAD_GATEWAY if state == "shut" else state)
            return
        with socket.create_connection(("127.0.0.1", self.upstream_port)) as server:
            pair = (client, server)
            with self._lock:
                self._open[way].add(pair)
                self.tops[way] = max(self.tops[way], len(self._open[way]))
            try:
                if state == "jammed":
                    client.recv(65536)
                    while client.recv(65536):
                        pass
                    return
                lines = head.split(b"\r\n")
                if b"upgrade: websocket" not in head.lower():
                    lines = [line for line in lines if not line.lower().startswith(b"connection:")] + [b"Connection: close"]
                server.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
                back = threading.Thread(target=self._pump, args=(client, server, pair), daemon=True)
                back.start()
                self._pump(server, client, pair)
                back.join(5)
            finally:
                with self._lock:
                    self._open[way].discard(pair)

    def _pump(self, source, target, pair):
        try:
            while data := source.recv(65536):
                if pair not in self._dead:
                    target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
