"""Publishers at full speed: they are not slowed down by those who listen, so the gateway must get cheaper when it is
behind. In the bare loop they are: a publisher's next request waits until the push before it is sent to everybody."""

import time
from contextlib import ExitStack

from . import machine
from .contenders import BareLoop, Worker
from .fanout import crowds_of
from .report import Row

PUBLISHERS = 8
CPU_BARS = {100: "<= 0.45", 1000: "<= 0.25"}


def burst(bench):
    for subscribers, _, _ in bench.scale.burst:
        what = f"{PUBLISHERS} publishers at full speed, {subscribers:,} subscribers of one topic"
        ours, bare = f"burst {subscribers} ours", f"burst {subscribers} bare"
        bench.rows(
            Row(f"{what}: CPU of the gateway a delivery, against the bare loop, which sends each push alone", "µs",
                f"{ours} alone", bare, CPU_BARS.get(subscribers)),
            Row("(with the API)", "µs", ours, bare),
            Row(f"{what}: publish to delivery, 99th percentile, against the bare loop, whose publishers wait for it",
                "ms", f"{ours} p99", f"{bare} p99", "<= 5", enough=50),
            Row("(median)", "ms", f"{ours} p50", f"{bare} p50"),
            Row("(publishes a second meanwhile)", "1/s", f"{ours} rate", f"{bare} rate"),
            Row("(pushes that slow readers lost, in all rounds)", "", f"{ours} lost"),
        )  # fmt: skip
    lost = dict.fromkeys(bench.scale.burst, 0)
    for _ in bench.each_round():
        for scale in bench.scale.burst:
            lost[scale] += _burst(bench, *scale)
    for (subscribers, *_), count in lost.items():
        bench.report.add(f"burst {subscribers} ours lost", count)


def _burst(bench, subscribers, ours, bare):
    """`ours` and `bare` publishes to each. Returns how many pushes ours has not delivered."""
    lost = 0
    with ExitStack() as stack:
        makes = (lambda: Worker(cores=machine.ANY), lambda: BareLoop(cores=machine.ANY))
        crowds = crowds_of(bench, stack, makes, subscribers, machine.ANY)
        for warm_up in (True, *([False] * bench.scale.burst_slices)):
            for (contender, load), name, count in zip(crowds, ("ours", "bare"), (ours, bare)):
                before, alone_before = load.usage(contender.pids), load.usage(contender.gateway_pids)
                result = load.publish(contender, "fan", "fan", count // 10 if warm_up else count, may_lose=True,
                                      publishers=PUBLISHERS)  # fmt: skip
                used, alone = load.usage(contender.pids) - before, load.usage(contender.gateway_pids) - alone_before
                if name == "ours":
                    lost += result["missed"]
                if not warm_up:
                    _note(bench, f"burst {subscribers} {name}", result, used, alone)
    return lost


def _note(bench, key, result, used, alone):
    deliveries = result["deliveries"]
    bench.report.add(key, used.cpu_us / deliveries["count"])
    bench.report.add(f"{key} alone", alone.cpu_us / deliveries["count"])
    bench.report.add(f"{key} p99", deliveries["p99"] / 1000)
    bench.report.add(f"{key} p50", deliveries["p50"] / 1000)
    bench.report.add(f"{key} rate", result["sent"] / result["answered_seconds"])


def newcomers(bench):
    """Who comes while a crowd is served, and asks how the service is."""
    subscribers, pushes, seconds = bench.scale.crowd
    what = f"{subscribers:,} subscribers, {pushes} pushes in {seconds} s"
    bench.rows(
        Row(f"{what}: a newcomer on another topic, until auth_ok, the slowest of a round", "ms", "newcomer worst", None,
            "<= 250"),
        Row("(newcomers of a round)", "", "newcomers"),
        Row("(what the publishes took)", "s", "crowd published"),
        Row("(until everybody had all of them)", "s", "crowd delivered"),
        Row("(questions for status)", "", "crowd questions"),
        Row("(the slowest answer)", "ms", "crowd status worst"),
        Row(f"{what}: answers to status that are not 200, in all rounds", "", "crowd status refused", None, "<= 0"),
    )  # fmt: skip
    refused = 0
    with Worker() as worker, bench.load() as load, bench.load() as newcomer, bench.load() as asker:
        worker.register("fan", "other", token=True)
        load.connect(worker, "fan", "fan", subscribers)
        worker.settle(load, subscribers)
        for _ in bench.each_round():
            load.begin_publish(worker, "fan", "fan", pushes, publishers=PUBLISHERS, rate=round(pushes / seconds))
            refused += _come_and_ask(bench, worker, load, newcomer, asker)
            result = load.end_publish(worker)
            bench.report.add("crowd published", result["answered_seconds"])
            bench.report.add("crowd delivered", result["seconds"])
            worker.settle(load, subscribers)
        load.drop("fan")
    bench.report.add("crowd status refused", refused)


def _come_and_ask(bench, worker, load, newcomer, asker):
    """Newcomers one after the other, and questions meanwhile, while `load` is at work. Returns how many answers were not
    200."""
    newcomer_times, answer_times, refused, is_over = [], [], 0, False
    newcomer.begin_connect(worker, "newcomer", "other", 1)
    while not is_over:
        answer = asker.command("request", path="/internal/status", count=1, **worker.asking)
        answer_times.append(answer["answers"]["max"] / 1000)
        refused += answer["statuses"].get("200") != 1
        is_over = load.has_ended()
        if newcomer.has_ended() or is_over:
            newcomer_times.append(newcomer.end()["seconds"] * 1000)
            newcomer.drop("newcomer")
            if not is_over:
                newcomer.begin_connect(worker, "newcomer", "other", 1)
        time.sleep(0.02)
    bench.report.add("newcomers", len(newcomer_times))
    bench.report.add("newcomer worst", max(newcomer_times))
    bench.report.add("crowd questions", len(answer_times))
    bench.report.add("crowd status worst", max(answer_times))
    return refused


def durable(bench):
    """What publishers gain by sharing the sync of a commit."""
    with Worker(cores=machine.ANY, on_disk=True, durability="full") as worker, bench.load(machine.ANY) as load:
        kind = machine.file_system(worker.service.state_dir)
        is_real = kind not in machine.IN_MEMORY
        bench.rows(
            Row(f"publishes a second with durability: full, {PUBLISHERS} publishers, against one, on {kind}"
                f"{'' if is_real else ', which is no disk'}", "1/s", "durable eight", "durable one",
                ">= 3" if is_real else None),
            Row("(99th percentile)", "ms", "durable eight p99", "durable one p99"),
        )  # fmt: skip
        worker.register("nobody", token=True)
        for _ in range(bench.rounds_wanted * bench.scale.slices):
            for name, publishers in (("eight", PUBLISHERS), ("one", 1)):
                count = bench.scale.durable * publishers
                result = load.publish(worker, "nobody", None, count, publishers=publishers)
                bench.report.add(f"durable {name}", result["sent"] / result["seconds"])
                bench.report.add(f"durable {name} p99", result["answers"]["p99"] / 1000)
