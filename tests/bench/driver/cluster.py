"""Nodes that share a Redis, on one machine: what a push from another node costs, and how long it takes; what a cluster costs the
publisher; and how fast a backlog goes out and comes in."""

import contextlib
import socket
import sqlite3
import time
from contextlib import ExitStack

from harness.process import wait_until
from harness.redis_server import Redis

from . import deliveries
from .contenders import COUNT, Worker
from .load import ALL, LOAD_CORES, Failure, Load, on_cores, usage
from .report import Row

RATE = 100
LOG, CHANNEL = "wavelog:log", b"wavelog:events"
JOINED_S, BACKLOG_S = 20, 300
BACKLOG = COUNT + (
    "INSERT INTO events (kind, topic, created_ms, payload) "
    """SELECT 0, 'backlog', ?, printf('{"number":%d,"pad":"%.120c"}', i, 'x') FROM n"""
)


class Node(Worker):
    name = "a node"

    def __init__(self, redis, **options):
        super().__init__(redis_url=redis.url, **options)

    def start(self):
        super().start()
        self.wait(lambda: self.value("SELECT why IS NULL AND since_ms > 0 FROM cluster"), "it reaches Redis", JOINED_S)

    def wait(self, condition, what, limit_s=BACKLOG_S):
        wait_until(condition, what, limit_s, 0.005)

    def value(self, query, *arguments):
        with self._reading() as database:
            return database.execute(query, arguments).fetchone()[0]

    def settle(self, sockets):
        """What other nodes are to know of its topics has gone out, too."""
        self.wait(lambda: not self.value("SELECT count(*) FROM topics_to_relay"), "its topics are known")
        super().settle(sockets)

    def add_backlog(self, count):
        """As many publishes as by the API, in one transaction."""
        with contextlib.closing(sqlite3.connect(self.service.database, isolation_level=None)) as database:
            database.execute("PRAGMA wal_autocheckpoint = 0")
            database.execute(BACKLOG, (count, int(time.time() * 1000)))


@contextlib.contextmanager
def _redis(cores):
    """As it is most often configured, when it keeps anything."""
    with on_cores(cores):
        server = Redis(appendfsync="everysec")
    try:
        yield server
    finally:
        server.close()


def cluster_fan_out(bench):
    """Everything that serves at the node where the subscribers are: its gateway, and the API where the publish is local. The
    other node and Redis, on machines of their own otherwise, are on the core of the load generator. All at the same pace: after a
    rest, which at full speed only a receiving node has, a core is slower."""
    subscribers, publishes = bench.scale.fan[0]
    remote, local, single = "fan remote", "fan local", "fan single"
    bench.rows(
        Row(f"CPU a delivery at a node, {subscribers:,} subscribers, 150 bytes, published at another node, against a single node's",
            "µs", remote, single, "<= 1.1"),
        Row("(published at this node)", "µs", local, single),
    )  # fmt: skip
    for _ in bench.each_round():
        with ExitStack() as stack:
            redis = stack.enter_context(_redis(LOAD_CORES))
            makes = (lambda: Node(redis, cores=LOAD_CORES), lambda: Node(redis), Worker)
            here, there, alone = bench.start(stack, *makes)
            here.register("fan")
            crowds = [(there, Load()), (alone, Load())]
            for worker, load in crowds:
                stack.enter_context(load)
                worker.register("fan")
                load.connect(worker, "fan", "fan", subscribers)
                worker.settle(subscribers)
                stack.callback(load.drop, "fan")
            options = {"until_delivered": 1, "awake": 1, "rate": RATE}
            sides = ((remote, crowds[0], here), (local, crowds[0], there), (single, crowds[1], alone))
            for _ in bench.each_slice():
                for key, (worker, load), publisher in sides:
                    load.publish(publisher, "fan", "fan", deliveries.WARM_UP, **options)
                    deliveries.publish(bench, (worker, load), key, publishes, publisher=publisher, **options)


def cluster_publish(bench):
    """Nobody listens: the publish alone, beside a node without a cluster. At full speed the relay is at work meanwhile, and so
    is Redis, on the same few cores."""
    bench.rows(
        Row(f"publish at a node of a cluster, one publisher, {RATE} a second, median, against a single node's", "µs",
            "node paced", "single paced", "<= 1.05"),
        Row("(99th percentile)", "µs", "node paced p99", "single paced p99"),
        Row("(at full speed)", "µs", "node", "single"),
        Row("publish at a node whose Redis hangs, one publisher at full speed, median, against a single node's", "µs",
            "away", "single", "<= 1.1"),
        Row("publish at a node whose Redis hangs, one publisher at full speed, 99th percentile, against a single node's", "µs",
            "away p99", "single p99", "<= 1.1"),
        Row(f"(the median at {RATE} a second)", "µs", "away paced", "single paced"),
    )  # fmt: skip
    count = bench.scale.paced // bench.scale.slices
    for _ in bench.each_round():
        with _redis(ALL) as redis, Node(redis, cores=ALL) as node, Worker(cores=ALL) as single, Load() as load:
            with Node(redis, cores=ALL) as away, socket.create_server(("127.0.0.1", 0)) as hangs:  # nobody accepts
                sides = (("node", node), ("away", away), ("single", single))
                away.register("nobody")
                away.settle(0)
                away.service.write_config(redis_url=f"redis://127.0.0.1:{hangs.getsockname()[1]}")
                away.service.restart_gateway()
                for _, worker in sides:
                    worker.register("nobody")
                    load.publish(worker, "nobody", None, bench.scale.publishes)  # to warm up
                for _ in bench.each_slice():
                    for key, worker in sides:
                        answers = load.publish(worker, "nobody", None, count, rate=RATE)["answers"]
                        bench.add(f"{key} paced", answers["p50"])
                        bench.add(f"{key} paced p99", answers["p99"])
                        answers = load.publish(worker, "nobody", None, bench.scale.publishes)["answers"]
                        bench.add(key, answers["p50"])
                        bench.add(f"{key} p99", answers["p99"])


class Channel:
    """A PUBLISH and a SUBSCRIBE by bare sockets: the way of nodes that have nothing else, without the nodes."""

    def __init__(self, redis):
        self.publisher, self.subscriber = (redis.client.connection_pool.get_connection("") for _ in range(2))
        self.subscriber.send_command("SUBSCRIBE", CHANNEL)
        self.subscriber.read_response()
        (self.command,) = self.publisher.pack_command("PUBLISH", CHANNEL, b"x" * 220)

    def times_us(self, count, rate):
        speaks, hears, times = self.publisher._sock, self.subscriber._sock, []
        for _ in range(count):
            time.sleep(1 / rate)
            begin = time.perf_counter_ns()
            speaks.sendall(self.command)
            hears.recv(4096)
            times.append((time.perf_counter_ns() - begin) / 1000)
            speaks.recv(4096)
        return sorted(times)


def cluster_delivery(bench):
    what = f"publish at one node to delivery at another, {RATE} a second"
    bench.rows(
        Row(f"{what}: median, against a bare PUBLISH and SUBSCRIBE through the same Redis", "µs", "remote p50", "channel p50"),
        Row("(99th percentile)", "µs", "remote p99", "channel p99"),
        Row("(median, against delivery at the same node)", "µs", "remote p50", "near p50"),
    )
    count = bench.scale.paced // bench.scale.parts
    with _redis(ALL) as redis, Node(redis, cores=ALL) as here, Node(redis, cores=ALL) as there, Load() as load:
        for node in (here, there):
            node.register("one")
        load.connect(there, "far", "one", 1)
        load.connect(here, "near", "one", 1)
        here.settle(1)
        there.settle(1)
        channel = Channel(redis)
        for _ in bench.each_part():
            for key, group in (("remote", "far"), ("near", "near")):
                result = load.publish(here, "one", group, count, rate=RATE)["deliveries"]
                bench.add(f"{key} p50", result["p50"])
                bench.add(f"{key} p99", result["p99"])
                time.sleep(0.1)  # the others have theirs
            times = channel.times_us(count, RATE)
            bench.add("channel p50", times[len(times) // 2])
            bench.add("channel p99", times[len(times) * 99 // 100])
        load.drop("far")
        load.drop("near")


def cluster_backlog(bench):
    count = bench.scale.backlog
    bench.rows(
        Row(f"entries a second that a node relays, of a backlog of {count:,}", "1/s", "relayed"),
        Row("(CPU of its gateway an entry)", "µs", "relayed CPU"),
        Row("(CPU of Redis)", "µs", "relayed Redis"),
        Row(f"entries a second that a node takes in, which comes back to a log of {count:,}", "1/s", "taken in"),
        Row("(CPU of its gateway an entry)", "µs", "taken in CPU"),
        Row("(CPU of Redis)", "µs", "taken in Redis"),
        Row(f"(memory of Redis for {count:,} entries)", "MB", "log memory"),
    )
    for _ in bench.each_round():
        with _redis(ALL) as redis, Node(redis, cores=ALL) as here, Node(redis, cores=ALL) as there:
            _backlog(bench, redis, here, there, count)


def _backlog(bench, redis, here, there, count):
    there.service.gateway.stop()
    before_bytes = redis.client.info("memory")["used_memory"]
    here.add_backlog(count)
    _measure(bench, "relayed", redis, here, lambda: redis.client.xlen(LOG), count)
    bench.add("log memory", (redis.client.info("memory")["used_memory"] - before_bytes) / 1e6)
    there.service.start_gateway()
    query = "SELECT count(*) FROM events WHERE origin IS NOT NULL"
    _measure(bench, "taken in", redis, there, lambda: there.value(query), count)


def _measure(bench, key, redis, node, number, count):
    """From the first twentieth on: until then the two find each other."""
    begin_s, begin = _at(number, count // 20)
    pids = (node.gateway_pids, [redis.process.pid])
    before = [usage(each).cpu_us for each in pids]
    end_s, end = _at(number, count)
    bench.add(key, (end - begin) / (end_s - begin_s))
    for name, each, cpu_us in zip(("CPU", "Redis"), pids, before):
        bench.add(f"{key} {name}", (usage(each).cpu_us - cpu_us) / (end - begin))


def _at(number, least):
    """When the number is at least that, and which."""
    deadline = time.monotonic() + BACKLOG_S
    while True:
        now = number()
        if now >= least:
            return time.monotonic(), now
        if time.monotonic() > deadline:
            raise Failure(f"a backlog got no further than {now} of {least}")
        time.sleep(0.005)
