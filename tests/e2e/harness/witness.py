"""Publishes numbers while a command runs, and follows them as a browser does that resumes, by what the site lets through:
WebSocket, else stream, else poll. Says how many arrived, whether once and in order, and by what.

	python3 -B -m harness.witness https://www.example.org/worker SECRET [POLL-URL] -- COMMAND..."""

import http.client
import json
import ssl
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import websockets

from harness.api import InternalApi
from harness.process import wait_until
from harness.websocket import Subscriber

TOPIC = "witness"
TRUST = ssl.create_default_context(cafile="/etc/ssl/certs/worker.example.org.pem")


class Witness:
    def __init__(self, url, secret, api_url):
        self.url, self.api_url = urlsplit(url), urlsplit(api_url)
        self.api = InternalApi(api_url, secret, tls=TRUST)
        self.position, self.seen, self.ways, self.breaks = None, [], [], 0
        self.sent, self.last_number, self.starts = 0, None, 0

    def take(self, frame, way):
        assert frame["type"] in ("auth_ok", "push"), frame
        if frame["type"] == "auth_ok":
            assert frame["recovered"], frame
            self.starts += 1
            if way not in self.ways:
                self.ways.append(way)
            if self.position is None:
                self.position = frame["last_event_id"]
        else:
            self.position = frame["id"]
            self.seen.append(frame["payload"])

    def auth(self):
        return {"type": "auth", "last_event_id": self.position}

    def by_websocket(self):
        address = self.url._replace(scheme="wss").geturl() + "/ws"
        with Subscriber(address, TOPIC, tls=TRUST) as browser:
            browser.send(self.auth())
            while not self.is_done():
                self.take(browser.receive_json(), "websocket")

    def post(self, url, path):
        connection = http.client.HTTPSConnection(url.hostname, timeout=5, context=TRUST)
        connection.request("POST", f"{url.path}/{path}?topic={TOPIC}", json.dumps(self.auth()), {"Content-Type": "text/plain"})
        return connection.getresponse()

    def by_stream(self):
        answer = self.post(self.url, "stream")
        assert answer.status == 200 and "event-stream" in answer.getheader("Content-Type"), answer.status
        while not self.is_done():
            line = answer.readline()
            assert line, "the stream has ended"
            if line.startswith(b"data: "):
                self.take(json.loads(line[6:]), "stream")

    def by_poll(self):
        answer = self.post(self.api_url, "poll")
        if answer.status == 204:
            return time.sleep(0.05)
        assert answer.status == 200, (answer.status, answer.read(200))
        body = json.loads(answer.read())
        if self.position is None:
            self.position = body["last_event_id"]
        for push in body["pushes"]:
            self.take({"type": "push", **push}, "poll")
        if "poll" not in self.ways:
            self.ways.append("poll")

    def is_done(self):
        return self.last_number is not None and len(self.seen) >= self.last_number

    def follow(self):
        while not self.is_done():
            for way in (self.by_websocket, self.by_stream, self.by_poll):
                starts = self.starts
                try:
                    way()
                    break
                except (OSError, AssertionError, websockets.WebSocketException, http.client.HTTPException) as error:
                    self.last = repr(error)
                    self.breaks += bool(self.ways)
                    if self.starts > starts:
                        break  # it was good until now: the best one first again

    def publish(self):
        number = self.sent + 1
        reply = self.api.publish(TOPIC, number)
        assert reply.status == 200, (reply.status, reply.body)
        self.sent = number

    def watch(self, command):
        assert self.api.register(TOPIC).status == 200
        follower = threading.Thread(target=self.follow, daemon=True)
        follower.start()
        wait_until(lambda: self.ways, lambda: f"the follower is there: {self.last}")
        self.publish()
        process = subprocess.Popen(command)
        while process.poll() is None:
            self.publish()
            time.sleep(0.02)
        self.last_number = self.sent + 1  # it wakes a follower that waits
        self.publish()
        follower.join(20)
        good = self.seen == list(range(1, self.sent + 1))
        print(f"{'each once and in order' if good else f'BAD: {self.sent} sent, seen {self.seen}'} by {', '.join(self.ways)}")
        return process.returncode if good else 1


if __name__ == "__main__":
    url, secret, *more = sys.argv[1 : sys.argv.index("--")]
    sys.exit(Witness(url, secret, *(more or [url])).watch(sys.argv[sys.argv.index("--") + 1 :]))
