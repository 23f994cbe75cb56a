"""A real nginx or Apache in front of a Service, unprivileged, with the files of nginx/ and apache/ that people copy."""

import ctypes
import os
import shutil
import signal
import ssl
import subprocess
import threading
from pathlib import Path
from urllib.parse import quote

from .api import InternalApi
from .process import GID, SANITIZER_ENV, UID, USER, Process, accepts, free_port, give_to_user, log_tail, wait_until
from .service import REPO, copy_with, uncomment
from .websocket import Subscriber

class Certificates:
    def __init__(self, directory):
        self.directory = directory
        self.authority = directory / "authority.pem"
        self._openssl("req", "-x509", *self.KEY, "-keyout", directory / "authority.key", "-out", self.authority,
                      "-days", 2, "-subj", "/CN=throw-away authority")
        self.certificate, self.key = self.issue("localhost", "DNS:localhost,IP:127.0.0.1")

    KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def issue(self, name, names, days=2):
        """A certificate of this authority, and its key: for other names, or (-1) one that has expired. `name` is of files."""
        certificate, key, request = (self.directory / f"{name}.{ending}" for ending in ("pem", "key", "csr"))
        extensions = self.directory / f"{name}.names"
        extensions.write_text(f"subjectAltName={names}\n")
        self._openssl("req", *self.KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        self._openssl("x509", "-req", "-in", request, "-CA", self.authority, "-CAkey", self.directory / "authority.key",
                      "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", certificate)
        return certificate, key

    def context(self):
        """For clients: trusts this authority and nobody else."""
        return ssl.create_default_context(cafile=str(self.authority))


# Starts a server in a network of its own, where 192.0.2.1 is its public address and 192.0.2.2 a visitor's.
OTHER_NETWORK = [
    "unshare", "--net", "--", "sh", "-c",
    'ip link set lo up && ip address add 192.0.2.1/24 dev lo && ip address add 192.0.2.2/24 dev lo && exec "$@"',
    "sh",
]  # fmt: skip
PUBLIC_ADDRESS, VISITOR_ADDRESS = "192.0.2.1", "192.0.2.2"


def in_network_of(pid, call):
    """call() on a thread that has entered the network namespace of a process; a socket that it makes stays in there."""
    result = []

    def run():
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(namespace, 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            result.append(call())
        finally:
            os.close(namespace)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert result, "the call failed, see above"
    return result[0]


class WebServer:
    name = "web server"
    prefix = ""  # what comes before /internal/
    ws_path = "/worker/ws"
    demo_path = "/worker-demo"
    ready_path = "/worker/readyz"  # after the prefix
    as_user = True
    reload_signal = signal.SIGHUP

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
        self._start()
        service.closers.append(self.close)

    def _start(self):
        self.process = Process.start(
            self.name, [*self.wrapper, *self.command()], self.log, as_user=self.as_user and not self.wrapper,
            env={"WAVELOG_WORKER_CONFIG": str(self.service.config_file)},
        )
        wait_until(self._ready, f"{self.name} accepts connections")

    def restart(self):
        fault = self.process.stop()
        assert fault is None, fault
        self._start()

    def reload(self):
        """As logrotate does for Apache: new processes take over, and old ones keep their connections."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        before = set(children.read_text().split())
        self.process.send(self.reload_signal)
        wait_until(lambda: set(children.read_text().split()) - before, f"{self.name} starts new processes")

    def write_files(self):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def _ready(self):
        log = log_tail(self.service.log_dir)
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

    def poll(self, topic, headers=(), **members):
        """What a page says that can have no connection: an auth message with these members."""
        path = f"{self.ready_path.replace('readyz', 'poll')}?topic={quote(topic, safe='')}"
        headers = {"X-Worker-Secret": None, "Content-Type": "text/plain", **dict(headers)}
        return self.api.call(path, {"type": "auth", **members}, headers)

    def subscribe(self, topic, **options):
        """A connection over wss, not yet authenticated."""
        return Subscriber(self.wss_url, topic, tls=self.tls, **options)


NGINX_MAIN = """
daemon off;
worker_processes 1;
pid {dir}/pid;
error_log {log} warn;
events {{ worker_connections 4096; }}
http {{
	client_body_temp_path {dir}/body;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi;
	scgi_temp_path {dir}/scgi;
	access_log {access_log};
	include site.conf;
}}
"""


class Nginx(WebServer):
    name = "nginx"

    def write_files(self):
        service, certificates = self.service, self.certificates
        (self.dir / "nginx.conf").write_text(NGINX_MAIN.format(dir=self.dir, log=self.log, access_log=self.access_log))
        shutil.copy("/etc/nginx/fastcgi_params", self.dir)
        shutil.copy(REPO / "nginx/demo.html", self.dir)
        shutil.copy(certificates.certificate, self.dir / "localhost.pem")
        shutil.copy(certificates.key, self.dir / "localhost.key")
        (self.dir / "localhost.key").chmod(0o644)
        tcp, unix = "server 127.0.0.1:9000;", "server unix:/run/wavelog-worker/gateway.sock;"
        if service.ws_socket:
            gateway = {tcp: "#" + tcp, "#" + unix: f"server unix:{service.ws_socket};"}
        else:
            gateway = {tcp: f"server 127.0.0.1:{service.ws_port};"}
        copy_with("nginx/wavelog-worker.conf", self.dir / "site.conf", {
            "listen 443 ssl;": f"listen {self.address}:{self.tls_port} ssl;",
            "listen [::]:443 ssl;": "# no IPv6 here",
            "listen 127.0.0.1:9001;": f"listen 127.0.0.1:{self.plain_port};",
            "/etc/ssl/certs/worker.example.org.pem": str(self.dir / "localhost.pem"),
            "/etc/ssl/private/worker.example.org.key": str(self.dir / "localhost.key"),
            "server unix:/run/wavelog-worker/api.sock;": f"server unix:{service.api_socket};",
            **gateway,
            **uncomment("include snippets/wavelog-worker-demo.conf;"),
        })  # fmt: skip
        copy_with("nginx/snippets/wavelog-worker.conf", self.dir / "snippets/wavelog-worker.conf", {})
        copy_with("nginx/snippets/wavelog-worker-demo.conf", self.dir / "snippets/wavelog-worker-demo.conf", {
            "/usr/local/share/wavelog-worker/demo.html": str(self.dir / "demo.html"),
        })  # fmt: skip

    def command(self):
        return ["nginx", "-e", self.log, "-p", self.dir, "-c", self.dir / "nginx.conf"]


APACHE_MODULES = (
    "mpm_event authn_core authz_core authz_host alias mime dir headers env rewrite setenvif reqtimeout ssl "
    "socache_shmcb buffer proxy proxy_http proxy_wstunnel proxy_fcgi fcgid"
).split()  # as Debian enables them, and the ones that the site file asks for

APACHE_MAIN = """
ServerRoot {dir}
ServerName localhost
PidFile {dir}/pid
DefaultRuntimeDir {dir}
Mutex file:{dir}
ErrorLog {log}
LogLevel warn
CustomLog {access_log} "%h %l %u %t \\"%r\\" %>s %O"
TypesConfig /etc/mime.types
Listen {address}:{tls_port}
RequestReadTimeout header=20-40,minrate=500
RequestReadTimeout body=10,minrate=500
<IfModule mod_fcgid.c>
	FcgidIPCDir {dir}/fcgid
	FcgidProcessTableFile {dir}/fcgid.shm
	{fcgid_environment}
</IfModule>
<IfModule mod_cgid.c>
	ScriptSock {dir}/cgid.sock
</IfModule>
<Directory />
	AllowOverride None
	Require all denied
</Directory>
<Directory /var/www>
	Require all granted
</Directory>
"""

# What the host of a shared hosting sets, and its customer cannot.
HOSTING = """
Listen 127.0.0.1:{plain_port}
<IfModule mod_fcgid.c>
	FcgidMaxRequestLen 16777216
</IfModule>
<Directory {site}>
	AllowOverride {override}
	Require all granted
</Directory>
<VirtualHost 127.0.0.1:{plain_port}>
	DocumentRoot {site}
</VirtualHost>
<VirtualHost *:{tls_port}>
	DocumentRoot {site}
	SSLEngine on
	SSLCertificateFile {certificate}
	SSLCertificateKeyFile {key}
</VirtualHost>
"""


class Apache(WebServer):
    """`wstunnel`: mod_proxy_wstunnel instead of upgrade=websocket. `fcgid`: mod_fcgid starts the API; otherwise it listens,
    and is started if it does not run."""

    name = "apache"
    as_user = False  # it becomes www-data by itself
    reload_signal = signal.SIGUSR1
    modules = APACHE_MODULES

    def __init__(self, service, certificates, wstunnel=False, fcgid=False, **options):
        self.wstunnel, self.fcgid = wstunnel, fcgid
        super().__init__(service, certificates, **options)

    def write_files(self):
        names = dict(dir=self.dir, log=self.log, access_log=self.access_log, address=self.address)
        environment = "\n\t".join(f"FcgidInitialEnv {name} {value}" for name, value in SANITIZER_ENV.items())
        main = APACHE_MAIN.format(tls_port=self.tls_port, fcgid_environment=environment, **names)
        if os.geteuid() == 0:
            main += f"User {USER}\nGroup {USER}\n"
        for module in self.modules:
            main += f"LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n"
        (self.dir / "fcgid").mkdir()
        give_to_user(self.dir / "fcgid", 0o755)
        shutil.copy(REPO / "nginx/demo.html", self.dir)
        (self.dir / "apache2.conf").write_text(main + self.site())

    def command(self):
        return ["apache2", "-d", self.dir, "-f", self.dir / "apache2.conf", "-DFOREGROUND"]

    def site(self):
        """Writes the files of the site; returns what the main file has to say about them."""
        service = self.service
        websocket = "websocket-wstunnel.conf" if self.wstunnel else "websocket.conf"
        changes = {
            "<VirtualHost *:443>": f"<VirtualHost *:{self.tls_port}>",
            "127.0.0.1:9001": f"127.0.0.1:{self.plain_port}",
            "/etc/ssl/certs/worker.example.org.pem": str(self.certificates.certificate),
            "/etc/ssl/private/worker.example.org.key": str(self.certificates.key),
            "Include wavelog-worker/websocket.conf": f"Include wavelog-worker/{websocket}",
            **uncomment("Include wavelog-worker/demo.conf"),
        }
        if self.fcgid:
            changes["Include wavelog-worker/internal.conf"] = "Include wavelog-worker/internal-fcgid.conf"
        elif not service.api:
            service.start_api()
        copy_with("apache/wavelog-worker.conf", self.dir / "site.conf", changes)
        copy_with("apache/wavelog-worker/internal.conf", self.dir / "wavelog-worker/internal.conf", {
            "/run/wavelog-worker/api.sock": str(service.api_socket),
        })  # fmt: skip
        copy_with("apache/wavelog-worker/internal-fcgid.conf", self.dir / "wavelog-worker/internal-fcgid.conf", {
            "/usr/local/bin/wavelog-worker-api": str(service.api_program),
            '<Directory "/usr/local/bin">': f'<Directory "{service.bin}">',
            "/etc/wavelog-worker/config.yaml": str(service.config_file),
        })  # fmt: skip
        copy_with(f"apache/wavelog-worker/{websocket}", self.dir / "wavelog-worker" / websocket, self.gateway())
        copy_with("apache/wavelog-worker/demo.conf", self.dir / "wavelog-worker/demo.conf", {
            '"/usr/local/share/wavelog-worker/demo.html"': f'"{self.dir}/demo.html"',
            '<Directory "/usr/local/share/wavelog-worker">': f'<Directory "{self.dir}">',
        })  # fmt: skip
        return "Include site.conf\n"

    def gateway(self):
        """The change from the ProxyPass over TCP to where the gateway listens."""
        if self.service.ws_socket:
            changes = {}
            for path in ("/worker/stream", "/worker/client", "/worker/") if self.wstunnel else ("/worker/",):
                scheme = "ws" if self.wstunnel and path == "/worker/" else "http"
                tcp, unix = f'ProxyPass "{path}"', f'#ProxyPass "{path}" "unix:/run/wavelog-worker/gateway.sock'
                changes[f'{tcp} "{scheme}://127.0.0.1:9000'] = f'#{tcp} "{scheme}://127.0.0.1:9000'
                changes[unix] = f'{tcp} "unix:{self.service.ws_socket}'
            return changes
        return {"127.0.0.1:9000": f"127.0.0.1:{self.service.ws_port}"}


class SharedHosting(Apache):
    """Only the .htaccess file and the .fcgi file are ours. `direct`: PHP names the .fcgi file in its URL."""

    name = "hosting"
    ws_path = "/worker/ws"
    ready_path = "/readyz"
    override = "All"

    def __init__(self, service, certificates, direct=False, **options):
        self.prefix = "/worker/wavelog-worker.fcgi" if direct else "/worker"
        super().__init__(service, certificates, **options)

    def site(self):
        service, site = self.service, self.dir / "site"
        folder = site / "worker"
        gateway = {"//127.0.0.1:9000/": f"//127.0.0.1:{service.ws_port}/"}
        if service.ws_socket:
            gateway = {"#RewriteRule": "RewriteRule", "/home/me/worker/gateway.sock|": f"{service.ws_socket}|"}
            for rule in ("RewriteRule ^ws$", "RewriteRule ^stream$"):
                scheme = "ws" if "ws" in rule else "http"
                gateway[f"{rule} {scheme}://127.0.0.1:9000/"] = f"#{rule} {scheme}://127.0.0.1:9000/"
        if service.config.get("gateway_autostart"):
            gateway |= uncomment("ErrorDocument 503 /worker/readyz")
        copy_with("apache/htaccess", folder / ".htaccess", gateway)
        copy_with("apache/wavelog-worker.fcgi", folder / "wavelog-worker.fcgi", {
            "/home/me/worker/config.yaml": str(service.config_file),
            "/home/me/worker/wavelog-worker-api": str(service.api_program),
        })  # fmt: skip
        (folder / "wavelog-worker.fcgi").chmod(0o755)
        return HOSTING.format(
            plain_port=self.plain_port, tls_port=self.tls_port, site=site, override=self.override,
            certificate=self.certificates.certificate, key=self.certificates.key,
        )  # fmt: skip


class CgiHosting(SharedHosting):
    """The same where the host has no mod_fcgid, but CGI."""

    modules = [{"fcgid": "cgid"}.get(name, name) for name in APACHE_MODULES]
