"""The internal API as PHP calls it, over the web server's plain or TLS listener."""

import http.client
import json
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


class InternalApi:
    """`url` is what stands before /internal/, e.g. http://127.0.0.1:9001 or https://localhost:8443/worker."""

    def __init__(self, url, secret, tls=None, source=None):
        self.url, self.secret, self.tls, self.source = url, secret, tls, source

    def call(self, verb, body=None, headers=None, method="POST", raw=None, chunked=False):
        """`verb` may end in a query. `raw` is a body of any bytes, else `body` goes as JSON. A header of
        None is left out; the secret is sent unless `headers` says otherwise."""
        parts = urlsplit(self.url)
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=20, context=self.tls, source_address=self.source
            )
        else:
            connection = http.client.HTTPConnection(
                parts.hostname, parts.port, timeout=20, source_address=self.source
            )
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sent = {"X-Worker-Secret": self.secret, "Content-Type": "application/json", **(headers or {})}
        sent = {name: value for name, value in sent.items() if value is not None}
        try:
            try:
                connection.request(
                    method, f"{parts.path}/internal/{verb}", iter([data]) if chunked else data, sent,
                    encode_chunked=chunked,
                )
            except (BrokenPipeError, ConnectionResetError):
                pass  # answered before the whole body was taken: the answer can be there all the same
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def register(self, topic, **members):
        return self.call("register", {"topic": topic, **members})

    def unregister(self, topic):
        return self.call("unregister", {"topic": topic})

    def publish(self, topic, payload):
        return self.call("publish", {"topic": topic, "payload": payload})

    def status(self, query=""):
        return self.call("status" + query, method="GET")


def is_error(reply, status, line):
    """The exact bytes of an error, and its headers."""
    assert (reply.status, reply.body) == (status, line.encode() + b"\n")
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Content-Length"] == str(len(line) + 1)
    return True
