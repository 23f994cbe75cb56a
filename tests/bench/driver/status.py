"""Status and metrics of a large service, and what they do to the pushes meanwhile."""

from .contenders import Worker
from .load import Failure
from .report import Row

PUSHES_A_SECOND, QUESTIONS_A_SECOND = 100, 20


def status(bench):
    sockets, topics = bench.scale.connections, bench.scale.topics
    what = f"{sockets:,} connections and {topics:,} topics"
    bench.rows(
        Row(f"status, {what}: 99th percentile of the answers", "ms", "status p99", None, "< 10"),
        Row("(median)", "ms", "status p50"),
        Row("(CPU of the API)", "ms", "status cpu"),
        Row(f"metrics, {what}: 99th percentile of the answers", "ms", "metrics p99", None, "< 10"),
        Row("(median)", "ms", "metrics p50"),
        Row("(CPU of the API)", "ms", "metrics cpu"),
        Row(f"pushes while {2 * QUESTIONS_A_SECOND} of them a second are answered, 99th percentile, against quiet ones",
            "ms", "push asked", "push quiet", "<= 1", shift=True),
        Row("(median)", "ms", "push asked p50", "push quiet p50", shift=True),
    )  # fmt: skip
    with Worker(seed={"topics": topics}) as worker, bench.load() as load, bench.load() as status_load, \
            bench.load() as metrics_load:
        worker.register("one", token=True)
        load.connect(worker, "one", "one", 1)
        load.connect(worker, "crowd", "seed", sockets, topics=min(topics, sockets))
        worker.settle(load, sockets + 1)
        askers = ((status_load, "status", "/internal/status"), (metrics_load, "metrics", "/internal/metrics"))
        for _ in bench.each_round():
            _push(bench, load, worker, "quiet")
            for asker, _, path in askers:
                count = bench.scale.paced * QUESTIONS_A_SECOND // PUSHES_A_SECOND
                asker.begin("request", path=path, count=count, rate=QUESTIONS_A_SECOND, **worker.asking)
            _push(bench, load, worker, "asked")
            for asker, name, _ in askers:
                result = asker.end()
                if set(result["statuses"]) != {"200"}:
                    raise Failure(f"{name}: {result['statuses']}")
                answers = result["answers"]
                bench.report.add(f"{name} p50", answers["p50"] / 1000)
                bench.report.add(f"{name} p99", answers["p99"] / 1000)
            for asker, name, path in askers:
                bench.report.add(f"{name} cpu", _cpu_ms(bench, asker, worker, path))
        load.drop("crowd")
        load.drop("one")


def _cpu_ms(bench, asker, worker, path):
    """What an answer costs the API, one after the other."""
    count = bench.scale.paced // 10
    pids = [process.pid for process in worker.service.api]
    used = asker.cpu_us(pids, lambda: asker.command("request", path=path, count=count, **worker.asking))
    return used / count / 1000


def _push(bench, load, worker, name):
    result = load.publish(worker, "one", "one", bench.scale.paced, rate=PUSHES_A_SECOND)
    bench.report.add(f"push {name}", result["deliveries"]["p99"] / 1000)
    bench.report.add(f"push {name} p50", result["deliveries"]["p50"] / 1000)
