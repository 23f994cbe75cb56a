"""Publishes that carry a number, so that what arrives can be held against what was sent: who lost what, what came
twice, out of order, or was never sent."""

import collections
import http.client
import json
import re
import threading
import time
from urllib.parse import urlsplit

PUBLISHERS_MAX = 100
UNNUMBERED = -1  # the key of a push that is not one of ours
FILL_MAX = 3000
PUSH = re.compile(rb'\{"type":"push",(?:"id":(\d+|"[^"\\]+"),)?"payload":(\{"by":(\d+),"n":(\d+),"fill":"x*"\})\}')


def payload_of(by, number):
    """The bytes that are in the body, and must come out unchanged."""
    return b'{"by":%d,"n":%d,"fill":"%s"}' % (by, number, b"x" * (number * 37 % FILL_MAX))


def key_of(by, number):
    return number * PUBLISHERS_MAX + by


def read_push(message):
    """(id or None, key) of a frame; None when it is not one of our pushes, unchanged. In a cluster ids are text."""
    match = PUSH.fullmatch(message)
    if not match:
        return None
    by, number = int(match[3]), int(match[4])
    if match[2] != payload_of(by, number):
        return None
    return json.loads(match[1]) if match[1] else None, key_of(by, number)


class Publisher(threading.Thread):
    """Publishes to its topics in turn, over a connection that it keeps: `rate` a second, without a pause when that is
    None. `answered` has the id of each number that was answered with 200; `count` how many were tried."""

    def __init__(self, api, topics, by, rate=None):
        super().__init__(daemon=True)
        assert 0 <= by < PUBLISHERS_MAX
        self.parts, self.secret, self.topics, self.by, self.rate = urlsplit(api.url), api.secret, topics, by, rate
        self.answered, self.statuses, self.count = {}, collections.Counter(), 0
        self.lost_answers = 0
        self.stopping, self.connection = threading.Event(), None

    def topic_of(self, number):
        return self.topics[number % len(self.topics)]

    def publish(self, number):
        """The status; None without an answer."""
        body = b'{"topic":%s,"payload":%s}' % (
            json.dumps(self.topic_of(number)).encode(), payload_of(self.by, number),
        )  # fmt: skip
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.parts.hostname, self.parts.port, timeout=20)
        try:
            path = f"{self.parts.path}/internal/publish"
            self.connection.request("POST", path, body, {"X-Worker-Secret": self.secret})
            response = self.connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            self.lost_answers += 1
            return None
        self.statuses[response.status] += 1
        if response.status == 200:
            self.answered[number] = json.loads(answer)["id"]
        return response.status

    def run(self):
        start = time.monotonic()
        while not self.stopping.is_set():
            self.count += 1
            self.publish(self.count)
            if self.rate:
                self.stopping.wait(max(0.0, start + self.count / self.rate - time.monotonic()))

    def finish(self):
        """Ends, and publishes one more to each topic, which must be answered: returns their keys by topic."""
        self.stopping.set()
        self.join()
        last = {}
        for _ in self.topics:
            self.count += 1
            assert self.publish(self.count) == 200
            last[self.topic_of(self.count)] = key_of(self.by, self.count)
        if self.connection:
            self.connection.close()
        return last


def split(key):
    return key % PUBLISHERS_MAX, key // PUBLISHERS_MAX


class Ledger:
    """What was published by `publishers`, and what reached the members of a crowd."""

    def __init__(self, publishers, members):
        self.publishers = {publisher.by: publisher for publisher in publishers}
        self.members = members
        self.answered = collections.defaultdict(dict)  # topic -> key -> id, of each 200
        self.known = collections.defaultdict(dict)  # the same, and what else a member has seen
        self._places = {}  # topic -> key -> its place among the known ones in the order of their ids
        for publisher in publishers:
            for number, identity in publisher.answered.items():
                self.answered[publisher.topic_of(number)][key_of(publisher.by, number)] = identity
        for topic, events in self.answered.items():
            self.known[topic].update(events)
        for member in members:
            if member.ids:
                for identity, key in zip(member.ids, member.keys):
                    self.known[member.topic].setdefault(key, identity)

    def faults(self):
        """A list of texts: empty when each resumable member has each event once and in order, and no plain one had a
        gap while it was connected."""
        found = []
        for topic, events in self.known.items():
            if len(set(events.values())) != len(events):
                found.append(f"{topic}: two events of one id")
        for number, member in enumerate(self.members):
            name = f"member {number} ({member.resume}) of {member.topic}"
            kept = self._plain_faults(member) if member.resume == "no" else self._resumable_faults(member)
            kept += [f"odd frame {frame!r}" for frame in member.faults]
            kept += self._invented(member)
            found += [f"{name}: {fault}" for fault in kept]
        return found

    def _invented(self, member):
        for key in set(member.keys):
            by, number = split(key)
            publisher = self.publishers.get(by)
            if not publisher or not 0 < number <= publisher.count or publisher.topic_of(number) != member.topic:
                yield f"invented: {by}/{number}"

    def _resumable_faults(self, member):
        ids, answered, known = member.ids, self.answered[member.topic], self.known[member.topic]
        found = []
        if len(ids) != len(member.keys):
            found.append("pushes without an id")
        for before, after in zip(ids, ids[1:]):
            if after == before:
                found.append(f"repeated: id {after}")
            elif after < before:
                found.append(f"out of order: id {after} after {before}")
        for identity, key in zip(ids, member.keys):
            if known.get(key) != identity:
                found.append(f"id {identity} is not {split(key)}'s, which is {known.get(key)}")
        have = set(member.keys)
        if len(have) != len(member.keys):
            found.append(f"repeated: {len(member.keys) - len(have)} publishes came twice")
        first = member.first_position if member.first_position is not None else 0
        if ids and ids[0] <= first:
            found.append(f"id {ids[0]} is from before its first position, {first}")
        lost = sorted(identity for key, identity in known.items() if identity > first and key not in have)
        acknowledged = set(answered.values())
        if lost:
            found.append(f"lost: {len(lost)} events, {sum(i in acknowledged for i in lost)} of them answered with 200, "
                         f"first {lost[:3]}")
        return found

    def _places_of(self, topic):
        if topic not in self._places:
            order = sorted((identity, key) for key, identity in self.known[topic].items())
            self._places[topic] = {key: at for at, (_, key) in enumerate(order)}
        return self._places[topic]

    def _plain_faults(self, member):
        place, found = self._places_of(member.topic), []
        ends = [*member.starts[1:], len(member.keys)]
        for start, end in zip(member.starts, ends):
            places = [place.get(key) for key in member.keys[start:end]]
            if None in places:
                found.append(f"{places.count(None)} events that no resumable member has, nor an answer names")
            elif places and places != list(range(places[0], places[0] + len(places))):
                found.append(f"a gap or a repeat within one connection: {len(places)} of {places[-1] - places[0] + 1}")
        return found
