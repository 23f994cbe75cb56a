"""One publish to many subscribers: what a delivery costs, and when the last one is served."""

from .contenders import BareLoop, Nchan, Worker
from .report import Row

LARGE = 16 * 1024
WARM_UP = 5


def _cost(bench, load, contender, subscribers, size, publishes):
    """Microseconds of processor time a delivery: of all that serves, and of the gateway alone."""
    load.publish(contender, "fan", "fan", WARM_UP, size=size, until="delivered")
    before, alone_before = load.usage(contender.pids), load.usage(contender.gateway_pids)
    load.publish(contender, "fan", "fan", publishes, size=size, until="delivered")
    used, alone = load.usage(contender.pids) - before, load.usage(contender.gateway_pids) - alone_before
    key = f"fan {subscribers} {size} {contender.name}"
    bench.report.add(key, used.cpu_us / subscribers / publishes)
    bench.report.add(f"{key} alone", alone.cpu_us / subscribers / publishes)


def _measure(bench, make):
    with make() as contender, bench.load() as load:
        contender.register("fan", token=True)
        for subscribers, publishes in bench.scale.fan:
            load.connect(contender, "fan", "fan", subscribers)
            contender.settle(load, subscribers)
            _cost(bench, load, contender, subscribers, 150, publishes)
            if contender.name != Nchan.name:
                _cost(bench, load, contender, subscribers, LARGE, publishes)
            load.drop("fan")


def fan_out(bench):
    for subscribers, _ in bench.scale.fan:
        for size in (150, LARGE):
            what = f"CPU a delivery, {subscribers:,} subscribers, {size:,} bytes"
            key = f"fan {subscribers} {size}"
            ours = f"{key} {Worker.name}"
            bench.rows(
                Row(f"{what}, against the bare loop", "µs", ours, f"{key} {BareLoop.name}", "<= 1.15"),
                Row("(the gateway alone)", "µs", f"{ours} alone", f"{key} {BareLoop.name}"),
                Row(f"{what}, against nginx + nchan", "µs", ours, f"{key} {Nchan.name}", "< 1"),
            )
    for _ in bench.each_round():
        for make in bench.contenders(Worker, BareLoop, Nchan):
            _measure(bench, make)


def _last(bench, make):
    subscribers, publishes = bench.scale.last
    with make() as contender, bench.load() as load:
        contender.register("last", token=True)
        load.connect(contender, "last", "last", subscribers)
        contender.settle(load, subscribers)
        load.publish(contender, "last", "last", WARM_UP, until="delivered")
        result = load.publish(contender, "last", "last", publishes, until="delivered")
        bench.report.add(f"last {contender.name}", result["completions"]["p50"] / 1000)
        load.drop("last")


def last_subscriber(bench):
    what = f"publish to the last of {bench.scale.last[0]:,} subscribers"
    ours = f"last {Worker.name}"
    bench.rows(
        Row(f"{what}, against the bare loop", "ms", ours, f"last {BareLoop.name}", "<= 1.25"),
        Row("(against nginx + nchan)", "ms", ours, f"last {Nchan.name}"),
    )
    for _ in bench.each_round():
        for make in bench.contenders(Worker, BareLoop, Nchan):
            _last(bench, make)


def gateway_processes(bench):
    """What a delivery costs when several processes share the port, against one."""
    subscribers, publishes = bench.scale.fan[-1]
    several = bench.scale.gateway_processes
    names = {count: f"processes {count}" for count in (1, several)}
    bench.rows(
        Row(f"CPU a delivery, {several} gateway processes, {subscribers:,} subscribers, against one", "µs",
            names[several], names[1], "<= 1.05"),
    )  # fmt: skip
    for _ in bench.each_round():
        for count, name in names.items():
            with Worker(gateway_processes=count) as worker, bench.load() as load:
                worker.register("fan", token=True)
                load.connect(worker, "fan", "fan", subscribers)
                worker.settle(load, subscribers)
                load.publish(worker, "fan", "fan", WARM_UP, until="delivered")
                cpu_us = load.cpu_us(
                    worker.gateway_pids,
                    lambda: load.publish(worker, "fan", "fan", publishes, until="delivered"),
                )
                bench.report.add(name, cpu_us / subscribers / publishes)
                load.drop("fan")
