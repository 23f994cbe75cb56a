"""A changed configuration file: the API takes it over by itself, the gateway on SIGHUP; a bad one changes nothing."""

import secrets
import signal

import pytest

from harness.api import InternalApi, make_token
from harness.process import log_tail, wait_until
from harness.web_servers import Nginx


@pytest.fixture
def server(make_service, certificates):
    return Nginx(make_service().start(), certificates)


def log_says(server, text, count=1):
    wait_until(lambda: log_tail(server.service.log_dir, 200).count(text) >= count, f"the log says {text!r}")


def reload_gateway(server, count=1):
    server.service.gateway.send(signal.SIGHUP)
    wait_until(
        lambda: (server.service.log_dir / "gateway.log").read_text().count("configuration read again") >= count,
        "the gateway has read the file again",
    )


def test_a_rotation_of_the_secret_locks_nobody_out(server):
    service, old, new = server.service, server.service.secret, secrets.token_hex(24)
    server.api.register("t", require_token=True)
    after = InternalApi(server.plain_url, new)
    assert after.publish("t", 1).status == 403

    service.write_config(worker_secret=new, worker_secret_previous=old)
    reload_gateway(server)
    wait_until(lambda: after.publish("t", 1).status == 200, "the API knows the new secret")
    assert server.api.publish("t", 1).status == 200
    for secret in (old, new):
        with server.subscribe("t") as client:
            assert client.authenticate(make_token(secret, "t")) == '{"type":"auth_ok"}'

    service.write_config(worker_secret_previous="")
    reload_gateway(server, 2)
    wait_until(lambda: server.api.publish("t", 1).status == 403, "the API has forgotten the old secret")
    assert after.publish("t", 1).status == 200
    with server.subscribe("t") as client:
        assert "unauthorized" in client.authenticate(make_token(old, "t"))
    with server.subscribe("t") as client:
        assert client.authenticate(make_token(new, "t")) == '{"type":"auth_ok"}'
    service.secret = new


def test_a_bad_file_is_refused_as_a_whole_and_the_old_values_stay(server):
    server.api.register("t")
    text = server.service.config_file.read_text()
    server.service.config_file.write_text(text.replace(server.service.secret, "short") + "log_level: error\n")
    server.service.gateway.send(signal.SIGHUP)
    log_says(server, "the old one stays")

    def api_says_so_too():
        assert server.api.publish("t", 1).status == 200
        return log_tail(server.service.log_dir, 200).count("the old one stays") >= 2

    wait_until(api_says_so_too, "a process of the API has looked at the file too")
    with server.subscribe("t") as client:
        assert client.authenticate() == '{"type":"auth_ok"}'
    server.service.config_file.write_text(text)


def test_a_file_that_is_gone_changes_nothing(server):
    text = server.service.config_file.read_text()
    server.service.config_file.unlink()
    server.service.gateway.send(signal.SIGHUP)
    log_says(server, "the old one stays")
    assert server.api.register("t").status == 200
    server.service.config_file.write_text(text)


def test_what_needs_a_restart_is_named_in_the_log_and_stays(server):
    server.service.write_config(ws_port=server.service.ws_port + 1, log_connections=True)
    reload_gateway(server)
    log_says(server, "ws_port has changed: takes effect after a restart")
    server.api.register("t")
    with server.subscribe("t") as client:
        client.authenticate()
        log_says(server, 'msg="connected"')


def test_the_environment_wins_over_the_file_at_the_start_and_when_the_file_changes(make_service, certificates):
    service = make_service(ws_port=1)
    service.environment = [
        "env", f"WORKER_SECRET={service.secret}", "WORKER_WS_BIND=127.0.0.1", f"WORKER_WS_PORT={service.ws_port}",
        "WORKER_TOPIC_TTL=1h", "WORKER_REDIS_URL=",
    ]  # fmt: skip
    del service.config["worker_secret"], service.config["ws_bind"]
    service.write_config()
    server = Nginx(service.start(), certificates)
    assert server.api.register("t", require_token=True).status == 200

    other = secrets.token_hex(24)
    service.write_config(worker_secret=other, log_connections=True)
    reload_gateway(server)
    assert server.api.publish("t", 1).status == 200
    assert InternalApi(server.plain_url, other).publish("t", 1).status == 403
    with server.subscribe("t") as client:
        assert client.authenticate(make_token(service.secret, "t")) == '{"type":"auth_ok"}'
        log_says(server, 'msg="connected"')
    with server.subscribe("t") as client:
        assert "unauthorized" in client.authenticate(make_token(other, "t"))

    text = service.config_file.read_text()
    service.config_file.unlink()
    service.gateway.send(signal.SIGHUP)
    log_says(server, "the file is gone")
    with server.subscribe("t") as client:
        assert client.authenticate(make_token(service.secret, "t")) == '{"type":"auth_ok"}'
    service.config_file.write_text(text)
