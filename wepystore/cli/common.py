"""What several commands need: finding the store, reading numbers, short forms."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wepystore.cli.console import Console
from wepystore.errors import DamagedError, FailedError, UsageError
from wepystore.store import Store
from wepystore.store.errors import UnknownHashError
from wepystore.store.names import MARK, is_hex, is_tag
from wepystore.store.places import HIDDEN, is_place, root_of
from wepystore.store.resolving import resolve

if TYPE_CHECKING:
    from wepystore.store.runs import Run

#: The exit status where something is damaged, incomplete or left out.
INCOMPLETE = 3

#: No count that a person means is larger.
MOST = 10**12

# As Python writes the moments that are noted in run records.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?\+00:00")


class NoStoreHereError(FailedError):
    """no store was named and none was found: $WEPY_ORCH is not set, and neither {start} nor a
    directory above it is a store or holds a {hidden}; 'wepy create orch' makes one here"""


class MisplacedStoreError(UsageError):
    """{problem}: {word} is a store"""


class NoSuchRunError(FailedError):
    """{path} has no run {start}, {end}: 'wepy ls runs {path}' lists what there is"""


class SeveralRunsError(FailedError):
    """{count} runs lead from {start} to {end}: name one by the hash of its record: {found}"""


def open_store(path: str | None) -> Store:
    """The store a user means: the path; else $WEPY_ORCH; else the nearest one upwards.

    A directory that holds a `.orch`, or a job folder, stands for the store in it. Raises
    NoStoreHereError and as Store.open.
    """
    named = path or os.environ.get("WEPY_ORCH")
    if named:
        return Store.open(root_of(named))
    start = Path.cwd()
    for directory in (start, *start.parents):
        for root in (directory, directory / HIDDEN):
            if os.path.exists(root / MARK):
                return Store.open(root)
    raise NoStoreHereError(start=start, hidden=HIDDEN)


def store_of(args: dict[str, Any], *names: str) -> Store:
    """The store of a command whose other words, as they are typed in turn, are `names` of `args`:
    hashes or the like, and no stores. A store that stands behind its one other word changes places
    with it, in `args` too.

    Raises as open_store, and MisplacedStoreError.
    """
    orch = args["ORCH"]
    words = [args[name] for name in names if args[name] is not None]
    places = list(filter(is_place, words))
    if orch is None:
        return _store_from_here(words, places, names)
    if len(words) == 1 and places and not os.path.isdir(orch):
        args["ORCH"], args[names[0]] = words[0], orch
    elif places and not os.path.exists(orch):
        raise MisplacedStoreError(problem="ORCH comes first", word=places[0])
    return open_store(args["ORCH"])


def runs_of(args: dict[str, Any]) -> tuple[Store, list[str] | None]:
    """The store and the runs of a command of the form `[ORCH] [RUN...]`: hashes of records; None
    where no run is named.

    Raises as open_store and find_runs, and MisplacedStoreError.
    """
    orch, runs = args["ORCH"], list(args["RUN"])
    for word in runs:
        if is_place(word):
            raise MisplacedStoreError(problem="ORCH comes first", word=word)
    if orch is not None and not is_place(orch) and not looks_like_a_path(orch):
        orch, runs = None, [orch, *runs]
    store = open_store(orch)
    return store, [md5 for word in runs for md5 in runs_meant(store, word)] or None


def runs_meant(store: Store, text: str) -> list[str]:
    """The hashes of the records of the runs that a user means: as find_run, but for several runs
    from START to END, which are all meant."""
    start, comma, end = text.partition(",")
    if comma:
        return [run.md5 for run in find_runs(store, start.strip(), end.strip())]
    return [find_run(store, text)]


def _store_from_here(words: list[str], places: list[str], names: tuple[str, ...]) -> Store:
    """The store that no word names; those of `words` that are stores, `places`, are slips."""
    try:
        store = open_store(None)
    except NoStoreHereError:
        for word in words:
            if word not in places and looks_like_a_path(word):
                return open_store(word)
        if not places:
            raise
    else:
        # A tag may well be called as a directory is.
        places = [word for word in places if not (is_tag(word) and store.ref(f"tags/{word}"))]
        if not places:
            return store
    first = places[0] == words[0]
    problem = f"{names[len(words) - 1]} is missing" if first else "ORCH comes first"
    raise MisplacedStoreError(problem=problem, word=places[0])


def looks_like_a_path(word: str) -> bool:
    """Whether a word that is no store was meant to be one, rather than a hash or a tag."""
    return os.sep in word or word.endswith(HIDDEN) or os.path.isdir(word)


def find_runs(store: Store, start: str, end: str) -> list[Run]:
    """The runs between two snapshots that a user named (there may be several, with different
    configurations or seeds); their snapshots need not be there.

    Raises NoSuchRunError and as resolving.resolve.
    """
    from wepystore.store.runs import read_run

    runs = [read_run(store, md5) for md5 in store.hashes("runs")]
    first = _snapshot_of_runs(store, start, {run.start for run in runs})
    last = _snapshot_of_runs(store, end, {run.end for run in runs})
    found = [run for run in runs if (run.start, run.end) == (first, last)]
    if not found:
        raise NoSuchRunError(path=store.path, start=first, end=last)
    return found


def find_run(store: Store, text: str) -> str:
    """The hash of the record of the one run that a user means by it, a prefix of it, a tag, or
    START,END.

    Raises SeveralRunsError and as find_runs.
    """
    start, comma, end = text.partition(",")
    if not comma:
        return resolve(store, text, ("runs",))[1]
    found = find_runs(store, start.strip(), end.strip())
    if len(found) > 1:
        shown = ", ".join(run.md5 for run in found[:3]) + (", …" if len(found) > 3 else "")
        raise SeveralRunsError(count=len(found), start=start, end=end.strip(), found=shown)
    return found[0].md5


def find_entries(store: Store, text: str) -> list[tuple[str, str]]:
    """Kind and hash of what a user means by a hash, a tag, or START,END, which may be several runs.

    Raises as find_runs.
    """
    start, comma, end = text.partition(",")
    if comma:
        return [("runs", run.md5) for run in find_runs(store, start.strip(), end.strip())]
    kinds = ("snapshots", "configs", "recordings", "runs", "frames", "attachments", "objects")
    return [resolve(store, text, kinds)]


def _snapshot_of_runs(store: Store, text: str, named: set[str]) -> str:
    """The snapshot a user means, also where only run records name it."""
    try:
        return resolve(store, text, ("snapshots",))[1]
    except UnknownHashError:
        absent = [md5 for md5 in named if is_hex(text) and md5.startswith(text)]
        if len(absent) != 1:
            raise
        return absent[0]


def positive_number(text: str, word: str, most: float = math.inf) -> float:
    """The number a user typed for `word` (> 0, finite, at most `most`). Raises UsageError."""
    return float(_positive(text, word, float, "a number", most, f"{most:g}"))


def positive_int(text: str, word: str, most: int = MOST) -> int:
    """The whole number a user typed for `word` (1 to `most`). Raises UsageError."""
    return int(_positive(text, word, int, "a whole number", most, f"{most:,}"))


def _positive(text: str, word: str, kind: type, what: str, most: float, shown: str) -> Any:
    try:
        number = kind(text)
    except ValueError:
        raise UsageError(f"{word} is {text!r} and must be {what} above 0") from None
    if not 0 < number < math.inf:
        raise UsageError(f"{word} is {text} and must be {what} above 0")
    if number > most:
        raise UsageError(f"{word} is {text} and must be at most {shown}")
    return number


def size_text(size: int) -> str:
    """A size in bytes as people read it: 512 B, 11.5 MB (powers of 1000)."""
    if size < 1000:
        return f"{size} B"
    number = float(size)
    for unit in ("kB", "MB", "GB", "TB"):
        number /= 1000
        if number < 999.95 or unit == "TB":
            break
    return f"{number:.1f} {unit}"


def time_text(ps: float) -> str:
    """A time of a simulation, given in ps, as people read it: 20 ps, 1.5 ns, 2.43 µs."""
    number, unit = ps, "ps"
    for larger in ("ns", "µs", "ms", "s"):
        if number < 999.5:
            break
        number, unit = number / 1000, larger
    return f"{number:.3g} {unit}"


def date_text(iso: str) -> str:
    """A moment in UTC as people read it; a text that is no moment as it is, cut."""
    if _MOMENT.fullmatch(iso):
        return f"{iso[:10]} {iso[11:16]} UTC"
    return cut(iso, 25)


def cut(text: str, width: int) -> str:
    """A text in one line of at most `width` characters."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def count(number: int, what: str) -> str:
    """ "1 cycle", "2 cycles"."""
    return f"{number} {what}" + "s" * (number != 1)


@contextlib.contextmanager
def no_circles() -> Iterator[None]:
    """While a listing reads thousands of records, which hold no circles, Python does not look for
    any: that takes a fifth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def names_of(store: Store, console: Console) -> dict[str, list[str]]:
    """For each hash, what refers to it: "default", "tag: bound". A damaged ref is warned of."""
    refs = {"default-snapshot": "default", "default-config": "default"}
    refs.update({f"tags/{tag}": f"tag: {tag}" for tag in store.tag_names()})
    names: dict[str, list[str]] = {}
    for ref, shown in refs.items():
        try:
            md5 = store.ref(ref)
        except DamagedError as error:
            console.warn(str(error))
            continue
        if md5 is not None:
            names.setdefault(md5, []).append(shown)
    return names


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Lines of aligned columns; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
