"""A client of the stream (POST .../stream): any request, byte by byte, and a strict reader of what comes.

	Stream                  a connection: send anything, read the head, the events, the end
	streaming(service, topic, token, ...)
	                        one that has sent its request; .answer is its first frame
	refused(service, ...)   status, headers and body of a stream that does not begin"""

import json
import socket
import time
from typing import NamedTuple
from urllib.parse import quote

from .process import LIMIT_S, Connection
from .websocket import auth_frame


class Event(NamedTuple):
    data: str
    id: str | None


class StreamEnded(Exception):
    """The server has ended the stream."""


def stream_path(topic, prefix=""):
    return f"{prefix}/stream?topic=" + quote(topic, safe="")


def request(path="/stream?topic=t", body=b"", headers=None, method="POST", version="HTTP/1.1"):
    """A header of None is left out; others are added or replace the usual."""
    body = body.encode() if isinstance(body, str) else body
    lines = {"Host": "localhost", "Content-Type": "text/plain", "Content-Length": str(len(body)), **(headers or {})}
    text = f"{method} {path} {version}\r\n"
    text += "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return text.encode() + b"\r\n" + body


def chunked(*chunks, extension="", trailer=""):
    """A body in those chunks."""
    parts = [b"%x%s\r\n%s\r\n" % (len(chunk), extension.encode(), chunk) for chunk in chunks]
    return b"".join(parts) + b"0\r\n" + trailer.encode() + b"\r\n"


class Stream(Connection):
    def __init__(self, address, **options):
        super().__init__(address, **options)
        self.buffer, self.has_ended, self.is_chunked = b"", False, False
        self.raw, self.comments, self.last_id = b"", 0, None

    def send(self, data, chunk=None):
        """Sends bytes; with `chunk`, in separate pieces of that many bytes."""
        for start in range(0, len(data), chunk or len(data) or 1):
            self.socket.sendall(data[start : start + (chunk or len(data))])

    def _fill(self, deadline):
        self.socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.has_ended = True
            raise StreamEnded
        self.raw += data

    def _unchunk(self):
        """A proxy may have put what comes into chunks."""
        while self.is_chunked:
            size, found, rest = self.raw.partition(b"\r\n")
            if not found or len(rest) < int(size, 16) + 2:
                return
            if int(size, 16) == 0:
                self.has_ended = True
                return
            self.buffer += rest[: int(size, 16)]
            self.raw = rest[int(size, 16) + 2 :]
        self.buffer += self.raw
        self.raw = b""

    def head(self, limit_s=LIMIT_S):
        """Status and headers (names in lower case) of the answer; 100 is passed by."""
        deadline = time.monotonic() + limit_s
        while b"\r\n\r\n" not in self.raw:
            self._fill(deadline)
        head, self.raw = self.raw.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        if status == 100:
            return self.head(limit_s)
        headers = {}
        for line in lines[1:]:
            name, value = line.split(": ", 1)
            headers[name.lower()] = value
        self.is_chunked = headers.get("transfer-encoding") == "chunked"
        return status, headers

    def rest(self, limit_s=LIMIT_S):
        """Everything up to the end."""
        deadline = time.monotonic() + limit_s
        try:
            while not self.has_ended:
                self._unchunk()
                if not self.has_ended:
                    self._fill(deadline)
        except StreamEnded:
            self._unchunk()
        return self.buffer

    def read_until(self, text, limit_s=LIMIT_S):
        """True when what comes next is that text, of a connection that may go on."""
        deadline = time.monotonic() + limit_s
        self._unchunk()
        while len(self.buffer) < len(text):
            self._fill(deadline)
            self._unchunk()
        return self.buffer.decode() == text

    def read_event(self, limit_s=LIMIT_S):
        """The next event, as the HTML standard reads them; StreamEnded or TimeoutError when there is none. What the
        server never sends (a field, a BOM, CR, an empty event) fails the test."""
        deadline = time.monotonic() + limit_s
        data, id = [], None
        while True:
            self._unchunk()
            line, found, rest = self.buffer.partition(b"\n")
            if not found:
                if self.has_ended:
                    raise StreamEnded
                self._fill(deadline)
                continue
            self.buffer = rest
            assert b"\r" not in line, line
            if line.startswith(b":"):
                assert line == b":" and not data, line
                self.comments += 1
            elif line.startswith(b"data: "):
                data.append(line[len("data: ") :].decode())
            elif line.startswith(b"id: "):
                id = self.last_id = line[len("id: ") :].decode()
            else:
                assert line == b"" and data, line
                return Event("\n".join(data), id)

    def read_message(self, limit_s=LIMIT_S):
        return self.read_event(limit_s).data

    def read_json(self, limit_s=LIMIT_S):
        return json.loads(self.read_message(limit_s))

    def is_over(self, limit_s=LIMIT_S):
        """True when nothing more comes but the end."""
        try:
            self.read_event(limit_s)
        except StreamEnded:
            return True
        return False


def started(address, topic="t", token=None, prefix="", tls=None, headers=None, body=None, **members):
    """A stream that has begun: its head is .headers and its first frame .answer."""
    stream = Stream(address, tls=tls)
    body = auth_frame(token, **members) if body is None else body
    stream.send(request(stream_path(topic, prefix), body, headers))
    status, stream.headers = stream.head()
    assert status == 200, (status, stream.rest())
    stream.answer = stream.read_message()
    return stream


def streaming(service, topic="t", token=None, **options):
    """The same, straight at the gateway."""
    return started(service.ws_address, topic, token, **options)


def ask(service, data, limit_s=LIMIT_S, half_close=False):
    """Status, headers and body of what those bytes are answered with."""
    with Stream(service.ws_address) as stream:
        stream.send(data)
        if half_close:
            stream.socket.shutdown(socket.SHUT_WR)
        status, headers = stream.head(limit_s)
        return status, headers, stream.rest(limit_s)
