"""Changes in the files that people copy: only what a person would change, and never silently nothing."""

from pathlib import Path

REPO = Path(__file__).resolve().parents[3]


def substitute(text, changes, name="text"):
    """Replaces each key by its value, everywhere. A key that is not in the text fails the test."""
    for old, new in changes.items():
        if old not in text:
            raise AssertionError(f"{name} does not hold {old!r} any more")
        text = text.replace(old, new)
    return text


def copy_with(source, target, changes):
    """Copies a file of the repository (`source` below its root) to `target`, with changes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(substitute((REPO / source).read_text(), changes, source))
    target.chmod(0o644)


def uncomment(line):
    """The change that takes the # away from a line, to be used as **uncomment("...")."""
    return {"#" + line: line}
