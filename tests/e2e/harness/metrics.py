"""GET /internal/metrics as the tests read it: one scrape, or again and again until it says what is expected."""

import pytest

from .nginx import Nginx
from .prometheus import Metrics
from .waiting import wait_until

PREFIX = "wavelog_worker_"


@pytest.fixture
def server(make_service, certificates):
    """A service of the test's own, so that all counts are known."""
    return Nginx(make_service().start(), certificates)


def scrape(server):
    reply = server.api.call("metrics", method="GET")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return Metrics(reply.text, PREFIX)


def counted(server, expected, limit_s=15.0):
    """Waits until the metrics have these values: keys as of Metrics, or a family's name and its labels as a dict."""

    def found():
        metrics = scrape(server)
        return {
            key: metrics.labels(key) if isinstance(value, dict) else metrics[key] for key, value in expected.items()
        }

    wait_until(lambda: found() == expected, lambda: f"{expected}, but it is {found()}", limit_s)
    return scrape(server)
