"""The way of a publish through the web server, against a bare FastCGI program in the place of the API. The gateway runs
and is tapped each time; whether it has somebody to deliver to makes rows of their own."""

from . import machine
from .contenders import Apache, Nginx, Worker
from .load import Failure
from .report import Row

PUBLISHERS = 8
RATE = 100
PARTS = 2  # of a round, in turns


def one_publisher(bench):
    for front in (Nginx, Apache):
        _one_publisher(bench, front)


def _one_publisher(bench, front):
    name = front.name
    bench.rows(
        Row(f"publish through {name}, one publisher, median, against the bare FastCGI program", "µs", f"{name} ours",
            f"{name} bare", "<= 1.35"),
        Row("(with a subscriber who gets it)", "µs", f"{name} subscriber", f"{name} bare"),
        Row("(99th percentile)", "µs", f"{name} ours p99", f"{name} bare p99"),
    )  # fmt: skip
    for _ in bench.each_round():
        with Worker(front) as ours, Worker(front, bare=True) as bare, bench.load() as load:
            ours.register("nobody", "pub", token=True)
            load.connect(ours, "pub", "pub", 1)
            _take_turns(bench, load, name, ours, bare)
            load.drop("pub")


def _take_turns(bench, load, name, ours, bare):
    count = bench.scale.publishes
    for worker in (ours, bare):
        load.publish(worker, "nobody", None, count)  # to warm up
    for _ in bench.each_slice():
        for worker, topic, groups, key in ((ours, "nobody", None, "ours"), (bare, "nobody", None, "bare"),
                                           (ours, "pub", "pub", "subscriber")):  # fmt: skip
            result = load.publish(worker, topic, groups, count)
            bench.report.add(f"{name} {key}", result["answers"]["p50"])
            bench.report.add(f"{name} {key} p99", result["answers"]["p99"])


def eight_publishers(bench):
    bench.rows(
        Row(f"publishes a second, {PUBLISHERS} publishers, 4 processes, against the bare program", "1/s", "eight ours",
            "eight bare", ">= 0.75"),
        Row("(with a subscriber for each publisher)", "1/s", "eight subscribers", "eight bare"),
        Row(f"{PUBLISHERS} publishers at full speed with subscribers: 99th percentile, against the median", "µs",
            "eight p99", "eight p50", "< 20"),
        Row(f"{PUBLISHERS} publishers at full speed: answers that are not 200, in all rounds", "", "eight refused",
            bar="<= 0"),
    )  # fmt: skip
    refused = 0
    for _ in bench.each_round():
        with Worker(cores=machine.ANY) as ours, Worker(bare=True, cores=machine.ANY) as bare, \
                bench.load(machine.ANY) as load:
            refused += _all_at_once(bench, load, ours, bare)
    bench.report.add("eight refused", refused)


def _all_at_once(bench, load, ours, bare):
    """Returns how many publishes were refused."""
    groups = [f"pub{number}" for number in range(PUBLISHERS)]
    count = bench.scale.publishes * PUBLISHERS
    refused = 0
    ours.register("nobody", *groups, token=True)
    for group in groups:
        load.connect(ours, group, group, 1)
    for worker in (ours, bare):
        load.publish(worker, "nobody", None, count, publishers=PUBLISHERS)  # to warm up
    for _ in bench.each_slice():
        for worker, key in ((ours, "ours"), (bare, "bare")):
            result = load.publish(worker, "nobody", None, count, all_accepted=False, publishers=PUBLISHERS)
            bench.report.add(f"eight {key}", result["statuses"].get("200", 0) / result["seconds"])
            refused += _refused(key, result)
        result = load.publish(ours, "#", ",".join(groups), count, all_accepted=False)
        bench.report.add("eight subscribers", result["statuses"].get("200", 0) / result["seconds"])
        bench.report.add("eight p99", result["answers"]["p99"])
        bench.report.add("eight p50", result["answers"]["p50"])
        refused += _refused("ours", result)
    for group in groups:
        load.drop(group)
    return refused


def _refused(key, result):
    refused = result["sent"] - result["statuses"].get("200", 0)
    if key == "bare" and refused:
        raise Failure(f"the bare program refused {refused} publishes")
    return refused


def delivery(bench):
    what = f"publish through nginx to delivery, one subscriber, {RATE} a second"
    bench.rows(
        Row(f"{what}: 99th percentile, against the bare program's median round trip at that rate", "µs",
            "delivery p99", "round trip", "<= 3"),
        Row("(median)", "µs", "delivery p50", "round trip"),
        Row("(99th percentile, against the bare round trip at full speed)", "µs", "delivery p99", "round trip busy"),
        Row("(99th percentile, the subscriber behind nginx too)", "µs", "delivery web p99", "round trip"),
    )  # fmt: skip
    count = bench.scale.paced // PARTS
    with Worker() as ours, Worker(bare=True) as bare, bench.load() as load:
        ours.register("one", "web", token=True)
        load.connect(ours, "one", "one", 1)
        load.command("connect", group="web", topic="web", count=1, **ours.subscribing_through_the_web_server)
        for _ in range(bench.rounds_wanted * PARTS):
            result = load.publish(ours, "one", "one", count, rate=RATE)
            bench.report.add("delivery p99", result["deliveries"]["p99"])
            bench.report.add("delivery p50", result["deliveries"]["p50"])
            result = load.publish(bare, "one", None, count, rate=RATE)
            bench.report.add("round trip", result["answers"]["p50"])
            result = load.publish(bare, "one", None, 5 * bench.scale.publishes)
            bench.report.add("round trip busy", result["answers"]["p50"])
            result = load.publish(ours, "web", "web", count, rate=RATE)
            bench.report.add("delivery web p99", result["deliveries"]["p99"])
        load.drop("one")
        load.drop("web")
