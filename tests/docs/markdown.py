"""The little of Markdown that the tests of the documentation need."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: the word after its fence, its text, and the line it begins on."""

    language: str
    text: str
    line: int
    start: int
    end: int


def blocks(markdown: str) -> list[Block]:
    """All fenced blocks of a document, in order."""
    return [
        Block(
            found[1],
            found[2],
            markdown.count("\n", 0, found.start()) + 1,
            found.start(),
            found.end(),
        )
        for found in _FENCE.finditer(markdown)
    ]


def without_blocks(markdown: str) -> str:
    """The document without its fenced blocks."""
    return _FENCE.sub("", markdown)


def anchors(markdown: str) -> set[str]:
    """The names that a link to a heading of the document may have, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ +(.*?) *$", without_blocks(markdown), re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(kept.replace(" ", "-"))
    return found
