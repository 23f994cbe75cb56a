"""The WebSocket clients of the tests.

	WebSocket       may break every rule: any handshake, any frame, byte by byte
	upgraded(service, topic), authenticated(service, topic)
	                one that is through its handshake, or subscribed, straight at the gateway's port
	Subscriber      a well-behaved client that somebody else wrote: the websockets library

Clients in a thread of their own, who come back when they are sent away: crowd.py."""

import asyncio
import base64
import json
import os
import socket
import struct
import time
from typing import NamedTuple
from urllib.parse import quote

import websockets

from .process import LIMIT_S, Connection

AUTH_OK = '{"type":"auth_ok"}'
AUTH_REQUIRED = '{"type":"error","code":"auth_required","message":"first frame must be {type:auth,token:...}"}'
UNAUTHORIZED = '{"type":"error","code":"unauthorized","message":"invalid or expired token"}'
AUTH_EXPIRED = '{"type":"error","code":"auth_expired","message":"token expired"}'
TOPIC_UNREGISTERED = '{"type":"error","code":"topic_unregistered","message":"topic unregistered"}'

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
PROTOCOL_ERROR, INVALID_PAYLOAD, TOO_BIG = 1002, 1007, 1009


def path_of(topic):
    return "/ws?topic=" + quote(topic, safe="")


def auth_frame(token=None, **members):
    return json.dumps({"type": "auth", **({} if token is None else {"token": token}), **members})


def push_of(payload):
    return '{"type":"push","payload":' + payload + "}"


def close_payload(code, reason=b""):
    return struct.pack(">H", code) + reason


def upgraded(service, topic, source=None, **options):
    """A WebSocket that is through its handshake, not yet authenticated."""
    socket = WebSocket(service.ws_address, source=source)
    status, _, body = socket.handshake(path_of(topic), **options)
    assert status == 101, (status, body)
    return socket


def authenticated(service, topic, token=None, **options):
    """A WebSocket that is subscribed."""
    socket = upgraded(service, topic, **options)
    socket.send_frame(auth_frame(token))
    assert socket.read_message() == AUTH_OK
    return socket


def subscriber(service, topic, token=None, **options):
    """A Subscriber that is subscribed."""
    client = Subscriber(f"ws://127.0.0.1:{service.ws_port}/ws", topic, unix=service.ws_socket, **options)
    client.send(auth_frame(token))
    assert client.receive() == AUTH_OK
    return client


class Frame(NamedTuple):
    fin: bool
    rsv: int
    opcode: int
    payload: bytes


class ConnectionEnded(Exception):
    """The server closed the TCP connection."""


def build_frame(payload, opcode=TEXT, fin=True, rsv=0, mask=True, length=None):
    """The bytes of one frame. `length` is what the header claims, where it is to be a lie."""
    claimed = len(payload) if length is None else length
    head = bytes([(fin << 7) | (rsv << 4) | opcode])
    bit = 0x80 if mask else 0
    if claimed < 126:
        head += bytes([bit | claimed])
    elif claimed < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", claimed)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", claimed)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def parse_frame(buffer, at=0):
    """The server's frame that begins there, and where it ends; None until all of it has arrived."""
    if len(buffer) - at < 2:
        return None
    first, length, start = buffer[at], buffer[at + 1], at + 2
    assert not length & 0x80, "a server's frame must not be masked"
    if length == 126:
        start += 2
        length = int.from_bytes(buffer[at + 2 : start], "big")
    elif length == 127:
        start += 8
        length = int.from_bytes(buffer[at + 2 : start], "big")
    end = start + length
    if len(buffer) < end:
        return None
    return Frame(bool(first & 0x80), first >> 4 & 7, first & 0xF, buffer[start:end]), end


class WebSocket(Connection):
    def __init__(self, address, **options):
        super().__init__(address, **options)
        self.buffer = b""

    @staticmethod
    def request(path="/ws?topic=t", headers=None, method="GET", version="HTTP/1.1"):
        """The handshake's bytes. A header of None is left out; others are added or replace the usual."""
        lines = {
            "Host": "localhost",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Version": "13",
            **(headers or {}),
        }
        text = f"{method} {path} {version}\r\n"
        text += "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
        return (text + "\r\n").encode()

    def send(self, data, chunk=None):
        """Sends bytes; with `chunk`, in separate pieces of that many bytes."""
        for start in range(0, len(data), chunk or len(data) or 1):
            self.socket.sendall(data[start : start + (chunk or len(data))])

    def handshake(self, path="/ws?topic=t", chunk=None, **options):
        """Returns (status, headers in lower case, body of a refusal)."""
        self.send(self.request(path, **options), chunk)
        head = self._read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = b""
        if status != 101:
            length = headers.get("content-length")
            body = self._read_exactly(int(length)) if length else self._read_to_end()
        return status, headers, body

    def send_frame(self, payload=b"", **options):
        data = payload.encode() if isinstance(payload, str) else payload
        self.send(build_frame(data, **options))

    def read_frame(self, limit_s=LIMIT_S):
        """The next frame of any kind. ConnectionEnded or TimeoutError when there is none."""
        deadline = time.monotonic() + limit_s
        while not (parsed := parse_frame(self.buffer)):
            self._fill(deadline)
        frame, end = parsed
        self.buffer = self.buffer[end:]
        return frame

    def is_quiet(self, for_s):
        """True when no frame comes in that time."""
        try:
            self.read_frame(for_s)
        except TimeoutError:
            return True
        return False

    def read_message(self, limit_s=LIMIT_S):
        """The next text message, put together from its fragments; pings are answered."""
        deadline = time.monotonic() + limit_s
        message = b""
        while True:
            frame = self.read_frame(max(0.001, deadline - time.monotonic()))
            if frame.opcode == PING:
                self.send_frame(frame.payload, opcode=PONG)
            elif frame.opcode in (TEXT, CONTINUATION):
                message += frame.payload
                if frame.fin:
                    return message.decode()
            elif frame.opcode == CLOSE:
                raise ConnectionEnded(f"closed with {frame.payload!r}")

    def close_code(self, limit_s=LIMIT_S):
        """Waits for the end, passing over other frames: the code of the close frame, 1005 for a close
        frame without one, 1006 when the connection just ended."""
        deadline = time.monotonic() + limit_s
        while True:
            try:
                frame = self.read_frame(max(0.001, deadline - time.monotonic()))
            except ConnectionEnded:
                return 1006
            if frame.opcode == CLOSE:
                return struct.unpack(">H", frame.payload[:2])[0] if frame.payload else 1005

    def ended(self, limit_s=LIMIT_S):
        """True when the server closes the TCP connection in that time."""
        deadline = time.monotonic() + limit_s
        try:
            while True:
                self.read_frame(max(0.001, deadline - time.monotonic()))
        except ConnectionEnded:
            return True
        except TimeoutError:
            return False

    def _fill(self, deadline):
        self.socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise ConnectionEnded("the server closed the connection")
        self.buffer += data

    def _read_exactly(self, count):
        limit = time.monotonic() + LIMIT_S
        while len(self.buffer) < count:
            self._fill(limit)
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def _read_until(self, mark):
        limit = time.monotonic() + LIMIT_S
        while mark not in self.buffer:
            self._fill(limit)
        data, self.buffer = self.buffer.split(mark, 1)
        return data

    def _read_to_end(self):
        limit = time.monotonic() + LIMIT_S
        try:
            while True:
                self._fill(limit)
        except ConnectionEnded:
            data, self.buffer = self.buffer, b""
            return data


def ask(service, path="/ws?topic=t", **options):
    """(status, headers, body) of one handshake on a connection of its own."""
    with WebSocket(service.ws_address) as client:
        return client.handshake(path, **options)


def ask_bytes(service, data):
    """The status that a request of any bytes gets; None when the connection simply ends."""
    with WebSocket(service.ws_address) as client:
        try:
            client.send(data)
            client.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was refused before all of it was sent
        try:
            answer = client._read_to_end()
        except OSError:
            return None
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.") else None


def ends_with(client, code, may_be_silent=False):
    """True when the server says nothing more, closes with this code, and ends the TCP connection. RFC 6455, section
    7.1.7, lets it do without the close frame: `may_be_silent` where libwebsockets does."""
    try:
        frame = client.read_frame()
        while frame.opcode == PONG:
            frame = client.read_frame()
    except ConnectionEnded:
        assert may_be_silent, "no close frame"
        return True
    assert frame.opcode == CLOSE, frame
    assert int.from_bytes(frame.payload[:2], "big") == code, frame
    client.send_frame(frame.payload, opcode=CLOSE)
    assert client.ended()
    return True


def is_alive(client, payload=b"alive?"):
    client.send_frame(payload, opcode=PING)
    frame = client.read_frame()
    return (frame.opcode, frame.payload, frame.fin, frame.rsv) == (PONG, payload, True, 0)


class Subscriber:
    """`url` is what comes before ?topic=, e.g. wss://localhost:8443/worker/ws. With unix=path it connects
    to that socket. The connection lives in an event loop of its own, which runs only during a call."""

    def __init__(self, url, topic, tls=None, unix=None, headers=None):
        self.loop = asyncio.new_event_loop()
        options = {"max_size": None, "ping_interval": None, "extra_headers": headers or {}}
        if url.startswith("wss:"):
            options["ssl"] = tls
        address = f"{url}?topic={quote(topic, safe='')}"

        async def connect():
            if unix:
                return await websockets.unix_connect(str(unix), address, **options)
            return await websockets.connect(address, **options)

        try:
            self.socket = self._run(connect())
        except BaseException:
            self.loop.close()
            raise

    def _run(self, coroutine, limit_s=LIMIT_S):
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, limit_s))

    def send(self, frame):
        """An object goes as JSON; str and bytes go as they are."""
        self._run(self.socket.send(frame if isinstance(frame, (str, bytes)) else json.dumps(frame)))

    def receive(self, limit_s=LIMIT_S):
        """The next frame's text, exactly as it came."""
        return self._run(self.socket.recv(), limit_s)

    def receive_json(self, limit_s=LIMIT_S):
        return json.loads(self.receive(limit_s))

    def authenticate(self, token="", **members):
        """Sends the auth frame and returns the answer's text."""
        self.send({"type": "auth", "token": token, **members})
        return self.receive()

    def is_quiet(self, for_s):
        """True when nothing comes in that time."""
        try:
            self.receive(for_s)
        except asyncio.TimeoutError:
            return True
        return False

    def close_code(self, limit_s=LIMIT_S):
        """Waits for the server's close, passing over frames that come before, and returns its code."""

        async def drain():
            try:
                while True:
                    await self.socket.recv()
            except websockets.ConnectionClosed:
                return self.socket.close_code

        return self._run(drain(), limit_s)

    def close(self):
        self._run(self.socket.close())
        self.loop.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def refusal(url, topic, **options):
    """The HTTP status that a handshake was refused with."""
    try:
        Subscriber(url, topic, **options).close()
    except websockets.InvalidStatusCode as error:
        return error.status_code
    raise AssertionError("the handshake was accepted")
