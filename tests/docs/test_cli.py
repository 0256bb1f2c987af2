"""docs/cli.md says what the program does today, command for command."""

from __future__ import annotations

import re

import pytest

from tests.docs import regenerate
from tests.docs.markdown import without_blocks
from wepystore import errors
from wepystore.cli.main import BROKEN_PIPE, COMMANDS, INTERRUPTED
from wepystore.cli.merging import CONFLICT
from wepystore.cli.usage import usage_lines


def page() -> str:
    return regenerate.PAGE.read_text(encoding="utf-8")


def test_every_command_has_a_section_and_every_section_a_command() -> None:
    """A command that is added, renamed or taken away makes this fail until the page follows."""
    documented = regenerate.places(page()).keys() - {"wepy"}
    assert documented == set(COMMANDS)
    headings = re.findall(r"^## `wepy (\w+)`$", page(), re.MULTILINE)
    assert headings == list(COMMANDS), "sections stand in the order of 'wepy --help'"


@pytest.mark.parametrize("name", ["wepy", *COMMANDS])
def test_usage_text_is_what_the_program_prints(name: str) -> None:
    """Usage lines and options in the page are the module's docstring, to the letter."""
    found = regenerate.places(page()).get(name)
    assert found == regenerate.block(name), "run: python -m tests.docs.regenerate"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_usage_lines_of_its_own_name(name: str) -> None:
    """What the page shows for a command really is a usage of that command."""
    lines = usage_lines(regenerate.help_text(name))
    assert lines
    assert all(line.split()[:2] == ["wepy", name] for line in lines)


def test_every_exit_status_is_in_the_table() -> None:
    """The table has every status that an error class or the program has, and no other."""
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    known = {c.exit_status for c in classes if issubclass(c, errors.WepystoreError)}
    listed = {int(number) for number in re.findall(r"^\| (\d+) \|", page(), re.MULTILINE)}
    assert listed == known | {0, CONFLICT, INTERRUPTED, BROKEN_PIPE}


def test_every_option_mentioned_exists() -> None:
    """An option named in the prose is one that some command has."""
    has = set()
    for name in ("wepy", *COMMANDS):
        has |= set(re.findall(r"--[a-z][a-z-]+", regenerate.help_text(name)))
    assert set(re.findall(r"--[a-z][a-z-]+", without_blocks(page()))) <= has
