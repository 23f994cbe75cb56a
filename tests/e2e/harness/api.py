"""What PHP does: it calls the internal API over the web server's plain or TLS listener, and signs tokens for browsers.
And straight FastCGI without a web server: a client that sends what no web server would, or in slow motion."""

import contextlib
import fcntl
import hashlib
import hmac
import http.client
import json
import socket
import struct
import termios
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from .process import Connection, wait_until


@dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


class InternalApi:
    """`url` is what comes before /internal/, e.g. http://127.0.0.1:9001 or https://localhost:8443/worker."""

    def __init__(self, url, secret, tls=None, source=None):
        self.url, self.secret, self.tls, self.source = url, secret, tls, source

    def call(self, verb, body=None, headers=None, method="POST", raw=None, chunked=False):
        """`verb` may end in a query; one that begins with a slash is a path instead of /internal/<verb>. `raw` is
        a body of any bytes, else `body` goes as JSON. A header of None is left out; the secret is sent unless `headers`
        says otherwise."""
        parts = urlsplit(self.url)
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=20, context=self.tls, source_address=self.source
            )
        else:
            connection = http.client.HTTPConnection(
                parts.hostname, parts.port, timeout=20, source_address=self.source
            )
        path = parts.path + (verb if verb.startswith("/") else f"/internal/{verb}")
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sent = {"X-Worker-Secret": self.secret, "Content-Type": "application/json", **(headers or {})}
        sent = {name: value for name, value in sent.items() if value is not None}
        try:
            try:
                connection.request(
                    method, path, iter([data]) if chunked else data, sent, encode_chunked=chunked
                )
            except (BrokenPipeError, ConnectionResetError):
                pass  # answered before the whole body was taken: the answer can be there all the same
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def register(self, topic, **members):
        return self.call("register", {"topic": topic, **members})

    def unregister(self, topic):
        return self.call("unregister", {"topic": topic})

    def publish(self, topic, payload):
        return self.call("publish", {"topic": topic, "payload": payload})

    def status(self, query=""):
        return self.call("status" + query, method="GET")


def is_error(reply, status, line):
    """The exact bytes of an error, and its headers."""
    assert (reply.status, reply.body) == (status, line.encode() + b"\n")
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Content-Length"] == str(len(line) + 1)
    return True


def sign(secret, claims):
    """A token of any claims: an object, or raw bytes for broken ones."""
    raw = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    text = raw.hex()
    return text + "." + hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def make_token(secret, topic, user_id=1, expires=None):
    """`expires` is unix seconds; without it, an hour from now."""
    when = int(time.time()) + 3600 if expires is None else expires
    return sign(secret, {"user_id": user_id, "topic": topic, "expires": when})


@contextlib.contextmanager
def publishing(server, topic, publishers):
    """So many threads, each of which publishes again as soon as it has its answer."""
    stop = threading.Event()

    def publish():
        while not stop.is_set():
            server.api.publish(topic, 1)

    threads = [threading.Thread(target=publish) for _ in range(publishers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR = 1, 2, 3, 4, 5, 6, 7
RESPONDER = 1
RECORD_MAX = 65535


def record(kind, content=b"", request_id=1, version=1):
    return struct.pack(">BBHHBx", version, kind, request_id, len(content), 0) + content


def stream(kind, content):
    """Content of any length as records, without the empty one that ends a stream."""
    pieces = [content[start : start + RECORD_MAX] for start in range(0, len(content), RECORD_MAX)]
    return b"".join(record(kind, piece) for piece in pieces)


def pairs(parameters):
    """Names and values in FastCGI's encoding. A value of None is left out."""

    def length(text):
        return bytes([len(text)]) if len(text) < 128 else struct.pack(">I", len(text) | 0x80000000)

    encoded = b""
    for name, value in parameters.items():
        if value is not None:
            name, value = name.encode(), value if isinstance(value, bytes) else str(value).encode()
            encoded += length(name) + length(value) + name + value
    return encoded


class FastCgi(Connection):
    """A connection to `path`, a UNIX socket or ("127.0.0.1", port). call() does all; the other methods do one step each."""

    def __init__(self, path, secret):
        super().__init__(path)
        self.secret = secret

    def begin(self, verb="publish", length=None, **parameters):
        """BEGIN_REQUEST and the parameters of a POST to /internal/`verb`; others replace or, when None, remove."""
        usual = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": f"/internal/{verb}",
            "REQUEST_URI": f"/internal/{verb}",
            "QUERY_STRING": "",
            "CONTENT_LENGTH": length,
            "HTTP_X_WORKER_SECRET": self.secret,
        }
        self.send(record(BEGIN_REQUEST, struct.pack(">HB5x", RESPONDER, 0)))
        self.send(stream(PARAMS, pairs({**usual, **parameters})) + record(PARAMS))

    def send(self, data):
        self.socket.sendall(data)

    def send_body(self, content):
        self.send(stream(STDIN, content))

    def end_body(self):
        self.send(record(STDIN))

    def wait_until_read(self):
        """Until the API has taken all that was sent: it then has this request in hand."""

        def unread():
            return struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, b"\0" * 4))[0]

        wait_until(lambda: unread() == 0, "the API reads the request", interval_s=0.001)

    def reply(self):
        """The answer, read to the end of the request."""
        out = b""
        while True:
            _, kind, _, length, padding = struct.unpack(">BBHHBx", self._read(8))
            content = self._read(length + padding)[:length]
            if kind == STDOUT:
                out += content
            elif kind == END_REQUEST:
                break
        head, _, body = out.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        return Reply(int(headers["Status"].split()[0]), headers, body)

    def call(self, verb="publish", body=b"", length="real", **parameters):
        with self:
            self.begin(verb, len(body) if length == "real" else length, **parameters)
            self.send_body(body)
            self.end_body()
            return self.reply()

    def is_closed(self):
        """Waits for the API to close the connection without an answer."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _read(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise ConnectionError("the API closed the connection in the middle of an answer")
            data += piece
        return data
