"""The API that listens by itself: a parent and its processes, by --listen and by a socket of systemd's."""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.api import FastCgi
from harness.process import LIMIT_S, Process, free_port, give_to_user, wait_until
from harness.service import BUILD

BURST = 64
PUBLISH = b'{"topic":"t","payload":1}'


class Listening:
    """A parent with 3 processes, in a Service; of systemd's, with 4."""

    def __init__(self, service, *options, where=None, start=(), name="api"):
        self.service = service
        self.address = where or service.dir / "run/api.sock"
        if not where:
            self.address.parent.mkdir(exist_ok=True)
            give_to_user(self.address.parent, 0o755)
        listen = f"{where[0]}:{where[1]}" if where else f"unix:{self.address}"
        given = [] if start else ["--listen", listen, "--processes", "3"]
        self.count = 4 if start else 3
        self.log = service.log_dir / f"{name}.log"
        self.parent = Process.start(
            name, [*start, service.api_program, "-c", service.config_file, *given, *options],
            self.log, pass_fds=[3] if start else [],
        )  # fmt: skip
        service.closers.append(self.close)

    def wait(self):
        wait_until(lambda: len(self.pids()) == self.count and self.call("register", b'{"topic":"t"}').status == 200, self.log.read_text)
        return self

    def pids(self):
        """Those that have started."""
        there = Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children").read_text().split()
        return {int(pid) for pid in there} & {int(pid) for pid in re.findall(r'"started" pid=(\d+)', self.log.read_text())}

    def call(self, verb="publish", body=PUBLISH):
        return FastCgi(self.address, self.service.secret).call(verb, body)

    def is_served(self):
        with contextlib.suppress(OSError):
            return self.call().status == 200

    def close(self):
        fault = self.parent.stop() if self.parent.runs() else None
        return [fault] if fault else []


@pytest.fixture
def listening(make_service):
    return Listening(make_service()).wait()


def burst(listening, then):
    """As many requests at once as web servers may have under way; then() comes when all are connected."""
    connections = [FastCgi(listening.address, listening.service.secret) for _ in range(BURST)]
    for connection in connections:
        connection.begin("publish", len(PUBLISH))
        connection.send_body(PUBLISH)
    then()

    def finish(connection):
        with connection:
            connection.end_body()
            return connection.reply().status

    with ThreadPoolExecutor(BURST) as pool:
        assert list(pool.map(finish, connections)) == [200] * BURST


def test_it_ends_when_told_and_answers_all_who_had_come(listening):
    burst(listening, lambda: listening.parent.send(signal.SIGTERM))
    assert listening.parent.wait() == 0
    assert not listening.address.exists()


def test_what_is_killed_is_started_again(listening):
    before = listening.pids()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(listening.pids()) == 3 and victim not in listening.pids(), listening.log.read_text)
    assert listening.is_served() and before - {victim} < listening.pids()
    assert f'level=warn program=api msg="a process has ended" pid={victim} code=0 signal=9' in listening.log.read_text()


def test_one_that_is_started_again_has_the_configuration_of_its_siblings(listening):
    listening.service.write_config(worker_secret="n" * 48)
    wait_until(lambda: all(listening.call().status == 403 for _ in range(20)), listening.log.read_text)
    listening.service.secret = "n" * 48
    before = listening.pids()
    for victim in before:
        os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(listening.pids() - before) == 3, listening.log.read_text)
    wait_until(lambda: [listening.call().status for _ in range(20)] == [200] * 20, listening.log.read_text)


def test_when_the_parent_is_killed_all_end_and_the_next_takes_the_dead_socket(listening):
    pids = listening.pids()
    listening.parent.kill()
    wait_until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids), "they end")
    assert listening.address.exists()
    assert Listening(listening.service).wait().is_served()


def test_a_live_socket_is_never_taken_and_of_many_starters_one_listens(make_service):
    service = make_service()
    starters = [Listening(service, name=f"api-{number}") for number in range(6)]
    wait_until(lambda: sum(starter.parent.runs() for starter in starters) == 1, "one is left")
    (winner,) = [starter for starter in starters if starter.parent.runs()]
    assert [starter.parent.exit_code for starter in starters if starter is not winner] == [75] * 5
    winner.wait()
    assert winner.close() == []
    with socket.socket(socket.AF_UNIX) as other:  # somebody who knows nothing of our lock
        other.bind(str(winner.address))
        other.listen()
        give_to_user(winner.address, 0o660)
        assert Listening(service, name="api-7").parent.wait() == 75
        assert winner.address.is_socket()
    with open(f"{winner.address}.lock") as lock:  # of somebody who has just found the socket dead
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert Listening(service, name="api-9").parent.wait() == 75
    winner.address.unlink()
    winner.address.write_text("no socket")
    late = Listening(service, name="api-8")
    assert late.parent.wait() == 1 and re.search("Socket operation on non-socket|Not a socket", late.log.read_text())
    assert winner.address.read_text() == "no socket"
    winner.address.unlink()


def test_a_socket_that_is_replaced_is_there_again_when_that_is_gone(listening):
    listening.address.unlink()
    listening.address.mkdir()
    wait_until(lambda: 'what="replaced"' in listening.log.read_text(), listening.log.read_text)
    listening.address.rmdir()
    wait_until(listening.is_served, listening.log.read_text, limit_s=3)


@pytest.mark.parametrize("mode", [None, "0666", "600"])
def test_the_mode_of_the_socket(make_service, mode):
    listening = Listening(make_service(), *(["--socket-mode", mode] if mode else [])).wait()
    assert listening.address.stat().st_mode & 0o777 == int(mode or "660", 8)


def test_the_program_on_disk_takes_over_and_nobody_is_refused(listening):
    before, parent = listening.pids(), listening.parent.pid
    stop = threading.Event()
    failed = []

    def publish():
        while not stop.is_set():
            try:
                assert listening.call().status == 200
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2):  # twice: what is handed on is handed on again
        before |= listening.pids()
        listening.parent.send(signal.SIGUSR2)
        wait_until(lambda: len(listening.pids() - before) == 3, listening.log.read_text)
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == [] and listening.parent.pid == parent
    with open(f"{listening.address}.lock") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    burst(listening, lambda: listening.parent.send(signal.SIGUSR2))


def test_a_bad_program_or_configuration_on_disk_changes_nothing(listening):
    service, pids = listening.service, listening.pids()

    def is_refused(times):
        listening.parent.send(signal.SIGUSR2)
        line = "the program or configuration on disk is not good, the old one stays"
        wait_until(lambda: listening.log.read_text().count(line) == times, listening.log.read_text)
        assert listening.pids() == pids and listening.is_served()

    good = service.config_file.read_text()
    service.config_file.write_text("worker_secret: 1\n")
    is_refused(1)
    service.config_file.write_text(good)
    service.api_program.unlink()
    is_refused(2)
    shutil.copy(BUILD / "wavelog-worker-api", service.api_program)
    listening.parent.send(signal.SIGUSR2)
    wait_until(lambda: len(listening.pids() - pids) == 3, listening.log.read_text)


def test_tcp(make_service):
    listening = Listening(make_service(), where=("127.0.0.1", free_port())).wait()
    assert listening.is_served() and 'address="127.0.0.1:%d"' % listening.address[1] in listening.log.read_text()
    other = Listening(listening.service, where=listening.address, name="other")
    assert other.parent.wait() == 1 and re.search("Address (already )?in use", other.log.read_text())


def test_a_socket_of_systemds(make_service):
    service = make_service()
    with service.listen_api() as listener:
        saved = os.dup(3) if Path("/proc/self/fd/3").exists() else None
        os.dup2(listener.fileno(), 3)
        try:
            shell = ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=${fds:-1} exec "$@"', "sh"]
            listening = Listening(service, start=shell)
            two = Listening(service, start=["env", "fds=2", *shell], name="two")
        finally:
            os.close(3)
            if saved is not None:
                os.dup2(saved, 3)
                os.close(saved)
    listening.address = service.api_socket
    assert listening.wait().is_served()
    assert two.parent.wait() == 64
    before = listening.pids()
    listening.parent.send(signal.SIGUSR2)
    wait_until(lambda: len(listening.pids() - before) == 4, listening.log.read_text)
    assert listening.log.read_text().count(f'msg="listening" address="unix:{service.api_socket}"') == 2
    assert listening.close() == [] and service.api_socket.exists()  # it is systemd's


@pytest.mark.parametrize("options", [
    ["--listen", "9000"], ["--listen", "localhost:9000"], ["--listen", "127.0.0.1:0x10"], ["--listen", "127.0.0.1:65536"],
    ["--listen", "[::1:9000"], ["--listen", ""], ["--listen", ":9000"], ["--processes", "3"],
    ["--listen", "unix:/tmp/x", "--processes", "0"], ["--listen", "unix:/tmp/x", "--processes", "65"],
    ["--listen", "unix:/tmp/x", "--socket-mode", "0999"], ["--listen", "unix:/tmp/x", "--socket-mode", "01777"],
])  # fmt: skip
def test_a_command_line_that_makes_no_sense_ends_with_64(tmp_path, options):
    environment = {"WORKER_SECRET": "s" * 32}
    command = [BUILD / "wavelog-worker-api", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, cwd=tmp_path,
                          stdin=subprocess.DEVNULL)  # fmt: skip
    assert done.returncode == 64 and done.stderr


def test_the_gateway_has_no_such_options():
    done = subprocess.run([BUILD / "wavelog-worker-gateway", "--processes", "2"], capture_output=True, text=True)
    assert done.returncode == 64 and "only the API listens by itself" in done.stderr
