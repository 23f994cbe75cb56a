"""Fixtures of the end-to-end tests. The programs come from $WORKER_BUILD (default: build).

	worker          a running service behind nginx, shared by the tests of one file; topics are not
	service         its Service, with the open topic "t"
	others_are_served
	                for tests that do their worst to it: before and after, a neighbour on "t" is served
	make_service    a factory of services of a test's own: make_service(topic_ttl="1s").start()
	make_server     the same behind an Nginx, started, with the topic "t"
	make_cluster    nodes that share a Redis: make_cluster(3, proxied=True, topic_ttl="1m"), see harness/cluster.py
	machine         skips the test where there can be no sandbox
	certificates    a throw-away authority and a certificate for 127.0.0.1

When a service is closed each of its processes must end with 0, and no log may hold a sanitizer's report
or the secret.
"""

import pytest

pytest.register_assert_rewrite("harness")  # before it is imported: what failed is shown there too

from harness.cluster import Cluster
from harness import sandbox
from harness.process import adopt_orphans
from harness.service import Service
from harness.web_servers import Certificates, Nginx
from harness.websocket import authenticated, push_of


# Tests that share nothing within their file and take long: each goes to the next free worker, before all others.
APART = (
    "test_keepalive.py", "test_documentation_commands.py", "test_crash_resume.py", "test_chaos.py", "test_browser.py",
    "test_web_servers.py", "test_hosting.py", "test_cluster_away.py", "test_cluster_chaos.py", "test_processes_files.py",
    "test_files.py",
)  # fmt: skip
# Of those, whose tests of one case (what stands in brackets) share their servers and stay together.
BY_CASE = "test_web_servers.py", "test_browser.py"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """--dist loadfile, except for those."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            case = nodeid.partition("[")[2]
            return f"{file}[{case}" if case and file.endswith(BY_CASE) else nodeid if file.endswith(APART) else file

    return Scheduling(config, log) if config.option.dist == "loadfile" else None


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: APART.index(item.path.name) if item.path.name in APART else len(APART))


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: wants the machine to itself, because it measures or yields to everybody")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    adopt_orphans()
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def machine():
    why = sandbox.why_not()
    if why:
        pytest.skip(why)


def _close(services):
    faults = [fault for service in reversed(services) for fault in service.close()]
    assert not faults, "\n".join(faults)


@pytest.fixture
def make_service(certificates):
    services = []

    def make(**config):
        services.append(Service(**config))
        return services[-1]

    yield make
    _close(services)


@pytest.fixture
def make_server(make_service, certificates):
    def make(**config):
        server = Nginx(make_service(**config).start(), certificates)
        assert server.api.register("t").status == 200
        return server

    return make


@pytest.fixture
def make_cluster(certificates):
    clusters = []

    def make(nodes=2, start=True, **options):
        clusters.append(Cluster(certificates, nodes, **options))
        return clusters[-1].start() if start else clusters[-1]

    yield make
    _close(clusters)


@pytest.fixture(scope="module")
def worker(request, certificates):
    """An Nginx in front of a Service, with the CONFIG of the test's file: worker.api, worker.subscribe(topic), worker.service."""
    service = Service(**getattr(request.module, "CONFIG", {}))
    try:
        yield Nginx(service.start(), certificates)
    finally:
        _close([service])


@pytest.fixture(scope="module")
def service(worker):
    assert worker.api.register("t").status == 200
    return worker.service


@pytest.fixture
def others_are_served(worker, service):
    with authenticated(service, "t") as neighbour:
        yield
        assert worker.api.publish("t", "still here").status == 200
        while neighbour.read_message() != push_of('"still here"'):
            pass
