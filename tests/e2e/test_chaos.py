"""Chaos: publishers, subscribers that resume and plain ones, and all that an operator, a kernel or a slip may do to the
programs meanwhile, at random moments: SIGKILL, SIGTERM, SIGINT, SIGUSR2, SIGHUP, processes that are stopped and
continued, a configuration that is edited, files that go away. What has ended is started again, and that is all the help there is. Each
publish that was answered with 200 reaches every subscriber that resumes, exactly once and in order.

CHAOS_SECONDS says how long (`make chaos`: ten minutes for each build), CHAOS_SEED repeats the choices of a run."""

import contextlib
import os
import random
import shutil
import signal
import time

import pytest

from harness.crashes import API_PROCESSES, TEMPORARY, Crashes, has_ended, is_head, takes
from harness.crowd import Crowd, Member
from harness.ledger import Ledger, Publisher
from harness.process import log_tail, wait_until
from harness.web_servers import Nginx
from test_crash_resume import assert_whole

SECONDS = float(os.environ.get("CHAOS_SECONDS", "12"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
TOPICS = ["a", "b/é"]
PUBLISHERS, RATE = 3, 150  # publishes a second, each
LONGEST_STOP_S = 2.0
HARMLESS = [
    {"drain": "200ms"}, {"drain": "600ms"}, {"max_connections": 900}, {"max_connections": 2000}, {"log_level": "info"},
]  # fmt: skip
DEEDS = {"gateway", "api", "everything", "replaced", "terminated", "interrupted", "reread", "terminated and more", "held",
         "edited", "broken", "worker", "removed", "moved"}  # fmt: skip
REMOVABLE = ["worker.db", "worker.db-wal", "worker.db-shm", "write.lock", "gateway.lock", "wakeup.sock"]
PUT_BACK_AT_ONCE = {"worker.db", "worker.db-wal", "worker.db-shm"}  # by the next publish, whether a gateway runs or not
CONFIGURATION = 78
BROKEN = ["worker_secret: short\n", "ws_port: [\n", "", "state_dir: /nowhere\n"]


class Chaos(Crashes):
    """What else may happen. Whatever it does to a process it undoes itself."""

    def signal_a_head(self, number, what):
        ready = sorted(pid for pid in self.gateways() if is_head(pid) and takes(pid, number))
        if not ready:
            return None
        self.counts[what] += 1
        pid = self.chance.choice(ready)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return pid

    def end(self):
        self.signal_a_head(signal.SIGTERM, "terminated")

    def interrupt(self):
        self.signal_a_head(signal.SIGINT, "interrupted")

    def reread(self):
        self.signal_a_head(signal.SIGHUP, "reread")

    def end_twice(self):
        """While it ends, something else comes."""
        pid = self.signal_a_head(signal.SIGTERM, "terminated and more")
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, self.chance.choice([signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM, signal.SIGINT]))

    def hold(self):
        """A process of either program stands still for a while, perhaps with a lock in its hand."""
        pids = sorted(self.gateways()) + [process.pid for process in self.service.api]
        if not pids:
            return
        self.counts["held"] += 1
        pid, until = self.chance.choice(pids), time.monotonic() + self.chance.uniform(0.05, LONGEST_STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: has_ended(pid) or time.monotonic() > until, "the time is over", interval_s=0.01)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def edit(self):
        """The configuration is edited, and read again by somebody or not."""
        self.counts["edited"] += 1
        self.service.write_config(**self.chance.choice(HARMLESS))
        self.chance.choice([self.reread, self.replace, lambda: None])()

    def break_the_configuration(self):
        """It is broken for a while, in which those that run go on, a worker that is killed comes back, and a successor
        fails."""
        self.counts["broken"] += 1
        self.service.config_file.write_text(self.chance.choice(BROKEN))
        try:
            self.chance.choice([self.reread, self.replace, self.a_worker])()
            if accepts_clients(self):
                self.wait_for_publishes(self.chance.randrange(1, 100))
        finally:
            self.service.write_config()

    def a_worker(self):
        workers = sorted(pid for pid in self.gateways() if not is_head(pid))
        if workers:
            self.counts["worker"] += 1
            self._kill_gateways([self.chance.choice(workers)])

    def remove_files(self):
        """Perhaps again, before everybody has noticed the first time. But whoever is killed before it has been put back
        may have been the last to have it."""
        self.counts["removed"] += 1
        files = [self.service.state_dir / name for name in self.chance.sample(REMOVABLE, self.chance.choice([1, 1, 2, 4]))]
        how = self.chance.choice([lambda file: None, lambda file: file.chmod(0), lambda file: file.rename(f"{file}.old")])
        for _ in range(self.chance.choice([1, 2])):
            for file in files:
                with contextlib.suppress(FileNotFoundError):
                    how(file)
                    file.unlink()
            self.wait_until_put_back(files)

    def move_the_directory(self):
        self.counts["moved"] += 1
        away = self.service.state_dir.with_name("away")
        self.service.state_dir.rename(away)
        self.wait_until_put_back([self.service.database])
        shutil.rmtree(away)

    def wait_until_put_back(self, files):
        self.wait_for_publishes(1)
        for file in files:
            wait_until(lambda: file.exists() or file.name not in PUT_BACK_AT_ONCE, f"{file.name} is there again")

    def run_for(self, seconds):
        deeds = [
            self.the_gateway, self.an_api_process, self.everything, self.replace, self.replace, self.end, self.interrupt,
            self.reread, self.end_twice, self.hold, self.hold, self.edit, self.break_the_configuration, self.a_worker,
            self.remove_files, self.move_the_directory,
        ]  # fmt: skip
        deadline, last = time.monotonic() + seconds, []
        while time.monotonic() < deadline:
            if self.chance.random() < 0.7:
                self.wait_for_clients(1)
            self.wait_for_publishes(self.chance.randrange(1, self.chance.choice([2, 30, 200])))
            deed = self.chance.choice(deeds)
            last = [*last[-9:], deed.__name__]
            try:
                deed()
                self.supervise()
            except AssertionError as error:
                raise AssertionError(f"after {', '.join(last)}: {error}\n{log_tail(self.service.log_dir)}") from None


def accepts_clients(chaos):
    return chaos.latest.runs() and chaos.crowd.count() > 0


@pytest.mark.parametrize("processes", [1, 3], ids=["one process", "a parent with workers"])
def test_chaos_loses_nothing_that_was_answered(make_service, certificates, processes):
    print(f"CHAOS_SEED={SEED}")
    service = make_service(log_level="warn", drain="300ms", gateway_processes=processes).start(API_PROCESSES)
    server = Nginx(service, certificates)
    for topic in TOPICS:
        assert server.api.register(topic).status == 200
    publishers = [Publisher(server.api, TOPICS, by, rate=RATE) for by in range(PUBLISHERS)]
    with Crowd(SEED) as crowd:
        for number in range(24):
            address, path = [(service.ws_address, "/ws"), (("127.0.0.1", server.plain_port), server.ws_path)][number % 2]
            crowd.add(Member(address, TOPICS[number // 2 % 2], "no" if number % 6 == 5 else "always", path))
        crowd.wait_until_open()
        for publisher in publishers:
            publisher.start()
        chaos = Chaos(service, random.Random(SEED), publishers, crowd)
        with chaos.to_the_end() as end:
            chaos.run_for(SECONDS)
    ends, statuses = end["ends"], end["statuses"]
    if SECONDS >= 60:
        assert not {deed for deed in DEEDS if not chaos.counts[deed]} - ({"worker"} if processes == 1 else set())
    faults = Ledger(publishers, crowd.members).faults()
    assert not faults, "\n".join(faults[:20])
    assert all(member.unrecovered == 0 for member in crowd.members)
    assert_whole(service, publishers)
    # 78: a successor that read a broken configuration, and whose predecessor was gone before it ended.
    assert set(ends) <= {0, -signal.SIGKILL, TEMPORARY, CONFIGURATION}, ends
    assert set(statuses) <= {200, 502, 503, 504}
