"""What protocol torture needs: a stream whose two receivers must miss nothing, whatever a test does, and requests that
are good but for one thing."""

import pytest

from . import logs
from .bystanders import bystanders
from .waiting import wait_until

STREAM_RATE = 200


@pytest.fixture(scope="module")
def stream(worker):
    """Publishes go on, one client that resumes and a plain one receive them: all, over one connection each."""
    assert worker.api.register("t").status == 200
    with bystanders(worker, "stream", STREAM_RATE) as crowd:
        yield crowd


@pytest.fixture(autouse=True)
def bystanders_are_served(stream):
    yield
    before = [len(member.keys) for member in stream.members]
    wait_until(
        lambda: all(len(member.keys) > count for member, count in zip(stream.members, before)),
        "the stream goes on for the others", limit_s=5, interval_s=0.002,
    )  # fmt: skip


@pytest.fixture(scope="module")
def service(worker, stream):
    yield worker.service
    for line in logs.tail(worker.service.log_dir, lines=10000).splitlines():
        assert line.isascii() and line.isprintable(), f"raw bytes of a client in a log: {line!r}"


KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    b"Host": b"localhost",
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Key": KEY,
    b"Sec-WebSocket-Version": b"13",
}


def head(*more, line=b"GET /ws?topic=t HTTP/1.1", end=b"\r\n", **changes):
    """A good request but for the request line, the further lines and the changed headers (host=..., upgrade=...; None
    leaves one out; a list repeats it)."""
    short = {b"Host": "host", b"Upgrade": "upgrade", b"Connection": "connection", b"Sec-WebSocket-Key": "key",
             b"Sec-WebSocket-Version": "version"}  # fmt: skip
    lines = [line]
    for name, value in GOOD.items():
        value = changes.get(short[name], value)
        values = value if isinstance(value, list) else [] if value is None else [value]
        lines += [name + b": " + one for one in values]
    return end.join([*lines, *more, b"", b""])
