"""One handshake on a connection of its own, well-formed or not, and what it is told."""

import socket

from .raw_websocket import RawWebSocket


def ask(service, path="/ws?topic=t", **options):
    """(status, headers, body) of one handshake on a connection of its own."""
    with RawWebSocket(service.ws_address) as client:
        return client.handshake(path, **options)


def ask_bytes(service, data):
    """The status that a request of any bytes gets, None when the connection just ends."""
    with RawWebSocket(service.ws_address) as client:
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
