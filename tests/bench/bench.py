"""The benchmark: starts each contender on loopback, measures, prints one table, and fails when a bar is missed.
A row that misses its bar is measured again in the end, twice at most, and all that was measured counts.
BENCHMARKS.md says what the rows mean. With --smoke the numbers are small, nothing is held against the bars, and the only
question is whether the tools work.

	bench.py [--rounds N] [-k WORD] [--smoke]
"""

import argparse
import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness.process import adopt_orphans  # noqa: E402

from driver import cluster, deliveries, keeping, portable, publishes, report  # noqa: E402
from driver.contenders import Nchan  # noqa: E402
from driver.load import Failure  # noqa: E402

SCENARIOS = (
    deliveries.fan_out, deliveries.last_subscriber, deliveries.gateway_processes, deliveries.burst,
    deliveries.newcomers, keeping.connecting, keeping.idle_connections, keeping.large_database,
    publishes.one_publisher, publishes.idle_poll, publishes.eight_publishers, publishes.reloads, publishes.durable, publishes.delivery,
    keeping.replay, keeping.status, keeping.writes, cluster.cluster_fan_out, cluster.cluster_publish, cluster.cluster_delivery,
    cluster.cluster_backlog, portable.portable,
)  # fmt: skip
TIMES_AGAIN = 2


@dataclass
class Scale:
    slices: int = 6  # of a round; the figures below that are marked with * are those of a slice
    fan: tuple = ((1000, 40), (5000, 8))  # subscribers, publishes *
    last: tuple = (10_000, 3)  # *
    burst: tuple = ((100, 8000, 3000), (1000, 3000, 300))  # subscribers, publishes to ours *, to the bare loop *
    burst_slices: int = 2
    crowd: tuple = (6000, 800, 0.3)  # subscribers, pushes, in how many seconds
    connections: int = 10_000
    idle: int = 15_000  # what a process may hold where the limit of descriptors is 20,000
    publishes: int = 500  # *
    paced: int = 400
    parts: int = 4  # of a round of paced pushes, in turns
    durable: int = 50  # of each publisher *
    topics: int = 100_000
    events: int = 1_000_000
    replayed: int = 200_000
    backlog: int = 100_000
    idle_seconds: int = 20
    gateway_processes: int = 2


SMOKE = Scale(
    slices=2, burst_slices=1,
    fan=((20, 5), (50, 5)), last=(50, 3), burst=((20, 50, 50),), crowd=(50, 40, 0.3), connections=40, idle=50,
    publishes=50, paced=50, durable=10, topics=100, events=1000, replayed=1000, backlog=20_000, idle_seconds=1,
)  # fmt: skip


class Bench:
    def __init__(self, rounds, scale, smoke):
        self.rounds_wanted, self.scale, self.smoke = rounds, scale, smoke
        self.report = report.Report(judging=not smoke)
        self.measuring = None  # the name of a scenario

    def measure(self, scenario):
        self.measuring, begin = scenario.__name__, time.monotonic()
        self.report.times[self.measuring] += 1
        print(f"measuring {self.measuring}", end=" ", file=sys.stderr, flush=True)
        scenario(self)
        print(f"took {time.monotonic() - begin:.1f} s", file=sys.stderr)

    def rows(self, *rows):
        """Those of what is measured again are there already."""
        self.report.rows |= dict.fromkeys(rows, self.measuring)

    def add(self, name, value):
        self.report.values[name].append(value)

    def each_round(self):
        return range(self.rounds_wanted)

    def each_part(self):
        """The parts of all rounds: what is paced takes turns too."""
        return range(self.rounds_wanted * self.scale.parts)

    def each_slice(self, times=1):
        """The slices of a round: what is compared takes turns, each for some tenths of a second. `times` as many where it
        differs much from slice to slice."""
        return range(self.scale.slices * times)

    @staticmethod
    def in_turn(sides, turn):
        """Every other time backwards, so that nobody is always the first one after a rest."""
        return sides[:: -1 if turn % 2 else 1]

    def start(self, stack, *makes):
        """Contenders. The smoke test does without nchan, whose package only the benchmark needs."""
        return [stack.enter_context(make()) for make in makes if make is not Nchan or not self.smoke]


def _arguments():
    parser = argparse.ArgumentParser(description="Measures wavelog-worker.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each row is measured (3)")
    parser.add_argument("-k", default="", metavar="WORD", help="only what has WORD in its name: "
                        + ", ".join(scenario.__name__ for scenario in SCENARIOS))  # fmt: skip
    parser.add_argument("--smoke", action="store_true", help="small numbers: do the tools work?")
    return parser.parse_args()


def main():
    arguments = _arguments()
    adopt_orphans()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    start, lines = time.monotonic(), report.machine()
    bench = Bench(1 if arguments.smoke else arguments.rounds, SMOKE if arguments.smoke else Scale(), arguments.smoke)
    for scenario in SCENARIOS:
        if arguments.k in scenario.__name__:
            bench.measure(scenario)
    for _ in range(TIMES_AGAIN):
        again = set(bench.report.missed().values())
        for scenario in SCENARIOS:
            if scenario.__name__ in again:
                bench.measure(scenario)
    lines.append(f"- load average at the end: {os.getloadavg()[0]:.2f}; "
                 f"{bench.rounds_wanted} rounds in {time.monotonic() - start:.0f} s")  # fmt: skip
    print("\n".join([*lines, "", *bench.report.lines()]))
    missed = bench.report.missed()
    if missed:
        print("\nmissed: " + "; ".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"no measurement: {failure}")
