"""Links between the documents and numbers of invariants lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.markdown import DOCS, ROOT, anchors, without_blocks

PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CITED = re.compile(r"\b[SIWR]\d{1,2}\b")
_DEFINED = re.compile(r"^- \*\*([SIWR]\d{1,2})\*\*", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    """Every relative link of a document names a file, and a heading in it if it says so."""
    if not page.exists():
        pytest.skip(f"{page.name} is not written yet")
    text = page.read_text(encoding="utf-8")
    dead = []
    for target in _LINK.findall(without_blocks(text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        found = file.exists()
        if found and anchor:
            found = anchor in anchors(file.read_text(encoding="utf-8"))
        if not found:
            dead.append(target)
    assert not dead


def test_invariants_that_are_cited_are_defined() -> None:
    """A number like S4 in code, tests or documents is defined, once, in docs/architecture.md."""
    defined = _DEFINED.findall((DOCS / "architecture.md").read_text(encoding="utf-8"))
    assert len(defined) == len(set(defined))
    files = [*(ROOT / "wepystore").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *PAGES]
    unknown = {
        f"{file.relative_to(ROOT)}: {number}"
        for file in files
        if file.exists()
        for number in _CITED.findall(file.read_text(encoding="utf-8"))
        if number not in defined
    }
    assert not unknown


def test_every_decision_is_in_the_index() -> None:
    """docs/README.md links every page of docs/."""
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}
    assert pages <= set(_LINK.findall(index))


def test_files_named_in_the_code_tour_exist() -> None:
    """A path of the package in backquotes in a document is a file or folder of this repository."""
    named = set()
    for page in PAGES:
        if page.exists():
            text = page.read_text(encoding="utf-8")
            named |= set(re.findall(r"`((?:wepystore|tests|fixtures|docs|bin)/[\w./]*)`", text))
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]
