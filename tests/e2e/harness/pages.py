"""The pages that people read, and the fenced blocks in them."""

import re
from typing import NamedTuple

from .service import REPO

PAGES = sorted([*REPO.glob("*.md"), *REPO.glob("docs/*.md"), *REPO.glob("*/README.md")])
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.M | re.S)


class Block(NamedTuple):
    page: str  # as "docs/operating.md"
    heading: str
    language: str
    text: str

    @property
    def first_line(self):
        return self.text.splitlines()[0]


def read(page):
    return (REPO / page).read_text()


def without_code(text):
    return FENCE.sub("", text)


def section(page, heading):
    """The text below a second-level heading."""
    return read(page).split(f"\n## {heading}\n")[1].split("\n## ")[0]


def blocks(page=None, heading=None, language=None):
    """The blocks of a page or of all pages, in their order."""
    found = []
    for path in PAGES:
        text, name = path.read_text(), str(path.relative_to(REPO))
        code = [(match.start(), match.end()) for match in FENCE.finditer(text)]
        titles = [
            match for match in re.finditer(r"^#+ (.*)$", text, re.M)
            if not any(start < match.start() < end for start, end in code)
        ]  # fmt: skip
        for match in FENCE.finditer(text):
            above = [title[1] for title in titles if title.start() < match.start()][-1]
            lines = [line.removeprefix(match[1]) for line in match[3].splitlines()]
            found.append(Block(name, above, match[2], "\n".join(lines) + "\n"))
    wanted = (page, heading, language)
    return [block for block in found if all(want in (None, have) for want, have in zip(wanted, block))]
