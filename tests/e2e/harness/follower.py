"""A client that follows a topic in a thread of its own, always reading, and comes back when it is sent away."""

import json
import threading
import time
from urllib.parse import quote

from .raw_websocket import ConnectionEnded, RawWebSocket
from .waiting import LIMIT_S, wait_until


class Follower:
    """`resume`: it asks for ids, and after a break for what came after the last one it has seen.

    `events` has (id, payload as text) of each push in the order of arrival (the id of a plain one is None);
    `answers` each auth_ok; `closes` the code of each end. `pause_s` makes it a slow reader."""

    def __init__(self, address, topic, token="", resume=True, pause_s=0.0, path="/ws"):
        self.address, self.topic, self.token, self.resume, self.pause_s = address, topic, token, resume, pause_s
        self.path = f"{path}?topic={quote(topic, safe='')}"
        self.events, self.answers, self.closes, self.refusals = [], [], [], 0
        self.position = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            try:
                with RawWebSocket(self.address) as socket:
                    self._follow(socket)
            except (OSError, ConnectionEnded):
                self.refusals += 1
                self._stop.wait(0.05)

    def _auth(self):
        frame = {"type": "auth", "token": self.token}
        if self.resume:
            frame["last_event_id"] = self.position
        return json.dumps(frame)

    def _follow(self, socket):
        if socket.handshake(self.path)[0] != 101:
            self.refusals += 1
            self._stop.wait(0.05)
            return
        socket.send_frame(self._auth())
        while not self._stop.is_set():
            try:
                message = socket.read_message(0.2)
            except TimeoutError:
                continue
            except ConnectionEnded as ended:
                self.closes.append(str(ended))
                return
            self._take(message)
            if self.pause_s:
                self._stop.wait(self.pause_s)

    def _take(self, message):
        frame = json.loads(message)
        if frame["type"] == "auth_ok":
            self.answers.append(frame)
            if self.position is None or not frame.get("recovered", True):
                self.position = frame.get("last_event_id")
        elif frame["type"] == "push":
            head = '"payload":'
            self.events.append((frame.get("id"), message[message.index(head) + len(head) : -1]))
            self.position = frame.get("id", self.position)

    @property
    def ids(self):
        return [identity for identity, _ in self.events]

    @property
    def payloads(self):
        return [payload for _, payload in self.events]

    def wait_for_answers(self, count=1):
        wait_until(lambda: len(self.answers) >= count, f"{count} answers to auth frames")

    def wait_for_events(self, count, limit_s=LIMIT_S):
        wait_until(lambda: len(self.events) >= count, lambda: f"{count} events, {len(self.events)} came", limit_s)

    def stop(self):
        self._stop.set()
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive(), "the follower's thread ends"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def wait_for_position(followers, last_id, limit_s=60.0):
    """Waits until each follower has received the event `last_id`."""
    deadline = time.monotonic() + limit_s
    for follower in followers:
        wait_until(
            lambda follower=follower: follower.position is not None and follower.position >= last_id,
            f"event {last_id} reaches every follower", max(0.1, deadline - time.monotonic()),
        )  # fmt: skip
