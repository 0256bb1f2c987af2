"""The only place that prints: answers on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console as RichConsole


class Console:
    """Where a command puts its answer and its remarks.

    stdout carries the answer, one item a line, and nothing else; progress, notes and errors go
    to stderr. rich is imported only by who asks for it, and that only on a terminal.
    """

    def __init__(self, debug: bool = False) -> None:
        self.debug = debug

    def out(self, text: str) -> None:
        """One item of the answer."""
        sys.stdout.write(text + "\n")

    def json(self, value: Any) -> None:
        """The answer as JSON, for programs."""
        import json

        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def note(self, text: str) -> None:
        """A remark that is not part of the answer."""
        sys.stderr.write(text + "\n")

    def warn(self, text: str) -> None:
        """Something the user should know, though the command goes on."""
        sys.stderr.write(f"wepy: warning: {one_line(text)}\n")

    def error(self, text: str) -> None:
        """Why the command failed."""
        sys.stderr.write(f"wepy: error: {one_line(text)}\n")

    def flush(self) -> None:
        """Everything written so far; BrokenPipeError when nobody reads it any more."""
        sys.stdout.flush()
        sys.stderr.flush()

    @property
    def stderr_is_terminal(self) -> bool:
        """Whether a person is watching (and did not set TERM=dumb)."""
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def rich(self) -> RichConsole:
        """A rich console on stderr; ask `stderr_is_terminal` first, importing it takes a while."""
        from rich.console import Console as RichConsole

        return RichConsole(stderr=True, highlight=False)


def one_line(text: str) -> str:
    """A message in one line, whatever was in the names it quotes."""
    return " ".join(text.split())
