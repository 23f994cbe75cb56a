"""What one client's long replay does to the live pushes of others."""

import json
import sqlite3
import threading

from harness.api import make_token
from harness.websocket import WebSocket

from .contenders import Worker
from .report import Row

PUSHES_A_SECOND = 100
TOPIC = "seed.1"


def replay(bench):
    events = bench.scale.replayed
    bench.rows(
        Row(f"pushes while another client replays {events:,} events again and again, 99th percentile, against quiet "
            "ones", "ms", "push beside a replay", "push alone", "<= 1", shift=True),
        Row("(median)", "ms", "push beside a replay p50", "push alone p50", shift=True),
        Row("(replays that were finished meanwhile, a second)", "", "replays"),
    )  # fmt: skip
    with Worker(seed={"topics": 2, "events": events}) as worker, bench.load() as load:
        worker.register("one", token=True)
        load.connect(worker, "one", "one", 1)
        for _ in bench.each_round():
            _push(bench, load, worker, "alone")
            with Replayer(worker.service) as replayer:
                _push(bench, load, worker, "beside a replay")
            bench.report.add("replays", replayer.finished / (bench.scale.paced / PUSHES_A_SECOND))
        load.drop("one")


def _push(bench, load, worker, name):
    result = load.publish(worker, "one", "one", bench.scale.paced, rate=PUSHES_A_SECOND)
    bench.report.add(f"push {name}", result["deliveries"]["p99"] / 1000)
    bench.report.add(f"push {name} p50", result["deliveries"]["p50"] / 1000)


class Replayer:
    """A client that resumes from the first event and reads as fast as it can, and does so again when it has caught
    up."""

    def __init__(self, service):
        self.service, self.finished = service, 0
        with sqlite3.connect(f"file:{service.database}?mode=ro", uri=True) as database:
            (self.first,) = database.execute("SELECT min(id) FROM events").fetchone()
            (self.last,) = database.execute("SELECT max(id) FROM events WHERE topic = ?", (TOPIC,)).fetchone()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        end = f'"id":{self.last},'.encode()
        frame = {"type": "auth", "token": make_token(self.service.secret, TOPIC), "last_event_id": self.first}
        while not self._stop.is_set():
            with WebSocket(self.service.ws_address) as client:
                assert client.handshake(f"/ws?topic={TOPIC}")[0] == 101
                client.send_frame(json.dumps(frame))
                tail = b""
                while end not in tail and not self._stop.is_set():
                    tail = tail[-len(end) :] + client.socket.recv(1 << 18)
                self.finished += end in tail

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
