"""docs/security.md: each promise names tests, and these are there."""

from __future__ import annotations

import ast
import re

from tests.docs.markdown import DOCS, ROOT

_NAMED = re.compile(r"`((?:\w+/)+test_\w+\.py)::(test_\w+)`")


def test_every_test_that_is_named_exists() -> None:
    """No row of the tables names a test that was renamed or removed, and every row names one."""
    text = (DOCS / "security.md").read_text(encoding="utf-8")
    named = _NAMED.findall(text)
    assert len(named) > 40
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / "tests" / file).exists() or name not in _tests(file)
    ]
    assert not missing
    tables = text.partition("## What was tried")[2].partition("## How to report")[0]
    rows = [line for line in tables.splitlines() if line.startswith("|")]
    silent = [row for row in rows if not _NAMED.search(row) and "---" not in row]
    assert all(row == "| tried | now | shown by |" for row in silent), silent


def _tests(file: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
