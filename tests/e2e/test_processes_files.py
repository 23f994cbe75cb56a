"""What a gateway's processes run: a worker what its parent runs, whatever lies on the disk; a successor what lies at the
path that the gateway was started from. And a successor that is not ready when something else happens."""

import fcntl
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import time

import pytest

from harness.api import FastCgi
from harness.process import Process, accepts, flocks, free_port, log_tail, wait_until
from harness.web_servers import Nginx
from harness.websocket import CLOSE, WebSocket, authenticated, push_of, upgraded

WORKERS = 3
GOODBYE_S = 0.5  # for clients that do not answer the close frame


def gateways(service):
    try:
        with sqlite3.connect(f"file:{service.database}?mode=ro", uri=True) as database:
            return {pid for (pid,) in database.execute("SELECT pid FROM gateways")}
    except sqlite3.OperationalError:  # there is no database yet
        return set()


def wait_for_others(service, count, but_not):
    wait_until(lambda: len(gateways(service)) == count and not gateways(service) & but_not, "others serve")
    return gateways(service)


def replace(service, count):
    """Through SIGUSR2 to a gateway of that many processes that serve; returns their pids."""
    old, serving = service.gateway, wait_until(lambda: gateways(service), "it has said that it is there")
    old.send(signal.SIGUSR2)
    new = wait_for_others(service, count, serving)
    assert old.wait() == 0
    pid = new.copy().pop()
    service.gateway = Process("successor", pid if count == 1 else parent_of(pid))
    return new


def parent_of(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def put_there(path, text):
    """A script in place of a program."""
    path.unlink()
    path.write_text(text)
    path.chmod(0o755)


def test_a_worker_runs_the_program_and_the_configuration_of_its_parent(make_service, certificates):
    service = make_service(gateway_processes=WORKERS)
    server = Nginx(service.start(), certificates)
    server.api.register("t")
    pids = wait_for_others(service, WORKERS, set())
    program = os.stat(f"/proc/{service.gateway.pid}/exe").st_ino
    was = service.config_file.read_text()
    edits = (
        was.replace(str(service.ws_port), str(free_port())),
        was.replace(str(service.state_dir), str(service.dir / "elsewhere")) + "max_connections: 60000\n",
        "worker_secret: short\n",
    )
    put_there(service.gateway_program, "#!/bin/sh\nexit 1\n")
    for edit in edits:
        service.config_file.write_text(edit)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        pids = wait_for_others(service, WORKERS, pids)
        assert {os.stat(f"/proc/{pid}/exe").st_ino for pid in pids} == {program}
        clients = [authenticated(service, "t") for _ in range(20)]
        server.api.publish("t", 1)
        for client in clients:
            assert client.read_message() == push_of("1")
            client.close()


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_one_process_becomes_three_and_one_again(make_service, unix):
    service = make_service(unix=unix, drain="100ms")
    service.start_gateway()
    for count in (WORKERS, 1):
        service.write_config(gateway_processes=count)
        assert len(replace(service, count)) == count
        assert accepts(service.ws_address)


def test_two_gateways_do_not_share_a_port(make_service):
    one = make_service()
    one.start_gateway()
    for processes in (1, WORKERS):
        two = make_service(ws_port=one.ws_port, gateway_processes=processes)
        gateway = Process.start("two", [two.gateway_program, "-c", two.config_file], two.log_dir / "2.log")
        assert gateway.wait() == 1
        assert "cannot listen" in log_tail(two.log_dir)


@pytest.mark.parametrize("processes", [1, WORKERS])
def test_a_successor_is_what_lies_at_the_path_now(make_service, processes):
    """Where the old program was moved away."""
    service = make_service(gateway_processes=processes, drain="100ms")
    service.start_gateway()
    wait_for_others(service, processes, set())
    away = service.bin / "away"
    service.gateway_program.rename(away)
    shutil.copy(away, service.gateway_program)
    for pid in replace(service, processes):
        assert os.readlink(f"/proc/{pid}/exe") == str(service.gateway_program)


@pytest.mark.parametrize("how", ["absolute", "relative", "in PATH"])
def test_a_successor_is_of_the_release_that_a_link_names_now(make_service, how):
    service = make_service(drain="100ms")
    releases, current = [service.dir / name for name in ("r1", "r2")], service.dir / "current"
    for release in releases:
        release.mkdir()
        release.chmod(0o755)
        shutil.copy(service.gateway_program, release / "gateway")
    current.symlink_to("r1")
    command = {"absolute": current / "gateway", "relative": "./gateway", "in PATH": "gateway"}[how]
    options = {"cwd": current} if how == "relative" else {}
    env = {"PWD": str(current)} if how == "relative" else {"PATH": f"{current}:/usr/bin:/bin"}
    service.gateway = Process.start(
        "gateway", [command, "-c", service.config_file], service.log_dir / "gateway.log", env=env, **options
    )
    wait_until(lambda: accepts(service.ws_address), "it serves")
    current.unlink()
    current.symlink_to("r2")
    (pid,) = replace(service, 1)
    assert os.readlink(f"/proc/{pid}/exe") == str(releases[1] / "gateway")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize("processes", [1, WORKERS])
def test_what_is_told_to_end_takes_a_successor_along_that_does_not_serve_yet(make_service, unix, processes, number):
    service = make_service(unix=unix, gateway_processes=processes, drain="100ms")
    service.start_gateway()
    wait_for_others(service, processes, set())
    shutil.copy(service.gateway_program, service.bin / "good")
    put_there(service.gateway_program, f"#!/bin/sh\necho $$ >{service.state_dir}/pid\nexec sleep 60\n")
    service.gateway.send(signal.SIGUSR2)
    pid_file = service.state_dir / "pid"
    wait_until(lambda: pid_file.exists() and pid_file.read_text().strip(), "the successor starts")
    service.gateway.send(number)
    assert service.gateway.wait() == 0
    wait_until(lambda: not is_running(int(pid_file.read_text())), "the successor is gone")
    os.replace(service.bin / "good", service.gateway_program)
    service.start_gateway()


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_successor_that_fails_is_reaped_and_its_exit_code_is_logged(make_service):
    service = make_service()
    service.start_gateway()
    service.config_file.write_text("worker_secret: short\n")
    service.gateway.send(signal.SIGUSR2)
    wait_until(lambda: "the successor did not start" in log_tail(service.log_dir), "the log says so")
    (line,) = [line for line in log_tail(service.log_dir).splitlines() if "the successor did not start" in line]
    assert " code=78 " in line
    assert not children_of(service.gateway.pid)


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return {int(child) for child in children.read().split()}


@pytest.mark.parametrize("when", ["before", "meanwhile"])
@pytest.mark.parametrize("processes", [1, WORKERS])
def test_a_directory_that_is_replaced_when_a_successor_comes_up_is_the_successors(make_server, processes, when):
    """Its predecessor, when it notices, neither gives up to it nor takes the right to serve for as long as its clients are
    there."""
    service = make_server(gateway_processes=processes, drain="3s").service
    old, serving = service.gateway, wait_for_others(service, processes, set())
    state_dir, away = service.state_dir, service.dir / "away"

    def replace_directory():
        state_dir.rename(away)
        state_dir.mkdir(0o700)
        shutil.chown(state_dir, away.stat().st_uid, away.stat().st_gid)

    with authenticated(service, "t"), open(state_dir / "write.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if when == "before":
            replace_directory()
        old.send(signal.SIGUSR2)
        (new,) = wait_until(lambda: children_of(old.pid) - serving, "a successor starts")
        wait_until(lambda: any(waits and pid in {new, *children_of(new)} for waits, pid, _ in flocks()), "it comes up")
        if when == "meanwhile":
            replace_directory()
        wait_until(lambda: 'file="gateway.lock"' in (service.log_dir / "gateway.log").read_text(), "the old one notices")
        fcntl.flock(lock, fcntl.LOCK_UN)
        wait_until(lambda: (False, new, state_dir.stat().st_ino) in flocks(), "the new one has the right")
        service.gateway = Process("successor", new)
    assert old.wait() == 0
    assert service.gateway.runs() and accepts(service.ws_address)


def test_auto_is_one_for_each_core_that_it_may_use(make_service):
    service = make_service(gateway_processes="auto")
    service.environment = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    service.start_gateway()
    assert wait_for_others(service, 1, set()) == {service.gateway.pid}


def test_after_a_parent_was_killed_a_new_one_takes_over_at_once(make_service, certificates):
    service = make_service(gateway_processes=WORKERS, drain="20s")
    server = Nginx(service.start(), certificates)
    wait_for_others(service, WORKERS, set())
    server.api.register("t")
    silent = [authenticated(service, "t") for _ in range(20)]  # its workers wait for these
    workers = wait_for_others(service, WORKERS, set())
    service.gateway.kill()
    wait_until(lambda: not accepts(service.ws_address), "the workers accept nobody", interval_s=0)
    for pid in workers:  # they are not gone before the new one is there
        os.kill(pid, signal.SIGSTOP)
    try:
        service.start_gateway()
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not any(is_running(pid) for pid in workers), "the workers end, and do not drain", 10)
    for client in silent:
        client.close()


def rows(service, pid):
    with sqlite3.connect(f"file:{service.database}?mode=ro", uri=True) as database:
        return database.execute(
            "SELECT (SELECT count(*) FROM gateways WHERE pid = ?1), (SELECT count(*) FROM sessions WHERE gateway = ?1)",
            (pid,),
        ).fetchone()


def test_a_worker_that_hangs_keeps_its_rows(make_service):
    service = make_service(gateway_processes=2).start()
    FastCgi(service.api_socket, service.secret).call("register", b'{"topic":"t"}')
    hung, other = pids = wait_for_others(service, 2, set())
    clients = [authenticated(service, "t") for _ in range(20)]
    wait_until(lambda: sum(rows(service, pid)[1] for pid in pids) == len(clients), "all have a row")
    before = rows(service, hung)
    assert before[1] > 0
    os.kill(hung, signal.SIGSTOP)
    try:
        # As if it were an hour: a lock whose place says so, see shared/database/liveness.c.
        place = (hung << 31) + (time.monotonic_ns() // 100_000_000 - 36_000) % (1 << 30)
        with open(service.state_dir / "gateway.lock", "r+b") as lock:
            fcntl.fcntl(lock, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0))
            os.kill(other, signal.SIGKILL)
            wait_until(lambda: gateways(service) - set(pids), "another worker has introduced itself")
        assert other not in gateways(service)
        assert rows(service, hung) == before
    finally:
        os.kill(hung, signal.SIGCONT)
    for client in clients:
        client.close()


@pytest.mark.parametrize("what", [signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM, "its files go"])
def test_nothing_that_happens_while_it_waits_for_clients_to_go_does_harm(make_service, certificates, what):
    service = make_service()
    server = Nginx(service.start(), certificates)
    server.api.register("t")
    with authenticated(service, "t") as silent:
        service.gateway.send(signal.SIGINT)
        assert silent.read_frame().opcode == CLOSE  # which is not answered
        if isinstance(what, signal.Signals):
            service.gateway.send(what)
        else:
            shutil.rmtree(service.state_dir, ignore_errors=True)
        assert service.gateway.wait() == 0


def test_upgrades_under_way_do_not_keep_it_from_ending(make_service, certificates):
    """They are completed without a pause, before and after those who do not answer the close frame are dropped."""
    service = make_service()
    server = Nginx(service.start(), certificates)
    server.api.register("t")
    request = WebSocket.request()
    silent = [authenticated(service, "t"), upgraded(service, "t")]
    half = [WebSocket(service.ws_address) for _ in range(2500)]
    for client in half:
        client.send(request[:-2])
    service.gateway.send(signal.SIGINT)
    start = time.monotonic()
    time.sleep(GOODBYE_S - 0.2)
    for client in half:
        try:
            client.send(request[-2:])
        except OSError:
            pass  # it was closed
        time.sleep(0.0001)
    assert service.gateway.wait(5) == 0
    assert time.monotonic() - start < 5
    for client in silent + half:
        client.close()


@pytest.mark.parametrize("processes", [1, WORKERS])
@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_a_successor_that_fails_at_any_step_leaves_the_socket_as_it_is(make_service, unix, processes):
    """Here for want of descriptors: with each one more that it may have, it gets a little further. Workers that do not come
    up are tried for seconds; what they lack one by one is seen without a parent."""
    service = make_service(unix=unix, gateway_processes=processes, drain="100ms")
    service.start_gateway()
    old = wait_for_others(service, processes, set())
    program = service.bin / "program"
    service.gateway_program.rename(program)

    def listening():
        options, address = ("-xlH", service.ws_socket) if unix else ("-ltH", f":{service.ws_port}")
        lines = subprocess.run(["ss", "-n", options], capture_output=True, text=True).stdout.splitlines()
        return [line.split()[2 + unix] for line in lines if str(address) in line], unix and service.ws_socket.stat().st_ino

    def log():
        return (service.log_dir / "gateway.log").read_text()

    was, failures, descriptors = listening(), 0, 12
    while service.gateway.runs():
        service.gateway_program.unlink(missing_ok=True)
        put = f'#!/bin/sh\nulimit -n {descriptors}\nexec {program} "$@"\n'
        service.gateway_program.write_text(put)
        service.gateway_program.chmod(0o755)
        service.gateway.send(signal.SIGUSR2)
        wait_until(
            lambda: log().count("the successor did not start") > failures or not service.gateway.runs(),
            "it fails, or its predecessor ends",
        )
        if service.gateway.runs():
            failures, descriptors = failures + 1, descriptors + (4 if log().count("supervising") > 1 else 1)
            assert listening() == was
    assert failures > 5 and service.gateway.exit_code == 0
    pid = wait_for_others(service, processes, old).pop()
    service.gateway = Process("successor", pid if processes == 1 else parent_of(pid))
