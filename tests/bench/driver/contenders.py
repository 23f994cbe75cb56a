"""Who is measured: the service, the bare loops, and nginx with nchan. Each is started on free ports of loopback, and
says how one subscribes and publishes to it, and which of its processes serve.

With `with`: they are started when it begins and stopped when it ends."""

import atexit
import functools
import os
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path

from harness.api import InternalApi
from harness.process import USER, Process, accepts, free_port, give_to_user, wait_until
from harness.service import BUILD, Service
from harness.web_servers import Apache, Certificates, Nginx

from . import machine
from .load import Failure

NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
PUSH = '{"type":"push","payload":', "}"  # what subscribers of the service get; the others are given it to send

NCHAN = """
{user}
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {dir}/pid;
error_log {log} warn;
events {{ worker_connections 16000; }}
http {{
	client_body_temp_path {dir}/body;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi;
	scgi_temp_path {dir}/scgi;
	access_log off;
	client_body_buffer_size 64k;
	server {{
		listen 127.0.0.1:{port};
		location = /publish {{ nchan_publisher; nchan_channel_id $arg_id; nchan_message_buffer_length 1; }}
		location = /subscribe {{
			nchan_subscriber websocket;
			nchan_channel_id $arg_id;
			nchan_subscriber_first_message newest;
		}}
	}}
}}
"""

COUNT = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) "
SEED_TOPICS = COUNT + (
    "INSERT INTO topics (topic, require_token, registered_ms, expires_ms) SELECT 'seed.' || i, 1, ?, ? FROM n"
)
SEED_EVENTS = COUNT + (
    "INSERT INTO events (kind, topic, created_ms, payload) "
    """SELECT 0, 'seed.' || (i % ?), ?, printf('{"number":%d,"pad":"%.120c"}', i, 'x') FROM n"""
)


@functools.cache
def _certificates():
    """The web servers' site files want some."""
    directory = Path(tempfile.mkdtemp(prefix="wlw-tls-", dir="/tmp"))
    atexit.register(shutil.rmtree, directory)
    return Certificates(directory)


class Contender:
    cores = machine.SERVERS
    accepted = "200"  # the status of a publish that is taken

    def __enter__(self):
        try:
            with machine.on_cores(self.cores):
                self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind, *_):
        faults = self.stop()
        if faults and kind is None:
            raise Failure(f"{self.name}: {faults}")


class Worker(Contender):
    """The service behind nginx or Apache, with the very site files of this repository. `bare`: the bare FastCGI
    program has the place of the API, and there is no gateway. `seed`: see _seed. `on_disk`: see _move_state. `gateway_under` and `api_under`: what
    stands before the program in its command, such as valgrind. Other keywords are keys of config.yaml."""

    name = "wavelog-worker"

    def __init__(self, front=Nginx, bare=False, cores=machine.SERVERS, processes=4, seed=None, gateway_under=(),
                 api_under=(), on_disk=False, **config):  # fmt: skip
        self.front, self.bare, self.cores, self.processes, self.seed = front, bare, cores, processes, seed
        self.gateway_under, self.api_under = list(gateway_under), list(api_under)
        self.on_disk = on_disk
        self.config = {"event_limit": 10_000_000, "event_retention": "24h", "drain": "10ms", **config}

    def start(self):
        self.service = Service(**self.config)
        if self.on_disk:
            self._move_state()
        if self.bare:
            shutil.copy(BUILD / "bench/bare_fastcgi", self.service.api_program)
        else:
            if self.seed:
                self._seed(**self.seed)
            self.service.environment = self.gateway_under
            self.service.start_gateway()
        if self.front is Nginx:
            self.service.environment = self.api_under
            self.service.start_api(self.processes)
        self.web = self.front(self.service, _certificates())
        self.api = InternalApi(self.web.plain_url, self.service.secret)

    def stop(self):
        faults = self.service.close()
        if self.on_disk:
            shutil.rmtree(self.service.state_dir)
        return faults

    def _move_state(self):
        """The state directory is where the build is, unless that is in memory as well; there nobody else may look in,
        but the service must."""
        for parent in (BUILD, Path("/var/tmp")):
            if machine.file_system(parent) not in machine.IN_MEMORY and _may_enter(parent):
                break
        self.service.state_dir = Path(tempfile.mkdtemp(prefix="wlw-state-", dir=parent))
        give_to_user(self.service.state_dir, 0o700)
        self.service.write_config(state_dir=str(self.service.state_dir))

    def _seed(self, topics, events=0):
        """Registers topics seed.0, seed.1, ... and puts events into the database, before anybody uses it."""
        self.service.start_api(1)
        wait_until(self._has_schema, "the API makes the database")
        self.service.stop_api()
        now_ms = int(time.time() * 1000)
        database = sqlite3.connect(self.service.database, isolation_level=None)
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute("BEGIN")
        database.execute(SEED_TOPICS, (topics, now_ms, now_ms + 86_400_000))
        if events:
            database.execute(SEED_EVENTS, (events, topics, now_ms))
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        for path in self.service.state_dir.iterdir():
            give_to_user(path, 0o600)

    def _has_schema(self):
        if not self.service.database.exists():
            return False
        database = sqlite3.connect(f"file:{self.service.database}?mode=ro", uri=True)
        try:
            return database.execute("SELECT count(*) FROM topics").fetchone()[0] > 0
        except sqlite3.Error:
            return False
        finally:
            database.close()

    def register(self, *topics, token=False):
        if self.bare:
            return
        for topic in topics:
            reply = self.api.register(topic, require_token=token)
            if reply.status != 200:
                raise Failure(f"register: {reply}")

    @property
    def gateway_pids(self):
        return machine.descendants(self.service.gateway.pid)

    @property
    def pids(self):
        return self.gateway_pids + [process.pid for process in self.service.api]

    @property
    def subscribing(self):
        return {"port": self.service.ws_port, "target": "/ws?topic=", "auth": "token", "secret": self.service.secret}

    @property
    def subscribing_through_the_web_server(self):
        return {**self.subscribing, "port": self.web.plain_port, "target": f"{self.web.ws_path}?topic="}

    @property
    def asking(self):
        return {"port": self.web.plain_port, "secret": self.service.secret}

    def publishing(self, topic):
        before = f'{{"topic":"{topic}","payload":'
        return {**self.asking, "path": "/internal/publish", "before": before, "after": "}"}

    def settle(self, load, sockets):
        """Waits until all sessions stand in the database and the gateway has nothing left to do."""

        def written():
            database = sqlite3.connect(f"file:{self.service.database}?mode=ro", uri=True)
            try:
                return database.execute("SELECT count(*) FROM sessions").fetchone()[0] == sockets
            finally:
                database.close()

        wait_until(written, f"{sockets} sessions are written", 30)
        settle(load, self.gateway_pids)


def _may_enter(directory):
    """Whether everybody may pass through a directory and those above it."""
    return all(path.stat().st_mode & 0o001 for path in (directory, *directory.parents))


def settle(load, pids):
    """Waits until the processes rest: less than 1 ms in a tenth of a second."""

    def rests():
        return load.cpu_us(pids, lambda: time.sleep(0.1)) < 1000

    wait_until(rests, "the servers rest", 10)


class BareLoop(Contender):
    name = "bare loop"

    def __init__(self, cores=machine.SERVERS):
        self.cores = cores

    gateway_pids = property(lambda self: self.pids)

    def start(self):
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="wlw-bare-", dir="/tmp"))
        give_to_user(self.directory, 0o755)
        shutil.copy(BUILD / "bench/bare_loop", self.directory)
        self.process = Process.start(
            self.name, [self.directory / "bare_loop", str(self.port)], self.directory / "log"
        )
        wait_until(lambda: accepts(("127.0.0.1", self.port)), "the bare loop listens")

    def stop(self):
        fault = self.process.stop()
        shutil.rmtree(self.directory)
        return fault

    def register(self, *topics, **_):
        pass

    @property
    def pids(self):
        return [self.process.pid]

    @property
    def subscribing(self):
        return {"port": self.port, "target": "/ws?topic=", "auth": "open"}

    def publishing(self, topic):
        return {"port": self.port, "path": f"/publish?topic={topic}", "before": PUSH[0], "after": PUSH[1]}

    def settle(self, load, sockets):
        settle(load, self.pids)


class Nchan(BareLoop):
    """Debian's nginx with libnginx-mod-nchan: one worker process, which publishers and subscribers talk to."""

    name = "nginx + nchan"
    accepted = "201"

    def start(self):
        if not NCHAN_MODULE.exists():
            raise Failure(f"there is no {NCHAN_MODULE}: .ci/packages bench installs it")
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="wlw-nchan-", dir="/tmp"))
        give_to_user(self.directory, 0o755)
        log = self.directory / "error.log"
        configuration = self.directory / "nginx.conf"
        configuration.write_text(
            NCHAN.format(module=NCHAN_MODULE, dir=self.directory, log=log, port=self.port,
                         user=f"user {USER};" if os.geteuid() == 0 else "")
        )  # fmt: skip
        # Not as_user: with nchan it wants to make /var/lib/nginx/body as well, whatever the configuration says.
        self.process = Process.start(
            "nchan", ["nginx", "-e", log, "-p", self.directory, "-c", configuration], log, as_user=False
        )
        wait_until(lambda: accepts(("127.0.0.1", self.port)), "nginx with nchan listens")

    @property
    def pids(self):
        return machine.descendants(self.process.pid)

    @property
    def subscribing(self):
        return {"port": self.port, "target": "/subscribe?id=", "auth": "none"}

    def publishing(self, topic):
        return {"port": self.port, "path": f"/publish?id={topic}", "before": PUSH[0], "after": PUSH[1]}


__all__ = ["Apache", "BareLoop", "Nchan", "Nginx", "Worker"]
