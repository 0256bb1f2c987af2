"""Puts the usage texts of the program into docs/cli.md: `python -m tests.docs.regenerate`.

docs/cli.md holds a block between `<!-- usage: NAME -->` and `<!-- /usage -->` for every command,
and one with NAME `wepy` for `wepy --help`. What is in between is what the program itself prints.
"""

from __future__ import annotations

import contextlib
import io
import re

from tests.docs.markdown import DOCS
from wepystore.cli.main import COMMANDS, main

PAGE = DOCS / "cli.md"
PLACE = re.compile(r"(<!-- usage: (\w+) -->\n)(.*?)(<!-- /usage -->)", re.DOTALL)


def help_text(name: str) -> str:
    """What `wepy --help` (for the name "wepy") or `wepy help NAME` prints."""
    argv = ["--help"] if name == "wepy" else ["help", name]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        status = main(argv)
    assert status == 0, f"wepy {' '.join(argv)} ends with status {status}"
    return printed.getvalue()


def block(name: str) -> str:
    """The block that belongs between the two marks."""
    return f"```text\n{help_text(name)}```\n"


def places(page: str) -> dict[str, str]:
    """What the page has between its marks, by name."""
    return {found[2]: found[3] for found in PLACE.finditer(page)}


def regenerated(page: str) -> str:
    """The page with every block as the program prints it now."""
    return PLACE.sub(lambda found: found[1] + block(found[2]) + found[4], page)


if __name__ == "__main__":
    old = PAGE.read_text(encoding="utf-8")
    new = regenerated(old)
    PAGE.write_text(new, encoding="utf-8")
    print(f"{PAGE}: {'changed' if new != old else 'as it was'}")
    for missing in COMMANDS.keys() - places(new).keys():
        print(f"no section for 'wepy {missing}': write one with <!-- usage: {missing} -->")
