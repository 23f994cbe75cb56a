"""A real nginx with the files of nginx/, unprivileged, in front of a Service."""

import shutil

from .substitute import REPO, copy_with, uncomment
from .web_server import WebServer

MAIN = """
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
        (self.dir / "nginx.conf").write_text(MAIN.format(dir=self.dir, log=self.log, access_log=self.access_log))
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
