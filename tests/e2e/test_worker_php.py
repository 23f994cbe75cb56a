"""worker.php, which hands requests on where a web server runs PHP and nothing else: to the API's socket, or to the program
started by CGI. With PHP's own server, and with Apache and php-fpm."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness.api import END_REQUEST, STDOUT, FastCgi, InternalApi, is_error, record, stream
from harness.process import GID, LIMIT_S, UID, USER, Process, accepts, free_port, give_to_user, wait_until
from harness.service import REPO, Service
from harness.web_servers import Apache

MIB = 1048576
FPM = """
[global]
error_log = {log}
daemonize = no
[www]
listen = {dir}/fpm.sock
listen.mode = 0666
pm = static
pm.max_children = 4
security.limit_extensions = .php
"""
SITE = """
Listen 127.0.0.1:{port}
DocumentRoot {dir}
SetEnv ap_trust_cgilike_cl yes
<Directory {dir}>
	Require all granted
	AcceptPathInfo On
	CGIPassAuth On
	RewriteEngine On
	RewriteRule ^nice/(.*)$ worker.php/$1 [L]
</Directory>
<FilesMatch "\\.php$">
	SetHandler "proxy:unix:{dir}/fpm.sock|fcgi://localhost"
</FilesMatch>
"""


class Php:
    """A folder of a site with worker.php in it, and PHP's own server."""

    url_path = "/worker.php"

    def __init__(self, service, name="php", **settings):
        self.service, self.port = service, free_port()
        self.dir = service.dir / name
        self.dir.mkdir()
        shutil.copy(REPO / "examples/php/worker.php", self.dir)
        self.set(**settings)
        self.log = service.log_dir / f"{name}.log"
        self.start()
        service.closers.append(self.close)
        wait_until(lambda: accepts(("127.0.0.1", self.port)), self.log.read_text)

    def set(self, **settings):
        pairs = ", ".join(f"'{name}' => json_decode('{json.dumps(value)}', true)" for name, value in settings.items())
        (self.dir / "worker-settings.php").write_text(f"<?php return [{pairs}];\n")

    def start(self):
        command = ["php", "-d", "display_errors=1", "-d", "opcache.enable=0", "-d", "zlib.output_compression=1", "-S", f"127.0.0.1:{self.port}"]
        self.processes = [Process.start("php", [*command, "-t", self.dir], self.log, env={"PHP_CLI_SERVER_WORKERS": "4"}, process_group=0)]

    def close(self):
        for process in self.processes:
            process.stop()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the workers of PHP's server outlive it
        return []

    def restart(self):
        self.close()
        self.start()
        wait_until(lambda: accepts(("127.0.0.1", self.port)), self.log.read_text)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}{self.url_path}"

    @property
    def api(self):
        return InternalApi(self.url, self.service.secret)


class HardenedPhp(Php):
    """Of a host that has taken functions and extensions away, keeps PHP within the site's folder, and has a buffer of its
    own around everything."""

    def start(self):
        (self.dir / "first.php").write_text("<?php ob_start(null, 0, 0);")
        command = ["php", "-n", "-d", "disable_functions=ini_set,ignore_user_abort,error_log", "-d", f"auto_prepend_file={self.dir}/first.php",
                   "-d", f"open_basedir={self.dir}", "-d", "display_errors=1", "-d", "error_reporting=-1"]  # fmt: skip
        self.processes = [Process.start("php", [*command, "-S", f"127.0.0.1:{self.port}", "-t", self.dir], self.log)]


class ApacheFpm(Php):
    def start(self):
        give_to_user(self.dir, 0o755)
        (self.dir / "fpm.conf").write_text(FPM.format(dir=self.dir, log=self.log))
        fpm = shutil.which("php-fpm8.2") or next(str(path) for path in sorted(os.scandir("/usr/sbin"), key=str) if "php-fpm" in path.name)
        modules = [m for m in Apache.modules if m not in ("fcgid", "ssl")] + ["proxy_fcgi"]
        main = f"ServerRoot {self.dir}\nServerName localhost\nPidFile {self.dir}/pid\nDefaultRuntimeDir {self.dir}\n"
        main += f"Mutex file:{self.dir}\nErrorLog {self.log}\nTypesConfig /etc/mime.types\n"
        if os.geteuid() == 0:
            main += f"User {USER}\nGroup {USER}\n"
        main += "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in modules)
        (self.dir / "apache2.conf").write_text(main + SITE.format(dir=self.dir, port=self.port))
        self.processes = [
            Process.start("apache", ["apache2", "-d", self.dir, "-f", self.dir / "apache2.conf", "-DFOREGROUND"], self.log,
                          as_user=False),
            Process.start("fpm", [fpm, "-y", self.dir / "fpm.conf", "-d", "display_errors=1"], self.log),
        ]  # fmt: skip
        wait_until((self.dir / "fpm.sock").exists, "php-fpm listens")


def settings_of(service, way):
    by_socket = {"socket": f"unix:{service.api_socket}", "program": ""}
    by_program = {"socket": "", "program": str(service.api_program), "config": str(service.config_file)}
    return by_socket if way == "socket" else by_program


@pytest.fixture(params=["php-socket", "php-program", "fpm-socket", "fpm-program"])
def php(request, make_service):
    server, way = request.param.split("-")
    service = make_service().start()
    return (Php if server == "php" else ApacheFpm)(service, **settings_of(service, way))


@pytest.fixture(scope="module")
def service(certificates):
    """Shared; each test has folders of its own name in it."""
    service = Service()
    try:
        yield service.start()
    finally:
        faults = service.close()
        assert not faults, "\n".join(faults)


def body_of(size):
    head, tail = b'{"topic":"t","payload":"', b'"}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


def test_requests_and_answers_pass_unchanged(php, worker_of=None):
    api, service = php.api, php.service
    assert api.register("t").status == 200
    raw = '{"topic":"t","payload":[1.10, "\\u2028", "é\x7f"]}'.encode()
    assert api.call("publish", raw=raw).json["id"] > 0
    chunked = api.call("publish", raw=raw, chunked=True)
    assert chunked.status == 200 or is_error(chunked, 411, "length required")  # which php-fpm keeps to itself
    assert is_error(api.call("publish", raw=raw, chunked=True, headers={"X-Worker-Secret": "wrong"}), 403, "forbidden")
    assert is_error(api.call("status", raw=raw, chunked=True), 405, "method not allowed")
    assert api.status("?topics=1").json["topic_list"] == ["t", "worker.status"]
    assert api.call("/readyz", method="GET").body == b"ok\n"
    assert api.call("publish", raw=body_of(MIB)).status == 200
    assert is_error(api.call("publish", raw=body_of(MIB + 1)), 413, "body too large")
    pages = {"X-Worker-Secret": None, "Content-Type": "text/plain", "Origin": "https://log.example.org"}
    position = api.call("/poll?topic=t", {"type": "auth", "last_event_id": None}, pages).json["last_event_id"]
    # The API judges bodies too, after method and secret, and pages may read what it says.
    large, form = body_of(MIB + 1), {**pages, "Content-Type": "multipart/form-data; boundary=x"}
    assert is_error(api.call("publish", raw=large, method="PUT"), 405, "method not allowed")
    assert is_error(api.call("publish", raw=large, headers={"X-Worker-Secret": "wrong"}), 403, "forbidden")
    for reply, status, text in ((api.call("/poll?topic=t", raw=large, headers=pages), 413, "body too large"),
                                (api.call("/poll?topic=t", raw=b"--x--", headers=form), 400, "bad request: body is shorter than announced")):  # fmt: skip
        assert is_error(reply, status, text) and reply.headers["Access-Control-Allow-Origin"] == "*"
    nothing = api.call("/poll?topic=t", {"type": "auth", "last_event_id": position}, pages)
    assert (nothing.status, nothing.body, nothing.headers["Access-Control-Allow-Origin"]) == (204, b"", "*")
    assert api.publish("t", "news").status == 200
    news = api.call("/poll?topic=t", {"type": "auth", "last_event_id": position}, pages)
    assert news.body.endswith(b'"payload":"news"}]}') and len(news.json["pushes"]) == 1
    bearer = {"X-Worker-Secret": None, "Authorization": f"Bearer {service.secret}"}
    assert api.call("register", {"topic": "t"}, headers=bearer).status == 200
    for verb, body, method in [("publish", b'{"topic":"none","payload":1}', "POST"), ("publish", b"{", "POST"), ("publish", b"", "GET"),
                               ("register", b'{"topic":"\xff"}', "POST"), ("register", b"", "POST"), ("nothing", b"", "POST"),
                               ("status", b"", "PUT"), ("unregister", b'{"topic":"none"}', "POST")]:  # fmt: skip
        straight = FastCgi(service.api_socket, service.secret).call(verb, body, REQUEST_METHOD=method)
        through = api.call(verb, raw=body, method=method)
        assert (through.status, through.body) == (straight.status, straight.body), verb
        for name in ("Content-Type", "Content-Length", "X-Content-Type-Options", "Allow"):
            assert through.headers.get_all(name) == ([straight.headers[name]] if name in straight.headers else None), (verb, name)
        assert not any("php" in str(header).lower() for header in through.headers.items())
    wrong = api.call("register", {"topic": "t"}, headers={"X-Worker-Secret": "wrong"})
    assert is_error(wrong, 403, "forbidden")
    if isinstance(php, ApacheFpm):
        nice = InternalApi(f"http://127.0.0.1:{php.port}/nice", service.secret)
        assert nice.publish("t", 1).status == 200


def raw_request(php, head, body=b"", pause_s=0.0):
    """The status line's number, and all of the answer."""
    with socket.create_connection(("127.0.0.1", php.port), LIMIT_S) as connection:
        connection.sendall(head.encode() + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        for at in range(0, len(body), 1 + len(body) // 4):
            connection.sendall(body[at : at + 1 + len(body) // 4])
            time.sleep(pause_s)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split()[1]), answer


def test_hostile_requests(service):
    php = Php(service, "hostile", **settings_of(service, "socket"))
    secret = f"\r\nX-Worker-Secret: {service.secret}"
    assert php.api.register("t").status == 200
    for path in ("", "/", "/internal", "/internal/", "/internal/publish/", "/internal/publish%00", "/internal/publish%0a",
                 "/internal/../../etc/passwd", "/internal/../internal/../x", "/poll/x", "/xreadyz", "/internal/PUBLISH",
                 "/internal/" + "a" * 5000):  # fmt: skip
        status, answer = raw_request(php, f"POST /worker.php{path} HTTP/1.1{secret}\r\nContent-Length: 0")
        assert status == 404, (path, answer)  # of ".." PHP's own server says so itself
        assert ".." in path or answer.endswith(b"\r\n\r\nnot found\n"), (path, answer)
    body = b'{"topic":"t","payload":1}'
    length = f"\r\nContent-Length: {len(body)}"
    assert raw_request(php, f"POST /worker.php/internal/publish HTTP/1.1{secret}{length}", body, 0.05)[0] == 200  # slowly
    for head, status in {
        f"POST /worker.php/internal/publish HTTP/1.1{secret}\r\nContent-Type: multipart/form-data; boundary=x{length}": 400,
        f"POST /worker.php/internal/publish HTTP/1.1\r\nX-Worker-Secret: {'x' * 9000}{length}": 400,
        f"POST /worker.php/internal/publish?{'x' * 9000} HTTP/1.1{secret}{length}": 400,
        f"PATCH /worker.php/internal/publish HTTP/1.1{secret}{length}": 405,
        f"POST /worker.php/internal/publish HTTP/1.1{length}": 403,
    }.items():
        assert raw_request(php, head, body)[0] == status, head
    # A query that names something else does not get past a path.
    for path, end in {"readyz": b"ok\n", "readyz?/internal/status": b"ok\n", "?/readyz": b"ok\n"}.items():
        assert raw_request(php, f"GET /worker.php/{path} HTTP/1.1{secret}")[1].endswith(b"\r\n\r\n" + end), path
    php.set(**settings_of(service, "socket"), internal_from=["203.0.113.9"])
    assert is_error(php.api.status(), 403, "forbidden")
    assert php.api.call("/readyz", method="GET").status == 200
    php.set(**settings_of(service, "socket"), internal_from=["*"])
    assert php.api.status().status == 200
    assert not re.search(r"Warning|Notice|Deprecated|Fatal", php.log.read_text())


def test_a_dead_socket_is_left_for_the_program_and_without_that_it_is_a_503(service):
    php = Php(service, "dead", **{**settings_of(service, "program"), "socket": f"unix:{service.dir}/nobody.sock"})
    assert php.api.register("t").status == 200
    for settings in ({"socket": f"unix:{service.dir}/nobody.sock", "program": ""}, {"socket": "", "program": "/nowhere/api"},
                     {"socket": "127.0.0.1:1", "program": str(service.dir)}):  # fmt: skip
        php.set(**settings)
        reply = php.api.register("t")
        assert is_error(reply, 503, "unavailable: the API cannot be reached") and reply.headers["Retry-After"] == "1"
        assert "Access-Control-Allow-Origin" not in reply.headers
        for path in ("/poll?topic=t", "?/poll&topic=t"):  # a page of another origin would see "network error"
            reply = php.api.call(path, {"type": "auth"}, {"X-Worker-Secret": None, "Origin": "https://log.example.org"})
            assert reply.status == 503 and reply.headers["Access-Control-Allow-Origin"] == "*", path
    php.set(**{**settings_of(service, "program"), "config": "/nowhere/config.yaml"})
    assert is_error(php.api.register("t"), 503, "unavailable: the API cannot start, its log says why")
    assert "/nowhere/config.yaml" in php.log.read_text()  # the program's log is in PHP's
    (php.dir / "worker-settings.php").write_text("<?php return 1 +;")
    reply = php.api.register("t")
    assert is_error(reply, 500, "worker.php: see PHP's error log")


def test_a_hardened_host_and_settings_by_an_editor_that_begins_with_a_mark(service):
    php = HardenedPhp(service, "hardened", **settings_of(service, "program"))
    settings = php.dir / "worker-settings.php"
    settings.write_bytes(b"\xef\xbb\xbf\n" + settings.read_bytes())
    assert php.api.register("t").status == 200 and php.api.publish("t", 1).json["id"] > 0
    assert is_error(php.api.publish("none", 1), 404, "topic not registered")
    php.set(socket="", program="")
    assert is_error(php.api.register("t"), 503, "unavailable: the API cannot be reached")


@pytest.fixture(scope="module")
def before_a_fake(service):
    return Php(service, "fake", socket=f"unix:{service.dir}/fake.sock", program="", max_answer=2 * MIB, timeout=1)


END = record(END_REQUEST, b"\0" * 8)
LONG = stream(STDOUT, b"Status: 200 OK\r\n\r\n" + b"x" * 3 * MIB)


@pytest.mark.parametrize("answer, status, text", [
    (b"", 502, "bad gateway: the API's answer is not complete"),
    (b"HTTP/1.1 200 OK\r\n\r\n", 502, "bad gateway: what answers is not the API"),
    (stream(STDOUT, b"Status: 200 OK\r\n\r\nhalf"), 502, "bad gateway: the API's answer is not complete"),
    (stream(STDOUT, b"Status: 200 OK\r\n")[:-4], 502, "bad gateway: the API's answer is not complete"),
    (stream(STDOUT, b"no header at all") + END, 502, "bad gateway: the API's answer is not complete"),
    (stream(STDOUT, b"Content-Type: x\r\n\r\nbody") + END, 502, "bad gateway: the API's answer is not complete"),
    (END, 502, "bad gateway: the API's answer is not complete"),
    (LONG + END, 502, "bad gateway: the API's answer is too long"),
    (None, 504, "the API does not answer in time"),
], ids=range(9))  # fmt: skip
def test_an_answer_that_is_none(service, before_a_fake, answer, status, text):
    at = service.dir / "fake.sock"
    at.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(at))
        give_to_user(at, 0o666)
        listener.listen()
        done = threading.Event()

        def serve():
            connection, _ = listener.accept()
            with connection:
                if answer is None:
                    done.wait(LIMIT_S)
                    return
                connection.recv(65536)
                try:
                    connection.sendall(answer)
                except OSError:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        reply = before_a_fake.api.register("t")
        assert is_error(reply, status, text) and "Retry-After" not in reply.headers  # it may have been done
        done.set()
        thread.join()


def test_a_long_answer_in_many_records_is_whole(service):
    php = Php(service, "long", **settings_of(service, "socket"))
    topics = {f"{'y' * 200}{number}" for number in range(30)}
    for topic in topics:
        assert php.api.register(topic).status == 200
    assert topics < set(php.api.status("?topics=1").json["topic_list"])


@pytest.mark.parametrize("file", ["php/worker.php", "php/WavelogWorker.php", "php/page.php", "hosting/check.php"])
def test_it_is_php_that_7_4_understands(file):
    """What later versions have brought: match, nullsafe, union types, attributes, promoted properties, str_contains and so on."""
    text = (REPO / "examples" / file).read_text()
    for later in (r"\bmatch\s*\(", r"\?->", r"\bstr_(contains|starts_with|ends_with)\b", r"#\[[A-Z]", r"\breadonly\b", r"\benum\b",
                  r": (static|mixed|never)\b", r"[(,]\s*\w+\|\w+ \$", r"catch \(\w+\)", r"\bthrow new [^;]*\)\s*:",
                  r"__construct\([^)]*\b(public|private|protected)\b", r"\barray_is_list\b", r"\w\(\.\.\.\)"):  # fmt: skip
        assert not re.search(later, text), later
    assert subprocess.run(["php", "-l", REPO / "examples" / file], capture_output=True).returncode == 0
