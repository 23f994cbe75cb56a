"""The machine that is measured on: its description for the report, and which core does what."""

import contextlib
import os
import platform
import re
import resource
import subprocess
from pathlib import Path

ALL = sorted(os.sched_getaffinity(0))
# The load generator has a core of its own where there are two, and what is measured has the others: else the
# scheduler moves both about, each time in another way. All contenders are treated alike.
LOAD, SERVERS = ({ALL[0]}, set(ALL[1:])) if len(ALL) > 1 else (set(ALL), set(ALL))
ANY = set(ALL)


@contextlib.contextmanager
def on_cores(cores):
    """What is started inside stays on these cores, and so do its children."""
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, ANY)


IN_MEMORY = ("tmpfs", "ramfs")


def file_system(path):
    """Its name, by statfs(2)."""
    return subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True).stdout.strip()


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def descendants(pid):
    """A process and its children, theirs, and so on."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _first(pattern, text, otherwise="unknown"):
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1).strip() if found else otherwise


def _version(package):
    asked = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True)
    return asked.stdout or "not installed"


def describe():
    """Lines of markdown."""
    processor = _first(r"^model name\s*:(.*)", Path("/proc/cpuinfo").read_text())
    memory_gb = int(_first(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), "0")) / 1e6
    system = _first(r'^PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text())
    packages = "libwebsockets17 libuv1 libsqlite3-0 libfcgi0ldbl nginx apache2 libapache2-mod-fcgid libnginx-mod-nchan"
    return [
        f"- {processor}, {len(ALL)} cores, {memory_gb:.0f} GB of memory; kernel {platform.release()}, {system}",
        "- " + ", ".join(f"{package} {_version(package)}" for package in packages.split()),
        f"- load average at the start: {os.getloadavg()[0]:.2f} (the nearer to 0 the better the figures)",
    ]
