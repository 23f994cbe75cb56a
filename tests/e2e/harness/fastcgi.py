"""Straight FastCGI, without a web server: a client that sends what none would ever send, or in slow motion, and
API processes started one by one on a listening socket."""

import fcntl
import socket
import struct
import termios

from .internal import Reply
from .process import Process, give_to_user
from .waiting import LIMIT_S, wait_until

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


class FastCgi:
    """A connection to `path`, a UNIX socket. call() does all; the other methods do one step each."""

    def __init__(self, path, secret):
        self.secret = secret
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(LIMIT_S)
        self.socket.connect(str(path))

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

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _read(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise ConnectionError("the API closed the connection in the middle of an answer")
            data += piece
        return data


def listen(service):
    """The listening socket that spawn() hands to its processes, where the web servers look for it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(service.api_socket))
    give_to_user(service.api_socket, 0o660)
    listener.listen(128)
    return listener


def spawn(service, listener, name="api"):
    """One API process on that socket. The service stops it in the end when it is in service.api."""
    command = [service.api_program, "-c", service.config_file]
    return Process.start(name, command, service.log_dir / "api.log", stdin=listener)
