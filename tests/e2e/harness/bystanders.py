"""Two well-behaved clients, one that resumes and a plain one, who receive a steady stream while a test does its worst."""

import contextlib

from harness.crowd import Crowd, Member
from harness.numbered import Ledger, Publisher
from harness.waiting import wait_until


@contextlib.contextmanager
def bystanders(server, topic, rate):
    """A crowd of two. At the end each must have received all, over one connection. `rate`: publishes a second."""
    assert server.api.register(topic).status == 200
    publisher = Publisher(server.api, [topic], by=0, rate=rate)
    with Crowd() as crowd:
        for resume in ("always", "no"):
            crowd.add(Member(server.service.ws_address, topic, resume))
        crowd.wait_until_open()
        publisher.start()
        yield crowd
        last = publisher.finish()[topic]
        wait_until(lambda: all(member.last_key == last for member in crowd.members), "the last publish comes")
    assert Ledger([publisher], crowd.members).faults() == []
    assert set(publisher.statuses) == {200} and not publisher.lost_answers
    for member in crowd.members:
        assert len(member.keys) == publisher.count and len(member.starts) == 1 and not member.closes, "it was cut off"
