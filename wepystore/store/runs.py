"""What this layer knows of a run record: from where to where, and how long."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from wepystore.store.errors import BadJSONError
from wepystore.store.names import EntryRef

if TYPE_CHECKING:
    from wepystore.store.store import Store


class Run(NamedTuple):
    """One run: hashes of the record, its snapshots and its configuration, and its length."""

    md5: str
    start: str
    end: str
    config: str
    n_cycles: int


#: The format of a record that names a recording.
RECORDED = 2

_ENDS = (("start", "snapshots"), ("end", "snapshots"), ("config", "configs"))


def run_of(record: dict[str, Any], md5: str, what: str) -> Run:
    """The Run in a run record; BadJSONError, naming `what`, when it is none."""
    start, end, config = (named(record, key, kind, what).md5 for key, kind in _ENDS)
    recording_of(record, what)
    n_cycles = record.get("n_cycles")
    # type(), not isinstance: True is an int.
    if type(n_cycles) is not int or n_cycles < 0:
        raise BadJSONError(what=what, why="its n_cycles is not a number of cycles")
    return Run(md5, start, end, config, n_cycles)


def recording_of(record: dict[str, Any], what: str) -> EntryRef | None:
    """What a run record names as its recording; None if its format has none. BadJSONError, naming
    `what`, when that is none."""
    if record.get("format") != RECORDED:
        return None
    return named(record, "recording", "recordings", what)


def named(record: dict[str, Any], key: str, kind: str, what: str) -> EntryRef:
    """The entry of a kind that stands under a key; BadJSONError, naming `what`, if none does."""
    found = EntryRef.from_json(record.get(key), what)
    if found[0] != kind:
        raise BadJSONError(what=what, why=f"its {key} is not one of {kind}")
    return found


def read_run(store: Store, md5: str) -> Run:
    """The run with this hash. Raises MissingError, DamagedError."""
    return run_of(store.manifest("runs", md5), md5, str(store.file("runs", md5)))


def origin_of(snapshot: str, runs: Iterable[Run], is_there: Callable[[str], bool]) -> str:
    """Where the runs began that led to a snapshot, followed back over all that are there; the
    snapshot itself if none did. Of several such starts the first by hash."""
    starts: dict[str, set[str]] = {}
    for run in runs:
        starts.setdefault(run.end, set()).add(run.start)
    seen = {snapshot}
    todo = [snapshot]
    found = []
    while todo:
        md5 = todo.pop()
        before = {each for each in starts.get(md5, ()) if each != md5 and is_there(each)}
        if not before:
            found.append(md5)
        todo += before - seen
        seen |= before
    # Only made-up records go round in a circle.
    return min(found, default=snapshot)
