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
    options, words = _check_options(doc, argv, lines)
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
    return {name: _unmasked(value, masks) for name, value in found.items()}


def _unmasked(value: Any, masks: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [masks.get(word, word) for word in value]
    return masks.get(value, value) if isinstance(value, str) else value


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


def _check_options(doc: str, argv: list[str], lines: list[str]) -> tuple[list[str], list[str]]:
    """A command line in two: the options with their values, and the other words."""
    options = _options(doc)
    words: list[str] = []
    found: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return found, words + rest
        if not word.startswith("-") or word == "-" or _is_number(word):
            words.append(word)
        elif word.startswith("--"):
            name, equals, _ = word.partition("=")
            if name not in options:
                if name in _OF_WEPY and argv[:1] == ["run"]:
                    raise WrongUsageError(
                        f"{name} of wepy 1.x is not there: {_OF_WEPY[name]}", lines
                    )
                near = suggestion(name, (o for o in options if o.startswith("--")))
                raise WrongUsageError(
                    f"there is no option {name!r}{near or _known(options)}", lines
                )
            if options[name] and not equals:
                if not rest or rest[0] == "--":
                    raise WrongUsageError(f"{name} needs a value", lines)
                word = f"{name}={rest.pop(0)}"
            elif equals and not options[name]:
                raise WrongUsageError(f"{name} takes no value", lines)
            found.append(word)
        else:
            found += _check_shorts(word, rest, options, lines)
    return found, words


def _check_shorts(
    word: str, rest: list[str], options: dict[str, bool], lines: list[str]
) -> list[str]:
    """`word` and, if its last letter takes one, the value from `rest`."""
    for place, letter in enumerate(word[1:], start=2):
        name = "-" + letter
        if name not in options:
            near = suggestion("-" + word, (o for o in options if o.startswith("--")))
            where = "" if word == name else f" (in {word!r})"
            raise WrongUsageError(
                f"there is no option {name!r}{where}{near or _known(options)}", lines
            )
        if options[name]:
            if place == len(word):
                if not rest:
                    raise WrongUsageError(f"{name} needs a value", lines)
                return [word, rest.pop(0)]
            return [word]
    return [word]


def _known(options: dict[str, bool]) -> str:
    long = [name for name in options if name.startswith("--")]
    return f"; there are {', '.join(long)}" if long else ""


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _diagnose(lines: list[str], words: list[str], options: list[str]) -> str:
    """What is wrong with words and options that fit none of the lines."""
    given_options = [option.partition("=")[0] for option in options if option.startswith("-")]
    for option in given_options:
        # One that may be given again stands in a usage line by itself: [--from OTHER]...
        if given_options.count(option) > 1 and not any(f"[{option} " in line for line in lines):
            return f"{option} is given more than once"
    patterns = [_pattern(line) for line in lines]
    command = words[0]
    # Where the lines ask for a literal word (wepy ls snapshots), one of them has to be there.
    firsts = {choice for pattern in patterns if pattern for choice in _choices(pattern[0])}
    others = [len(pattern) for pattern in patterns if not (pattern and _choices(pattern[0]))]
    if firsts and len(words) - 1 > max(others, default=-1):
        listed = ", ".join(sorted(firsts))
        if len(words) < 2:
            return f"'wepy {command}' needs one of these words after it: {listed}"
        if words[1] not in firsts:
            near = suggestion(words[1], firsts) or f"; there are {listed}"
            return f"'wepy {command}' does not know {words[1]!r}{near}"
        patterns = [pattern[1:] for pattern in patterns if words[1] in _choices(pattern[0])]
        command, words = f"{command} {words[1]}", words[1:]
    given = words[1:]
    most = max((len(pattern) for pattern in patterns), default=0)
    if len(given) > most and not any(p.endswith("...") for pattern in patterns for p in pattern):
        return f"{given[most]!r} is one word too many for 'wepy {command}'"
    needed = [[p for p in pattern if not p.startswith("[")] for pattern in patterns]
    longer = [pattern for pattern in needed if len(pattern) > len(given)]
    if longer:
        missing = min(longer, key=len)[len(given) :]
        names = ", ".join(name.removesuffix("...") for name in missing)
        verb = "is" if len(missing) == 1 else "are"
        return f"{names} {verb} missing from 'wepy {command}'"
    return f"these options do not go together for 'wepy {command}'"


def _pattern(line: str) -> list[str]:
    """The positional words of a usage line after the command: ["(a|b)", "[ORCH]", "HASH"]."""
    tokens = line.replace(" ...", "...").split()[2:]
    return [t for t in tokens if t != "[options]" and not t.strip("[(").startswith("-")]


def _choices(token: str) -> list[str]:
    if token.startswith("["):
        return []
    choices = token.strip("()").split("|")
    return choices if all(choice.islower() for choice in choices) else []
