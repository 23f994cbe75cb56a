"""A well-behaved WebSocket client (the websockets library), used without async by the tests."""

import asyncio
import json
from urllib.parse import quote

import websockets

from .waiting import LIMIT_S


class Subscriber:
    """`url` is what stands before ?topic=, e.g. wss://localhost:8443/worker/ws. With unix=path it connects
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
