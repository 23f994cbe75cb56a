"""A real Apache with the files of apache/, in front of a Service: by its site file, or by .htaccess alone."""

import os
import shutil

from .process import SANITIZER_ENV, USER, give_to_user
from .substitute import REPO, copy_with, uncomment
from .web_server import WebServer

MODULES = (
    "mpm_event authn_core authz_core authz_host alias mime dir headers env rewrite setenvif reqtimeout ssl "
    "socache_shmcb proxy proxy_http proxy_wstunnel fcgid"
).split()  # as Debian enables them, and the ones that the site file asks for

MAIN = """
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
FcgidIPCDir {dir}/fcgid
FcgidProcessTableFile {dir}/fcgid.shm
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
FcgidMaxRequestLen 16777216
<Directory {site}>
	AllowOverride All
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
    """`wstunnel`: mod_proxy_wstunnel instead of upgrade=websocket."""

    name = "apache"
    as_user = False  # it becomes www-data by itself

    def __init__(self, service, certificates, wstunnel=False, **options):
        self.wstunnel = wstunnel
        super().__init__(service, certificates, **options)

    def write_files(self):
        names = dict(dir=self.dir, log=self.log, access_log=self.access_log, address=self.address)
        main = MAIN.format(tls_port=self.tls_port, **names)
        if os.geteuid() == 0:
            main += f"User {USER}\nGroup {USER}\n"
        for module in MODULES:
            main += f"LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n"
        for name, value in SANITIZER_ENV.items():
            main += f"FcgidInitialEnv {name} {value}\n"
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
        copy_with("apache/wavelog-worker.conf", self.dir / "site.conf", changes)
        copy_with("apache/wavelog-worker/internal.conf", self.dir / "wavelog-worker/internal.conf", {
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
            tcp, unix = 'ProxyPass "/worker/"', '#ProxyPass "/worker/" "unix:/run/wavelog-worker/gateway.sock'
            scheme = "ws" if self.wstunnel else "http"
            return {
                f'{tcp} "{scheme}://127.0.0.1:9000': f'#{tcp} "{scheme}://127.0.0.1:9000',
                unix: f'{tcp} "unix:{self.service.ws_socket}',
            }
        return {"127.0.0.1:9000": f"127.0.0.1:{self.service.ws_port}"}


class SharedHosting(Apache):
    """Only the .htaccess file and the .fcgi file are ours. `direct`: PHP names the .fcgi file in its URL."""

    name = "hosting"
    ws_path = "/worker/ws"

    def __init__(self, service, certificates, direct=False, **options):
        self.prefix = "/worker/wavelog-worker.fcgi" if direct else "/worker"
        super().__init__(service, certificates, **options)

    def site(self):
        service, site = self.service, self.dir / "site"
        folder = site / "worker"
        tcp, unix = "RewriteRule ^ws$ ws://127.0.0.1:9000/", "RewriteRule ^ws$ unix:/home/me/wavelog-worker/gateway.sock"
        if service.ws_socket:
            gateway = {tcp: "#" + tcp, "#" + unix: f"RewriteRule ^ws$ unix:{service.ws_socket}"}
        else:
            gateway = {tcp: f"RewriteRule ^ws$ ws://127.0.0.1:{service.ws_port}/"}
        copy_with("apache/htaccess", folder / ".htaccess", gateway)
        copy_with("apache/wavelog-worker.fcgi", folder / "wavelog-worker.fcgi", {
            "/home/me/wavelog-worker/config.yaml": str(service.config_file),
            "/home/me/wavelog-worker/wavelog-worker-api": str(service.api_program),
        })  # fmt: skip
        (folder / "wavelog-worker.fcgi").chmod(0o755)
        return HOSTING.format(
            plain_port=self.plain_port, tls_port=self.tls_port, site=site,
            certificate=self.certificates.certificate, key=self.certificates.key,
        )  # fmt: skip
