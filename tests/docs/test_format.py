"""docs/format.md, recording.md and coordinates.md show commands that work, and what they print."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests import installed
from tests.docs.markdown import DOCS, ROOT, Block, blocks
from tests.warm import write_program

PAGE = DOCS / "format.md"
#: Tools that a block may use and a machine may lack.
TOOLS = ("jq", "rsync", "unzip")
_TIMEOUT_S = 180


def script_blocks(page: Path = PAGE) -> list[tuple[Block, str | None]]:
    """Every ```sh block, with the ```text block that follows it at once, if one does."""
    text = page.read_text(encoding="utf-8")
    found = blocks(text)
    pairs: list[tuple[Block, str | None]] = []
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block.language == "sh":
            shown = None
            if after and after.language == "text" and not text[block.end : after.start].strip():
                shown = after.text
            pairs.append((block, shown))
    return pairs


def matches(shown: str, printed: str) -> bool:
    """Whether a text is what the page shows.

    "…" stands for any part of a line; a line of nothing else stands for any number of lines.
    """
    pattern = ""
    for line in shown.rstrip("\n").split("\n"):
        if line.strip() == "…":
            pattern += r"(?:.*\n)*"
        else:
            pattern += ".*".join(map(re.escape, line.rstrip().split("…"))) + r"[ \t]*\n"
    text = printed if printed.endswith("\n") or not printed else printed + "\n"
    return re.fullmatch(pattern, text) is not None


class Shell:
    """A scratch folder in which the blocks of the page are run, the programs in forks of one
    interpreter unless some are killed; `more` is set besides."""

    def __init__(self, folder: Path, kills: bool = False, **more: str) -> None:
        self.folder = folder
        (folder / "fixtures").symlink_to(ROOT / "fixtures")
        programs = folder / ".programs"
        for name, words in (("python", ()), ("wepy", ("-m", "wepystore"))):
            write_program(programs / name, *words, fork=not kills)
        self._environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "LC_ALL": "C.UTF-8",
        }
        self._environment.pop("WEPY_ORCH", None)
        self._environment.update(more)

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a block; a command of it that fails is a failure of the block."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )


def run_page(page: Path, shell: Shell, lacking: Iterable[str] = ()) -> dict[int, set[str]]:
    """Run every block in order: it ends with status 0 and prints what the page shows. The lines of
    those that were left out, each with the tools that it lacks."""
    skipped: dict[int, set[str]] = {}
    for block, shown in script_blocks(page):
        needed = {tool for tool in lacking if re.search(rf"\b{tool}\b", block.text)}
        if needed:
            skipped[block.line] = needed
            continue
        done = shell.run(block.text)
        where = f"{page.name}, line {block.line}"
        assert done.returncode == 0, f"{where}: status {done.returncode}\n{done.stderr}"
        if shown is not None:
            assert matches(shown, done.stdout), f"{where}: it printed\n{done.stdout}"
    return skipped


PAGES = [PAGE, *(DOCS / f"{page}.md" for page in ("recording", "coordinates", "answers"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_the_page_works(tmp_path: Path, page: Path) -> None:
    """Each block, run in order, ends with status 0 and prints what the page shows."""
    skipped = run_page(page, Shell(tmp_path), installed.lacking(*TOOLS))
    if skipped:
        lines = ", ".join(map(str, skipped))
        pytest.skip(f"{installed.why(set().union(*skipped.values()))}; all but lines {lines} work")


def test_the_checks_of_the_page_find_damage(tmp_path: Path) -> None:
    """S1, S3: after one bit of one object has flipped, both checks fail and name the file."""
    installed.need("jq")
    shell = Shell(tmp_path)
    scripts = [block.text for block, _ in script_blocks()]
    assert shell.run(scripts[0]).returncode == 0
    checks = [script for script in scripts if "md5sum --check" in script]
    assert len(checks) == 2
    assert [shell.run(check).returncode for check in checks] == [0, 0]
    store = tmp_path / "LJ-pair.orch"
    start = (store / "refs/default-snapshot").read_text().strip()
    manifest = json.loads((store / "snapshots" / start[:2] / start).read_bytes())
    md5 = manifest["walkers"]["groups"][0]["fields"]["positions"]["md5"]
    file = store / "objects" / md5[:2] / md5
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    for check in checks:
        done = shell.run(check)
        assert done.returncode != 0
        assert md5 in done.stdout


def test_the_page_has_what_it_promises() -> None:
    """The tests above looked at a page full of blocks, not at an empty one."""
    pairs = script_blocks()
    assert len(pairs) >= 12
    assert sum(shown is not None for _, shown in pairs) >= 8


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\n", "a\n", True),
        ("a\n", "b\n", False),
        ("4a…  x\n", "4ac3  x\n", True),
        ("…\nlast\n", "1\n2\nlast\n", True),
        ("…\nlast\n", "1\n2\n", False),
        ("a\n", "a\nb\n", False),
    ],
)
def test_matching_is_strict_where_nothing_is_left_out(shown: str, printed: str, same: bool) -> None:
    """Only "…" stands for something else: a wrong output is never taken for a right one."""
    assert matches(shown, printed) is same
