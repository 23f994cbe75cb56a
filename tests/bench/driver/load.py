"""The load generator, build/bench/load: starts it, sends it commands, and checks what it says."""

import json
import select
import subprocess
from dataclasses import dataclass

from harness.service import BUILD

from . import machine


class Failure(Exception):
    """A measurement that is not one: something was lost, refused, or did not run."""


@dataclass
class Usage:
    cpu_us: float
    rss_bytes: int

    def __sub__(self, before):
        return Usage(self.cpu_us - before.cpu_us, self.rss_bytes - before.rss_bytes)


class Load:
    def __init__(self, cores=machine.LOAD):
        with machine.on_cores(cores):
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
        words = [verb, *(f"{name}={value}" for name, value in arguments.items() if value is not None)]
        try:
            self.process.stdin.write(" ".join(words) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def has_ended(self):
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def end(self):
        answer = self.process.stdout.readline()
        if not answer:
            raise Failure("the load generator ended, see its message above")
        return json.loads(answer)

    def command(self, verb, **arguments):
        self.begin(verb, **arguments)
        return self.end()

    def connect(self, contender, group, topic, count, **options):
        """`count` subscribers, authenticated where there is something to authenticate to."""
        self.begin_connect(contender, group, topic, count, **options)
        return self.end()

    def begin_connect(self, contender, group, topic, count, **options):
        self.begin("connect", group=group, topic=topic, count=count, **{**contender.subscribing, **options})

    def drop(self, group):
        counts = self.command("drop", group=group)
        if counts["corrupt"] or counts["closed"]:
            raise Failure(f"the group {group}: {counts}")

    def publish(self, contender, topic, groups, count, all_accepted=True, may_lose=False, **options):
        """Publishes and waits for all deliveries. Anything lost, repeated, out of order or changed is a Failure, and so
        is a publish that is refused, unless the caller looks at what is missed or refused."""
        self.begin_publish(contender, topic, groups, count, **options)
        return self.end_publish(contender, all_accepted, may_lose)

    def begin_publish(self, contender, topic, groups, count, size=150, **options):
        self.begin("publish", groups=groups, count=count, bytes=size, **contender.publishing(topic), **options)

    def end_publish(self, contender, all_accepted=True, may_lose=False):
        result = self.end()
        faults = ("repeated", "corrupt", "closed", "behind", *(() if may_lose else ("missed",)))
        lost = {name: result[name] for name in faults if result[name]}
        if lost or (all_accepted and set(result["statuses"]) != {contender.accepted}):
            raise Failure(f"{contender.name} lost or refused something: {lost} {result['statuses']}")
        return result

    def usage(self, pids):
        answer = self.command("usage", pids=",".join(map(str, pids)))
        # Two ways to count the same; the second in steps of 10 ms a process.
        if abs(answer["cpu_ns"] - answer["ticks_ns"]) > 20e6 * len(pids) + 0.02 * answer["cpu_ns"]:
            raise Failure(f"schedstat and stat in /proc differ: {answer}")
        return Usage(answer["cpu_ns"] / 1000, answer["rss_bytes"])

    def cpu_us(self, pids, action):
        """The processor time that the processes take during action()."""
        before = self.usage(pids)
        action()
        return (self.usage(pids) - before).cpu_us
