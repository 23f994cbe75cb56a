"""Restart without loss: SIGUSR2 starts a successor, SIGTERM drains, SIGINT ends at once."""

import os
import signal
import sqlite3

from harness.crowd import Crowd, Member
from harness.ledger import Ledger, Publisher
from harness.process import Process, accepts, free_port, log_tail, wait_until
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
