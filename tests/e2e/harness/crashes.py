"""Killing the programs of a service, and what a supervisor does then: it starts the gateway again when it has gone, and
the API by spawn-fcgi when none of its processes is left."""

import collections
import contextlib
import os
import signal
import time
from pathlib import Path

from .process import Process, accepts, wait_until

API_PROCESSES = 3
TEMPORARY = 75  # the exit code of a gateway that finds another one: it is started again
SETTLED_S = 1.0  # longer than the gateways drain
WORKER = "gateway-worker"  # how the kernel names a worker of a gateway


def has_ended(pid):
    """True when nothing is left of it but its exit code and its descriptors are closed; /proc/PID/exe goes earlier."""
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state in "ZX" and len(os.listdir(f"/proc/{pid}/task")) <= 1
    return True


def takes(pid, number):
    """True once it reads that signal from a descriptor: before, the signal would end it. A child between its fork and its
    exec holds all signals back."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigBlk:"):
                held = int(line.split()[1], 16)
                return bool(held >> (number - 1) & 1 and not held >> (signal.SIGUSR1 - 1) & 1)
    return False


def is_head(pid):
    """True for a gateway that is not a worker of another (gateway_processes)."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip() != WORKER
    return False


def looks_for_leaks(pid):
    """True for what LeakSanitizer starts beside a process that ends, to look at it; nobody is told of its end (the 38th
    field of its stat, exit_signal), so if it were killed the other would wait for it for ever."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[35] == "0"
    return False


class Crashes:
    """`counts` says how often each thing was done."""

    def __init__(self, service, chance, publishers, crowd):
        self.service, self.chance, self.publishers, self.crowd = service, chance, publishers, crowd
        self.counts = collections.Counter()
        self.refused_before = 0
        self.latest = service.gateway
        self.seen = {self.latest.pid: self.latest}

    def gateways(self):
        """The pids of those that run: after a replacement there are two for a while, each with its workers."""
        running = set()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and os.readlink(entry / "exe") == str(self.service.gateway_program):
                    running.add(int(entry.name))
        running = {pid for pid in running if not looks_for_leaks(pid)}
        for pid in running - self.seen.keys():
            self.seen[pid] = Process("successor", pid)
        return running

    def is_up(self):
        """True when somebody accepts clients; starts a gateway when there is none, as a service manager does."""
        if accepts(self.service.ws_address):
            return True
        if not self.latest.runs():
            command = [self.service.gateway_program, "-c", self.service.config_file]
            self.latest = Process.start("gateway", command, self.service.log_dir / "gateway.log")
            self.seen[self.latest.pid] = self.latest
        return False

    def supervise(self):
        """Until somebody accepts clients and somebody takes publishes."""
        if not self.service.api:
            wait_until(lambda: self._refused() > self.refused_before, "nginx answers 502 while there is no API")
            self.service.start_api(API_PROCESSES)
        wait_until(self.is_up, "a gateway accepts connections", limit_s=30)

    def wait_for_clients(self, count):
        """Supervises meanwhile: a gateway that drains may have held its port when its successor was killed."""
        wait_until(lambda: self.is_up() and self.crowd.count() >= count, self.describe, limit_s=30, interval_s=0.005)

    def _refused(self):
        return sum(publisher.statuses[502] for publisher in self.publishers)

    def _kill_api(self, processes):
        self.refused_before = self._refused()
        for process in processes:
            process.send(signal.SIGKILL)
        for process in processes:
            process.wait()
            self.service.api.remove(process)

    def _kill_gateways(self, pids):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: all(map(has_ended, pids)), "they are dead", interval_s=0.001)

    def describe(self):
        running = {pid: "head" if is_head(pid) else "worker" for pid in self.gateways()}
        log = (self.service.log_dir / "gateway.log").read_text().splitlines()[-20:]
        return "\n".join([f"{self.crowd.count()} clients are subscribed at {running}, {self.crowd.refusals()}", *log])

    def an_api_process(self):
        self.counts["api"] += 1
        self._kill_api([self.chance.choice(self.service.api)])

    def the_gateway(self):
        """One of its processes, or of the two while one replaces the other."""
        running = sorted(self.gateways())
        if running:  # otherwise the last one has just ended, but its port is not free yet
            self.counts["gateway"] += 1
            self._kill_gateways([self.chance.choice(running)])

    def everything(self):
        self.counts["everything"] += 1
        self._kill_gateways(self.gateways())
        self._kill_api(list(self.service.api))

    def replace(self):
        """No kill: a successor is started. What comes next may hit it on its way up, or the old one on its way out."""
        ready = sorted(pid for pid in self.gateways() if is_head(pid) and takes(pid, signal.SIGUSR2))
        if ready:
            self.counts["replaced"] += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.chance.choice(ready), signal.SIGUSR2)

    def kills(self):
        return self.counts["api"] + self.counts["gateway"] + self.counts["everything"]

    def progress(self):
        return sum(len(publisher.answered) for publisher in self.publishers)

    def wait_for_publishes(self, count):
        goal = self.progress() + count
        wait_until(lambda: self.progress() >= goal, "publishes go on", limit_s=30, interval_s=0.0005)

    def run(self, kills, kinds=None):
        """That many kills at random moments, from "somebody has subscribed again" on."""
        usual = [self.the_gateway] * 3 + [self.an_api_process] * 3 + [self.everything] + [self.replace] * 2
        goal = self.kills() + kills
        while self.kills() < goal:
            if self.chance.random() < 0.7:
                self.wait_for_clients(1)
            self.wait_for_publishes(self.chance.randrange(1, self.chance.choice([2, 30, 200])))
            self.chance.choice(kinds or usual)()
            self.supervise()

    @contextlib.contextmanager
    def to_the_end(self):
        """What is done within it is over when everybody has what the publishers published last. Yields a dict that then
        has `ends` (see settle) and `statuses`, how often publishes were answered with which."""
        end, members = {}, self.crowd.members
        try:
            yield end
            end["ends"] = self.settle()
            self.wait_for_clients(len(members))
        finally:
            for publisher in self.publishers:
                publisher.stopping.set()
        for publisher in self.publishers:
            last = publisher.finish()
        wait_until(
            lambda: all(member.last_key == last[member.topic] for member in members),
            lambda: f"the last event reaches all: {[member.position for member in members]}", limit_s=30,
            progress=lambda: sum(len(member.keys) for member in members),
        )  # fmt: skip
        end["statuses"] = sum((publisher.statuses for publisher in self.publishers), start=collections.Counter())
        print(f"{dict(self.counts)}, ends {dict(end['ends'])}, answers {dict(end['statuses'])}, "
              f"without an answer {sum(publisher.lost_answers for publisher in self.publishers)}, "
              f"received {sum(len(member.keys) for member in members)}, "
              f"connections {sum(len(member.starts) for member in members)}")

    def settle(self):
        """Waits until one gateway is left and stays (one that drains ends soon); it is then the service's. Returns how
        often the others ended in which way."""
        workers = self.service.config.get("gateway_processes", 1)
        expected = workers + 1 if workers > 1 else 1
        self.supervise()
        running, since = set(), 0.0

        def is_settled():
            nonlocal running, since
            now, before = self.gateways(), running
            running = now
            if not self.is_up() or now != before or len(now) != expected or sum(map(is_head, now)) != 1:
                since = time.monotonic()
            return time.monotonic() - since > SETTLED_S

        wait_until(is_settled, self.describe, limit_s=30)
        (head,) = filter(is_head, running)
        self.service.gateway = self.seen[head]
        ends = collections.Counter()
        for pid in self.seen.keys() - running:
            with contextlib.suppress(AssertionError):  # the child of a gateway that has seen it end
                ends[self.seen[pid].wait()] += 1
        return ends
