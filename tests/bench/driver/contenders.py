"""Who is measured: the service, the bare loop, and nginx with nchan. Each is started on free ports of loopback, and says
how one subscribes and publishes to it, and which of its processes serve.

With `with`: they are started when it begins and stopped when it ends."""

import atexit
import contextlib
import functools
import os
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from harness.api import InternalApi
from harness.process import USER, Process, accepts, free_port, give_to_user, wait_until
from harness.service import BUILD, Service
from harness.web_servers import Certificates, Nginx

from .load import SERVER_CORES, Failure, descendants, on_cores, usage

NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
PUSH = '{"type":"push","payload":', "}"  # what subscribers of the service get; the others are given it to send
IN_MEMORY = ("tmpfs", "ramfs")
SYNCS, SYNCED_BYTES = 50, 4096

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


def new_directory(name, parent="/tmp"):
    directory = Path(tempfile.mkdtemp(prefix=f"wlw-{name}-", dir=parent))
    give_to_user(directory, 0o755)
    return directory


@functools.cache
def certificates():
    """The web servers' site files want some."""
    directory = new_directory("tls")
    atexit.register(shutil.rmtree, directory)
    return Certificates(directory)


def _file_system(path):
    """Its name, by statfs(2)."""
    return subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True).stdout.strip()


@functools.cache
def disk_directory():
    """Where the build is, unless that is in memory, or the service may not go there."""
    for parent in (BUILD, Path("/var/tmp")):
        is_open = all(path.stat().st_mode & 0o001 for path in (parent, *parent.parents))
        if is_open and _file_system(parent) not in IN_MEMORY:
            break
    return parent


@functools.cache
def disk():
    """The file system there, and how many milliseconds a sync of some pages takes that were written before."""
    times = []
    with tempfile.TemporaryFile(dir=disk_directory()) as file:
        for _ in range(SYNCS):
            os.pwrite(file.fileno(), b"x" * SYNCED_BYTES, 0)
            begin = time.perf_counter_ns()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter_ns() - begin) / 1e6)
    return _file_system(disk_directory()), statistics.median(times)


class Contender:
    cores = SERVER_CORES
    accepted = "200"  # the status of a publish that is taken

    def __enter__(self):
        with on_cores(self.cores), contextlib.ExitStack() as stack:
            stack.callback(self.stop)
            self.start()
            stack.pop_all()
        return self

    def __exit__(self, kind, *_):
        faults = self.stop()
        if faults and kind is None:
            raise Failure(f"{self.name}: {faults}")

    def settle(self, *_):
        """Waits until the processes rest: less than 1 ms in a tenth of a second."""

        def rests():
            before = usage(self.gateway_pids)
            time.sleep(0.1)
            return (usage(self.gateway_pids) - before).cpu_us < 1000

        wait_until(rests, "the servers rest", 10)


class Worker(Contender):
    """The service behind nginx or Apache, with the very site files of this repository. `bare`: the bare FastCGI program
    has the place of the API, and there is no gateway. `seed`: see _seed. `on_disk`: its state is in disk_directory, and
    with `sync_ms` each sync takes so long. Other keywords are keys of config.yaml."""

    name = "wavelog-worker"

    def __init__(self, front=Nginx, bare=False, cores=SERVER_CORES, seed=None, on_disk=False, sync_ms=None, processes=4,
                 **config):  # fmt: skip
        self.front, self.bare, self.cores, self.seed, self.on_disk = front, bare, cores, seed, on_disk
        self.sync_ms = sync_ms
        self.processes = processes  # of the API
        self.service = Service(event_limit=10_000_000, event_retention="24h", drain="10ms", **config)

    def start(self):
        if self.on_disk:
            self._move_state()
        if self.sync_ms:
            library = shutil.copy(BUILD / "bench/slow_sync.so", self.service.bin)
            self.service.environment = ["env", f"LD_PRELOAD={library}", f"SYNC_MS={self.sync_ms}"]
        if self.bare:
            shutil.copy(BUILD / "bench/bare_fastcgi", self.service.api_program)
        else:
            if self.seed:
                self._seed(**self.seed)
            self.service.start_gateway()
        self.service.start_api(self.processes)
        self.web = self.front(self.service, certificates())
        self.api = InternalApi(self.web.plain_url, self.service.secret)

    def stop(self):
        faults = self.service.close()
        if self.on_disk:
            shutil.rmtree(self.service.state_dir)
        return faults

    def _move_state(self):
        self.service.state_dir = new_directory("state", disk_directory())
        self.service.state_dir.chmod(0o700)
        self.service.write_config(state_dir=str(self.service.state_dir))

    def _reading(self):
        return contextlib.closing(sqlite3.connect(f"file:{self.service.database}?mode=ro", uri=True))

    def _seed(self, topics, events=0):
        """Registers topics seed.0, seed.1, ... and puts events into the database, before anybody uses it."""

        def has_schema():
            with contextlib.suppress(sqlite3.Error), self._reading() as database:
                return database.execute("SELECT count(*) FROM topics").fetchone()[0] > 0

        self.service.start_api(1)
        wait_until(has_schema, "the API makes the database")
        self.service.stop_api()
        now_ms = int(time.time() * 1000)
        with contextlib.closing(sqlite3.connect(self.service.database, isolation_level=None)) as database:
            database.execute("PRAGMA wal_autocheckpoint = 0")
            database.execute("BEGIN")
            database.execute(SEED_TOPICS, (topics, now_ms, now_ms + 86_400_000))
            if events:
                database.execute(SEED_EVENTS, (events, topics, now_ms))
            database.execute("COMMIT")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for path in self.service.state_dir.iterdir():
            give_to_user(path, 0o600)

    def register(self, *topics):
        for topic in () if self.bare else topics:
            reply = self.api.register(topic, require_token=True)
            if reply.status != 200:
                raise Failure(f"register: {reply}")

    @property
    def gateway_pids(self):
        return descendants(self.service.gateway.pid)

    @property
    def api_pids(self):
        return [process.pid for process in self.service.api]

    @property
    def pids(self):
        return self.gateway_pids + self.api_pids

    @property
    def subscribing(self):
        return {"port": self.service.ws_port, "target": "/ws?topic=", "secret": self.service.secret}

    @property
    def subscribing_through_the_web_server(self):
        return {"port": self.web.plain_port, "target": f"{self.web.ws_path}?topic="}

    @property
    def asking(self):
        return {"port": self.web.plain_port, "secret": self.service.secret}

    def publishing(self, topic):
        before = f'{{"topic":"{topic}","payload":'
        return {**self.asking, "path": "/internal/publish", "before": before, "after": "}"}

    def settle(self, sockets):
        """Waits until all sessions stand in the database and the gateway has nothing left to do."""

        def are_written():
            with self._reading() as database:
                return database.execute("SELECT count(*) FROM sessions").fetchone()[0] == sockets

        wait_until(are_written, f"{sockets} sessions are written", 30)
        super().settle()


class BareLoop(Contender):
    name = "bare loop"
    subscribe_target, publish_target = "/ws?topic=", "/publish?topic="
    sends_auth = 1

    def __init__(self, cores=SERVER_CORES):
        self.cores = cores
        self.port, self.directory = free_port(), new_directory("bench")
        self.process = None

    def start(self):
        shutil.copy(BUILD / "bench/bare_loop", self.directory)
        command = [self.directory / "bare_loop", str(self.port)]
        self.process = Process.start(self.name, command, self.directory / "log")
        wait_until(lambda: accepts(("127.0.0.1", self.port)), f"{self.name} listens")

    def stop(self):
        fault = self.process and self.process.stop()
        shutil.rmtree(self.directory)
        return fault

    def register(self, *_):
        pass

    @property
    def pids(self):
        return descendants(self.process.pid)

    gateway_pids = pids

    @property
    def subscribing(self):
        return {"port": self.port, "target": self.subscribe_target, "auth": self.sends_auth}

    def publishing(self, topic):
        return {"port": self.port, "path": self.publish_target + topic, "before": PUSH[0], "after": PUSH[1]}


class Streams(Worker):
    """The same service, whose subscribers have streams."""

    name = "wavelog-worker's streams"

    @property
    def subscribing(self):
        return {**super().subscribing, "target": "/stream?topic="}


class Nchan(BareLoop):
    """Debian's nginx with libnginx-mod-nchan: one worker process, which publishers and subscribers talk to."""

    name = "nginx + nchan"
    subscribe_target, publish_target = "/subscribe?id=", "/publish?id="
    sends_auth = 0
    accepted = "201"

    def start(self):
        if not NCHAN_MODULE.exists():
            raise Failure(f"there is no {NCHAN_MODULE}: .ci/packages bench installs it")
        log, configuration = self.directory / "error.log", self.directory / "nginx.conf"
        user = f"user {USER};" if os.geteuid() == 0 else ""
        configuration.write_text(
            NCHAN.format(module=NCHAN_MODULE, dir=self.directory, log=log, port=self.port, user=user)
        )
        # Not as_user: with nchan it wants to make /var/lib/nginx/body as well, whatever the configuration says.
        command = ["nginx", "-e", log, "-p", self.directory, "-c", configuration]
        self.process = Process.start(self.name, command, log, as_user=False)
        wait_until(lambda: accepts(("127.0.0.1", self.port)), f"{self.name} listens")
