"""PHP publishes through the web servers, with the timeouts of real callers (500 ms to connect, 1 s in all)."""

import json
import subprocess
from pathlib import Path

import pytest

from harness.api import make_token
from harness.web_servers import Apache, Nginx

SCRIPT = Path(__file__).parent / "php/publish.php"


def publish(url, secret, topic, payload, authority=""):
    command = ["php", SCRIPT, url, secret, topic, payload, authority]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(params=[Nginx, Apache], ids=["nginx", "apache"])
def server(request, make_service, certificates):
    service = make_service()
    service.start_gateway()
    if request.param is Nginx:
        service.start_api()
    return request.param(service, certificates)


def test_php_registers_an_unknown_topic_and_its_second_publish_arrives(server):
    secret = server.service.secret
    calls = publish(server.plain_url, secret, "qso/live 📻", '{"call":"DL1ABC","freq":14074000.50}')
    assert [(call["verb"], call["status"]) for call in calls] == [
        ("publish", 404), ("register", 200), ("publish", 200),
    ]  # fmt: skip
    assert calls[0]["body"] == "topic not registered\n"

    with server.subscribe("qso/live 📻") as browser:
        assert browser.authenticate(make_token(secret, "qso/live 📻")) == '{"type":"auth_ok"}'
        payload = '{"id":9007199254740993, "n":1.10}'
        calls = publish(server.plain_url, secret, "qso/live 📻", payload)
        assert [call["status"] for call in calls] == [200]
        assert browser.receive() == '{"type":"push","payload":' + payload + "}"


def test_php_publishes_over_tls(server):
    server.api.register("over tls")
    authority = str(server.certificates.authority)
    calls = publish(server.tls_url, server.service.secret, "over tls", "1", authority)
    assert [call["status"] for call in calls] == [200], calls


def test_php_with_a_wrong_secret_is_refused(server):
    calls = publish(server.plain_url, "x" * 40, "t", "1")
    assert [(call["status"], call["body"]) for call in calls] == [(403, "forbidden\n")]


def test_php_is_answered_while_the_gateway_is_down(server):
    server.api.register("t")
    assert server.service.gateway.stop() is None
    calls = publish(server.plain_url, server.service.secret, "t", "1")
    assert [call["status"] for call in calls] == [200], calls
