"""What a web server in front of a Service has in common: where things are, and how it is stopped."""

import os

from . import logs
from .internal import InternalApi
from .process import GID, UID, Process, give_to_user
from .subscriber import Subscriber
from .waiting import accepts, free_port, wait_until

# Starts a server in a network of its own, where 192.0.2.1 is its public address and 192.0.2.2 a visitor's.
OTHER_NETWORK = [
    "unshare", "--net", "--", "sh", "-c",
    'ip link set lo up && ip address add 192.0.2.1/24 dev lo && ip address add 192.0.2.2/24 dev lo && exec "$@"',
    "sh",
]  # fmt: skip
PUBLIC_ADDRESS, VISITOR_ADDRESS = "192.0.2.1", "192.0.2.2"


class WebServer:
    name = "web server"
    prefix = ""  # what stands before /internal/
    ws_path = "/worker/ws"
    demo_path = "/worker-demo"
    as_user = True

    def __init__(self, service, certificates, other_network=False):
        self.service, self.certificates = service, certificates
        self.dir = service.dir / self.name
        self.dir.mkdir()
        give_to_user(self.dir, 0o755)
        self.log = service.log_dir / f"{self.name}.log"
        self.access_log = service.log_dir / f"{self.name}-access.log"
        self.tls_port, self.plain_port = free_port(), free_port()
        self.address = PUBLIC_ADDRESS if other_network else "127.0.0.1"
        self.wrapper = OTHER_NETWORK if other_network else []
        if other_network and self.as_user:
            self.wrapper = [*OTHER_NETWORK, "setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups"]
        self.write_files()
        self.process = Process.start(
            self.name, [*self.wrapper, *self.command()], self.log, as_user=self.as_user and not other_network,
            env={"WAVELOG_WORKER_CONFIG": str(service.config_file)},
        )
        service.closers.append(self.close)
        wait_until(self._ready, f"{self.name} accepts connections")

    def write_files(self):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def _ready(self):
        log = logs.tail(self.service.log_dir)
        assert self.process.runs(), f"{self.name} ended with {self.process.exit_code}\n{log}"
        if self.wrapper:
            return os.path.exists(self.dir / "pid")
        return accepts(("127.0.0.1", self.tls_port)) and accepts(("127.0.0.1", self.plain_port))

    def close(self):
        if not self.process.runs():
            return [f"{self.name} had ended with {self.process.exit_code}"]
        fault = self.process.stop()
        return [fault] if fault else []

    @property
    def tls(self):
        return self.certificates.context()

    @property
    def plain_url(self):
        return f"http://127.0.0.1:{self.plain_port}{self.prefix}"

    @property
    def tls_url(self):
        return f"https://127.0.0.1:{self.tls_port}{self.prefix}"

    @property
    def wss_url(self):
        return f"wss://127.0.0.1:{self.tls_port}{self.ws_path}"

    @property
    def ws_url(self):
        return f"ws://127.0.0.1:{self.plain_port}{self.ws_path}"

    @property
    def demo_url(self):
        return f"https://127.0.0.1:{self.tls_port}{self.demo_path}"

    @property
    def api(self):
        """The internal API over the plain listener, as most installations call it."""
        return InternalApi(self.plain_url, self.service.secret)

    @property
    def tls_api(self):
        return InternalApi(self.tls_url, self.service.secret, tls=self.tls)

    def subscribe(self, topic, **options):
        """A connection over wss, not yet authenticated."""
        return Subscriber(self.wss_url, topic, tls=self.tls, **options)
