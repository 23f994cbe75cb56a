"""Counts what a publish, a delivery and a connection take of each program: system calls, by strace, and instructions in
user space, by callgrind. Prints two tables. Needs no quiet machine: what is counted is not time.

	count.py
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness.process import adopt_orphans, wait_until  # noqa: E402

from driver import machine  # noqa: E402
from driver.contenders import BareLoop, Worker  # noqa: E402
from driver.load import Load  # noqa: E402

PUBLISHES, FAN_PUBLISHES, SUBSCRIBERS, CONNECTIONS, TOPICS = 2000, 20, 1000, 1000, 100
LEAST = 0.02  # a system call that comes more rarely is one of the timers'


def _attached(pids):
    def is_traced(pid):
        return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()

    return lambda: all(map(is_traced, pids))


def _trace(pids, action, units):
    """System calls of the processes during action(), each as how many for one unit."""
    with tempfile.NamedTemporaryFile("r") as output:
        options = [option for pid in pids for option in ("-p", str(pid))]
        tracer = subprocess.Popen(["strace", "-c", "-f", "-o", output.name, *options], stderr=subprocess.DEVNULL)
        wait_until(_attached(pids), "strace has attached")
        action()
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", output.read(), re.MULTILINE)
    return {name: int(count) / units for count, name in rows if name != "total" and int(count) / units >= LEAST}


def _api_calls(worker, load):
    pids = [process.pid for process in worker.service.api]
    return _trace(pids, lambda: load.publish(worker, "nobody", None, PUBLISHES), PUBLISHES)


def _delivery_calls(contender, load):
    load.connect(contender, "fan", "fan", SUBSCRIBERS)
    contender.settle(load, SUBSCRIBERS)
    publish = lambda: load.publish(contender, "fan", "fan", FAN_PUBLISHES, until="delivered")  # noqa: E731
    calls = _trace(contender.gateway_pids, publish, FAN_PUBLISHES * SUBSCRIBERS)
    load.drop("fan")
    contender.settle(load, 0)
    return calls


def _connection_calls(contender, load):
    def connect():
        load.connect(contender, "crowd", "seed", CONNECTIONS, topics=TOPICS)
        contender.settle(load, CONNECTIONS)  # what is written behind it counts too

    calls = _trace(contender.gateway_pids, connect, CONNECTIONS)
    load.drop("crowd")
    return calls


def _system_calls():
    """Lines of (what, {name: how many})."""
    with Worker(processes=1, seed={"topics": TOPICS}) as worker, Load() as load:
        worker.register("fan", "nobody", token=True)
        load.publish(worker, "nobody", None, 50)
        yield "a publish: the API", _api_calls(worker, load)
        yield "a publish to nobody: the gateway", _trace(
            worker.gateway_pids, lambda: _publish(worker, load, PUBLISHES), PUBLISHES
        )
        yield "a delivery: the gateway", _delivery_calls(worker, load)
        yield "a connection: the gateway", _connection_calls(worker, load)
    with Worker(processes=1, bare=True) as bare, Load() as load:
        yield "a publish: the bare FastCGI program", _api_calls(bare, load)
    with BareLoop() as bare, Load() as load:
        yield "a delivery: the bare loop", _delivery_calls(bare, load)
        yield "a connection: the bare loop", _connection_calls(bare, load)


def _publish(worker, load, count):
    load.publish(worker, "nobody", None, count, rate=200)  # one at a time: taps that wait together are one


def _deliver(worker, load, count):
    load.connect(worker, "fan", "fan", 100)
    load.publish(worker, "fan", "fan", count // 100, until="delivered")
    load.drop("fan")


def _connect(worker, load, count):
    load.connect(worker, "crowd", "seed", count, topics=TOPICS, underway=64)
    worker.settle(load, count)
    load.drop("crowd")
    worker.settle(load, 0)


def _instructions_of(program, action, count):
    """All that the program executes in its life, when count units are done in it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o777)
        under = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={directory}/%p"]
        with Worker(processes=1, seed={"topics": TOPICS}, **{f"{program}_under": under}) as worker, Load() as load:
            worker.register("fan", "nobody", token=True)
            action(worker, load, count)
        totals = [re.search(r"^(?:totals|summary): (\d+)", path.read_text(), re.MULTILINE)
                  for path in Path(directory).iterdir()]  # fmt: skip
    return sum(int(total.group(1)) for total in totals if total)


def _instructions():
    """Lines of (what, how many): the difference between two runs, so that start and end are not in it."""
    for what, program, action, count in (
        ("a publish: the API", "api", _publish, 1000),
        ("a publish to nobody: the gateway", "gateway", _publish, 1000),
        ("a delivery: the gateway", "gateway", _deliver, 5000),
        ("a connection: the gateway, its end included", "gateway", _connect, 500),
    ):
        few, many = (_instructions_of(program, action, number) for number in (count, 3 * count))
        yield what, (many - few) / (2 * count)


def main():
    adopt_orphans()
    machine.raise_descriptor_limit()
    print("| system calls of | all | each |\n| --- | ---: | --- |")
    for what, calls in _system_calls():
        each = sorted(calls.items(), key=lambda call: -call[1])
        print(f"| {what} | {sum(calls.values()):.1f} | {', '.join(f'{name} {count:.2f}' for name, count in each)} |")
    print("\n| instructions in user space of | |\n| --- | ---: |")
    for what, count in _instructions():
        print(f"| {what} | {count:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
