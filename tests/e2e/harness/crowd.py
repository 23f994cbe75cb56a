"""WebSocket clients in a thread of their own, one or a thousand: each follows a topic, comes back when it is sent away or
when its server dies, and keeps what it received.

	with Crowd() as crowd:
		follower, *others = crowd.follow(service.ws_address, "t", 12)
"""

import collections
import contextlib
import heapq
import json
import os
import random
import resource
import selectors
import socket
import struct
import threading
import time
from array import array
from urllib.parse import quote

from .ledger import UNNUMBERED, Ledger, Publisher, read_push
from .process import LIMIT_S, wait_until
from .websocket import CLOSE, PING, PONG, TEXT, WebSocket, build_frame, parse_frame

RETRY_S = 0.05
PAGE_TRIES, PAGE_RETRY_S, PAGE_CONNECT_S = 3, 1.0, 1.5
READ_BYTES = 262144
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset
AWAY, CONNECTING, HANDSHAKE, AUTH, OPEN, LEAVING = range(6)


class Member:
    """One client. `resume`: "always" asks after each break for what came after the last event it has; "never" asks
    for ids, but from now on; "no" is a plain one.

    `keys` has the number of each push in the order of arrival (see ledger.py; UNNUMBERED for any other), `ids` its id
    when it asked for them; `starts` where in them each connection began; `first_position` the first auth_ok's;
    `unrecovered` how often it was told that what it missed is gone; `closes` and `refusals` count the codes of each end
    and the causes of each attempt that came to nothing. `pause_s` after each push makes the whole crowd read slowly."""

    connect_s = None  # for one try; None: no limit

    def __init__(self, address, topic, resume="always", path="/ws", token="", pause_s=0.0):
        self.address, self.topic, self.resume, self.token, self.pause_s = address, topic, resume, token, pause_s
        self.path = f"{path}?topic={quote(topic, safe='')}"
        self.keys, self.ids, self.starts = array("q"), array("q"), []
        self.first_position = self.position = None
        self.unrecovered = 0
        self.closes, self.refusals, self.faults = collections.Counter(), collections.Counter(), []
        self.state, self.socket, self.buffer, self.code = AWAY, None, b"", None

    @property
    def last_key(self):
        return self.keys[-1] if self.keys else None

    def auth(self):
        frame = {"type": "auth", "token": self.token}
        if self.resume != "no":
            frame["last_event_id"] = self.position if self.resume == "always" else None
        return build_frame(json.dumps(frame).encode())

    def next_try(self, soon_s):
        """In how many seconds, or None: never."""
        return soon_s

    def take(self, message):
        """A text message of the server's."""
        push, frame = read_push(message), None
        if not push:
            frame = json.loads(message)
            if frame["type"] == "push":
                push = frame.get("id"), UNNUMBERED
        if push:
            identity, key = push
            self.keys.append(key)
            if identity is not None:
                self.ids.append(identity)
                self.position = identity
            if self.pause_s:
                time.sleep(self.pause_s)
            return
        if frame["type"] == "auth_ok" and self.state == AUTH:
            self.state = OPEN
            self.starts.append(len(self.keys))
            if self.first_position is None:
                self.first_position = frame.get("last_event_id")
            if self.resume == "never" or self.position is None or not frame.get("recovered", True):
                self.position = frame.get("last_event_id")
            self.unrecovered += not frame.get("recovered", True)
        else:
            self.faults.append(message[:200])


class Page(Member):
    """Comes back as Wavelog's pages do: in three tries, a second apart; then it is deaf until it is reloaded."""

    connect_s = PAGE_CONNECT_S

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.tries = PAGE_TRIES

    @property
    def is_deaf(self):
        return self.tries < 0

    def take(self, message):
        super().take(message)
        if self.state == OPEN:
            self.tries = PAGE_TRIES

    def next_try(self, soon_s):
        self.tries -= 1
        return None if self.is_deaf else PAGE_RETRY_S


class Crowd:
    """Runs from its start to stop(). Methods may be called from any thread."""

    def __init__(self, seed=1):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.members, self.chance = [], random.Random(seed)
        self._selector, self._timers, self._orders = selectors.DefaultSelector(), [], collections.deque()
        self._ordinal, self._error = 0, None
        self._bell, self._wire = socket.socketpair()
        self._wire.setblocking(False)
        self._selector.register(self._wire, selectors.EVENT_READ, None)
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, member):
        self.members.append(member)
        self.call(lambda: self._connect(member))
        return member

    def follow(self, address, topic, count=1, **options):
        """Adds that many members, waits until they are subscribed, and returns them."""
        members = [self.add(Member(address, topic, **options)) for _ in range(count)]
        self.wait_until_open()
        return members

    def call(self, function):
        """Runs it in the crowd's thread."""
        self._orders.append(function)
        self._bell.send(b"!")

    def after(self, seconds, function):
        """From within the crowd's thread only."""
        self._ordinal += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._ordinal, function))

    def leave(self, member):
        """From within the crowd's thread only: a connection ends in one of the ways in which clients end theirs."""
        if member.state in (AWAY, LEAVING):
            return
        how = self.chance.choice(["close", "close", "end", "reset", "nonsense"])
        try:
            if how == "close" and member.state == OPEN:
                member.socket.send(build_frame(struct.pack(">H", 1000), opcode=CLOSE))
                member.state = LEAVING
                return  # the server ends it
            if how == "nonsense" and member.state == OPEN:
                member.socket.send(build_frame(b"\xff", opcode=TEXT, rsv=1))
                member.state = LEAVING
                return
            if how == "reset":
                member.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        except OSError:
            pass  # it has just ended by itself
        self._end(member, "left")

    def count(self, state=OPEN):
        self.check()
        return sum(member.state == state for member in self.members)

    def check(self):
        if self._error:
            raise AssertionError("the crowd's thread has ended") from self._error

    def wait_until_open(self, limit_s=LIMIT_S):
        def what():
            return f"{self.count()} of {len(self.members)} clients are subscribed, {self.refusals()}"

        wait_until(lambda: self.count() == len(self.members), what, limit_s)

    def refusals(self):
        return sum((member.refusals for member in self.members), collections.Counter())

    def stop(self):
        self._is_over = True
        self._bell.send(b"!")
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive(), "the crowd's thread ends"
        self.check()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self._is_over = True

    # In the thread

    def _run(self):
        try:
            while not self._is_over:
                self._turn()
        except Exception as error:  # check() tells
            self._error = error
        finally:
            for member in self.members:
                if member.socket:
                    member.socket.close()
                    member.socket, member.state = None, AWAY
            self._selector.close()

    def _turn(self):
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        limit = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else 1.0
        for key, _ in self._selector.select(limit):
            if key.data is None:
                self._wire.recv(4096)
            elif key.data.socket is key.fileobj:
                self._serve(key.data)
        while self._orders:
            self._orders.popleft()()

    def _connect(self, member):
        if self._is_over or member.state != AWAY:
            return
        unix = isinstance(member.address, str)
        member.socket = socket.socket(socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_STREAM)
        member.socket.setblocking(False)
        member.buffer, member.code, member.state = b"", None, CONNECTING
        try:
            member.socket.connect(member.address)
        except BlockingIOError:
            pass
        except OSError as error:
            member.socket.close()
            member.socket, member.state = None, AWAY
            self._refused(member, os.strerror(error.errno))
            return
        self._selector.register(member.socket, selectors.EVENT_WRITE, member)
        if member.connect_s is not None:
            self.after(member.connect_s, lambda tried=member.socket: self._give_up(member, tried))

    def _give_up(self, member, tried):
        if member.socket is tried and member.state in (CONNECTING, HANDSHAKE):
            self._end(member, "no answer in time")

    def _refused(self, member, cause):
        member.refusals[cause] += 1
        self._come_back(member, RETRY_S)

    def _come_back(self, member, soon_s):
        delay_s = member.next_try(soon_s)
        if delay_s is not None:
            self.after(delay_s, lambda: self._connect(member))

    def _end(self, member, cause=None):
        """Closes the socket, and comes back: at once after a connection, a little later after a refusal."""
        was_open = member.state >= OPEN
        self._selector.unregister(member.socket)
        member.socket.close()
        member.socket, member.state, member.buffer = None, AWAY, b""
        if was_open or cause == "left":
            member.closes[cause or 1006] += 1
            self._come_back(member, 0)
        else:
            self._refused(member, str(cause or "ended before auth_ok"))

    def _serve(self, member):
        try:
            if member.state == CONNECTING:
                error = member.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    self._end(member, os.strerror(error))
                    return
                member.socket.send(WebSocket.request(member.path))
                member.state = HANDSHAKE
                self._selector.modify(member.socket, selectors.EVENT_READ, member)
                return
            data = member.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(member, member.code)
            return
        member.buffer += data
        if member.state == HANDSHAKE and not self._shake_hands(member):
            return
        if member.state >= AUTH:
            self._read_frames(member)

    def _shake_hands(self, member):
        head, mark, rest = member.buffer.partition(b"\r\n\r\n")
        if not mark:
            return False
        status = head.split(None, 2)[1]
        if status != b"101":
            self._end(member, status.decode())
            return False
        member.buffer, member.state = rest, AUTH
        self._send(member, member.auth())
        return True

    def _send(self, member, data):
        try:
            member.socket.send(data)
        except OSError:
            pass  # the end of the connection is read next

    def _read_frames(self, member):
        at = 0
        while parsed := parse_frame(member.buffer, at):
            frame, at = parsed
            if frame.opcode == TEXT:
                member.take(frame.payload)
            elif frame.opcode == PING:
                self._send(member, build_frame(frame.payload, opcode=PONG))
            elif frame.opcode == CLOSE:
                member.code = int.from_bytes(frame.payload[:2], "big") if frame.payload else 1005
                self._send(member, build_frame(frame.payload, opcode=CLOSE))
        member.buffer = member.buffer[at:]


@contextlib.contextmanager
def bystanders(server, topic, rate):
    """A crowd of two. At the end each must have received all, over one connection. `rate`: publishes a second."""
    assert server.api.register(topic).status == 200
    publisher = Publisher(server.api, [topic], by=0, rate=rate)
    with Crowd() as crowd:
        for resume in ("always", "no"):
            crowd.add(Member(server.service.ws_address, topic, resume))
        crowd.wait_until_open()
        publisher.start()
        yield crowd
        last = publisher.finish()[topic]
        wait_until(lambda: all(member.last_key == last for member in crowd.members), "the last publish comes")
    assert Ledger([publisher], crowd.members).faults() == []
    assert set(publisher.statuses) == {200} and not publisher.lost_answers
    for member in crowd.members:
        assert len(member.keys) == publisher.count and len(member.starts) == 1 and not member.closes, "it was cut off"
