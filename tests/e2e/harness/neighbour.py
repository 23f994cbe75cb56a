"""For tests that do their worst to a service: the topic "t", and a neighbour on it who must not suffer."""

import pytest

from .direct import authenticated, push_of


@pytest.fixture(scope="module")
def service(worker):
    assert worker.api.register("t").status == 200
    return worker.service


@pytest.fixture(autouse=True)
def others_are_served(worker, service):
    """Whatever a test did, a neighbour is served before and after it."""
    with authenticated(service, "t") as neighbour:
        yield
        assert worker.api.publish("t", "still here").status == 200
        while neighbour.read_message() != push_of('"still here"'):
            pass
