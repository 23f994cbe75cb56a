"""Nodes that share a Redis, and a stand-in for nodes of the existing implementation, by section 4 of the contract alone.

	cluster = make_cluster(3)                 three nodes, each with its own API, gateway, database and nginx
	cluster = make_cluster(2, proxied=True)   each behind a Proxy of its own, cluster.proxies[0]
	a, b = cluster.nodes                      each an Nginx: a.api, a.subscribe(topic), a.service
"""

import json
import re
import secrets
import threading
import time

import redis

from . import sqlite
from .process import LIMIT_S, log_faults, wait_until
from .redis_server import Proxy, Redis
from .service import Service
from .web_servers import Nginx

BACK_S = 5.0  # after Redis, which has to answer again
KEY = "wavelog:topic:"
CHANNEL, LOG, NODES = "wavelog:events", "wavelog:log", "wavelog:nodes"


class Node(Nginx):
    """A Service behind an nginx, and what its database says of the cluster."""

    def row(self):
        """The only row of the table `cluster`, a dict."""
        (row,) = sqlite.ask(self.service.database, "SELECT * FROM cluster")
        return row

    @property
    def id(self):
        return self.row()["node"]

    def cluster_nodes(self):
        return self.api.status("?topics=0").json["cluster_nodes"]

    def wait_until_joined(self, nodes=None, limit_s=BACK_S):
        """Until it reaches Redis, and that many nodes listen there."""

        def what():
            return f"{nodes or 'some'} nodes, not {self.row()}\n{self.log_end()}"

        wait_until(lambda: self.cluster_nodes() == nodes if nodes else self.cluster_nodes() > 0, what, limit_s)

    def wait_until_away(self):
        """Returns the reason that it gives."""
        wait_until(lambda: self.cluster_nodes() == -1 and self.row()["why"], lambda: f"it is away: {self.row()}")
        return self.row()["why"]

    def log_end(self, lines=15):
        log = self.service.log_dir / "gateway.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def has_event(self, origin, id):
        """True when event `id` of node `origin` has arrived."""
        return bool(sqlite.rows(self.service, "SELECT 1 FROM events WHERE origin = ?", f"{origin}.{id:016d}"))

    def topics(self):
        return {row["topic"] for row in sqlite.ask(self.service.database, "SELECT topic FROM topics")}

    def knows(self, topic):
        return topic in self.topics()


class Cluster:
    """`redis` is the keyword arguments of a Redis, or one that runs; others are configuration. start() starts the nodes."""

    def __init__(self, certificates, nodes=2, proxied=False, redis=None, **config):
        self.certificates, self.proxied, self.config = certificates, proxied, config
        self.owned = [] if isinstance(redis, Redis) else [Redis(**(redis or {}))]
        self.redis = self.owned[0] if self.owned else redis
        self.services, self.nodes, self.proxies = [], [], []
        for _ in range(nodes):
            self.add_service()

    def add_service(self, **config):
        """A service that is configured for this cluster; nothing of it runs yet."""
        port = None
        if self.proxied:
            self.proxies.append(Proxy(self.redis.address))
            port = self.proxies[-1].port
        config = {"redis_url": self.redis.url_of(port=port), "log_level": "info", **self.config, **config}
        if self.services:
            config.setdefault("worker_secret", self.services[0].secret)  # tokens are good at each node
        service = Service(**config)
        service.secret = service.config["worker_secret"]
        self.services.append(service)
        return service

    def add(self, api_processes=2, **config):
        """One more node, started."""
        return self.start_node(self.add_service(**config), api_processes)

    def start_node(self, service, api_processes=2):
        self.nodes.append(Node(service.start(api_processes), self.certificates))
        return self.nodes[-1]

    def start(self):
        for service in self.services:
            self.start_node(service)
        for node in self.nodes:  # there may be others at a Redis that is not ours
            node.wait_until_joined(len(self.nodes) if self.owned else None, LIMIT_S)
        return self

    def wait_until_joined(self, nodes=None):
        """All of them within BACK_S from now on."""
        until = time.monotonic() + BACK_S
        for node in self.nodes:
            node.wait_until_joined(nodes or len(self.nodes), until - time.monotonic())

    def register(self, topic, **members):
        """At the first node, and waits until each knows it."""
        assert self.nodes[0].api.register(topic, **members).status == 200
        self.wait_until_known(topic)

    def wait_until_known(self, topic, known=True):
        for node in self.nodes:
            wait_until(
                lambda: node.knows(topic) == known,
                lambda: f"{topic} is {'' if known else 'not '}known\n{node.log_end()}",
            )

    def wait_until_relayed(self):
        """Until each node has what each other has published."""
        for node in self.nodes:
            newest = sqlite.value(
                node.service.database, "SELECT ifnull(max(id), 0) FROM events WHERE origin IS NULL AND kind = 0"
            )
            for other in self.nodes:
                if other is not node and newest:
                    wait_until(lambda: other.has_event(node.id, newest), f"the newest event, {newest}, is at each")

    def close(self):
        faults = []
        for service in reversed(self.services):
            if self.redis.password:
                faults += log_faults(service.log_dir, self.redis.password)
            faults += service.close()
        for other in (*self.proxies, *self.owned):
            faults += other.close()
        return faults


# How the existing implementation writes a payload: without white space, and these in their longer form.
ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def foreign_payload(value):
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return re.sub("[<>&\u2028\u2029]", lambda found: ESCAPES[found[0]], text).encode()


class ForeignNode(threading.Thread):
    """`heard` has (topic, payload's bytes) of each object on the channel that is not its own: it would push them all."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.redis, self.origin = server.client, secrets.token_hex(8)
        self.heard, self.odd, self.is_over = [], [], False
        self.pubsub = self.redis.pubsub()
        self.pubsub.subscribe(CHANNEL)
        self.register("worker.status", True)
        self.start()

    def run(self):
        while not self.is_over:
            try:
                message = self.pubsub.get_message(timeout=0.1)
            except (redis.ConnectionError, ValueError, AttributeError):
                time.sleep(0.05)  # it connects anew, and has lost what was said meanwhile
                continue
            if message and message["type"] == "message":
                self._hear(message["data"])

    def _hear(self, data):
        try:
            members = {name.lower(): value for name, value in json.loads(data).items()}
        except (ValueError, AttributeError, RecursionError):
            self.odd.append(data)
            return
        if members.get("origin_id") != self.origin:
            payload = re.search(rb'"payload":(.*)}\s*$', data, re.S | re.I)  # ours end in it
            self.heard.append((members.get("topic", ""), payload[1] if payload else b"null"))

    def say(self, data):
        """Any bytes."""
        return self.redis.publish(CHANNEL, data)

    def publish(self, topic, value, names=("origin_id", "topic", "payload"), more=""):
        """`more`: further members, before the others."""
        origin, subject, payload = names
        body = f'{{{more}"{origin}":"{self.origin}","{subject}":{json.dumps(topic)}'.encode()
        if payload:
            body += f',"{payload}":'.encode() + foreign_payload(value)
        return self.say(body + b"}")

    def register(self, topic, require_token=False, ttl_s=86400):
        self.redis.set(KEY + topic, json.dumps({"require_token": require_token}, separators=(",", ":")), ex=ttl_s)

    def unregister(self, topic):
        self.redis.delete(KEY + topic)

    def topics(self):
        return {key.decode().removeprefix(KEY) for key in self.redis.scan_iter(KEY + "*")}

    def cluster_nodes(self):
        return self.redis.pubsub_numsub(CHANNEL)[0][1]

    def heard_on(self, topic):
        return [payload for where, payload in self.heard if where == topic]

    def close(self):
        self.is_over = True
        self.join()
        self.pubsub.close()
