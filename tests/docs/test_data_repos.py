"""docs/data-repos.md shows commands that work with the real rsync, git, git-annex and DVC."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import installed
from tests.carriers.conftest import OF_DVC, dvc_program
from tests.docs.markdown import DOCS
from tests.docs.test_format import Shell, run_page
from tests.warm import write_program

__all__ = ["dvc_program"]

PAGE = DOCS / "data-repos.md"
#: What a block may use that a machine may lack.
TOOLS = ("rsync", "git", "git-annex")
SECTIONS = ("rsync", "git", "git-annex", "DVC")


def test_every_command_of_the_page_works(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Each block, run in order, ends with status 0 and prints what the page shows."""
    installed.need(*TOOLS)
    dvc: Path = request.getfixturevalue("dvc_program")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\nname = Somebody\nemail = somebody@example.org\n[init]\ndefaultBranch = main\n"
    )
    folder = tmp_path / "work"
    folder.mkdir()
    settings = {"GIT_CONFIG_NOSYSTEM": "1", "DVC_NO_ANALYTICS": "1"}
    shell = Shell(folder, HOME=str(home), XDG_CONFIG_HOME=str(home / ".config"), **settings)
    python = str(dvc.with_name("python"))
    write_program(folder / ".programs/dvc", "-m", "dvc", python=python, modules=OF_DVC)
    run_page(PAGE, shell)


def test_every_tool_has_a_section_with_commands() -> None:
    """The test above looked at all four, and at no empty page."""
    text = PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    for name, after in zip(SECTIONS, [*SECTIONS[1:], "What not to do"], strict=True):
        assert name in headings
        section = text[text.index(f"\n## {name}\n") : text.index(f"\n## {after}\n")]
        assert section.count("```sh\n") >= 1
        assert "wepy fsck" in section
