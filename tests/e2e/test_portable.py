"""The static programs of `make portable`, out of their tarball: they run where there is nothing but themselves, in an old
and in a new Debian without anything, and on a kernel that knows no more than Linux 3.10 did. With
PORTABLE_ARM64=dist/wavelog-worker-...-aarch64.tar.gz, those of that processor too, by an emulator."""

import contextlib
import ctypes
import errno
import os
import platform
import re
import select
import shutil
import signal
import sqlite3
import struct
import subprocess
from pathlib import Path

import pytest

from harness import hosting, sandbox
from harness.api import FastCgi, make_token
from harness.pages import blocks
from harness.cluster import LOG
from harness.process import GID, LIMIT_S, UID, Process, accepts, adopt_orphans, environment, give_to_user, wait_until
from harness.redis_server import Redis
from harness.service import REPO, Service
from harness.websocket import PROTOCOL_ERROR, authenticated, ends_with, push_of

ROOTS = REPO / "build/portable/roots"
MOST_BYTES = 12 << 20
NOT_AVAILABLE = 69

pytestmark = pytest.mark.alone  # make test builds them beside the other tests


@pytest.fixture(scope="module")
def tarball():
    """Built by `make test` before; otherwise now. Skipped when Debian's archive does not have the pinned sources any more,
    or not the systems: that is no fault of the change that is tested."""
    adopt_orphans()
    for command in ([".ci/portable", "libraries"], [".ci/portable", "roots"], ["make", "-s", "portable"]):
        made = subprocess.run(command, cwd=REPO, env=environment(), capture_output=True, text=True)
        if made.returncode == NOT_AVAILABLE:
            pytest.skip(made.stderr)
        assert made.returncode == 0, made.stdout + made.stderr
    return REPO / made.stdout.split()[-1]


def unpack(tarball, tmp_path_factory):
    directory = tmp_path_factory.mktemp("portable")
    subprocess.run(["tar", "-xzf", tarball, "-C", directory], check=True)
    (top,) = directory.iterdir()
    return top


@pytest.fixture(scope="module")
def unpacked(tarball, tmp_path_factory):
    return unpack(tarball, tmp_path_factory)


def test_the_tarball_is_whole_and_small(tarball, unpacked):
    assert tarball.stat().st_size <= MOST_BYTES
    assert unpacked.name == tarball.name.removesuffix(".tar.gz")
    subprocess.run(["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"], cwd=unpacked, check=True)
    listed = {line.split(maxsplit=1)[1] for line in (unpacked / "SHA256SUMS").read_text().splitlines()}
    files = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert files == listed | {"SHA256SUMS"}
    for program in ("wavelog-worker-api", "wavelog-worker-gateway"):
        said = subprocess.run([unpacked / program, "--version"], capture_output=True, text=True, env={}).stdout
        assert said.split()[-1] == unpacked.name.split("-")[2], said
    inside = {line.split()[0] for line in (REPO / ".ci/portable-sources").read_text().splitlines() if line[0] != "#"}
    assert {path.name for path in (unpacked / "licenses").iterdir()} > inside
    for name in ("examples", "apache", "docs", "sql", "systemd"):
        here = subprocess.run(["git", "ls-files", name], cwd=REPO, capture_output=True, text=True).stdout.split()
        assert [file for file in here if not (unpacked / file).exists()] == []
    for page in unpacked.rglob("*.md"):
        links = {link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if "://" not in link}
        assert [name for name, _, _ in links if not (page.parent / name).exists()] == [], page
        pages = {(page.parent / name if name else page, anchor) for name, _, anchor in links if anchor}
        assert [anchor for other, anchor in pages if anchor not in headings(other.read_text())] == [], page


def headings(text):
    """Anchors as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)}


# What was built of the sources goes away, and so do the libraries that it needs, and the compilers.
GONE = r"""
rm -rf /home/me/wavelog-worker /usr/bin/*gcc* /usr/bin/cc /usr/bin/clang* /usr/bin/make
rm /usr/lib/*/libwebsockets.so* /usr/lib/*/libuv.so* /usr/lib/*/libcjson.so* /usr/lib/*/libfcgi.so*
cp {tarball} /tmp/archive.tar.gz
cd /home/me
as_me 'tar -xzf /tmp/archive.tar.gz'
"""
INSTALL = r"""
as_me 'wavelog-worker-*/examples/hosting/install.sh --web-root ~/www --url https://www.example.org'
ask() {{
	as_me "sed -n 's/^worker_secret: *\"\(.*\)\"/X-Worker-Secret: \1/p' ~/worker/config.yaml" | curl -sS -H @- "$@"
}}
ask -d '{{"topic":"t"}}' https://www.example.org/worker/internal/register
ask -d '{{"topic":"t","payload":1}}' https://www.example.org/worker/internal/publish
ask https://www.example.org/worker/internal/status
curl -sS https://www.example.org/worker/client-socket.js | grep -c 'WavelogWorker = '
"""
# visitor CONFIG URL [API-URL PAGE-URL]: opens a page that stays; look TRANSPORT: what it has seen.
VISITOR = rf"""
visitor()
{{
	secret=$(sed -n 's/^worker_secret: "\(.*\)"/\1/p' "$1")
	url=$2
	shift 2
	mkfifo /tmp/told /tmp/said
	PYTHONPATH={REPO}/tests/e2e /usr/bin/python3 -B -m harness.visitor "$url" "$secret" "$@" </tmp/told >/tmp/said &
	exec 3>/tmp/told 4</tmp/said
}}
look() {{ echo "$1" >&3; read -r line <&4; echo "$line"; }}
"""
# The host takes away one thing after the other, and gives it back. What is open is cut each time; Apache itself would wait 10 s.
WALK = r"""
reload()
{
	old=$(pgrep -P "$(cat /run/apache2/apache2.pid)")
	apachectl graceful
	sleep 0.3
	kill -9 $old 2>/dev/null || true
	while ! runs_apache; do sleep 0.05; done
}
echo 'CustomLog /tmp/ways.log "%U %>R"' >/etc/apache2/conf-enabled/ways.conf; reload
visitor /home/me/worker/config.yaml https://www.example.org/worker
page() { echo "$1: $(look "$2"), PHP by $(sed -n 's,^/worker/internal/publish ,,p' /tmp/ways.log | tail -n 1)"; }
page everything websocket
lacks fcgid
page CGI websocket
echo 'RequestHeader unset Upgrade early' >/etc/apache2/conf-enabled/upgrade.conf; reload
page 'CGI, no Upgrade' stream
lacks proxy_http
page 'CGI, no proxy' poll
lacks cgid
page 'PHP alone' poll
has fcgid
page 'FastCGI, no proxy' poll
rm /etc/apache2/conf-enabled/upgrade.conf; has proxy_http cgid
page 'everything again' websocket
exec 3>&-; cat <&4
"""


@pytest.mark.usefixtures("machine")
def test_the_tarball_installs_itself_on_a_host_without_the_libraries_and_a_page_goes_down_and_up_with_the_host(tarball):
    code, output = hosting.run((GONE + INSTALL).format(tarball=tarball) + VISITOR + WALK)
    assert code == 0, output
    assert "by FastCGI" in output and "browsers use WebSockets" in output, output
    assert '{"id":' in output and '"status":"ok"' in output and "}1\n" in output, output
    said = dict(line.split(": once and in order by ") for line in output.splitlines() if ": once and in order by " in line)
    assert said == {
        "everything": "websocket, PHP by fcgid-script", "CGI": "websocket, PHP by cgi-script",
        "CGI, no Upgrade": "stream, PHP by cgi-script", "CGI, no proxy": "poll, PHP by cgi-script",
        "PHP alone": "poll, PHP by proxy:unix:/run/php-me.sock|fcgi://localhost",
        "FastCGI, no proxy": "poll, PHP by fcgid-script", "everything again": "websocket, PHP by fcgid-script",
    }, output  # fmt: skip


# The page that the documentation tells to open stays open while another web server takes the place of the first.
OWN = r"""
{prepare}{gone}cd wavelog-worker-*
{readme}nginx
{behind_nginx}
sed -i 's/#\(include .*demo.conf\)/\1/' /etc/nginx/sites-available/wavelog-worker.conf
systemctl reload nginx
visitor /etc/wavelog-worker/config.yaml https://worker.example.org/worker http://127.0.0.1:9001 https://worker.example.org/worker-demo
echo "behind nginx: $(look websocket)"
nginx -s stop
while pgrep -x nginx >/dev/null; do sleep 0.1; done
{behind_apache}
sed -i 's/#\(Include .*demo.conf\)/\1/' /etc/apache2/sites-available/wavelog-worker.conf
systemctl reload apache2
echo "behind Apache: $(look websocket)"
exec 3>&-; cat <&4
"""


@pytest.mark.usefixtures("machine")
def test_on_a_server_of_ones_own_its_readme_leads_to_a_service_and_to_a_page_that_shows_pushes(tarball, unpacked):
    commands = re.findall(r"^```sh\n(.*?)^```", (unpacked / "README.md").read_text(), re.M | re.S)
    assert len(commands) == 2 and "install.sh" in commands[0] and "/usr/local" in commands[1]
    steps = {"nginx": ["2. User and configuration", "3. The programs", "4. nginx", "5. Check it"], "apache": ["4. Apache", "5. Check it"]}
    behind_nginx, behind_apache = (
        "".join(block.text for step in steps[name] for block in blocks(f"docs/install-{name}.md", step, "sh")) for name in steps
    )
    gone = GONE.format(tarball=tarball).replace("as_me", "sh -c")
    code, output = sandbox.run(VISITOR + OWN.format(prepare=sandbox.PREPARE, gone=gone, readme=commands[1],
                                                    behind_nginx=behind_nginx, behind_apache=behind_apache))  # fmt: skip
    assert code == 0, output
    assert output.count('"status":"ok"') == 2 and "upgrade required\n" in output, output
    assert "upgrade required: Sec-WebSocket-Version 13\n" in output, output
    for server in ("nginx", "Apache"):
        assert f"behind {server}: once and in order by websocket\n" in output, output


class Chrooted(Service):
    """A service whose programs run in `root`, or in their own directory when it is None, as an unprivileged user."""

    def __init__(self, programs, root):
        super().__init__(programs=programs, parent=root / "tmp" if root else "/tmp")
        self.root = root or self.dir
        self.write_config(state_dir=self.inside(self.state_dir))

    def inside(self, path):
        return f"/{path.relative_to(self.root)}"

    def command(self, program):
        return ["chroot", f"--userspec={UID}:{GID}", self.root, self.inside(program)]

    def spawn(self, name, program, log, options=(), **how):
        command = [*self.command(program), "-c", self.inside(self.config_file), *options]
        return Process.start(name, command, log, as_user=False, **how)

    def run(self, program, given, variables, kept):
        command, variables = self.command(program), {**environment(), **variables}
        return subprocess.run(command, input=given, capture_output=True, env=variables, pass_fds=[kept]).stdout


@pytest.fixture(scope="module")
def redis(certificates):
    """By TLS."""
    server = Redis(certificates=certificates)
    yield server
    assert server.close() == []


def joins(service, redis):
    """Before it starts: it is to be in a cluster."""
    authority = service.dir / "authority.pem"
    shutil.copy(redis.tls, authority)
    give_to_user(authority, 0o600)
    service.write_config(redis_url=redis.url, redis_ca=str(service.inside(authority)))


def relays(call, redis):
    """What it publishes arrives at Redis."""
    wait_until(lambda: call("status", REQUEST_METHOD="GET").json["cluster_nodes"] == 1, "it reaches Redis by TLS")
    entries = redis.client.xlen(LOG)
    assert call("publish", b'{"topic":"t","payload":"to all"}').status == 200
    wait_until(lambda: redis.client.xlen(LOG) > entries, "it relays")


def starts(service, listener_dir):
    """A whole service: a topic, browsers, publishes, the status. Returns what asks its API."""
    service.api_socket = listener_dir / "api.sock"  # by the descriptor alone, and its path must be short
    service.start_gateway()
    with service.listen_api() as listener:
        service.api = [service.spawn_api(listener), service.spawn_api(listener)]
    call = lambda *arguments, **options: FastCgi(service.api_socket, service.secret).call(*arguments, **options)  # noqa: E731

    reply = call("register", b'{"topic":"t","require_token":true}')
    assert (reply.status, reply.body) == (200, b""), reply
    with authenticated(service, "t", make_token(service.secret, "t")) as browser:
        for number in range(3):
            assert call("publish", b'{"topic":"t","payload":%d}' % number).status == 200
            assert browser.read_message() == push_of(str(number))
    wait_until(lambda: call("status", REQUEST_METHOD="GET").json["status"] == "ok", "the gateway is in the database")
    wait_until(lambda: call("readyz", REQUEST_METHOD="GET", SCRIPT_NAME="/readyz").status == 200, "it is ready")
    return call


def serves(service, listener_dir, redis):
    """In a cluster. Hands over, too, and listens by itself; nothing odd in its log."""
    joins(service, redis)
    call = starts(service, listener_dir)
    relays(call, redis)
    old = service.gateway
    old.send(signal.SIGUSR2)

    def other_gateways():
        with sqlite3.connect(f"file:{service.database}?mode=ro", uri=True) as database:
            return [pid for (pid,) in database.execute("SELECT pid FROM gateways") if pid != old.pid]

    service.gateway = Process("successor", wait_until(other_gateways, "a successor introduces itself")[0])
    assert old.wait() == 0
    with authenticated(service, "t", make_token(service.secret, "t")) as browser:
        assert call("publish", b'{"topic":"t","payload":"after"}').status == 200
        assert browser.read_message() == push_of('"after"')
        browser.send_frame(b"{}", rsv=4)  # which this build of libwebsockets would let through
        assert ends_with(browser, PROTOCOL_ERROR)
    serves_by_itself(service)
    log = "".join(path.read_text() for path in service.log_dir.iterdir())
    assert "level=error" not in log and "level=warn" not in log, log


def serves_by_itself(service):
    """Without a web server that starts the API: by --listen, which hands over to itself, and by CGI; and without anybody
    who starts a gateway."""
    at = service.dir / "own.sock"
    listening = service.spawn("listening", service.api_program, service.log_dir / "own.log",
                              options=["--listen", f"unix:{service.inside(at)}", "--processes", "2"])  # fmt: skip
    call = lambda: FastCgi(at, service.secret).call("publish", b'{"topic":"t","payload":1}')  # noqa: E731
    wait_until(lambda: accepts(str(at)), (service.log_dir / "own.log").read_text)
    assert call().status == 200
    listening.send(signal.SIGUSR2)
    wait_until(lambda: (service.log_dir / "own.log").read_text().count('msg="started"') == 4, (service.log_dir / "own.log").read_text)
    assert call().status == 200
    assert listening.stop() is None
    serves_by_cgi(service)

    assert service.gateway.stop() is None
    service.write_config(gateway_autostart=True)
    serves_by_cgi(service)
    gateway_log = service.state_dir / "gateway.log"
    with sqlite3.connect(f"file:{service.database}?mode=ro", uri=True) as database:
        ((pid,),) = wait_until(lambda: database.execute("SELECT pid FROM gateways").fetchall(),
                               lambda: gateway_log.read_text() if gateway_log.exists() else "it says nothing")  # fmt: skip
    service.gateway = Process("gateway", pid)
    wait_until(lambda: f"\nPPid:\t{os.getpid()}\n" in Path(f"/proc/{pid}/status").read_text(), "who has started it is gone")
    with authenticated(service, "t", make_token(service.secret, "t")) as browser:
        serves_by_cgi(service)
        assert browser.read_message() == push_of('"by CGI"')


def serves_by_cgi(service):
    body = b'{"topic":"t","payload":"by CGI"}'
    read_end, write_end = os.pipe()  # of the web server's
    said = service.run(service.api_program, body, {
        "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "POST", "SCRIPT_NAME": "/internal/publish", "CONTENT_LENGTH": str(len(body)),
        "HTTP_X_WORKER_SECRET": service.secret, "WAVELOG_WORKER_CONFIG": service.inside(service.config_file),
    }, write_end)  # fmt: skip
    assert said.startswith(b"Status: 200 OK\r\n") and b'{"id":' in said, said
    os.close(write_end)
    assert select.select([read_end], [], [], LIMIT_S)[0], "what was started holds what was open"
    os.close(read_end)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the root directory")
@pytest.mark.parametrize("system", ["nothing", "bullseye", "trixie"])
def test_they_serve_in(unpacked, system, tmp_path, redis):
    service = Chrooted(unpacked, None if system == "nothing" else ROOTS / system)
    try:
        serves(service, tmp_path, redis)
    finally:
        faults = service.close()
        shutil.rmtree(service.dir, ignore_errors=True)
    assert not faults, faults


# Of x86-64. Linux 3.10 ended its list of system calls with finit_module; locks that belong to a descriptor came with 3.15.
SYSTEM_CALLS_OF_3_10, FCNTL, OFD_LOCKS, X86_64 = 314, 72, (36, 38), 0xC000003E
LOAD, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, JUMP_IF_GREATER, RETURN = 0x20, 0x15, 0x35, 0x25, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
NUMBER, ARCHITECTURE, COMMAND = 0, 4, 24  # places in struct seccomp_data
FILTER = (
    (LOAD, 0, 0, ARCHITECTURE), (JUMP_IF_EQUAL, 0, 6, X86_64),
    (LOAD, 0, 0, NUMBER), (JUMP_IF_AT_LEAST, 5, 0, SYSTEM_CALLS_OF_3_10), (JUMP_IF_EQUAL, 0, 3, FCNTL),
    (LOAD, 0, 0, COMMAND), (JUMP_IF_AT_LEAST, 0, 1, OFD_LOCKS[0]), (JUMP_IF_GREATER, 0, 2, OFD_LOCKS[1]),
    (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE | errno.ENOSYS), (RETURN, 0, 0, REFUSE | errno.EINVAL),
)  # fmt: skip


def as_on_linux_3_10():
    """For this process and what it starts: younger system calls fail as they did then."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *instruction) for instruction in FILTER))
    program = struct.pack("@HP", len(FILTER), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, by_filter = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(set_seccomp, by_filter, program, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


class OnOldKernel(Service):
    def inside(self, path):
        return path

    def spawn(self, name, program, log, options=(), **how):
        return Process.start(name, [program, "-c", self.config_file, *options], log, preexec_fn=as_on_linux_3_10, **how)

    def run(self, program, given, variables, kept):
        who = dict(user=UID, group=GID, extra_groups=[]) if os.geteuid() == 0 else {}
        return subprocess.run(
            [program], input=given, capture_output=True, env=variables, pass_fds=[kept], preexec_fn=as_on_linux_3_10, **who
        ).stdout


@contextlib.contextmanager
def urandom_is_seeded():
    """Without getrandom(2), OpenSSL believes in /dev/urandom only when uname(2) does not name a younger kernel, or when it finds
    the mark by which its processes tell each other that they have waited for it."""
    mark, may_create, remove = 114, 0o1444, 0
    libc = ctypes.CDLL(None)
    segment = libc.shmget(mark, 1, may_create)
    try:
        yield
    finally:
        libc.shmctl(segment, remove, None)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86-64")
def test_they_serve_on_linux_3_10(unpacked, tmp_path, redis):
    service = OnOldKernel(programs=unpacked)
    status = Path("/proc/self/status").read_text()
    assert "Seccomp:\t0" in status
    try:
        with urandom_is_seeded():
            serves(service, tmp_path, redis)
    finally:
        faults = service.close()
    assert not faults, faults


if "PORTABLE_ARM64" in os.environ:

    def test_those_for_arm64_serve(tmp_path, tmp_path_factory):
        """What starts no other program does: an emulated one cannot."""
        service = Service(programs=unpack(REPO / os.environ["PORTABLE_ARM64"], tmp_path_factory))
        service.environment = ["qemu-aarch64-static"]
        try:
            starts(service, tmp_path)
        finally:
            faults = service.close()
        assert not faults, faults
