"""What happened in a run, and in those that it continues."""

from __future__ import annotations

from wepystore.records.covering import longest_of
from wepystore.records.library import (
    AnyStore,
    hash_of_run,
    load_run,
    load_runs,
    opened,
    read_recording,
)
from wepystore.records.run import RunRecord
from wepystore.records.tables import NotJoinableError, NotRecordedError, RunTables
from wepystore.store.store import Store


def load_tables(store: AnyStore, name: str, joined: bool = False) -> RunTables:
    """What is recorded of a run, as arrays.

    Parameters
    ----------
    store : Store, str or path
        The store, or a job folder that one is in.
    name : str
        Hash of the run's record, a prefix of it, or a tag.
    joined : bool
        Whether before its cycles those come of the runs that led to its start, from where the first
        of them began: each cycle once, of a run that was left before its end only those up to
        there, numbered through. `runs` of what is returned says which run they are of.

    Raises
    ------
    WepystoreError : as load_run; NotRecordedError for a run without a recording; NotJoinableError
        where runs that differ have led to one start, or record other columns.
    """
    store = opened(store)
    last = hash_of_run(store, name)
    runs = history_of_run(store, last) if joined else {last: load_run(store, last)}
    found = []
    for md5, record in runs.items():
        recording = read_recording(store, record)
        if recording is None:
            raise NotRecordedError(run=md5)
        found.append((md5, recording))
    return RunTables(found, store.object)


def history_of_run(store: Store, md5: str) -> dict[str, RunRecord]:
    """The runs that led one after the other to the end of a run, the first one first, itself last.

    Runs that end where they began are passed over. Raises NotJoinableError, DamagedError.
    """
    runs = load_runs(store)
    led_to: dict[str, list[str]] = {}
    for each, record in runs.items():
        if record.start.md5 != record.end.md5:
            led_to.setdefault(record.end.md5, []).append(each)
    found = {md5: runs[md5]}
    last = md5
    while before := led_to.get(runs[last].start.md5):
        last = _one_of(store, {each: runs[each] for each in before}, md5)
        if last in found:
            raise NotJoinableError(run=md5, why=f"run {last} leads to its own start")
        found[last] = runs[last]
    return dict(reversed(found.items()))


def _one_of(store: Store, runs: dict[str, RunRecord], asked: str) -> str:
    """Of runs that end in one snapshot the one that tells of all of them."""
    # Any of those of which the same is recorded since the same start.
    different = {(run.start.md5, run.recording, run.n_cycles): md5 for md5, run in runs.items()}
    left = set(longest_of(store, {md5: runs[md5] for md5 in different.values()}).values())
    if len(left) > 1:
        names = ", ".join(sorted(left)[:3]) + (", …" if len(left) > 3 else "")
        end = runs[min(left)].end.md5
        why = f"{len(left)} runs that differ have ended in snapshot {end}: {names}"
        raise NotJoinableError(run=asked, why=why)
    return left.pop()
