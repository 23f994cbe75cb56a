"""The command line and the configuration file of both programs: what they say about them, and with which exit code."""

import os
import re
import subprocess

import pytest

from harness.process import Process, environment
from harness.programs import CONFIGURATION, USAGE, programs


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
    assert list(service.state_dir.iterdir()) == []  # it only looks


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
def test_a_file_that_is_no_configuration_exits_78_without_a_crash(make_service, program, content):
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


# Started by hand


def test_the_api_started_by_hand_says_who_starts_it(make_service):
    service = make_service()
    done = run(service, "api", "-c", service.config_file)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert "descriptor 0 is not a listening socket" in done.stderr and "spawn-fcgi" in done.stderr
    assert list(service.state_dir.iterdir()) == []
