"""gateway_autostart: where nobody else keeps a gateway running the API starts one; it lives on by itself, ends when nobody
needs it, and takes up a program that was put in its place."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import websockets

from harness.api import FastCgi
from harness.process import Process, accepts, wait_until
from harness.web_servers import CgiHosting, SharedHosting
from harness.websocket import Subscriber, authenticated

API_PROCESSES = 4
FIRST_REQUESTS = 50


def running(program):
    """The processes that run it, by pid."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "exe").removesuffix(" (deleted)") == str(program):
                found.add(int(process.name))
        except OSError:
            pass
    return found


def parents(service):
    """The gateways: those of their processes that are not another's worker."""
    found = running(service.gateway_program)
    return {pid for pid in found if int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) not in found}


def call(service, verb, body, method="POST"):
    reply = FastCgi(service.api_socket, service.secret).call(verb, json.dumps(body).encode(), REQUEST_METHOD=method)
    return reply


def publish(service, payload):
    reply = call(service, "publish", {"topic": "t", "payload": payload})
    assert reply.status == 200
    return reply.json["id"]


def reason(service):
    return call(service, "status", {}, "GET").json.get("reason")


def log_of(service):
    return "".join(
        path.read_text() for name in ("gateway.log.1", "gateway.log") if (path := service.state_dir / name).exists()
    )


def gateway_of(service):
    """The one that runs, once whoever has started it is gone and we are its parent (see adopt_orphans)."""

    def is_ours(pid):
        return f"\nPPid:\t{os.getpid()}\n" in Path(f"/proc/{pid}/status").read_text()

    (pid,) = parents(service)
    wait_until(lambda: is_ours(pid), "it stands alone")
    return Process("gateway", pid)


def when_started(service):
    """Asks the API until it has started one, which is then told to end with the service."""
    wait_until(lambda: call(service, "readyz", {}, "GET").status == 200 and accepts(service.ws_address), "one is started")
    return gateway_of(service)


def resumed(service, last):
    client = Subscriber(f"ws://127.0.0.1:{service.ws_port}/ws", "t", unix=service.ws_socket)
    hello = json.loads(client.authenticate(last_event_id=last))
    assert hello["recovered"] is True
    return client


def received(client, count):
    return [client.receive_json()["payload"] for _ in range(count)]


@contextlib.contextmanager
def open_directory(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def in_threads(count, call):
    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(call) for _ in range(count)]]


@pytest.fixture
def make_lonely(make_service):
    """A service whose API is there, and whose gateway is the API's business."""

    def make(api_processes=API_PROCESSES, **config):
        service = make_service(gateway_autostart=True, drain="100ms", **config)
        if api_processes:
            service.start_api(api_processes)

        def stop():
            faults = service.stop_api()
            wait_until(lambda: not running(service.api_program), "nobody starts another")
            return faults + [fault for pid in parents(service) if (fault := Process("gateway", pid).stop())]

        service.closers.append(stop)
        return service

    return make


def test_fifty_first_requests_start_one_gateway_that_owes_the_api_nothing(make_lonely):
    service = make_lonely(api_processes=0)
    read_end, write_end = os.pipe()
    with service.listen_api() as listener:
        group = 0
        for _ in range(API_PROCESSES):
            process = Process.start(
                "api", [service.api_program, "-c", "config.yaml"], service.log_dir / "api.log", stdin=listener,
                cwd=service.dir, process_group=group, pass_fds=[write_end],
                env={"HTTP_X_WORKER_SECRET": service.secret, "WORKER_TOPIC_TTL": "2h"},
            )  # fmt: skip
            group = group or process.pid
            service.api.append(process)
        os.close(write_end)
        with open_directory(service.state_dir) as held:  # as a gateway would that is just starting
            fcntl.flock(held, fcntl.LOCK_EX)
            in_threads(FIRST_REQUESTS, lambda: call(service, "register", {"topic": "t"}))
            assert "starting a gateway" not in (service.log_dir / "api.log").read_text()
        time.sleep(0.6)  # until each looks again
        in_threads(FIRST_REQUESTS, lambda: call(service, "register", {"topic": "t"}))
        gateway = when_started(service)
        wait_until(lambda: log_of(service).count('msg="listening"') == 1, "it says so")
        assert "another gateway" not in log_of(service)
        assert (service.log_dir / "api.log").read_text().count('msg="starting a gateway"') == 1

        client = resumed(service, None)
        publish(service, 1)
        assert received(client, 1) == [1]
        theirs = {os.readlink(fd) for api in service.api for fd in Path(f"/proc/{api.pid}/fd").iterdir()}
        ours = {int(fd.name): os.readlink(fd) for fd in Path(f"/proc/{gateway.pid}/fd").iterdir()}
        assert [link for link in ours.values() if link in theirs and ":" in link and not link.startswith("anon_inode")] == []
        assert [ours[number] for number in range(3)] == ["/dev/null", "/dev/null", str(service.state_dir / "gateway.log")]
        assert os.readlink(f"/proc/{gateway.pid}/cwd") == "/"
        variables = Path(f"/proc/{gateway.pid}/environ").read_text().split("\0")
        names = {variable.split("=")[0] for variable in variables if variable}
        assert names - {"PATH", "HOME", "LANG", "TZ", "LD_LIBRARY_PATH"} == {"WORKER_TOPIC_TTL", "WAVELOG_WORKER_INHERITS"}
        assert os.getsid(gateway.pid) not in {os.getsid(api.pid) for api in service.api}

        os.killpg(group, signal.SIGKILL)
        for api in service.api:
            api.wait()
        assert os.read(read_end, 1) == b""  # a web server that waits for the end of its pipe need not wait for the gateway
        service.api = [service.spawn_api(listener)]
        last = publish(service, 2)
        assert received(client, 1) == [2] and gateway.runs()

        gateway.kill()
        client.close()
        sent = []

        def is_back():
            sent.append(len(sent) + 3)
            publish(service, sent[-1])
            return accepts(service.ws_address)

        wait_until(is_back, "the next requests start another")
        with resumed(service, last) as client:
            assert received(client, len(sent)) == sent
        when_started(service)  # it is alone
    os.close(read_end)


@pytest.mark.parametrize("host, requests", [(SharedHosting, 4), (CgiHosting, 12)])
def test_behind_apache_too_and_a_browser_that_finds_none_has_one_started(make_lonely, certificates, host, requests):
    service = make_lonely(api_processes=0, unix=True)
    server = host(service, certificates)
    replies = in_threads(requests, lambda: server.api.register("t"))
    assert 200 in {reply.status for reply in replies}  # on a busy machine the database may be begun too slowly for some
    wait_until(lambda: accepts(service.ws_address), "one is started")
    gateway = gateway_of(service)
    assert log_of(service).count("another gateway") == 0
    last = server.api.publish("t", 1).json["id"]
    gateway.kill()
    os.utime(service.state_dir / "gateway.start", (1, 1))  # as if it had been there for long
    tries = 0
    while True:  # as Wavelog's pages do
        try:
            client = server.subscribe("t")
            break
        except websockets.InvalidStatusCode as error:
            assert error.status_code in (503, 200)  # as readyz answers
            tries += 1
            assert tries < 3
            time.sleep(1)
    assert tries > 0
    with client:
        assert json.loads(client.authenticate(last_event_id=last))["recovered"] is True
        server.api.publish("t", 2)
        assert received(client, 1) == [2]
    if host is CgiHosting:  # which would wait for the last call, that we, its parent by then, do not wait for
        wait_until(lambda: not running(service.api_program), "the last call has ended")
    service.closers.remove(server.close)
    assert server.close() == []
    assert gateway_of(service).runs()


def test_what_keeps_a_gateway_from_starting_is_said_and_the_waits_grow(make_lonely):
    service = make_lonely(api_processes=1)
    start, good = service.state_dir / "gateway.start", service.bin / "good"
    shutil.copy(service.gateway_program, good)
    port = socket.socket()

    def replace(text):
        service.gateway_program.unlink()
        service.gateway_program.write_text(text)
        service.gateway_program.chmod(0o755)

    faults = {
        "No such file or directory": lambda: service.gateway_program.unlink(),
        "Permission denied": lambda: service.gateway_program.chmod(0o644),
        "Exec format error": lambda: replace("not a program"),
        "it ended with 127: cannot load \\?\\?": lambda: replace("#!/bin/sh\necho 'cannot load \xe9' >&2; exit 127"),
        "signal 9 has ended it": lambda: replace("#!/bin/sh\nkill -9 $$"),
        'it ended with 78: "configuration" why="worker_secret: .* at="': lambda: service.config_file.write_text(
            "worker_secret: short\n"
        ),
        f'it ended with 1: "cannot listen" address="127.0.0.1:{service.ws_port}" why="Address (already )?in use"': lambda: (
            port.bind(service.ws_address), port.listen()
        ),
    }  # fmt: skip
    for why, break_it in faults.items():
        start.unlink(missing_ok=True)
        break_it()
        wait_until(lambda: re.search(why, reason(service)), lambda: f"{why}, not {reason(service)}")
        shutil.copy(good, service.bin / "copy")
        os.replace(service.bin / "copy", service.gateway_program)
        service.write_config()
    port.close()
    assert call(service, "readyz", {}, "GET").body == b"unavailable: no gateway is running\n"
    log = log_of(service)
    assert log.count('msg="the gateway did not start"') == len(faults) - 2

    service.gateway_program.unlink()
    said = 'msg="cannot start a gateway"'
    for failures, wait_s in (1, 2), (2000, 30):
        before = f"{failures} because"

        def set_back(age_s):
            start.write_text(before)
            os.utime(start, (time.time() - age_s,) * 2)

        def is_tried():
            reason(service)
            return start.read_text() not in (before, "")

        set_back(wait_s - 2)
        deadline = time.monotonic() + 0.6  # longer than a process of the API waits between two looks
        while time.monotonic() < deadline:
            assert not is_tried()
        count = (service.log_dir / "api.log").read_text().count(said)
        set_back(wait_s + 0.5)
        wait_until(is_tried, "it is tried again")
        assert re.match(rf"{min(failures, 5) + 1} \S*/wavelog-worker-gateway: No such file", start.read_text())
        wait_until(lambda: (service.log_dir / "api.log").read_text().count(said) == count + 1, "it is said once")
    os.replace(good, service.gateway_program)
    start.unlink()
    gateway = when_started(service)
    service.write_config(gateway_autostart=False)
    gateway.kill()
    wait_until(lambda: reason(service) == "no gateway is running, and gateway_autostart is off", "it says why")


@pytest.mark.parametrize("processes", [1, 2])
def test_its_log_is_bounded_and_it_ends_when_nobody_is_there_and_comes_back(make_lonely, processes):
    service = make_lonely(
        gateway_processes=processes, gateway_idle_exit="1s", gateway_log_max_bytes=4096, log_connections=True
    )
    log, old = service.state_dir / "gateway.log", service.state_dir / "gateway.log.1"
    call(service, "register", {"topic": "t"})
    gateway = when_started(service)
    with resumed(service, None) as client:
        last = publish(service, 1)
        assert received(client, 1) == [1]

        def follow():
            return {os.readlink(f"/proc/{pid}/fd/2") for pid in running(service.gateway_program)} == {str(log)}

        while log.exists() and log.stat().st_size < 4096:
            authenticated(service, "t").close()
        wait_until(lambda: old.exists() and log.exists() and follow(), "all write into the new one")
        log.unlink()
        wait_until(lambda: log.exists() and follow(), "a deleted one is made anew")
        assert gateway.runs()
    assert gateway.wait() == 0
    assert 'msg="nobody is connected any more"' in log_of(service) and running(service.gateway_program) == set()
    if processes == 1:
        assert reason(service).startswith("no gateway is running: one was started ")
    for number in (2, 3):
        publish(service, number)
    when_started(service)
    with resumed(service, last) as client:
        publish(service, 4)
        assert received(client, 3) == [2, 3, 4]


def test_a_program_that_was_replaced_is_taken_up_unless_it_is_broken(make_lonely, make_service):
    service, kept = make_lonely(unix=True, ws_socket_mode="0666"), make_service()
    kept.start_gateway()
    call(service, "register", {"topic": "t"})
    gateway = when_started(service)
    client = resumed(service, None)

    def replace(service, content):
        new = service.bin / "new"
        new.write_bytes(content)
        new.chmod(0o755)
        os.replace(new, service.gateway_program)

    good = service.gateway_program.read_bytes()
    replace(kept, good)
    replace(service, b"not a program")
    wait_until(lambda: 'msg="cannot start a successor"' in log_of(service), "the log says so")
    last = publish(service, 1)
    assert received(client, 1) == [1] and gateway.runs()
    assert client.is_quiet(4)  # longer than a new program must be unchanged: it is not tried again
    replace(service, good)
    assert client.close_code() == 1001 and gateway.wait() == 0
    publish(service, 2)
    with resumed(service, last) as client:
        assert received(client, 1) == [2]
    assert log_of(service).count('msg="cannot start a successor"') == 1
    when_started(service)  # it is alone
    assert kept.gateway.runs() and parents(kept) == {kept.gateway.pid}  # without gateway_autostart: its keeper's business
