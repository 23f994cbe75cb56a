"""Restart without loss: SIGUSR2 starts a successor, SIGTERM drains, SIGINT ends at once."""

import os
import shutil
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from harness.crowd import Crowd, Member
from harness.ledger import Ledger, Publisher
from harness.pages import blocks
from harness.process import Process, accepts, free_port, give_to_user, log_tail, wait_until
from harness.web_servers import Nginx
from harness.websocket import Subscriber

CLIENTS = 1000
PUBLISHES_A_SECOND = 200


def gateway_pids(service):
    with sqlite3.connect(service.database) as database:
        return {pid for (pid,) in database.execute("SELECT pid FROM gateways")}


def replace(service):
    """Starts a successor; returns the old gateway's process once the new one has introduced itself."""
    old = service.gateway
    old.send(signal.SIGUSR2)
    new = wait_until(lambda: gateway_pids(service) - {old.pid}, "a successor introduces itself").pop()
    service.gateway = Process("successor", new)
    return old


def test_1000_clients_through_a_restart_under_load_none_refused_nothing_missed(make_service, certificates):
    server = Nginx(make_service(drain="3s").start(), certificates)
    service, topics = server.service, [f"t{number}" for number in range(10)]
    for topic in topics:
        server.api.register(topic)
    publisher = Publisher(server.api, topics, by=0, rate=PUBLISHES_A_SECOND)
    with Crowd() as crowd:
        for number in range(CLIENTS):
            kind = "no" if number % 100 >= 90 else "always"
            crowd.add(Member(service.ws_address, topics[number % len(topics)], kind))
        crowd.wait_until_open(60)
        publisher.start()
        wait_until(lambda: publisher.count > 50, "publishing goes on")
        old = replace(service)
        assert old.wait() == 0
        wait_until(lambda: all(len(member.starts) == 2 for member in crowd.members), "each comes back")
        seen = publisher.count
        wait_until(lambda: publisher.count > seen + 50, "publishing goes on")
        last = publisher.finish()
        wait_until(
            lambda: all(member.last_key == last[member.topic] for member in crowd.members), "the last publish comes", 60
        )
    assert set(publisher.statuses) == {200} and not publisher.lost_answers
    assert Ledger([publisher], crowd.members).faults() == []
    assert not crowd.refusals()
    for member in crowd.members:
        assert member.closes == {1001: 1} and not member.unrecovered


def test_clients_of_a_draining_gateway_are_pushed_to_at_once_until_they_are_sent_away(make_service, certificates):
    server = Nginx(make_service(drain="20s").start(), certificates)
    server.api.register("t")
    with server.subscribe("t") as before:
        before.authenticate()
        old = replace(server.service)
        wait_until(lambda: "draining" in log_tail(server.service.log_dir), "the old gateway drains")
        with server.subscribe("t") as after:
            after.authenticate()
            for n in range(20):
                server.api.publish("t", n)
                for client in (before, after):
                    assert client.receive(0.9) == f'{{"type":"push","payload":{n}}}'  # the timer alone takes 1 s
        old.send(signal.SIGTERM)
        assert before.close_code() == 1001
    assert old.wait() == 0


def test_a_successor_that_does_not_start_changes_nothing(make_service, certificates):
    server = Nginx(make_service().start(), certificates)
    service = server.service
    server.api.register("t")
    service.config_file.write_text("worker_secret: short\n")
    with server.subscribe("t") as client:
        client.authenticate()
        service.gateway.send(signal.SIGUSR2)
        wait_until(lambda: "the successor did not start" in log_tail(service.log_dir), "the log says so")
        server.api.publish("t", 1)
        assert client.receive() == '{"type":"push","payload":1}'
        service.write_config()
        service.gateway.send(signal.SIGUSR2)
        assert client.close_code() == 1001
    assert service.gateway.wait() == 0
    service.gateway = Process("successor", gateway_pids(service).pop())


def test_a_successor_listens_where_the_changed_configuration_says(make_service):
    service = make_service(drain="100ms").start()
    port = free_port()
    service.write_config(ws_port=port)
    old = replace(service)
    assert old.wait() == 0
    wait_until(lambda: accepts(("127.0.0.1", port)), "it listens there")
    assert not accepts(service.ws_address)


def test_a_unix_socket_is_handed_over_too(make_service, certificates):
    server = Nginx(make_service(unix=True, drain="100ms").start(), certificates)
    server.api.register("t")
    for _ in range(3):
        assert replace(server.service).wait() == 0
        with server.subscribe("t") as client:
            client.authenticate()
            server.api.publish("t", 1)
            assert client.receive() == '{"type":"push","payload":1}'


def test_sigterm_spreads_the_clients_over_the_drain_and_accepts_nobody(make_service, certificates):
    server = Nginx(make_service(drain="2s").start(), certificates)
    service = server.service
    server.api.register("t")
    clients = [Subscriber(f"ws://127.0.0.1:{service.ws_port}/ws", "t") for _ in range(20)]
    for client in clients:
        client.authenticate()
    service.gateway.send(signal.SIGTERM)
    wait_until(lambda: not accepts(service.ws_address), "nobody is accepted")

    def sockets():
        return server.api.status("?topics=0").json["connected_sockets"]

    counts = set()

    def ended():
        counts.add(sockets())
        return not os.path.exists(f"/proc/{service.gateway.pid}/fd") or service.gateway.poll() is not None

    wait_until(ended, "it ends")
    assert service.gateway.exit_code == 0
    assert len(counts) >= 4, counts  # they went a few at a time
    for client in clients:
        assert client.close_code() == 1001
        client.close()
    service.start_gateway()


def test_a_drain_without_clients_is_over_at_once(make_service):
    service = make_service(drain="60s").start()
    service.gateway.send(signal.SIGTERM)
    assert service.gateway.wait(5) == 0
    service.start_gateway()


def test_sigint_ends_at_once(make_service, certificates):
    server = Nginx(make_service(drain="60s").start(), certificates)
    server.api.register("t")
    with server.subscribe("t") as client:
        client.authenticate()
        server.service.gateway.send(signal.SIGINT)
        assert client.close_code(5) == 1001
    assert server.service.gateway.wait(5) == 0
    server.service.start_gateway()


def server_pid(service):
    """As docs/shared-hosting.md asks for it."""
    with open(service.state_dir / "gateway.lock", "rb") as lock:
        return int.from_bytes(lock.read(8), "little")


def has_ended(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as command_line:
            return command_line.read() == b""  # a zombie's
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("page", ["docs/shared-hosting.md", "docs/operating.md"])
def test_the_line_for_cron_is_quiet_over_a_handover_and_starts_it_after_a_crash(make_service, page, processes):
    service = make_service(gateway_processes=processes, drain="100ms")
    home = service.dir / "worker"
    home.mkdir()
    give_to_user(home, 0o700)
    shutil.copy(service.gateway_program, home)
    shutil.copy(service.config_file, home)
    give_to_user(home / "config.yaml", 0o600)
    ((line,),) = [block.text.splitlines() for block in blocks(page, language="crontab")]
    command = line.split(None, 5)[5]
    for path in "/var/lib/wavelog-worker", "/usr/local/bin", "/etc/wavelog-worker":
        command = command.replace(path, "$HOME/worker")

    def minute():
        """What cron would do, and would send by mail if it said something."""
        command_line = ["/bin/sh", "-c", command]
        return Process.start("cron", command_line, service.log_dir / "cron.log", env={"HOME": str(service.dir)})

    def ends_quietly(line):
        return line.wait() == 1 and (service.log_dir / "cron.log").read_bytes() == b""

    def serving(but_not):
        wait_until(lambda: accepts(service.ws_address), "it serves")
        return wait_until(lambda: server_pid(service) not in but_not and server_pid(service), "it has signed")

    def stop():
        """What is left of it when the test fails."""
        if service.state_dir.exists() and accepts(service.ws_address) and not has_ended(server_pid(service)):
            os.kill(server_pid(service), signal.SIGINT)
        return []

    service.closers.append(stop)
    log = Path(command.rpartition("2>>")[2].replace("$HOME", str(service.dir)))
    if log.parent != home:
        log.parent.mkdir()
        give_to_user(log.parent, 0o700)
    first = minute()
    old = serving({0})
    assert str(home) in open(f"/proc/{old}/cmdline").read()
    assert ends_quietly(minute())
    for _ in range(3):
        os.kill(old, signal.SIGUSR2)
        while server_pid(service) == old:
            assert ends_quietly(minute())
        wait_until(lambda pid=old: has_ended(pid), "the old one ends")
        old = server_pid(service)
        assert ends_quietly(minute())
    assert first.wait() == 0
    assert "level=error" not in log.read_text() and "another gateway" not in log.read_text()
    os.kill(old, signal.SIGKILL)
    second = wait_until(lambda: (line := minute()) and (time.sleep(0.2) or line.runs()) and line, "it is started again")
    os.kill(serving({old}), signal.SIGTERM)
    assert second.wait() == 0
    assert "level=error" not in log.read_text()


def test_a_successor_of_another_version_says_no(make_service, certificates):
    """It gets what is handed over in a form that it does not know."""
    server = Nginx(make_service().start(), certificates)
    service = server.service
    server.api.register("t")
    good = service.bin / "good"
    service.gateway_program.rename(good)
    service.gateway_program.write_text(
        f'#!/bin/sh\nWAVELOG_WORKER_INHERITS="v1${{WAVELOG_WORKER_INHERITS#v2}}" exec {good} "$@"\n'
    )
    service.gateway_program.chmod(0o755)
    with server.subscribe("t") as client:
        client.authenticate()
        service.gateway.send(signal.SIGUSR2)
        wait_until(lambda: "the successor did not start" in log_tail(service.log_dir), "the log says so")
        assert "cannot take over from a gateway of another version" in log_tail(service.log_dir)
        server.api.publish("t", 1)
        assert client.receive() == '{"type":"push","payload":1}'
