"""What a connection costs: the processor to let it in, the memory to keep it, and nothing when a publish does not
concern it."""

from contextlib import ExitStack

from .contenders import BareLoop, Nchan, Worker
from .report import Row

STEPS = 4  # in which a crowd comes, in turns with the others


class Crowd:
    """Connections to one contender, that come step by step and go at once."""

    def __init__(self, bench, stack, name, make, topics, **options):
        self.bench, self.name, self.size = bench, name, bench.scale.connections
        self.contender, self.load = stack.enter_context(make()), stack.enter_context(bench.load())
        self.options = {"topics": topics, **options}
        self.contender.register("first", token=True)
        self.load.connect(self.contender, "first", "first", 1)  # what is loaded and made once is not a connection's
        self.sockets, self.groups = 1, []
        self.empty = self._settled()

    def _settled(self):
        self.contender.settle(self.load, self.sockets)
        return self.load.usage(self.contender.gateway_pids)

    def _report(self, what, value):
        self.bench.report.add(f"{what} {self.name}", value)

    def come(self, step):
        before, count = self.load.usage(self.contender.gateway_pids), self.size // STEPS
        self.groups.append(f"crowd{step}")
        self.load.connect(self.contender, f"crowd{step}", "seed", count, first=step * count, **self.options)
        self.sockets += count
        self._report("connect", (self._settled() - before).cpu_us / count)

    def go(self):
        before, count = self._settled(), self.sockets - 1
        self._report("memory", (before - self.empty).rss_bytes / count / 1000)
        for group in self.groups:
            self.load.drop(group)
        self.sockets = 1
        self._report("disconnect", (self._settled() - before).cpu_us / count)
        self.load.drop("first")


def connecting(bench):
    count, topics = bench.scale.connections, bench.scale.connections // 10
    bench.rows(
        Row(f"memory of an idle authenticated connection, of {count:,}, ten a topic", "KB", "memory ours",
            bar="<= 2.2"),
        Row("(each on a topic of its own)", "KB", "memory own"),
        Row("(nginx + nchan)", "KB", "memory nchan"),
        Row(f"CPU a connection, {count:,} authenticated, against the bare loop's handshake and auth frame", "µs",
            "connect ours", "connect bare", "<= 3"),
        Row("(against the bare loop's handshake without the auth frame)", "µs", "connect ours", "connect handshake"),
        Row("(each on a topic of its own)", "µs", "connect own", "connect bare"),
        Row("(nginx + nchan, without the auth frame)", "µs", "connect nchan", "connect handshake"),
        Row(f"CPU a connection that ends, {count:,} at once", "µs", "disconnect ours", "disconnect bare"),
    )  # fmt: skip
    for _ in bench.each_round():
        with ExitStack() as stack:
            crowds = [
                Crowd(bench, stack, "ours", lambda: Worker(seed={"topics": topics}), topics),
                Crowd(bench, stack, "bare", BareLoop, topics),
                Crowd(bench, stack, "handshake", BareLoop, topics, auth="none"),
                Crowd(bench, stack, "own", lambda: Worker(seed={"topics": count}), count),
                *(Crowd(bench, stack, "nchan", make, topics) for make in bench.contenders(Nchan)),
            ]
            for step in range(STEPS):
                for crowd in crowds:
                    crowd.come(step)
            for crowd in crowds:
                crowd.go()


def _publish_cost(bench, load, worker, name):
    publishes = bench.scale.publishes
    before = load.usage(worker.pids)
    result = load.publish(worker, "one", "one", publishes, until="delivered")
    used = load.usage(worker.pids) - before
    bench.report.add(f"{name} cpu", used.cpu_us / publishes)
    bench.report.add(f"{name} time", result["seconds"] * 1e6 / publishes)


def _rows(bench, what, name):
    bench.rows(
        Row(f"CPU a publish to 1 subscriber, {what}", "µs", f"{name} cpu", f"{name} none cpu", "<= 1.1"),
        Row(f"time of such a publish until it is delivered, {what}", "µs", f"{name} time", f"{name} none time",
            "<= 1.1"),
    )  # fmt: skip


def idle_connections(bench):
    count = bench.scale.idle
    _rows(bench, f"{count:,} idle connections on as many other topics, against none", "idle")
    for _ in bench.each_round():
        # No ping is due meanwhile: the first comes after 30 s.
        with Worker() as empty, Worker(seed={"topics": count}) as crowded, bench.load() as load, \
                bench.load() as crowded_load:
            crowded_load.connect(crowded, "idle", "seed", count, topics=count)
            crowded.settle(crowded_load, count)
            _compare(bench, (empty, load, "idle none"), (crowded, crowded_load, "idle"))
            crowded_load.drop("idle")


def large_database(bench):
    topics, events = bench.scale.topics, bench.scale.events
    _rows(bench, f"{events:,} events and {topics:,} topics in the database, against none", "large")
    with Worker() as empty, Worker(seed={"topics": topics, "events": events}) as large, \
            bench.load() as load, bench.load() as large_load:
        for _ in bench.each_round():
            _compare(bench, (empty, load, "large none"), (large, large_load, "large"))


def _compare(bench, *sides):
    """Publishes to one subscriber of each in turn, slice by slice."""
    for worker, load, _ in sides:
        worker.register("one", token=True)
        load.connect(worker, "one", "one", 1)
        load.publish(worker, "one", "one", bench.scale.publishes, until="delivered")  # to warm up
    for _ in bench.each_slice():
        for worker, load, name in sides:
            _publish_cost(bench, load, worker, name)
    for _, load, _ in sides:
        load.drop("one")
