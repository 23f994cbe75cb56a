"""A WebSocket client that may break every rule: any handshake, any frame, byte by byte."""

import base64
import os
import socket
import struct
import time
from dataclasses import dataclass

from .waiting import LIMIT_S

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


@dataclass
class Frame:
    fin: bool
    rsv: int
    opcode: int
    payload: bytes


class ConnectionEnded(Exception):
    """The server closed the TCP connection."""


def build_frame(payload, opcode=TEXT, fin=True, rsv=0, mask=True, length=None):
    """The bytes of one frame. `length` is what the header claims, when that shall be a lie."""
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


class RawWebSocket:
    def __init__(self, address, tls=None, hostname="localhost", source=None):
        """`address`: ("127.0.0.1", port) or the path of a UNIX socket. `source`: an address to come from."""
        family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(LIMIT_S)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(address)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname=hostname)
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
        first, second = self._read_exactly(2, deadline)
        length = second & 0x7F
        assert not second & 0x80, "a server's frame must not be masked"
        if length == 126:
            (length,) = struct.unpack(">H", self._read_exactly(2, deadline))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._read_exactly(8, deadline))
        return Frame(bool(first & 0x80), first >> 4 & 7, first & 0xF, self._read_exactly(length, deadline))

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

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _fill(self, deadline):
        self.socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise ConnectionEnded("the server closed the connection")
        self.buffer += data

    def _read_exactly(self, count, deadline=None):
        limit = deadline or time.monotonic() + LIMIT_S
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
