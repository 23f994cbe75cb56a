"""The static programs of `make portable`, if it was run, against those of the usual build."""

import platform
from contextlib import ExitStack

from harness.service import BUILD, REPO

from . import deliveries, keeping
from .contenders import Worker
from .load import Load
from .report import Row

PROGRAMS = {"static": REPO / "build/portable" / platform.machine(), "usual": BUILD}
SIZES = (150, deliveries.LARGE)


def portable(bench):
    if not (PROGRAMS["static"] / "wavelog-worker-gateway").exists():
        return
    subscribers, publishes = bench.scale.fan[0]

    def row(what, unit, key, bar=None):
        return Row(f"static programs, against the usual ones: {what}", unit, key.format("static"), key.format("usual"), bar)

    bench.rows(
        *(row(f"CPU a delivery, {subscribers:,} subscribers, {size:,} bytes", "µs", f"{{}} fan {size}", "<= 1.05")
          for size in SIZES),
        row("CPU a publish to 1 subscriber", "µs", "{} cpu", "<= 1.05"),
        row("time of such a publish until it is delivered", "µs", "{} time", "<= 1.05"),
        row("CPU a connection", "µs", "connect {}", "<= 1.05"),
        row("memory of an idle authenticated connection, ten a topic", "KB", "memory {}", "<= 1"),
    )  # fmt: skip
    for _ in bench.each_round():
        with ExitStack() as stack:
            sides = [(name, _start(stack, programs), stack.enter_context(Load())) for name, programs in PROGRAMS.items()]
            _deliveries(bench, sides, subscribers, publishes)
            keeping.publish_in_turns(bench, *((worker, load, name) for name, worker, load in sides))
        with ExitStack() as stack:
            _connections(bench, stack)


def _start(stack, programs, **options):
    return stack.enter_context(Worker(programs=programs, **options))


def _deliveries(bench, sides, subscribers, publishes):
    for _, worker, load in sides:
        worker.register("fan")
        load.connect(worker, "fan", "fan", subscribers)
        worker.settle(subscribers)
    for size in SIZES:
        options = {"size": size, "until_delivered": 1, "awake": 1}
        for _ in bench.each_slice():
            for name, worker, load in sides:
                load.publish(worker, "fan", "fan", deliveries.WARM_UP, **options)
                deliveries.publish(bench, (worker, load), f"{name} fan {size}", publishes, **options)
    for _, _, load in sides:
        load.drop("fan")


def _connections(bench, stack):
    topics = bench.scale.connections // 10
    crowds = [
        keeping.Crowd(bench, stack, name, _start(stack, programs, seed={"topics": topics}), topics)
        for name, programs in PROGRAMS.items()
    ]
    for step in range(keeping.STEPS):
        for crowd in bench.in_turn(crowds, step):
            crowd.come(step)
    for crowd in crowds:
        crowd.go()
