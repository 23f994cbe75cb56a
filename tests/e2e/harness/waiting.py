"""Waiting for a condition with a limit, and the free ports that tests listen on."""

import socket
import time

LIMIT_S = 15.0  # for whatever should be quick: long enough for a loaded machine under sanitizers


def wait_until(condition, what, limit_s=LIMIT_S, interval_s=0.02):
    """Asks condition() until it returns something true, and returns that. Fails with `what` at the limit."""
    deadline = time.monotonic() + limit_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit_s:g} s: {what() if callable(what) else what}")
        time.sleep(interval_s)


_given = set()


def free_port():
    """A TCP port that nobody listens on now, and that was not given out before."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


def accepts(address):
    """True when somebody accepts connections: on ("127.0.0.1", port), or on the path of a UNIX socket."""
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True
