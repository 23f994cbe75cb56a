"""What was measured, row by row, whether it reaches the bars, and on what machine."""

import os
import platform
import re
import statistics
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One line of the table. `ours` and `other` name measurements; without `other` the figure itself is held against the
    bar, made by `figure` of all that was measured. `bar` is "<= 1.15" and the like, or None: for information."""

    what: str
    unit: str
    ours: str
    other: str = None
    bar: str = None
    enough: float = None  # a figure that is good whatever the ratio
    shift: bool = False  # the bar is for the difference between the two, not the ratio
    figure: Callable = statistics.median


def percentile_99(values):
    """The 99th percentile: what at least 99 of 100 do not exceed."""
    return sorted(values)[(len(values) * 99 + 99) // 100 - 1]


def _number(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{2 if abs(value) >= 10 else 3}f}"


def _reaches(value, bar):
    sign, limit = bar.split()
    limit = float(limit)
    return {"<=": value <= limit, ">=": value >= limit, "<": value < limit}[sign]


class Report:
    """`judging`: whether figures are held against the bars. `rows`: each with the name of what measures it, and `times`:
    how often that did."""

    def __init__(self, judging=True):
        self.judging = judging
        self.values = defaultdict(list)
        self.rows = {}
        self.times = Counter()

    def _measured(self):
        return [row for row in self.rows if self.values[row.ours] and (not row.other or self.values[row.other])]

    def _figure(self, row, name):
        values = self.values[name]
        spread = f" ({_number(min(values))} to {_number(max(values))})" if len(values) > 1 else ""
        return _number(row.figure(values)) + spread

    def _compare(self, row):
        """What is compared was measured in turns: the median is that of each with its neighbour, so that what the
        machine did meanwhile is in both."""
        if not row.other:
            return row.figure(self.values[row.ours])
        pairs = zip(self.values[row.ours], self.values[row.other], strict=True)
        return statistics.median(ours - other if row.shift else ours / other for ours, other in pairs)

    def _is_missed(self, row):
        if not self.judging or not row.bar:
            return False
        if row.enough and row.figure(self.values[row.ours]) <= row.enough:
            return False
        return not _reaches(self._compare(row), row.bar)

    def _cells(self, row):
        other = self._figure(row, row.other) if row.other else ""
        compared = f"{self._compare(row):{'+' if row.shift else ''}.3f}" if row.other else ""
        bar = (row.bar or "") + (f", or {row.enough} {row.unit}" if row.enough else "")
        verdict = "**missed**" if self._is_missed(row) else "good" if self.judging and row.bar else ""
        times = self.times[self.rows[row]]
        verdict += f"{', ' if verdict else ''}measured {times} times" if times > 1 else ""
        return [row.what, row.unit, self._figure(row, row.ours), other, compared, bar, verdict]

    def lines(self):
        """The table as markdown."""
        head = ["| what | unit | ours | against | ratio | bar | |", "| --- | --- | ---: | ---: | ---: | ---: | --- |"]
        return head + ["| " + " | ".join(self._cells(row)) + " |" for row in self._measured()]

    def missed(self):
        """The rows, each with the name of what measures it."""
        return {row.what: self.rows[row] for row in self._measured() if self._is_missed(row)}


def _first(pattern, path):
    found = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    return found.group(1).strip() if found else "unknown"


def _version(package):
    asked = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True)
    return asked.stdout or "not installed"


def machine():
    """What is measured on; lines of markdown."""
    processor, system = _first(r"^model name\s*:(.*)", "/proc/cpuinfo"), _first(r'^PRETTY_NAME="(.*)"', "/etc/os-release")
    memory_gb = int(_first(r"^MemTotal:\s*(\d+)", "/proc/meminfo")) / 1e6
    packages = "libwebsockets17 libuv1 libsqlite3-0 libfcgi0ldbl nginx apache2 libapache2-mod-fcgid libnginx-mod-nchan"
    return [
        f"- {processor}, {os.cpu_count()} cores, {memory_gb:.0f} GB of memory; kernel {'.'.join(platform.release().split('.')[:2])}, {system}",
        "- " + ", ".join(f"{package} {_version(package)}" for package in packages.split()),
        f"- load average at the start: {os.getloadavg()[0]:.2f} (the nearer to 0 the better the figures)",
    ]
