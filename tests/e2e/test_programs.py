"""Both programs as their operator meets them: the command line and the configuration file; what they find at their start,
such as another gateway, sockets of a dead one or an unusable state_dir; and the signals that end them."""

import fcntl
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from harness import sqlite
from harness.api import FastCgi
from harness.process import USER, Process, accepts, environment, free_port, give_to_user, wait_until
from harness.web_servers import Nginx
from harness.websocket import WebSocket

USAGE, TEMPORARY, CONFIGURATION = 64, 75, 78
PROGRAMS = ["api", "gateway"]
programs = pytest.mark.parametrize("program", PROGRAMS)


def run(service, program, *arguments, cwd="/", **variables):
    """Runs a program by hand, as it would be in a terminal of the account it belongs to."""
    path = service.bin / f"wavelog-worker-{program}"
    done = subprocess.run(
        [path, *arguments], env=environment(variables), cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, errors="replace", timeout=30,
    )  # fmt: skip
    assert service.secret not in done.stdout + done.stderr
    return done


# The command line


@programs
def test_help_says_what_it_is_and_how_it_is_started(make_service, program):
    done = run(make_service(), program, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for word in (f"wavelog-worker-{program}", "-c", "--check-config", "--version", "--help", "SIGTERM", "Exit codes"):
        assert word in done.stdout


@programs
def test_version_is_one_line(make_service, program):
    done = run(make_service(), program, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"wavelog-worker-{program} 0.1.0\n", "")


@programs
@pytest.mark.parametrize("arguments", ["--nonsense", "-x", "-c", "argument", "--check-config more", "-c x more"])
def test_bad_command_line_exits_64(make_service, program, arguments):
    done = run(make_service(), program, *arguments.split())
    assert (done.returncode, done.stdout) == (USAGE, "") and "--help" in done.stderr


@programs
def test_check_config_prints_what_will_be_used_without_the_secret(make_service, program):
    service = make_service(topic_ttl="90m", event_limit=5000)
    done = run(service, program, "--check-config", "-c", service.config_file)
    assert (done.returncode, done.stderr) == (0, "")
    for line in (
        f'state_dir: "{service.state_dir}"', f"ws_port: {service.ws_port}", "event_limit: 5000", "topic_ttl: 1h30m0s",
        "event_retention: 1h0m0s", "# worker_secret: (hidden)",
    ):  # fmt: skip
        assert f"\n{line}\n" in done.stdout, line
    verdict = done.stdout.splitlines()[-1]
    assert verdict == f"{service.config_file}: ok" + (f" for {USER}" if os.geteuid() == 0 else "")
    assert list(service.state_dir.iterdir()) == []  # it only looks


@programs
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user than the service's")
def test_check_config_by_root_says_what_the_user_of_the_service_cannot_read(make_service, program):
    service = make_service()
    os.chown(service.config_file, 0, 0)
    done = run(service, program, "--check-config", "-c", service.config_file)
    assert done.returncode == CONFIGURATION
    assert done.stderr == (
        f"{service.config_file}: error: cannot open the file: Permission denied (it belongs to root, this program runs "
        f"as {USER})\n"
    )


@programs
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user than the service's")
@pytest.mark.parametrize("name", ["gateway.lock", "write.lock", "worker.db", "worker.db-wal", "worker.db-shm"])
def test_check_config_by_root_says_what_in_the_state_dir_a_start_as_root_has_left(make_service, program, name):
    service = make_service()
    (service.state_dir / name).touch(0o600)
    done = run(service, program, "--check-config", "-c", service.config_file)
    assert done.returncode == CONFIGURATION
    assert done.stderr == (
        f"{service.config_file}: error: cannot write to {name} in the state_dir: Permission denied (it belongs to root, "
        f"this program runs as {USER})\n"
    )


@programs
@pytest.mark.parametrize("path, why", [
    ("config.yaml", "the state_dir is not a directory"), ("no/parent", "the directory above it does not exist"),
    ("log", "every user can write"),
])  # fmt: skip
def test_check_config_looks_at_the_state_dir_and_makes_nothing(make_service, program, path, why):
    service = make_service()
    service.write_config(state_dir=str(service.dir / path))
    service.log_dir.chmod(0o777)
    before = sorted(service.dir.iterdir())
    done = run(service, program, "--check-config", "-c", service.config_file)
    assert done.returncode == CONFIGURATION
    assert done.stderr.startswith(f"{service.config_file}: error: ") and done.stderr.count("\n") == 1
    assert why in done.stderr and "ok" not in done.stdout.splitlines()[-1]
    assert sorted(service.dir.iterdir()) == before


# The configuration file

FAULTS = {  # lines of the file, what stderr names
    "a short secret": ("worker_secret: too-short\n", 1, "worker_secret"),
    "an empty secret": ('\nworker_secret: ""\n', 2, "worker_secret"),
    "a port out of range": ("{secret}ws_port: 70000\n", 2, "ws_port"),
    "a port that is text": ("{secret}\n\nws_port: http\n", 4, "ws_port"),
    "a duration that is none": ("{secret}topic_ttl: 1 day\n", 2, "topic_ttl"),
    "a duration of zero": ("{secret}topic_ttl: 0s\n", 2, "topic_ttl"),
    "a sequence for a text": ("{secret}state_dir: [a, b]\n", 2, "state_dir"),
    "a tab": ("{secret}ws_port:\t\n\t- 1\n", 3, ""),
    "a key given twice": ("{secret}ws_port: 9000\nws_port: 9001\n", 3, "ws_port"),
    "no mapping": ("- a\n- b\n", 1, ""),
    "an alias": ("{secret}state_dir: *x\n", 2, ""),
    "two documents": ("{secret}---\nws_port: 1\n", 2, ""),
}


@programs
@pytest.mark.parametrize("text, line, key", FAULTS.values(), ids=FAULTS)
def test_a_fault_in_the_configuration_exits_78_and_names_file_and_line(make_service, program, text, line, key):
    service = make_service()
    service.config_file.write_text(text.replace("{secret}", f"worker_secret: {service.secret}\n"))
    place = f"{service.config_file}:{line}"
    for arguments, place in (["--check-config"], f"{place}: "), ([], f'at="{place}"'):
        done = run(service, program, *arguments, "-c", service.config_file)
        assert done.returncode == CONFIGURATION, done.stderr
        assert place in done.stderr and key in done.stderr
        assert "too-short" not in done.stderr and done.stdout == ""


@programs
@pytest.mark.parametrize("content", [
    b"", b"\n# nothing\n", b"\0\1\2\xff" * 1000, b"x" * 10_000_000, b"a: " + b"[" * 500_000, b"a: " + b"- " * 300_000,
    b"a: " + b"{b: " * 200_000,
], ids=["empty", "comment", "binary", "10 MB", "deep", "deep block", "deep mapping"])  # fmt: skip
def test_a_file_that_is_not_a_configuration_exits_78_without_a_crash(make_service, program, content):
    service = make_service()
    service.config_file.write_bytes(content)
    done = run(service, program, "--check-config", "-c", service.config_file)
    assert done.returncode == CONFIGURATION and str(service.config_file) in done.stderr
    assert len(done.stderr) < 5000 and all(character.isprintable() or character == "\n" for character in done.stderr)


@programs
def test_a_configuration_that_cannot_be_read_exits_78_and_says_why(make_service, program):
    service = make_service()
    for path, why in ((service.dir / "missing.yaml", "No such file"), (service.dir, "irectory")):
        for arguments in (["--check-config"], []):
            done = run(service, program, *arguments, "-c", path)
            assert done.returncode == CONFIGURATION
            assert str(path) in done.stderr and why in done.stderr
            assert f"{path}:" not in done.stderr.replace(f"{path}: error:", ""), "it has no lines"

    service.config_file.chmod(0)
    os.chown(service.config_file, os.geteuid(), os.getegid())
    log = service.log_dir / "unreadable.log"
    process = Process.start(program, [service.bin / f"wavelog-worker-{program}", "-c", service.config_file], log)
    assert process.wait() == CONFIGURATION
    assert "Permission denied" in log.read_text()


@programs
def test_an_unknown_key_and_a_file_that_others_can_read_are_warnings(make_service, program):
    service = make_service(made_up=1)
    service.config_file.chmod(0o644)
    done = run(service, program, "--check-config", "-c", service.config_file)
    assert done.returncode == 0
    line = len(service.config_file.read_text().splitlines())
    assert f"{service.config_file}:{line}" in done.stderr and "made_up" in done.stderr
    assert "others" in done.stderr
    service.config_file.chmod(0o600)
    assert "others" not in run(service, program, "--check-config", "-c", service.config_file).stderr


@programs
def test_the_configuration_comes_from_the_option_else_the_variable_else_the_working_directory(make_service, program):
    service = make_service(event_limit=1001)
    directory = service.dir / "cwd"
    directory.mkdir()
    secret = f"worker_secret: {service.secret}\n"
    (directory / "config.yaml").write_text(secret + "event_limit: 1003\n")
    (service.dir / "variable.yaml").write_text(secret + "event_limit: 1002\n")
    variable = {"WAVELOG_WORKER_CONFIG": str(service.dir / "variable.yaml")}

    def limit(*arguments, **variables):
        done = run(service, program, "--check-config", *arguments, cwd=directory, **variables)
        assert done.returncode == 0, done.stderr
        return re.search(r"^event_limit: (\d+)", done.stdout, re.M)[1]

    assert limit("-c", service.config_file, **variable) == "1001"
    assert limit(**variable) == "1002"
    assert limit() == "1003"


@programs
def test_with_the_secret_in_the_environment_no_file_is_needed(make_service, program):
    service = make_service()
    missing = service.dir / "missing.yaml"
    variables = {"WORKER_SECRET": service.secret, "WORKER_WS_PORT": "8000"}
    done = run(service, program, "--check-config", "-config", missing, **variables)
    assert done.returncode == 0 and done.stderr == ""
    assert "\nws_port: 8000 # from WORKER_WS_PORT\n" in done.stdout
    done = run(service, program, "-config", missing, **{**variables, "WORKER_WS_PORT": "80000"})
    assert done.returncode == CONFIGURATION and "WORKER_WS_PORT" in done.stderr
    assert run(service, program, "-config", missing).returncode == CONFIGURATION


# Started by hand


def test_the_api_started_by_hand_says_who_starts_it(make_service):
    service = make_service()
    done = run(service, "api", "-c", service.config_file)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert "descriptor 0 is not a listening socket" in done.stderr and "spawn-fcgi" in done.stderr
    assert list(service.state_dir.iterdir()) == []


# One gateway a state_dir


@pytest.mark.parametrize("first", ["runs", "is stopped"])
def test_a_second_gateway_on_a_state_dir_says_so_and_exits_75(make_service, first):
    service = make_service()
    service.start_gateway()
    service.write_config(ws_port=free_port())
    if first == "is stopped":
        service.gateway.send(signal.SIGSTOP)
    try:
        log = service.log_dir / "second.log"
        second = Process.start("second", [service.gateway_program, "-c", service.config_file], log)
        assert second.wait() == TEMPORARY
        assert "another gateway runs" in log.read_text() and str(service.state_dir) in log.read_text()
        assert not accepts(("127.0.0.1", service.config["ws_port"]))
    finally:
        service.gateway.send(signal.SIGCONT)
    assert accepts(service.ws_address)
    # One that was stopped as soon as it listened may have yet to write its row.
    gateways = [{"pid": service.gateway.pid}]
    wait_until(lambda: sqlite.ask(service.database, "SELECT pid FROM gateways") == gateways, "its row stays alone")


def second_says(service):
    service.write_config(ws_port=free_port())
    log = service.log_dir / "second.log"
    second = Process.start("second", [service.gateway_program, "-c", service.config_file], log)
    assert second.wait() == TEMPORARY
    return log.read_text().splitlines()[-1]


@pytest.mark.parametrize("processes", [1, 2])
def test_another_gateway_that_runs_is_named(make_service, processes):
    service = make_service(gateway_processes=processes, drain="100ms")
    service.start_gateway()
    lock = service.state_dir / "gateway.lock"
    pid = wait_until(lambda: int.from_bytes(lock.read_bytes()[:8], "little"), "it has signed")
    assert pid == service.gateway.pid
    assert f'why="process {pid} of {USER} serves this state_dir"' in second_says(service)
    service.gateway.send(signal.SIGUSR2)
    assert service.gateway.wait() == 0
    service.gateway = Process("successor", int.from_bytes(lock.read_bytes()[:8], "little"))
    assert service.gateway.pid != pid
    assert f'why="process {service.gateway.pid} of {USER} serves this state_dir"' in second_says(service)


def test_a_umask_that_forbids_everything_does_no_harm(make_service):
    service = make_service()
    shutil.rmtree(service.state_dir)
    give_to_user(service.dir, 0o755)
    service.environment = ["sh", "-c", 'umask 777; exec "$0" "$@"']
    service.start(1)
    assert FastCgi(service.api_socket, service.secret).call("register", b'{"topic":"t"}').status == 200
    with WebSocket(service.ws_address) as client:
        assert client.handshake("/ws?topic=t")[0] == 101
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in service.state_dir.iterdir()}
    assert set(modes.values()) == {0o600} and stat.S_IMODE(service.state_dir.stat().st_mode) == 0o700, modes


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_root_has_left_is_named_with_its_owner(make_service):
    """Started once as root; then as the user that it is meant for."""
    service = make_service(durability="full")
    first = Process.start(
        "root's", [service.gateway_program, "-c", service.config_file], service.log_dir / "root.log", as_user=False
    )
    wait_until(lambda: accepts(service.ws_address), "it serves")
    first.kill()
    left = {path.name for path in service.state_dir.iterdir() if path.stat().st_uid == 0}
    assert {"gateway.lock", "worker.db", "worker.db-wal", "worker.db-shm", "write.lock"} <= left
    named = set()
    while True:
        log = service.log_dir / f"{len(named)}.log"
        gateway = Process.start("gateway", [service.gateway_program, "-c", service.config_file], log)
        wait_until(lambda: accepts(service.ws_address) or not gateway.runs(), "it serves, or ends")
        if gateway.runs():
            break
        assert gateway.exit_code == 1
        line = log.read_text().splitlines()[-1]
        assert f"belongs to root, this program runs as {USER}" in line
        (name,) = [name for name in left - named if re.search(rf"\b{re.escape(name)}(?![-\w])", line)]
        give_to_user(service.state_dir / name, 0o600)
        named.add(name)
    assert gateway.stop() is None
    assert named == left - {"wakeup.sock", "reserve"}  # the first is made anew at each start, the other never opened


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user than the service's")
def test_the_api_says_whose_lock_file_it_cannot_open(make_service):
    service = make_service()
    (service.state_dir / "gateway.lock").touch(0o600)
    with service.listen_api() as listener:
        assert service.spawn_api(listener).wait() == 1
    why = f"cannot open gateway.lock: Permission denied (it belongs to root, this program runs as {USER})"
    assert f'msg="no database" state_dir="{service.state_dir}" why="{why}"' in (service.log_dir / "api.log").read_text()


def test_gateways_with_a_state_dir_each_run_side_by_side(make_service):
    one, two = make_service(), make_service()
    one.start_gateway()
    two.start_gateway()
    assert one.gateway.runs() and two.gateway.runs()


# OpenSSL


def test_a_gateway_that_cannot_check_tokens_says_so_and_ends(make_service):
    """An openssl.cnf that turns the default provider off."""
    service = make_service()
    openssl = service.dir / "openssl.cnf"
    openssl.write_text(
        "openssl_conf = init\n[init]\nproviders = providers\n[providers]\nnull = null\n[null]\nactivate = 1\n"
    )
    openssl.chmod(0o644)
    log = service.log_dir / "gateway.log"
    command = [service.gateway_program, "-c", service.config_file]
    assert Process.start("gateway", command, log, env={"OPENSSL_CONF": str(openssl)}).wait() == 1
    assert 'msg="cannot check tokens" why="OpenSSL gives no HMAC-SHA256"' in log.read_text()
    assert not accepts(service.ws_address)


# Standard descriptors, and the log


def start_by_shell(service, redirection, *arguments, **options):
    """The gateway, with its standard descriptors as the shell sets them."""
    command = ["sh", "-c", f'exec "$0" -c "$1" {redirection}', service.gateway_program, service.config_file, *arguments]
    gateway = Process.start("gateway", command, service.log_dir / "gateway.log", **options)
    service.gateway = gateway
    wait_until(lambda: accepts(service.ws_address) or not gateway.runs(), "the gateway accepts connections")
    return gateway


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_standard_descriptors_that_are_closed_are_given_to_no_file(make_service, closed, processes):
    service = make_service(gateway_processes=processes)
    gateway = start_by_shell(service, closed)
    for number in (0, 1, 2):
        target = os.readlink(f"/proc/{gateway.pid}/fd/{number}")
        assert target == "/dev/null" or target.startswith(str(service.log_dir))
    with WebSocket(service.ws_address) as client:
        assert client.handshake("/ws?topic=")[0] == 400
    assert gateway.stop() is None


def lines_in(pipe):
    text = b""
    try:
        while piece := os.read(pipe, 65536):
            text += piece
    except BlockingIOError:
        pass
    return text.decode().splitlines()


@pytest.mark.parametrize("kind", ["pipe", "fifo"])  # a pipe of another user's, when the tests run as root, and one of ours
def test_a_log_that_nobody_reads_stops_nothing_and_what_was_lost_is_reported(make_service, kind):
    service = make_service(log_connections=True)
    service.start_api(1)
    FastCgi(service.api_socket, service.secret).call("register", b'{"topic":"t"}')
    if kind == "fifo":
        path = service.dir / "log.fifo"
        os.mkfifo(path)
        path.chmod(0o666)
        read_end, write_end = os.open(path, os.O_RDONLY | os.O_NONBLOCK), None
        start_by_shell(service, '2>"$2"', path)
    else:
        read_end, write_end = os.pipe2(os.O_NONBLOCK)
        fcntl.fcntl(write_end, fcntl.F_SETFL, 0)  # its end blocks
        start_by_shell(service, "2>&0 0</dev/null", stdin=write_end)
    fcntl.fcntl(read_end, fcntl.F_SETPIPE_SZ, 4096)

    def connect(times):
        for _ in range(times):
            with WebSocket(service.ws_address) as client:
                assert client.handshake("/ws?topic=t")[0] == 101
                client.send_frame(b'{"type":"auth"}')
                assert client.read_message(2) == '{"type":"auth_ok"}'

    connect(50)
    lines = lines_in(read_end)
    assert sum(len(line) for line in lines) <= 4096 and 'msg="listening"' in "".join(lines)

    def told():
        connect(1)
        lines.extend(lines_in(read_end))
        return [line for line in lines if 'msg="the log could not be written"' in line]

    wait_until(told, "the gateway says that lines were lost")
    counted = int(re.search(r" lines=(\d+)$", told()[0])[1])
    assert counted > 50
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z level=\w+ program=gateway msg=", line) for line in lines)
    assert service.gateway.stop() is None
    for end in (read_end, write_end):
        if end is not None:
            os.close(end)


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot is for root")
def test_a_gateway_without_devices_says_why_it_cannot_serve(make_service):
    service = make_service()
    root = service.dir / "root"
    libraries = re.findall(r"/\S+", subprocess.run(["ldd", service.gateway_program], capture_output=True, text=True).stdout)
    for library in map(Path, [*libraries, *Path("/usr/lib").glob("*/libwebsockets-evlib_uv.so")]):
        target = root / str(library.parent)[1:]
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    (root / str(service.dir)[1:]).mkdir(parents=True)
    for path in (service.gateway_program, service.config_file):
        shutil.copy(path, root)
    (root / str(service.state_dir)[1:]).mkdir(parents=True)
    reply = subprocess.run(
        ["chroot", root, "/wavelog-worker-gateway", "-c", "/config.yaml"],
        capture_output=True, text=True, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},  # that looks into /proc
    )  # fmt: skip
    assert reply.returncode == 1, reply
    assert (
        f'msg="cannot read /dev/urandom" state_dir="{service.state_dir}" why="No such file or directory"' in reply.stderr
    )


# Sockets


def test_sockets_of_a_killed_gateway_are_replaced(make_service, certificates):
    service = make_service(unix=True)
    server = Nginx(service.start(), certificates)
    server.api.register("t")
    for _ in range(2):
        service.gateway.kill()
        assert service.ws_socket.is_socket() and (service.state_dir / "wakeup.sock").is_socket()
        assert not accepts(service.ws_address)
        service.start_gateway()
        with server.subscribe("t") as browser:
            assert browser.authenticate() == '{"type":"auth_ok"}'
            for number in range(3):  # each before the gateway's timer: the API found the new wake-up socket
                server.api.publish("t", number)
                assert browser.receive(0.9) == f'{{"type":"push","payload":{number}}}'


@pytest.mark.parametrize(("config", "mode"), [({}, 0o660), ({"ws_socket_mode": "0600"}, 0o600)], ids=["default", "own"])
@pytest.mark.parametrize("processes", [1, 2])
def test_gateway_listens_on_a_unix_socket_of_the_mode_that_is_configured(make_service, config, mode, processes):
    service = make_service(unix=True, gateway_processes=processes, **config)
    service.start_gateway()
    assert stat.S_IMODE(service.ws_socket.stat().st_mode) == mode
    with WebSocket(service.ws_address) as client:
        assert client.handshake("/ws?topic=worker.status")[0] == 101
    assert service.gateway.stop() is None
    assert not service.ws_socket.exists() and not (service.state_dir / "wakeup.sock").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user than the service's")
def test_a_web_server_of_another_user_reaches_the_socket_and_nothing_else(make_service):
    """As docs/security.md has it: mode 0711 for the directory, 0666 for the socket."""
    service = make_service(unix=True, ws_socket_mode="0666")
    service.dir.chmod(0o711)
    service.start_gateway()

    def other(*command):
        done = subprocess.run(command, user="nobody", group="nogroup", extra_groups=[], capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else None

    ask = ["curl", "-sS", "--unix-socket", service.ws_socket, "http://localhost/readyz"]
    assert other(*ask) == "ok\n"
    for command, name in ("ls", ""), ("touch", "new"), ("rm", "gateway.sock"), ("cat", "config.yaml"), ("ls", "state"):
        assert other(command, service.dir / name) is None
    service.ws_socket.chmod(0o660)
    assert other(*ask) is None


def test_gateway_takes_no_socket_from_another_program_and_no_file_from_anybody(make_service):
    service = make_service(unix=True)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(service.ws_socket))
        give_to_user(service.ws_socket, 0o600)
        other.listen()
        start_refused(service, "in use")
        assert accepts(service.ws_address)
    service.ws_socket.unlink()
    service.ws_socket.write_text("somebody's notes")
    start_refused(service, "ocket")
    assert service.ws_socket.read_text() == "somebody's notes"


def start_refused(service, why):
    log = service.log_dir / "refused.log"
    process = Process.start("gateway", [service.gateway_program, "-c", service.config_file], log)
    assert process.wait() == 1
    assert why in log.read_text()
    assert sqlite.ask(service.database, "SELECT * FROM gateways") == []


def test_gateway_says_so_when_its_port_is_taken(make_service):
    service = make_service()
    with socket.socket() as other:
        other.bind(service.ws_address)
        other.listen()
        start_refused(service, str(service.ws_port))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a network of its own")
def test_gateway_listens_on_ipv4_and_ipv6_when_ws_bind_is_empty(make_service):
    service = make_service(ws_bind="")
    alone = ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    command = [*alone, service.gateway_program, "-c", service.config_file]
    service.gateway = Process.start("gateway", command, service.log_dir / "gateway.log", as_user=False)

    def status(host):
        curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{host}:{service.ws_port}/elsewhere"]
        inside = ["nsenter", f"--net=/proc/{service.gateway.pid}/ns/net", *curl]
        return subprocess.run(inside, capture_output=True, text=True).stdout

    wait_until(lambda: status("127.0.0.1") == "404", "it answers on IPv4")
    assert status("[::1]") == "404"


# state_dir


@programs
def test_a_missing_state_dir_is_created(make_service, program):
    service = make_service()
    service.state_dir.rmdir()
    service.dir.chmod(0o777)
    if program == "gateway":
        service.start_gateway()
    else:
        service.start_api(1)
    wait_until(lambda: service.database.exists(), "the database is made")
    assert stat.S_IMODE(service.state_dir.stat().st_mode) == 0o700


@programs
@pytest.mark.parametrize("obstacle", ["a file", "no parent", "not ours"])
def test_a_state_dir_that_cannot_be_used_is_reported_and_the_program_ends(make_service, program, obstacle):
    service = make_service()
    if obstacle == "a file":
        path = service.config_file
    elif obstacle == "no parent":
        path = service.dir / "no/such"
    else:
        path = service.dir / "root's"
        path.mkdir(mode=0o500)
    service.write_config(state_dir=str(path))
    log = service.log_dir / "refused.log"
    if program == "gateway":
        process = Process.start("gateway", [service.gateway_program, "-c", service.config_file], log)
    else:
        with service.listen_api() as listener:
            process = service.spawn_api(listener)
        log = service.log_dir / "api.log"
    assert process.wait() == 1
    assert "state_dir" in log.read_text() and str(path) in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_programs_end_with_0_and_clean_up_after_themselves(make_service, certificates, number):
    service = make_service(unix=True)
    server = Nginx(service.start(), certificates)
    server.api.register("t")
    with server.subscribe("t") as browser:
        browser.authenticate()
        assert [process.stop(number) for process in [*service.api, service.gateway]] == [None] * 3
        assert browser.close_code() == 1001
    for table in ("sessions", "gateways"):
        assert sqlite.ask(service.database, f"SELECT * FROM {table}") == []
    assert sqlite.value(service.database, "PRAGMA integrity_check") == "ok"
    for log in ("api.log", "gateway.log"):
        assert "ended" in (service.log_dir / log).read_text()
    service.api = []


@pytest.fixture
def lone_api(make_service):
    """A service with a single API process, called directly at its socket."""
    service = make_service()
    with service.listen_api() as listener:
        service.api = [service.spawn_api(listener)]
    wait_until(lambda: "started" in (service.log_dir / "api.log").read_text(), "the API is up")
    return service


def is_pending(process, number):
    """True when the signal is pending."""
    with open(f"/proc/{process.pid}/status") as file:
        masks = [int(line.split()[1], 16) for line in file if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_the_api_finishes_the_request_it_is_in(lone_api, number):
    service, (api,) = lone_api, lone_api.api
    assert FastCgi(service.api_socket, service.secret).call("register", b'{"topic":"slow"}').status == 200
    body = b'{"topic":"slow","payload":"' + b"x" * 100_000 + b'"}'
    with FastCgi(service.api_socket, service.secret) as connection:
        connection.begin("publish", len(body))
        connection.send_body(body[:50_000])
        connection.wait_until_read()
        os.kill(api.pid, number)
        assert is_pending(api, number) and api.runs()
        connection.send_body(body[50_000:])
        connection.end_body()
        reply = connection.reply()
    assert reply.status == 200
    assert api.wait() == 0
    payload = sqlite.value(service.database, f"SELECT length(payload) AS n FROM events WHERE id = {reply.json['id']}")
    assert payload == 100_002


@programs
def test_a_signal_during_the_start_ends_it_cleanly(make_service, program):
    service = make_service()
    with service.listen_api() as listener:
        for _ in range(6):
            for path in service.state_dir.iterdir():
                path.unlink()
            if program == "api":
                process = service.spawn_api(listener)
            else:
                command = [service.gateway_program, "-c", service.config_file]
                process = Process.start("gateway", command, service.log_dir / "gateway.log")
            wait_until(lambda: (service.state_dir / "write.lock").exists(), "it opens the database", interval_s=0)
            assert process.stop() is None


def test_the_api_ends_at_once_when_it_waits_for_requests(lone_api):
    assert lone_api.api[0].stop() is None
    assert "ended" in (lone_api.log_dir / "api.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGPIPE])
def test_signals_of_a_closed_terminal_or_pipe_do_no_harm_to_the_gateway(make_service, number):
    service = make_service()
    service.start_gateway()
    if number == signal.SIGPIPE:
        service.gateway.send(number)
        with WebSocket(service.ws_address) as client:
            assert client.handshake("/ws?topic=")[0] == 400
    assert service.gateway.runs()
