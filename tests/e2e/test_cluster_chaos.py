"""Clients that hop from node to node every second while publishes come in at each, and SIGKILL of gateways, of API processes
and of Redis, which comes back with all it knew or with nothing; replacements, and ways to Redis that hang. Each publish that
was answered with 200 reaches each client exactly once, in the order of its publisher, and nobody is told that something is gone.

CHAOS_SECONDS says how long (`make chaos`: ten minutes for each build), CHAOS_SEED repeats the choices of a run. CHAOS_RATE is how
many are published a second: fewer on a machine that does other things too, for all that is kept is relayed whenever Redis is emptied."""

import collections
import contextlib
import os
import random
import signal
import time

import pytest

from harness import sqlite
from harness.crashes import API_PROCESSES, TEMPORARY, Crashes
from harness.hoppers import Traffic
from harness.process import wait_until

SECONDS = float(os.environ.get("CHAOS_SECONDS", "10"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
RATE = float(os.environ.get("CHAOS_RATE", "600" if SECONDS >= 60 else "240"))  # publishes a second, by two publishers a node
AWAY_S = 3.0
LAG_MOST = 2000  # events
REMOVABLE = ["worker.db", "worker.db-wal", "worker.db-shm", "write.lock", "gateway.lock", "wakeup.sock", "relay.lock"]


class ClusterChaos:
    def __init__(self, cluster, traffic, chance):
        self.cluster, self.traffic, self.chance = cluster, traffic, chance
        self.counts = collections.Counter()
        self.nodes = [
            Crashes(service, chance, publishers, traffic.crowd)
            for service, publishers in zip(cluster.services, traffic.by_node)
        ]

    def gateway(self):
        self.chance.choice(self.nodes).the_gateway()

    def api(self):
        self.chance.choice(self.nodes).an_api_process()

    def everything(self):
        self.chance.choice(self.nodes).everything()

    def replaced(self):
        self.chance.choice(self.nodes).replace()

    def removed(self):
        number = self.chance.randrange(len(self.nodes))
        with contextlib.suppress(FileNotFoundError):
            (self.cluster.services[number].state_dir / self.chance.choice(REMOVABLE)).unlink()
        self.traffic.wait_for_publishes(3, number)  # two may be on their way; those who have it open have put it back

    def _pause(self):
        """Publishes go on meanwhile, as if nothing were."""
        until = time.monotonic() + self.chance.uniform(0, AWAY_S)
        wait_until(lambda: time.monotonic() > until, "the time is over", interval_s=0.01)

    def redis_killed(self):
        self.cluster.redis.kill()
        self._pause()
        self.cluster.redis.start()

    def _has_caught_up(self):
        """Each node relays all that it keeps when Redis is empty: if that were to begin again and again it would not end."""
        lag = "SELECT count(*) FROM events WHERE origin IS NULL AND id > (SELECT relayed_id FROM cluster)"
        newest = "SELECT node, (SELECT max(id) FROM events WHERE origin IS NULL) AS id FROM cluster"
        databases = [service.database for service in self.cluster.services]
        own = {row["node"]: row["id"] for database in databases for row in sqlite.ask(database, newest)}
        had = [row for database in databases for row in sqlite.ask(database, "SELECT node, last_id FROM nodes")]
        # Between two events of a node are those of the others.
        behind = [(own[row["node"]] - row["last_id"]) / len(own) for row in had if row["node"] in own]
        return max(behind, default=0) < LAG_MOST and all(sqlite.value(database, lag) < LAG_MOST for database in databases)

    def redis_emptied(self):
        if not self._has_caught_up():
            return
        self.cluster.redis.kill()
        self._pause()
        self.cluster.redis.forget()
        self.cluster.redis.start()

    def redis_flushed(self):
        if not self._has_caught_up():
            return
        self.cluster.redis.client.flushall()

    def redis_held(self):
        self.cluster.redis.hold()
        self._pause()
        self.cluster.redis.go_on()

    def way_hangs(self):
        proxy = self.chance.choice(self.cluster.proxies)
        getattr(proxy, self.chance.choice(["hang", "firewall", "swallow", "cut"]))()
        self._pause()
        proxy.restore(late=self.chance.random() < 0.5)

    def way_severed(self):
        self.chance.choice(self.cluster.proxies).sever()

    def run_for(self, seconds):
        usual = [self.gateway, self.gateway, self.api, self.everything, self.replaced, self.removed, self.way_severed]
        redis = [self.redis_killed, self.redis_emptied, self.redis_flushed, self.redis_held, self.way_hangs]
        deadline, last, turn = time.monotonic() + seconds, [], []
        while time.monotonic() < deadline:
            self.traffic.wait_for_publishes(self.chance.randrange(1, self.chance.choice([2, 30, 300])))
            if not turn:  # each of them comes, in whatever order
                turn = self.chance.sample(usual + redis, len(usual + redis))
            deed = turn.pop()
            self.counts[deed.__name__] += 1
            last = [*last[-9:], deed.__name__]
            try:
                deed()
                for node in self.nodes:
                    node.supervise()
            except AssertionError as error:
                raise AssertionError(f"after {', '.join(last)}: {error}") from None

    def settle(self):
        ends = collections.Counter()
        for node in self.nodes:
            ends += node.settle()
        return ends


# Nodes, and processes of each one's gateway; in `make test` there is time for one pair only.
@pytest.mark.parametrize("nodes, processes", [(2, 1), (2, 2), (3, 1)] if SECONDS >= 60 else [(2, 1)])
def test_clients_that_hop_between_nodes_lose_nothing_whatever_is_killed(make_cluster, nodes, processes):
    print(f"CHAOS_SEED={SEED}")
    cluster = make_cluster(nodes, proxied=True, log_level="warn", drain="300ms", gateway_processes=processes, start=False)
    for service in cluster.services:
        cluster.start_node(service, API_PROCESSES)
    cluster.wait_until_joined()
    with Traffic(cluster, publishers=2, rate=RATE / 2 / nodes, hoppers=8, seed=SEED) as traffic:
        chaos = ClusterChaos(cluster, traffic, random.Random(SEED))
        try:
            chaos.run_for(SECONDS)
            ends = chaos.settle()
        finally:
            print(f"{dict(chaos.counts)}, answers {dict(traffic.statuses())}, received "
                  f"{sum(len(member.keys) for member in traffic.members)}, "
                  f"connections {sum(len(member.starts) for member in traffic.members)}")  # fmt: skip
        faults = traffic.finish(limit_s=240)
    assert not faults, "\n".join(faults[:20])
    assert set(ends) <= {0, -signal.SIGKILL, TEMPORARY, -signal.SIGUSR2}, ends
    assert set(traffic.statuses()) <= {200, 502, 503, 504}
    assert all(len(hopper.starts) > 3 for hopper in traffic.hoppers), "each has hopped"
    for node in cluster.nodes:
        assert sqlite.value(node.service.database, "PRAGMA integrity_check") == "ok"
        twice = "SELECT payload FROM events WHERE kind = 0 GROUP BY payload HAVING count(*) > 1"
        assert sqlite.ask(node.service.database, twice) == []
