"""A redis-server of the tests' own (valkey-server where $TEST_REDIS names it): on a free port of loopback, in a directory
of its own, as the unprivileged user. And a proxy before it, which does what networks do."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
import threading
from pathlib import Path

import redis

from .process import LIMIT_S, Process, free_port, give_to_user, log_tail, wait_until

PROGRAM = os.environ.get("TEST_REDIS", "redis-server")


class Redis:
    """Started at once. `persistent`: what was answered is there after a kill; otherwise it begins empty each time.
    `certificates`: TLS only (harness.web_servers.Certificates). Other keywords are lines of its configuration, with _ for -."""

    def __init__(self, persistent=True, password=None, certificates=None, replica_of=None, **settings):
        self.dir = Path(tempfile.mkdtemp(prefix="wlw-redis-", dir="/tmp"))
        give_to_user(self.dir, 0o755)
        self.port, self.password, self.tls = free_port(), password, None
        lines = {
            "bind": "127.0.0.1", "port": self.port, "dir": self.dir, "save": '""', "unixsocket": self.dir / "redis.sock",
            "unixsocketperm": "777", "appendonly": "yes" if persistent else "no", "appendfsync": "always",
            "repl-diskless-sync-delay": 0, "enable-debug-command": "local",
        }  # fmt: skip
        if password:
            lines["requirepass"] = f'"{password}"'
        if certificates:
            self.tls = self.dir / "authority.pem"
            for source, name in (
                (certificates.certificate, "redis.pem"), (certificates.key, "redis.key"), (certificates.authority, self.tls),
            ):  # fmt: skip
                shutil.copy(source, self.dir / name)
                give_to_user(self.dir / name, 0o600)
            lines |= {"port": 0, "tls-port": self.port, "tls-cert-file": self.dir / "redis.pem"}
            lines |= {"tls-key-file": self.dir / "redis.key", "tls-auth-clients": "no"}
            lines["tls-ca-cert-file"] = self.tls
        if replica_of:
            lines["replicaof"] = f"127.0.0.1 {replica_of.port}"
        lines |= {name.replace("_", "-"): value for name, value in settings.items()}
        self.config_file = self.dir / "redis.conf"
        self.config_file.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        self.log = self.dir / "redis.log"
        self.process = None
        self.start()

    @property
    def address(self):
        return "127.0.0.1", self.port

    @property
    def url(self):
        return self.url_of()

    def url_of(self, user="", password=None, port=None):
        """As redis_url has it; `port`: of a proxy before it."""
        password = password or self.password
        login = f"{user}:{password}@" if password else ""
        return f"{'rediss' if self.tls else 'redis'}://{login}127.0.0.1:{port or self.port}"

    @property
    def unix_url(self):
        return f"unix:{self.dir / 'redis.sock'}"

    def start(self):
        self.process = Process.start("redis", [PROGRAM, self.config_file], self.log)
        tls = {"ssl": True, "ssl_ca_certs": str(self.tls)} if self.tls else {}
        self.client = redis.Redis(port=self.port, password=self.password, socket_timeout=LIMIT_S, **tls)

        def ready():
            assert self.process.runs(), f"redis ended with {self.process.exit_code}\n{log_tail(self.dir)}"
            with contextlib.suppress(redis.ConnectionError, redis.BusyLoadingError):
                return self.client.ping()

        wait_until(ready, "redis answers")

    def kill(self):
        self.client.close()
        self.process.kill()

    def restart(self):
        """By a kill; what was persistent is there again."""
        self.kill()
        self.start()

    def forget(self):
        """Deletes its files: it is empty after the next start."""
        for path in self.dir.iterdir():
            if path.name.startswith(("appendonly", "dump", "temp-")):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def restart_empty(self):
        self.kill()
        self.forget()
        self.start()

    def hold(self):
        self.process.send(signal.SIGSTOP)

    def go_on(self):
        self.process.send(signal.SIGCONT)

    def is_replica(self):
        """True once it has all of its master."""
        return self.client.info("replication").get("master_link_status") == "up"

    def promote(self):
        """It goes its own way from here: what its master is told later is lost to it."""
        self.client.replicaof("no", "one")

    def close(self):
        """Returns what was wrong, a list of texts."""
        if not self.process.runs() and self.process.exit_code != -signal.SIGKILL:
            return [f"redis had ended with {self.process.exit_code}\n{log_tail(self.dir)}"]
        self.client.close()
        self.process.kill()
        shutil.rmtree(self.dir)
        return []


class Proxy:
    """TCP to `target`, which may be changed; `port` is its own. It passes everything on until it is told otherwise:

	delay(seconds)  what comes is passed on that much later, in both directions
	throttle(rate)  each connection passes on that many bytes a second, in each direction
	hang()          nothing is passed on any more; connections stay, and new ones are accepted
	firewall()      the same, and nobody answers new ones
	swallow()       Redis hears everything, its answers are lost
	cut()           connections are reset, new ones refused
	sever()         connections are reset once
	restore()       all is well; connections that hung are reset, or with late=True what they held arrives now
    """

    def __init__(self, target):
        self.target, self.port = target, free_port()
        self.accepted = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._begin())

    def _do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(LIMIT_S)

    async def _begin(self):
        self._links, self._plugs, self._server = set(), [], None
        self._delay_s, self._rate, self._swallows = 0.0, 0, False
        self._open = asyncio.Event()
        self._open.set()
        await self._listen()

    async def _listen(self):
        if not self._server:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, reuse_address=True)

    async def _shut(self):
        if self._server:
            self._server.close()
            self._server = None

    async def _serve(self, reader, writer):
        self.accepted += 1
        self._links.add(writer)
        tasks, onward = [], None
        try:
            await self._open.wait()
            there, onward = await asyncio.open_connection(*self.target)
            self._links.add(onward)
            tasks = [asyncio.ensure_future(self._pump(reader, onward, False)),
                     asyncio.ensure_future(self._pump(there, writer, True))]  # fmt: skip
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass  # there is nobody
        finally:
            for task in tasks:
                task.cancel()
            for end in (writer, onward):
                if end:
                    self._links.discard(end)
                    end.close()

    async def _pump(self, source, sink, is_answer):
        late = asyncio.Queue()
        writing = asyncio.ensure_future(self._write(late, sink, is_answer))
        try:
            while data := await source.read(65536):
                late.put_nowait((self._loop.time() + self._delay_s, data))
            late.put_nowait((self._loop.time() + self._delay_s, None))
            await writing
        except OSError:
            pass
        finally:
            writing.cancel()

    async def _write(self, late, sink, is_answer):
        while True:
            due, data = await late.get()
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            await self._open.wait()
            if data is None:
                return
            if not (is_answer and self._swallows):
                sink.write(data)
                await sink.drain()
            if self._rate:
                await asyncio.sleep(len(data) / self._rate)

    async def _reset(self):
        for writer in list(self._links):
            writer.transport.abort()
        self._links.clear()
        await asyncio.sleep(0)

    def delay(self, seconds):
        self._delay_s = seconds

    def throttle(self, bytes_per_second):
        self._rate = bytes_per_second

    def swallow(self):
        self._swallows = True

    def hang(self):
        self._loop.call_soon_threadsafe(self._open.clear)

    def firewall(self):
        async def do():
            self._open.clear()
            await self._shut()
            # A queue of one that is full: the kernel drops further attempts.
            self._wall = socket.socket()
            self._wall.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._wall.bind(("127.0.0.1", self.port))
            self._wall.listen(0)
            for _ in range(2):
                plug = socket.socket()
                plug.setblocking(False)
                plug.connect_ex(("127.0.0.1", self.port))
                self._plugs.append(plug)
            self._plugs.append(self._wall)

        self._do(do())

    def cut(self):
        async def do():
            await self._shut()
            await self._reset()

        self._do(do())

    def sever(self):
        self._do(self._reset())

    def restore(self, late=False):
        async def do():
            for plug in self._plugs:
                plug.close()
            self._plugs.clear()
            if not late and (self._swallows or not self._open.is_set()):
                await self._reset()
            self._delay_s, self._rate, self._swallows = 0.0, 0, False
            self._open.set()
            await self._listen()

        self._do(do())

    def close(self):
        """Returns what was wrong: nothing."""

        async def do():
            for plug in self._plugs:
                plug.close()
            await self._shut()
            await self._reset()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self._do(do())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_S)
        self._loop.close()
        return []
