"""Straight to the gateway's port, with no web server in between; and what it wrote into the database."""

import ctypes
import json
import os
import sqlite3
import struct
import threading
from urllib.parse import quote

from .raw_websocket import RawWebSocket
from .subscriber import Subscriber

AUTH_OK = '{"type":"auth_ok"}'
AUTH_REQUIRED = '{"type":"error","code":"auth_required","message":"first frame must be {type:auth,token:...}"}'
UNAUTHORIZED = '{"type":"error","code":"unauthorized","message":"invalid or expired token"}'
AUTH_EXPIRED = '{"type":"error","code":"auth_expired","message":"token expired"}'
TOPIC_UNREGISTERED = '{"type":"error","code":"topic_unregistered","message":"topic unregistered"}'

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
    """A RawWebSocket behind its handshake, not yet authenticated."""
    socket = RawWebSocket(service.ws_address, source=source)
    status, _, body = socket.handshake(path_of(topic), **options)
    assert status == 101, (status, body)
    return socket


def authenticated(service, topic, token=None, **options):
    """A RawWebSocket that is subscribed."""
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


def rows(service, query, *values):
    """What a person with sqlite3 would see."""
    database = sqlite3.connect(f"file:{service.database}?mode=ro", uri=True, timeout=5)
    try:
        return database.execute(query, values).fetchall()
    finally:
        database.close()


def in_network_of(pid, call):
    """call() on a thread that has entered the network namespace of a process; a socket that it makes stays in there."""
    result = []

    def run():
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(namespace, 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            result.append(call())
        finally:
            os.close(namespace)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert result, "the call failed, see above"
    return result[0]
