"""The only place that prints: answers on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys

# Not from typing: it and re would be half of the time that `wepy --help` takes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from rich.console import Console as RichConsole


class Console:
    """Where a command puts its answer and its remarks.

    stdout carries the answer, one item a line, and nothing else; progress, notes and errors go
    to stderr. rich is imported only by who asks for it, and that only on a terminal.
    """

    def __init__(self, debug: bool = False) -> None:
        self.debug = debug

    def out(self, text: str) -> None:
        """One item of the answer, in one line whatever is in it."""
        sys.stdout.write(printable(text) + "\n")

    def text(self, text: str) -> None:
        """An answer of several lines that is all this program's own, like a help text."""
        sys.stdout.write(text + "\n")

    def hashes(self, hashes: list[str]) -> None:
        """Items of the answer that were seen to be hashes: there is nothing to escape in them."""
        sys.stdout.write("\n".join([*hashes, ""]))

    def json(self, value: Any) -> None:
        """The answer as JSON, for programs."""
        import json

        lines = json.dumps(value, indent=2, ensure_ascii=False).split("\n")
        # Lines are JSON's own: what stands in a text it has escaped.
        sys.stdout.write("".join(printable(line, True) + "\n" for line in lines))

    def json_line(self, value: Any) -> None:
        """An answer as JSON in one line, of which others follow."""
        import json

        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        sys.stdout.write(printable(text, True) + "\n")

    def note(self, text: str) -> None:
        """A remark that is not part of the answer, in one line whatever is in it."""
        _remark(printable(text))

    def warn(self, text: str) -> None:
        """Something the user should know, though the command goes on."""
        _remark(f"wepy: warning: {one_line(text)}")

    def error(self, text: str) -> None:
        """Why the command failed."""
        _remark(f"wepy: error: {one_line(text)}")

    def flush(self) -> None:
        """Everything written so far; BrokenPipeError when nobody reads the answer any more."""
        sys.stdout.flush()
        try:
            sys.stderr.flush()
        except OSError:
            # The interpreter would try it once more, and make a status of it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())

    @property
    def stderr_is_terminal(self) -> bool:
        """Whether a person is watching (and did not set TERM=dumb)."""
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def rich(self) -> RichConsole:
        """A rich console on stderr; ask `stderr_is_terminal` first, importing it takes a while."""
        from rich.console import Console as RichConsole

        return RichConsole(stderr=True, highlight=False)


class Drawing:
    """Lines with a drawing at their left, on stdout: in colours on a terminal, else plain."""

    # Told apart on dark and on light ground.
    _COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
    _ASCII = str.maketrans("│●├─┘┴┼┐┬", "|*|-'-+.-")

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rich: RichConsole | None = None
        terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        if terminal and "NO_COLOR" not in os.environ:
            from rich.console import Console as RichConsole

            self._rich = RichConsole(highlight=False)
        try:
            "│●├─┘┴┼┐┬".encode(getattr(sys.stdout, "encoding", None) or "utf-8")
            self._plain = False
        except UnicodeEncodeError:
            self._plain = True

    def line(self, strokes: list[tuple[str, int]], text: str, note: str) -> None:
        """One line: strokes with the number of their branch, what it is about, a remark."""
        if self._plain:
            strokes = [(stroke.translate(self._ASCII), branch) for stroke, branch in strokes]
        if self._rich is None:
            self._console.out(("".join(stroke for stroke, _ in strokes) + text + note).rstrip())
            return
        from rich.text import Text

        shown = Text()
        for stroke, branch in strokes:
            shown.append(stroke, self._COLOURS[branch % len(self._COLOURS)])
        shown.append(printable(text), "bold")
        shown.append(printable(note), "dim" if not text else "")
        # A line too long for the window goes on in the next, as everything else in a terminal.
        self._rich.print(shown, soft_wrap=True)


class Page:
    """Facts on stdout that are drawn anew in their place; gone at the end of the block."""

    #: A window so wide has room for two columns, in which what is long goes on in the next line.
    _WIDE = 72

    @staticmethod
    def can_be_drawn() -> bool:
        """Whether a person is watching."""
        return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> Page:
        from rich.console import Console as RichConsole
        from rich.live import Live

        self._rich = RichConsole(highlight=False)
        self._live = Live(console=self._rich, auto_refresh=False, transient=True)
        self._live.start()
        return self

    def draw(self, facts: Iterable[tuple[str, str]], part: float | None = None) -> None:
        """Show these in place of those before, and how great a part of all is done. In a narrow
        window what is too long is cut."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        width = self._rich.width
        shown = Table.grid(padding=(0, 2, 0, 0))
        if width >= self._WIDE:
            shown.add_column(no_wrap=True)
            shown.add_column()
        for label, text in facts:
            told = Text(printable(text))
            name = Text(printable(label), "dim")
            if width >= self._WIDE:
                shown.add_row(name, told)
            else:
                shown.add_row(Text.assemble(name, ": ", told, no_wrap=True, overflow="ellipsis"))
            if label == "cycles" and part is not None:
                bar = ProgressBar(total=1.0, completed=part, width=max(8, width // 2))
                shown.add_row(*[""] * (width >= self._WIDE), bar)
        self._live.update(shown, refresh=True)

    def __exit__(self, *error: object) -> None:
        try:
            self._live.stop()
        except OSError:
            # The terminal is gone, and with it only what was drawn.
            return


def _remark(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
    except OSError:
        # A terminal that is gone, a log on a full disk: no reason to end a run of days.
        return


def one_line(text: str) -> str:
    """A message in one line, whatever was in the names it quotes."""
    return printable(" ".join(text.split()))


def printable(text: str, json: bool = False) -> str:
    """The text in one line, with what could forge another one, move the cursor, change colours or
    the direction of text, or is not to be seen at all, as Python (or JSON) writes it.

    Names and texts that are shown may come from anybody's store.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\t" or each in _SPACES else _escaped(each, json)
        for each in text
    )


#: Spaces that only look like others; Python does not count them as printable.
_SPACES = "\u00a0\u2002\u2003\u2007\u2009\u202f\u3000"


def _escaped(character: str, json: bool) -> str:
    if not json:
        return ascii(character)[1:-1]
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[k] << 8 | units[k + 1]:04x}" for k in range(0, len(units), 2))
