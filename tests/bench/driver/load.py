"""The tools: the load generator (build/bench/load), what processes have used, and which core does what."""

import contextlib
import json
import os
import select
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.service import BUILD

ALL = set(os.sched_getaffinity(0))
# The load generator has a core of its own where there are two, and what is measured has the others: else the scheduler
# moves both about, each time in another way. All contenders are treated alike.
LOAD_CORES = {min(ALL)}
SERVER_CORES = ALL - LOAD_CORES or ALL


class Failure(Exception):
    """A measurement that is not one: something was lost, refused, or did not run."""


@contextlib.contextmanager
def on_cores(cores):
    """What is started inside stays on these cores, and so do its children."""
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, ALL)


def descendants(pid):
    """A process and its children, theirs, and so on."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


@dataclass
class Usage:
    """Processor time, user and system, of all threads, and resident memory: smaps_rollup counts it page by page, while
    VmRSS may be off by some hundred kilobytes."""

    cpu_us: float
    rss_bytes: int

    def __sub__(self, before):
        return Usage(self.cpu_us - before.cpu_us, self.rss_bytes - before.rss_bytes)


def usage(pids):
    cpu_us = ticks_us = rss_bytes = 0
    for process in (Path(f"/proc/{pid}") for pid in pids):
        cpu_us += sum(int((task / "schedstat").read_text().split()[0]) / 1000 for task in (process / "task").iterdir())
        words = (process / "stat").read_text().rpartition(")")[2].split()
        ticks_us += (int(words[11]) + int(words[12])) * 1e6 / os.sysconf("SC_CLK_TCK")
        rss_bytes += int((process / "smaps_rollup").read_text().partition("Rss:")[2].split()[0]) * 1024
    # Two ways to count the same; the second in steps of 10 ms a process.
    if abs(cpu_us - ticks_us) > 20e3 * len(pids) + 0.02 * cpu_us:
        raise Failure(f"schedstat and stat in /proc differ: {cpu_us} and {ticks_us} µs")
    return Usage(cpu_us, rss_bytes)


def written(pids):
    """Bytes that processes have made the kernel write."""
    return sum(int(Path(f"/proc/{pid}/io").read_text().partition("\nwrite_bytes:")[2].split()[0]) for pid in pids)


class Load:
    """One load generator; load.c says what its commands are."""

    def __init__(self, cores=LOAD_CORES):
        with on_cores(cores):
            self.process = subprocess.Popen(
                [BUILD / "bench/load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def begin(self, verb, **arguments):
        """Sends a command; end() takes its answer."""
        command = {"do": verb, **{name: value for name, value in arguments.items() if value is not None}}
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()

    def has_ended(self):
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def end(self):
        answer = self.process.stdout.readline()
        if not answer:
            raise Failure("the load generator ended, see its message above")
        return json.loads(answer)

    def begin_connect(self, contender, group, topic, count, **options):
        self.begin("connect", group=group, topic=topic, count=count, **{**contender.subscribing, **options})

    def connect(self, contender, group, topic, count, **options):
        """`count` subscribers, authenticated where there is something to authenticate to. Returns the seconds."""
        self.begin_connect(contender, group, topic, count, **options)
        return self.end()["seconds"]

    def drop(self, group):
        self.begin("drop", group=group)
        counts = self.end()
        if counts["corrupt"] or counts["closed"]:
            raise Failure(f"the group {group}: {counts}")

    def begin_publish(self, contender, topic, groups, count, size=150, **options):
        self.begin("publish", groups=groups, count=count, bytes=size, **contender.publishing(topic), **options)

    def end_publish(self, contender, may_refuse=False, may_lose=False, is_published=True):
        """`is_published`: by this load generator."""
        result = self.end()
        faults = ("repeated", "corrupt", "closed", "behind", *(() if may_lose else ("missed",)))
        lost = {name: result[name] for name in faults if result[name]}
        if lost or not (may_refuse or set(result["statuses"]) == ({contender.accepted} if is_published else set())):
            raise Failure(f"{contender.name} lost or refused something: {lost} {result['statuses']}")
        return result

    def publish(self, contender, topic, groups, count, may_refuse=False, may_lose=False, **options):
        """Publishes and waits for all deliveries. Anything lost, repeated, out of order or changed is a Failure, and so
        is a publish that is refused, unless the caller looks at what is missed or refused."""
        self.begin_publish(contender, topic, groups, count, **options)
        return self.end_publish(contender, may_refuse, may_lose)

    def begin_ask(self, contender, verb, count=1, **options):
        self.begin("publish", path=f"/internal/{verb}", count=count, **contender.asking, **options)
