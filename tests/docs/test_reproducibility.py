"""docs/reproducibility.md shows commands that work, and what they really print."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.markdown import DOCS
from tests.docs.test_format import Shell, run_page, script_blocks
from tests.systems import pair_runner
from wepystore.orchestrator.run.environment import environment_of

PAGE = DOCS / "reproducibility.md"


def test_every_command_of_the_page_works(tmp_path: Path) -> None:
    """Each block, run in order, ends with status 0 and prints what the page shows: among them a
    run that is killed and resumed, and ends as the one that was not."""
    run_page(PAGE, Shell(tmp_path, kills=True))


def test_the_page_has_what_it_promises() -> None:
    """The test above looked at a page full of blocks, not at an empty one."""
    pairs = script_blocks(PAGE)
    assert len(pairs) >= 8
    assert sum(shown is not None for _, shown in pairs) >= 5


def test_every_field_of_the_environment_is_explained() -> None:
    """What a record says of the machine stands in the page's table; a new field must as well."""
    rows = re.findall(r"^\| (`.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert environment_of(pair_runner(), None, None).keys() <= explained
