"""Publishers at each node of a cluster, clients that stay at a node or hop between them, and what must hold then: each
client has each publish that was answered with 200, from whichever node, once, and in the order of its publisher."""

import collections
import random

from .crowd import AUTH, AWAY, Crowd, Member
from .ledger import Publisher, key_of, split
from .process import wait_until

HOP_S = 1.0


class Hopper(Member):
    """`places`: (address, path) of nodes. After each connection it goes to one of them, with the last position it has."""

    def __init__(self, places, topic, resume="always", seed=1):
        self.places, self.chance = places, random.Random(seed)
        address, path = self.chance.choice(places)
        super().__init__(address, topic, resume, path)
        self.ids = []  # text
        self.trace = []  # of each connection: how many pushes came before, where, with which position, and the answer

    def take(self, message):
        opens = self.state == AUTH
        if opens:
            self.trace.append((len(self.keys), self.address, self.path.partition("?")[0], self.position, message.decode()))
        super().take(message)

    def next_try(self, soon_s):
        self.address, path = self.chance.choice(self.places)
        self.path = f"{path}?{self.path.partition('?')[2]}"
        return soon_s


class Traffic:
    """For all of `cluster`: publishers at each node, and members that are open before the first publish: at each node one
    that stays and a plain one, and `hoppers` that leave every HOP_S. Use it in a `with`; finish() judges."""

    def __init__(self, cluster, topics=("t", "b/é"), publishers=1, rate=50, hoppers=4, seed=1):
        self.cluster, self.topics = cluster, list(topics)
        for topic in topics:
            cluster.register(topic)
        self.by_node = [
            [Publisher(node.api, self.topics, number * publishers + by, rate) for by in range(publishers)]
            for number, node in enumerate(cluster.nodes)
        ]
        self.publishers = [publisher for publishers in self.by_node for publisher in publishers]
        self.crowd = Crowd(seed)
        places = []
        for node in cluster.nodes:
            here = [(node.service.ws_address, "/ws"), (("127.0.0.1", node.plain_port), node.ws_path)]
            places += here
            for topic in topics:
                self.crowd.add(Hopper(here, topic, seed=seed + len(self.crowd.members)))
            self.crowd.add(Hopper(here[:1], topics[0], "no"))
        self.hoppers = [Hopper(places, self.topics[number % len(topics)], seed=seed + 100 + number) for number in range(hoppers)]
        for hopper in self.hoppers:
            self.crowd.add(hopper)

    @property
    def members(self):
        return self.crowd.members

    def __enter__(self):
        self.crowd.wait_until_open()
        for number, hopper in enumerate(self.hoppers):
            self.crowd.call(lambda hopper=hopper, first_s=HOP_S * (1 + number / len(self.hoppers)): self._hop(hopper, first_s))
        for publisher in self.publishers:
            publisher.start()
        return self

    def _hop(self, hopper, in_s):
        def leave():
            if hopper.state != AWAY:
                self.crowd.leave(hopper)
            self._hop(hopper, HOP_S)

        self.crowd.after(in_s, leave)

    def __exit__(self, kind, *_):
        for publisher in self.publishers:
            publisher.stopping.set()
        self.crowd.__exit__(kind)

    def answered(self, node=None):
        publishers = self.publishers if node is None else self.by_node[node]
        return sum(len(publisher.answered) for publisher in publishers)

    def wait_for_publishes(self, count, node=None, limit_s=30):
        """That many more are answered with 200: at that node, or at any."""
        goal = self.answered(node) + count
        wait_until(lambda: self.answered(node) >= goal, "publishes go on", limit_s, interval_s=0.005)

    def finish(self, limit_s=30):
        """Ends the publishers, waits until everybody has everything; returns what was wrong, a list of texts."""
        for publisher in self.publishers:
            publisher.stopping.set()
        last = [publisher.finish() for publisher in self.publishers]
        try:
            wait_until(
                lambda: all(ends[member.topic] in member.keys for member in self.members for ends in last),
                "the last publishes reach everybody", limit_s, interval_s=0.2,
            )  # fmt: skip
        except AssertionError as error:
            return [str(error), *self.faults()]
        return self.faults()

    def statuses(self):
        return sum((publisher.statuses for publisher in self.publishers), start=collections.Counter())

    def faults(self):
        return judge(self.publishers, self.members)


def judge(publishers, members):
    """What was wrong, a list of texts."""
    answered, known = collections.defaultdict(set), collections.defaultdict(set)
    by_number = {publisher.by: publisher for publisher in publishers}
    for publisher in publishers:
        for number in publisher.answered:
            answered[publisher.topic_of(number)].add(key_of(publisher.by, number))
    for topic, keys in answered.items():
        known[topic] |= keys
    for member in members:
        if member.resume == "always":
            known[member.topic].update(member.keys)
    return [
        f"member {number} ({member.resume}, {len(member.places)} places) of {member.topic}: {fault}"
        for number, member in enumerate(members)
        for fault in _faults_of(member, by_number, answered[member.topic], known[member.topic])
    ]


def _faults_of(member, by_number, answered, known):
    yield from (f"odd frame {frame!r}" for frame in member.faults)
    have, last = set(), {}
    repeated = disordered = 0
    for key in member.keys:
        by, number = split(key)
        publisher = by_number.get(by)
        if not publisher or not 0 < number <= publisher.count or publisher.topic_of(number) != member.topic:
            yield f"invented: {by}/{number}"
        repeated += key in have
        if key not in have and number < last.get(by, 0):
            disordered += 1
            first = f"{by}/{number} after {by}/{last[by]}"
        have.add(key)
        last[by] = max(number, last.get(by, 0))
    if repeated:
        yield f"repeated: {repeated} pushes"
    if disordered:
        yield f"out of order: {disordered} pushes, the last of them {first}"
    if member.resume != "always" and len(member.starts) > 1:
        return
    lost = known - have
    if lost:
        some = [f"{by}/{number}" for by, number in sorted(map(split, lost))][:5]
        yield f"lost: {len(lost)} pushes, {len(lost & answered)} of them answered with 200: {', '.join(some)}"
    if member.unrecovered:
        yield f"recovered was false {member.unrecovered} times"
