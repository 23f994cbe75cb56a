"""GET /internal/metrics as the tests read it: one scrape, or again and again until it says what is expected. The reader
of Prometheus' text exposition format 0.0.4 is strict: what it accepts, Prometheus accepts; it also refuses histograms
that contradict themselves, which `promtool check metrics` lets through."""

import math
import re

from .process import wait_until

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"')
VALUE = re.compile(r"[+-]?(?:\d+(?:\.\d*)?(?:e[+-]?\d+)?|Inf)|NaN\Z")
TYPES = ("counter", "gauge", "histogram", "summary", "untyped")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}


class Malformed(Exception):
    pass


def _check(condition, what, line=""):
    if not condition:
        raise Malformed(f"{what}: {line!r}" if line else what)


def _labels(text, line):
    labels, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        _check(match, "a label", line)
        name, value = match.groups()
        _check(name not in labels, "a label given twice", line)
        labels[name] = re.sub(r"\\(.)", lambda escape: {"n": "\n"}.get(escape[1], escape[1]), value)
        at = match.end()
        if at < len(text):
            _check(text[at] == "," and at + 1 < len(text), "what follows a label", line)
            at += 1
    return labels


def _sample(line):
    match = re.fullmatch(r"([^\s{]+)(?:\{(.*)\})? (\S+)", line)  # without a timestamp: ours have none
    _check(match, "a sample", line)
    name, labels, value = match.groups()
    _check(NAME.match(name), "a name", line)
    _check(labels != "", "empty braces", line)
    _check(VALUE.fullmatch(value), "a value", line)
    return name, _labels(labels or "", line), float(value)


class Family:
    def __init__(self, name, help_text):
        self.name, self.help, self.type = name, help_text, None
        self.samples = []  # (name, labels, value)

    def check(self):
        _check(self.type, f"{self.name} has no TYPE")
        seen = [(name, tuple(sorted(labels.items()))) for name, labels, _ in self.samples]
        _check(len(seen) == len(set(seen)), f"{self.name} has a sample twice")
        if self.type == "counter":
            _check(self.name.endswith("_total"), f"the counter {self.name} does not end in _total")
            _check(all(value >= 0 for *_, value in self.samples), f"the counter {self.name} is below 0")
        else:
            _check(not self.name.endswith("_total"), f"{self.name} is no counter")
        if self.type == "histogram":
            self._check_histogram()

    def _check_histogram(self):
        groups = {}
        for name, labels, value in self.samples:
            others = tuple(sorted((key, text) for key, text in labels.items() if key != "le"))
            part = name[len(self.name) :]
            group = groups.setdefault(others, {"_bucket": []})
            if part == "_bucket":
                _check("le" in labels, f"a bucket of {self.name} without le")
                bound = math.inf if labels["le"] == "+Inf" else float(labels["le"])
                group[part].append((bound, value))
            else:
                _check("le" not in labels, f"{name} has an le")
                group[part] = value
        for group in groups.values():
            _check("_sum" in group and "_count" in group, f"{self.name} lacks its sum or its count")
            bounds = [bound for bound, _ in group["_bucket"]]
            counts = [count for _, count in group["_bucket"]]
            _check(bounds and bounds[-1] == math.inf, f"the last bucket of {self.name} is not +Inf")
            _check(bounds == sorted(set(bounds)), f"the bounds of {self.name} do not rise")
            _check(counts == sorted(counts), f"the buckets of {self.name} fall")
            _check(counts[-1] == group["_count"], f"+Inf of {self.name} is not its count")
            _check(group["_sum"] >= 0, f"the sum of {self.name} is below 0")
            _check(group["_count"] > 0 or group["_sum"] == 0, f"{self.name} has a sum of nothing")


class Metrics:
    """`metrics["drops_total", "outbox_full"]`: the value of the sample of that name (without `prefix`) with that label
    value, or with none."""

    def __init__(self, text, prefix=""):
        self.prefix = prefix
        self.families = {}
        _check(text.endswith("\n"), "the last line does not end")
        family = None
        for line in text[:-1].split("\n"):
            _check(line and line == line.strip() and "\r" not in line, "a line", line)
            if line.startswith("#"):
                family = self._comment(line, family)
            else:
                self._take(line, family)
        for each in self.families.values():
            each.check()

    def _comment(self, line, family):
        match = re.fullmatch(r"# (HELP|TYPE) (\S+) (.+)", line)
        _check(match and NAME.match(match[2]), "a comment that says nothing", line)
        kind, name, rest = match.groups()
        if kind == "HELP":
            _check(name not in self.families, "HELP twice, or samples that are not together", line)
            self.families[name] = Family(name, rest)
            return self.families[name]
        _check(family and family.name == name and not family.samples, "TYPE not right after its HELP", line)
        _check(family.type is None and rest in TYPES, "TYPE", line)
        family.type = rest
        return family

    def _take(self, line, family):
        name, labels, value = _sample(line)
        _check(family, "a sample without HELP", line)
        names = [family.name + suffix for suffix in SUFFIXES.get(family.type, ("",))]
        _check(name in names, f"a sample below {family.name}", line)
        family.samples.append((name, labels, value))

    def __getitem__(self, key):
        name, label = key if isinstance(key, tuple) else (key, None)
        found = [
            value for family in self.families.values() for sample, labels, value in family.samples
            if sample == self.prefix + name and (label in labels.values() if label else not labels)
        ]  # fmt: skip
        assert len(found) == 1, f"{len(found)} samples of {key}"
        return found[0]

    def labels(self, name):
        """Label values and samples of a family, those of 0 left out."""
        family = self.families[self.prefix + name]
        return {next(iter(labels.values())): value for _, labels, value in family.samples if value}


PREFIX = "wavelog_worker_"


def scrape(server):
    reply = server.api.call("metrics", method="GET")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return Metrics(reply.text, PREFIX)


def counted(server, expected, limit_s=15.0):
    """Waits until the metrics have these values: keys as of Metrics, or a family's name and its labels as a dict."""

    def found():
        metrics = scrape(server)
        return {
            key: metrics.labels(key) if isinstance(value, dict) else metrics[key] for key, value in expected.items()
        }

    wait_until(lambda: found() == expected, lambda: f"{expected}, but it is {found()}", limit_s)
    return scrape(server)
