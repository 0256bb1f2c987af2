"""Command lines: docopt parses them, this says what is wrong with them.

docopt-ng completes abbreviated options, and tells of a wrong command line only that it is wrong.
So options are looked at here first (only full names count), and when docopt refuses, the usage
lines are compared with the words once more to name the culprit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from wepystore.errors import UsageError

#: Options of `wepy run` of wepy 1.x, and what there is in their place.
_OF_WEPY = {
    "--tag": (
        "it names the metrics of wepy's monitor; give it in the script, SimMonitor(tag=…); a note "
        "for the record of a run is --narration, and 'wepy tag' names a snapshot"
    ),
    "--monitor-http-port": "give it to the monitor in the script, SimMonitor(port=…)",
    "--log": (
        "a run tells what there is to tell on stderr; for what components log, call "
        "logging.basicConfig(level=…) in the module that they are from"
    ),
}


class WrongUsageError(UsageError):
    """{message}"""

    def __init__(self, message: str, usage: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.usage = usage


def parse(doc: str, argv: list[str]) -> dict[str, Any]:
    """The arguments of a command line (without "wepy") by its docstring. Raises WrongUsageError."""
    lines = usage_lines(doc)
    try:
        options, words = _apart(argv, _options(doc))
    except UsageError as wrong:
        raise WrongUsageError(str(wrong), lines) from None
    # docopt reads "-1" as an option wherever it stands, and keeps "--" as a word. Words that
    # begin with a dash go past it under other names.
    masks = {f"\0{k}": word for k, word in enumerate(words) if word.startswith("-")}
    masked = [f"\0{k}" if word.startswith("-") else word for k, word in enumerate(words)]
    # Last: it is the slowest import of a command that only looks something up.
    import docopt

    try:
        found = docopt.docopt(doc, masked + options, default_help=False)
    except docopt.DocoptExit:
        raise WrongUsageError(_diagnose(lines, words, options), lines) from None
    return {
        name: [masks.get(word, word) for word in value]
        if isinstance(value, list)
        else masks.get(value, value)
        for name, value in found.items()
    }


def usage_lines(doc: str) -> list[str]:
    """The lines of the usage section, each beginning with "wepy"."""
    _, _, rest = doc.partition("Usage:")
    lines: list[str] = []
    for line in rest.split("\n"):
        text = line.strip()
        if not text:
            if lines:
                break
        elif text.startswith("wepy "):
            lines.append(text)
        else:
            lines[-1] += " " + text
    return lines


def suggestion(word: str, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?", or nothing."""
    import difflib

    near = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _options(doc: str) -> dict[str, bool]:
    """All options a docstring describes, and whether they take a value."""
    options = {}
    for line in doc.partition("Options:")[2].split("\n"):
        text = line.strip()
        if text.startswith("-"):
            names = text.split("  ")[0].replace(",", " ").replace("=", " ").split()
            takes_value = any(not name.startswith("-") for name in names)
            options.update({name: takes_value for name in names if name.startswith("-")})
    return options


def _apart(argv: list[str], known: dict[str, bool]) -> tuple[list[str], list[str]]:
    """A command line in two: the options with their values, and the other words. Raises UsageError
    for an option that is not known, and for a value that is missing or too much."""
    words: list[str] = []
    options: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return options, words + rest
        if not word.startswith("-") or word == "-" or is_number(word):
            words.append(word)
        elif word.startswith("--"):
            name, equals, _ = word.partition("=")
            if name in _OF_WEPY and name not in known and argv[:1] == ["run"]:
                raise UsageError(f"{name} of wepy 1.x is not there: {_OF_WEPY[name]}")
            if equals and not _takes_value(name, name, known):
                raise UsageError(f"{name} takes no value")
            options.append(word if equals else "=".join([word, *_value(name, name, rest, known)]))
        else:
            options += _shorts(word, rest, known)
    return options, words


def _shorts(word: str, rest: list[str], known: dict[str, bool]) -> list[str]:
    """`word` and, if its last letter takes one, the value from `rest`."""
    for place, letter in enumerate(word[1:], start=2):
        if _takes_value("-" + letter, word, known):
            return [word] if place < len(word) else [word, *_value("-" + letter, word, rest, known)]
    return [word]


def _value(name: str, word: str, rest: list[str], known: dict[str, bool]) -> list[str]:
    """The value of an option, taken from the words after it; nothing if it takes none."""
    if not _takes_value(name, word, known):
        return []
    if not rest or rest[0] == "--":
        raise UsageError(f"{name} needs a value")
    return [rest.pop(0)]


def _takes_value(name: str, word: str, known: dict[str, bool]) -> bool:
    if name in known:
        return known[name]
    where = "" if word == name else f" (in {word!r})"
    long = [each for each in known if each.startswith("--")]
    near = suggestion(word if word.startswith("--") else "-" + word, long)
    listed = f"; there are {', '.join(long)}" if long else ""
    raise UsageError(f"there is no option {name!r}{where}{near or listed}")


def is_number(word: str) -> bool:
    """Whether a word is a number, and no option though it may begin with a dash."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def _diagnose(lines: list[str], words: list[str], options: list[str]) -> str:
    """What is wrong with words and options that fit none of the lines."""
    repeated = _repeated(lines, options)
    if repeated:
        return f"{repeated} is given more than once"
    command, *given = words
    patterns = [_pattern(line) for line in lines]
    # Where the lines ask for a literal word (wepy ls snapshots), one of them has to be there.
    firsts = {choice for pattern in patterns for choice in _choices(pattern)}
    others = [len(pattern) for pattern in patterns if not _choices(pattern)]
    if firsts and len(given) > max(others, default=-1):
        listed = ", ".join(sorted(firsts))
        if not given:
            return f"'wepy {command}' needs one of these words after it: {listed}"
        first = given.pop(0)
        if first not in firsts:
            near = suggestion(first, firsts) or f"; there are {listed}"
            return f"'wepy {command}' does not know {first!r}{near}"
        patterns = [pattern[1:] for pattern in patterns if first in _choices(pattern)]
        command = f"{command} {first}"
    return _miscounted(patterns, given, f"'wepy {command}'")


def _repeated(lines: list[str], options: list[str]) -> str | None:
    """The first option that is given more often than the lines allow."""
    names = [option.partition("=")[0] for option in options if option.startswith("-")]
    # One that may be given again stands in a usage line by itself: [--from OTHER]...
    once = [name for name in names if not any(f"[{name} " in line for line in lines)]
    return next((name for name in once if once.count(name) > 1), None)


def _miscounted(patterns: list[list[str]], given: list[str], command: str) -> str:
    """Which word is too many for a command, or missing from it."""
    most = max(map(len, patterns), default=0)
    if len(given) > most and not any(p.endswith("...") for pattern in patterns for p in pattern):
        return f"{given[most]!r} is one word too many for {command}"
    needed = [[p for p in pattern if not p.startswith("[")] for pattern in patterns]
    longer = [pattern for pattern in needed if len(pattern) > len(given)]
    if longer:
        missing = min(longer, key=len)[len(given) :]
        names = ", ".join(name.removesuffix("...") for name in missing)
        return f"{names} {'is' if len(missing) == 1 else 'are'} missing from {command}"
    return f"these options do not go together for {command}"


def _pattern(line: str) -> list[str]:
    """The positional words of a usage line after the command: ["(a|b)", "[ORCH]", "HASH"]."""
    tokens = line.replace(" ...", "...").split()[2:]
    return [t for t in tokens if t != "[options]" and not t.strip("[(").startswith("-")]


def _choices(pattern: list[str]) -> list[str]:
    """The literal words of which such a line begins with one."""
    if not pattern or pattern[0].startswith("["):
        return []
    choices = pattern[0].strip("()").split("|")
    return choices if all(choice.islower() for choice in choices) else []
