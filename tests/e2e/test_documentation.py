"""What the README and the sample configuration say is what the programs do: keys, defaults, log lines, links."""

import re
import subprocess
from pathlib import Path

import pytest

from harness.service import BUILD, REPO

README = (REPO / "README.md").read_text()
SAMPLE = (REPO / "config.sample.yaml").read_text()
NO_DEFAULT = "worker_secret"
EMPTY = {"empty": ""}  # what the README calls a default that is an empty text
SAME_LENGTH = {"24h": "24h0m0s", "1h": "1h0m0s"}  # as people write it, and as --check-config does


def without_code(text):
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S)


@pytest.fixture
def in_use(tmp_path):
    """Every key and its default, in the words of --check-config, of a file that has nothing but the secret."""
    file = tmp_path / "minimal.yaml"
    file.write_text('worker_secret: "0123456789abcdef0123456789abcdef"\n')
    command = [BUILD / "wavelog-worker-api", "-c", file, "--check-config"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    entries = [entry.splitlines()[-1] for entry in text.strip().split("\n\n")[1:]]
    keys = [entry.removeprefix("# ").split(": ", 1) for entry in entries]
    return {name: value.strip('"') for name, value in keys}


def readme_defaults():
    """From the table of the README; a row may hold several keys and as many defaults."""
    section = README.split("\n## Configuration\n")[1].split("\n## ")[0]
    defaults = {}
    for names, values in re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", section, re.M):
        values = [EMPTY.get(value, value.strip("`").strip('"')) for value in values.split(", ")]
        defaults.update(zip(re.findall(r"`([a-z_]+)`", names), values, strict=True))
    return defaults


def test_the_readme_names_every_key_with_its_default(in_use):
    readme = readme_defaults()
    assert set(readme) == set(in_use)
    wrong = {
        name: (readme[name], value)
        for name, value in in_use.items()
        if name != NO_DEFAULT and SAME_LENGTH.get(readme[name], readme[name]) != value
    }
    assert wrong == {}


def test_the_sample_configuration_has_every_key(in_use):
    assert set(re.findall(r"^#([a-z_]+):", SAMPLE, re.M)) == set(in_use)


CONSTANT = r'(?:[A-Z_]+ )?"([^"]+)"'
LOGGED = (
    r"log_event\(\s*[^,\"]*,\s*" + CONSTANT,
    r"log_repeat_ends\([^;\"]*,\s*" + CONSTANT,
    r"\.message =\s*" + CONSTANT,
    r"return fail\w*\((?:\w+, )?" + CONSTANT,
)


def logged_messages():
    """The constant sentences of the log, from the sources; of one that begins with a macro, the rest."""
    sources = [path.read_text() for folder in ("api", "gateway", "shared") for path in (REPO / folder).rglob("*.c")]
    return {text.strip() for source in sources for call in LOGGED for text in re.findall(call, source)}


def test_the_readme_explains_every_log_line():
    section = README.split("\n## The log\n")[1].split("\n## ")[0]
    explained = re.findall(r"`([^`]+)`", without_code(section))
    messages = logged_messages()
    assert len(messages) > 20, "the sources are not read any more"
    assert [text for text in sorted(messages) if not any(name.endswith(text) for name in explained)] == []


def headings(text):
    """Anchors as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", without_code(text), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


PAGES = sorted(REPO.glob("*.md")) + sorted(REPO.glob("*/README.md"))


@pytest.mark.parametrize("path", PAGES, ids=[str(page.relative_to(REPO)) for page in PAGES])
def test_links_lead_somewhere(path):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in headings(Path(target).read_text())):
            broken.append(link)
    assert broken == []
