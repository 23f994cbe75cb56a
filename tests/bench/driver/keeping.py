"""What a large service has to carry, and what that does to the pushes: connections that come, stay and go, a full
database, a client that replays, and questions about all of it."""

import json
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

from harness.api import make_token
from harness.websocket import WebSocket

from .contenders import BareLoop, Nchan, Streams, Worker
from .load import Failure, Load, usage, written
from .report import Row, percentile_99

STEPS = 4  # in which a crowd comes, in turns with the others
PUSHES_A_SECOND = 100
QUESTIONS_A_SECOND = {"status": 19, "metrics": 21}  # in no step with the pushes: now and then one comes with a push
REPLAYED = "seed.1"


class Crowd:
    """Connections to one contender, that come step by step and go at once."""

    def __init__(self, bench, stack, name, contender, topics, **options):
        self.bench, self.name, self.size = bench, name, bench.scale.connections
        self.contender, self.load = contender, stack.enter_context(Load())
        self.options = {"topics": topics, **options}
        self.contender.register("first")
        self.load.connect(self.contender, "first", "first", 1)  # what is loaded and made once is not a connection's
        self.sockets, self.groups = 1, []
        self.empty = self._settled()

    def _settled(self):
        self.contender.settle(self.sockets)
        return usage(self.contender.gateway_pids)

    def come(self, step):
        before, count = usage(self.contender.gateway_pids), self.size // STEPS
        self.groups.append(f"crowd{step}")
        self.load.connect(self.contender, f"crowd{step}", "seed", count, first=step * count, **self.options)
        self.sockets += count
        self.bench.add(f"connect {self.name}", (self._settled() - before).cpu_us / count)

    def go(self):
        before, count = self._settled(), self.sockets - 1
        self.bench.add(f"memory {self.name}", (before - self.empty).rss_bytes / count / 1000)
        for group in self.groups:
            self.load.drop(group)
        self.sockets = 1
        self.bench.add(f"disconnect {self.name}", (self._settled() - before).cpu_us / count)
        self.load.drop("first")


def connecting(bench):
    count, topics = bench.scale.connections, bench.scale.connections // 10
    bench.rows(
        Row(f"memory of an idle authenticated connection, of {count:,}, ten a topic", "KB", "memory ours",
            bar="<= 2.2"),
        Row("(each on a topic of its own)", "KB", "memory own"),
        Row("the same of a stream", "KB", "memory stream", bar="<= 2.5"),
        Row("(nginx + nchan)", "KB", "memory nchan"),
        Row(f"CPU a connection, {count:,} authenticated, against the bare loop's handshake and auth frame", "µs",
            "connect ours", "connect bare", "<= 3"),
        Row("(against the bare loop's handshake without the auth frame)", "µs", "connect ours", "connect handshake"),
        Row("(each on a topic of its own)", "µs", "connect own", "connect bare"),
        Row("(by streams)", "µs", "connect stream", "connect bare"),
        Row("(nginx + nchan, without the auth frame)", "µs", "connect nchan", "connect handshake"),
        Row(f"CPU a connection that ends, {count:,} at once", "µs", "disconnect ours", "disconnect bare"),
    )  # fmt: skip
    for _ in bench.each_round():
        with ExitStack() as stack:
            ours, streams, own, bare, handshake, *nchan = bench.start(
                stack, lambda: Worker(seed={"topics": topics}), lambda: Streams(seed={"topics": topics}),
                lambda: Worker(seed={"topics": count}), BareLoop, BareLoop, Nchan,
            )  # fmt: skip
            crowds = [
                Crowd(bench, stack, "stream", streams, topics),
                Crowd(bench, stack, "ours", ours, topics),
                Crowd(bench, stack, "bare", bare, topics),
                Crowd(bench, stack, "own", own, count),
                Crowd(bench, stack, "handshake", handshake, topics, auth=0),
                *(Crowd(bench, stack, "nchan", contender, topics) for contender in nchan),
            ]
            for step in range(STEPS):
                for crowd in bench.in_turn(crowds, step):
                    crowd.come(step)
            for crowd in crowds:
                crowd.go()


def _publish_rows(bench, what, name):
    bench.rows(
        Row(f"CPU a publish to 1 subscriber, {what}", "µs", f"{name} cpu", f"{name} none cpu", "<= 1.1"),
        Row(f"time of such a publish until it is delivered, {what}", "µs", f"{name} time", f"{name} none time",
            "<= 1.1"),
    )  # fmt: skip


def publish_in_turns(bench, *sides):
    """Publishes to one subscriber of each in turn, slice by slice."""
    publishes = bench.scale.publishes
    for worker, load, _ in sides:
        worker.register("one")
        load.connect(worker, "one", "one", 1)
        load.publish(worker, "one", "one", publishes, until_delivered=1)  # to warm up
    for turn in bench.each_slice(2):
        for worker, load, name in bench.in_turn(sides, turn):
            before = usage(worker.pids)
            result = load.publish(worker, "one", "one", publishes, until_delivered=1)
            bench.add(f"{name} cpu", (usage(worker.pids) - before).cpu_us / publishes)
            bench.add(f"{name} time", result["seconds"] * 1e6 / publishes)
    for _, load, _ in sides:
        load.drop("one")


def idle_connections(bench):
    count = bench.scale.idle
    _publish_rows(bench, f"{count:,} idle connections on as many other topics, against none", "idle")
    for _ in bench.each_round():
        # No ping is due meanwhile: the first comes after 30 s.
        with Worker() as empty, Worker(seed={"topics": count}) as crowded, Load() as load, Load() as crowded_load:
            crowded_load.connect(crowded, "idle", "seed", count, topics=count)
            crowded.settle(count)
            publish_in_turns(bench, (empty, load, "idle none"), (crowded, crowded_load, "idle"))
            crowded_load.drop("idle")


def large_database(bench):
    topics, events = bench.scale.topics, bench.scale.events
    _publish_rows(bench, f"{events:,} events and {topics:,} topics in the database, against none", "large")
    with Worker() as empty, Worker(seed={"topics": topics, "events": events}) as large, Load() as load, \
            Load() as large_load:
        for _ in bench.each_round():
            publish_in_turns(bench, (empty, load, "large none"), (large, large_load, "large"))


def _push(bench, load, worker, name, count):
    deliveries = load.publish(worker, "one", "one", count, rate=PUSHES_A_SECOND)["deliveries"]
    bench.add(f"push {name}", deliveries["p99"] / 1000)
    bench.add(f"push {name} p50", deliveries["p50"] / 1000)


def _push_rows(bench, what, name):
    bench.rows(
        Row(f"pushes while {what}, 99th percentile, against quiet ones", "ms", f"push {name}", f"push no {name}",
            "<= 1", shift=True),
        Row("(median)", "ms", f"push {name} p50", f"push no {name} p50", shift=True),
    )  # fmt: skip


def replay(bench):
    """What one client's long replay does to the live pushes of others."""
    events, count = bench.scale.replayed, bench.scale.paced // bench.scale.parts
    _push_rows(bench, f"another client replays {events // 2:,} events", "replay")
    bench.rows(Row("(replayed meanwhile, a second)", "MB", "replayed"))
    with Worker(seed={"topics": 2, "events": events}) as worker, Load() as load:
        worker.register("one")
        load.connect(worker, "one", "one", 1)
        for _ in bench.each_part():
            _push(bench, load, worker, "no replay", count)
            with Replayer(worker.service) as replayer:
                _push(bench, load, worker, "replay", count)
            bench.add("replayed", replayer.bytes / 1e6 / (count / PUSHES_A_SECOND))
        load.drop("one")


def writes(bench):
    """What hosts that allow 1 MB a second count: the bytes that API and gateway write, wherever the page cache has them."""
    bench.rows(
        Row("bytes written a publish to 1 subscriber, at full speed, checkpoints included", "KB", "written", None, "<= 2.5"),
        Row(f"({PUSHES_A_SECOND} a second)", "KB", "written paced"),
        Row("bytes written a minute by a service with a subscriber, to which nothing happens", "KB", "written idle", None,
            "<= 0", figure=max),
    )  # fmt: skip
    publishes, idle_s = 20 * bench.scale.publishes, bench.scale.idle_seconds
    with Worker(on_disk=True) as worker, Load() as load:
        worker.register("one")
        load.connect(worker, "one", "one", 1)
        for _ in bench.each_round():
            for name, count, rate in (("", publishes, None), (" paced", bench.scale.paced, PUSHES_A_SECOND)):
                worker.settle(1)
                before = written(worker.pids)
                load.publish(worker, "one", "one", count, rate=rate)
                time.sleep(2)  # what is counted is written within a second
                bench.add(f"written{name}", (written(worker.pids) - before) / count / 1000)
        worker.settle(1)
        before = written(worker.pids)
        time.sleep(idle_s)
        bench.add("written idle", (written(worker.pids) - before) * 60 / idle_s / 1000)
        load.drop("one")


class Replayer:
    """A client that resumes from the first event and reads as fast as it can, again whenever it has caught up. At
    the end `bytes` says how much it was sent; a replay that was refused or ended is a Failure."""

    def __init__(self, service):
        self.service, self.bytes = service, 0
        with closing(sqlite3.connect(f"file:{service.database}?mode=ro", uri=True)) as database:
            (self.first,) = database.execute("SELECT min(id) FROM events").fetchone()
            (self.last,) = database.execute("SELECT max(id) FROM events WHERE topic = ?", (REPLAYED,)).fetchone()
        self._stop, self._pool = threading.Event(), ThreadPoolExecutor(1)

    def _run(self):
        end = f'"id":{self.last},'.encode()
        frame = {"type": "auth", "token": make_token(self.service.secret, REPLAYED), "last_event_id": self.first}
        while not self._stop.is_set():
            with WebSocket(self.service.ws_address) as client:
                assert client.handshake(f"/ws?topic={REPLAYED}")[0] == 101
                client.send_frame(json.dumps(frame))
                tail = b""
                while end not in tail and not self._stop.is_set():
                    piece = client.socket.recv(1 << 18)
                    self.bytes += len(piece)
                    if not piece:
                        raise Failure("the replay was refused or ended")
                    tail = tail[-len(end) :] + piece

    def __enter__(self):
        self._replay = self._pool.submit(self._run)
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._pool.shutdown()
        self._replay.result()


def status(bench):
    """Status and metrics of a large service, and what they do to the pushes meanwhile."""
    sockets, topics = bench.scale.connections, bench.scale.topics
    for verb in QUESTIONS_A_SECOND:
        bench.rows(
            Row(f"{verb}, {sockets:,} connections and {topics:,} topics: 99th percentile of all answers", "ms", verb, None,
                "< 10", figure=percentile_99),
            Row("(median)", "ms", verb),
            Row("(CPU of the API)", "ms", f"{verb} cpu"),
        )  # fmt: skip
    _push_rows(bench, f"{sum(QUESTIONS_A_SECOND.values())} of them a second are answered", "question")
    count = bench.scale.paced // bench.scale.parts
    with Worker(seed={"topics": topics}) as worker, Load() as load, Load() as first, Load() as second:
        worker.register("one")
        load.connect(worker, "one", "one", 1)
        load.connect(worker, "crowd", "seed", sockets, topics=min(topics, sockets))
        worker.settle(sockets + 1)
        askers = ((first, "status"), (second, "metrics"))
        for _ in bench.each_part():
            _push(bench, load, worker, "no question", count)
            for asker, verb in askers:
                rate = QUESTIONS_A_SECOND[verb]
                asker.begin_ask(worker, verb, count * rate // PUSHES_A_SECOND, rate=rate, each=1)
            _push(bench, load, worker, "question", count)
            for asker, verb in askers:
                result = asker.end()
                if set(result["statuses"]) != {"200"}:
                    raise Failure(f"{verb}: {result['statuses']}")
                for time_us in result["each"]:
                    bench.add(verb, time_us / 1000)
            for asker, verb in askers:  # one after the other
                before, questions = usage(worker.api_pids), bench.scale.paced // 40
                asker.begin_ask(worker, verb, questions)
                asker.end()
                bench.add(f"{verb} cpu", (usage(worker.api_pids) - before).cpu_us / questions / 1000)
        load.drop("crowd")
        load.drop("one")
