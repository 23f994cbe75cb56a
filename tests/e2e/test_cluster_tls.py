"""Redis by TLS: a cluster over it, and what a gateway does not trust. Nothing is ever sent in the clear instead."""

import re
import shutil
import socket
import subprocess

import pytest
import redis

from harness.process import give_to_user, wait_until
from harness.redis_server import Redis
from harness.web_servers import Certificates


@pytest.fixture(scope="module")
def server(certificates, tmp_path_factory):
    """A Redis by TLS; `use` gives it another certificate; gateways can read `authority` and `stranger`."""
    there = Redis(certificates=certificates, password="pass/word")
    there.local = redis.Redis(unix_socket_path=str(there.dir / "redis.sock"), password="pass/word")

    def put(name, path):
        shutil.copy(path, there.dir / name)
        give_to_user(there.dir / name, 0o600)
        return str(there.dir / name)

    def use(name, names, days=2):
        certificate, key = certificates.issue(name, names, days)
        files = {"tls-cert-file": put(f"{name}.pem", certificate), "tls-key-file": put(f"{name}.key", key)}
        there.local.execute_command("CONFIG", "SET", *(word for pair in files.items() for word in pair))

    there.use = use
    there.authority = str(there.tls)
    there.stranger = put("stranger.pem", Certificates(tmp_path_factory.mktemp("strangers")).authority)
    yield there
    assert there.close() == []


def url(server, host="127.0.0.1", scheme="rediss"):
    return f"{scheme}://:pass%2Fword@{host}:{server.port}"


def name_of_loopback():
    """None in a root without /etc/hosts, as debootstrap makes them."""
    try:
        return socket.gethostbyname("localhost") and "localhost"
    except OSError:
        return None


NAME = name_of_loopback()


def test_nodes_share_events_by_tls(server, make_cluster):
    cluster = make_cluster(2, start=False, redis=server, redis_ca=server.authority)
    for service, host in zip(cluster.services, ("127.0.0.1", NAME or "127.0.0.1"), strict=True):
        service.write_config(redis_url=url(server, host))
    cluster.start()
    a, b = cluster.nodes
    cluster.register("t")
    with b.subscribe("t") as browser:
        browser.authenticate()
        assert a.api.publish("t", "x" * 500000).status == 200
        assert browser.receive_json()["payload"] == "x" * 500000
    names = {client["name"] for client in server.local.client_list()}
    assert {f"wavelog-worker-{node.id}" for node in cluster.nodes} <= names


# The certificate that Redis shows, the URL, whose authority is trusted, and why it is not reached.
REFUSED = {
    "another authority": (("good", "IP:127.0.0.1"), {}, "stranger", "certificate verify failed: "),
    "the system's authorities": (("good", "IP:127.0.0.1"), {}, None, "certificate verify failed: "),
    "another address": (("name", "DNS:localhost"), {}, "authority", "certificate verify failed: IP address mismatch"),
    "another name": (("other", "DNS:other.example,IP:127.0.0.1"), {"host": "localhost"}, "authority",
                     "certificate verify failed: hostname mismatch"),
    "expired": (("old", "IP:127.0.0.1", -1), {}, "authority", "certificate verify failed: certificate has expired"),
    "not by TLS": (("good", "IP:127.0.0.1"), {"scheme": "redis"}, None, "Redis closed the connection|connection reset"),
}  # fmt: skip
if not NAME:
    del REFUSED["another name"]


def test_what_cannot_be_verified_is_not_trusted_and_the_log_says_why(server, make_service):
    service = make_service()
    for number, (case, (certificate, where, authority, why)) in enumerate(REFUSED.items()):
        server.use(*certificate)
        authority = getattr(server, authority) if authority else ""
        service.write_config(redis_url=url(server, **where), redis_ca=authority)
        gateway = service.start_gateway(f"gateway-{number}")
        log = service.log_dir / f"gateway-{number}.log"
        wait_until(lambda: "Redis is away" in log.read_text(), f"{case}: it says why")
        assert re.search(f'msg="Redis is away" why="[^"]*({why})', log.read_text()), (case, log.read_text())
        assert "pass" not in log.read_text()
        assert gateway.stop() is None
    assert not any(client["name"].startswith("wavelog-") for client in server.local.client_list())


def test_certificates_that_cannot_be_read_are_a_fault_at_the_start(server, make_service):
    service = make_service()
    for path, why in (("/nonexistent.pem", "cannot read it: No such file or directory"), ("/dev/null", "it holds no certificate")):
        service.write_config(redis_url=url(server), redis_ca=path)
        gateway = service.spawn("gateway", service.gateway_program, service.log_dir / "gateway.log")
        assert gateway.wait() == 1
        log = (service.log_dir / "gateway.log").read_text()
        assert 'msg="no cluster"' in log and f"redis_ca: {why}" in log, log
    service.write_config(redis_ca="/nonexistent.pem")
    command = [service.gateway_program, "-c", service.config_file, "--check-config"]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 78
    assert checked.stderr == f"{service.config_file}: error: redis_ca: cannot read it: No such file or directory\n"
    assert f"{service.config_file}: ok" not in checked.stdout
