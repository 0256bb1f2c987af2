"""Which runs led to the start of another, and how far they count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from wepystore.records.attached import Attached
from wepystore.records.covering import longest_of
from wepystore.records.run import RunRecord, place_in, read_record, read_records
from wepystore.records.tables import NotJoinableError
from wepystore.store.store import Store


class Step(NamedTuple):
    """A run, and how many of its cycles count."""

    run: str
    record: RunRecord
    n_cycles: int


def recorded_runs(store: Store) -> dict[str, RunRecord]:
    """All runs of a store; to records that have none their recordings are attached, unless several
    are that differ."""
    attached = Attached(store)
    return {md5: attached.one_to(md5, record) for md5, record in read_records(store).items()}


def history_of_run(
    store: Store, md5: str, recorded: Mapping[str, RunRecord] | None = None
) -> list[Step]:
    """The runs that led one after the other to the end of a run, the first one first, itself last;
    to records that have none their recordings are attached.

    Runs that end where they began are passed over. `recorded` is what recorded_runs gives, if that
    is known. Raises NotJoinableError, AttachmentsDifferError, DamagedError.
    """
    attached = Attached(store)
    if recorded is None or md5 not in recorded:
        asked = attached.one_to(md5, read_record(store, md5))
        recorded = {**recorded_runs(store), md5: asked}
    runs = recorded
    led_to: dict[str, list[str]] = {}
    for each, record in runs.items():
        if record.start.md5 != record.end.md5:
            led_to.setdefault(record.end.md5, []).append(each)
    run, record = md5, runs[md5]
    found = {md5: Step(md5, record, record.n_cycles)}
    while True:
        before, place = led_to.get(record.start.md5), record.execution.continues
        if not before and not place:
            steps = reversed(found.values())
            return [Step(s.run, attached.to(s.run, s.record), s.n_cycles) for s in steps]
        n_cycles = None
        if not before and place:
            n_cycles = place.get("n_cycles")
            before = [each for each in runs if _passes(runs[each], place)]
        if not before:
            raise NotJoinableError(run=md5, why=f"the run that run {run} continues is not here")
        run = _one_of(store, {each: runs[each] for each in before}, md5)
        if run in found:
            raise NotJoinableError(run=md5, why=f"run {run} leads to its own start")
        record = runs[run]
        found[run] = Step(run, record, n_cycles or record.n_cycles)


def _passes(record: RunRecord, place: Mapping[str, Any]) -> bool:
    """Whether a run has come by a place in a run, as a record tells of its start, which may be a
    stranger's."""
    n_cycles = place.get("n_cycles")
    if type(n_cycles) is not int or not 0 < n_cycles <= record.n_cycles:
        return False
    here = place_in(record, n_cycles)
    # Of one that is reproducible any execution will do.
    return here == place or (record.reproducible and here == {**place, "begun": here["begun"]})


def _one_of(store: Store, runs: dict[str, RunRecord], asked: str) -> str:
    """Of runs that end in one snapshot the one that tells of all of them."""
    # Any of those of which the same is recorded since the same start.
    different = {(run.start.md5, run.recording, run.n_cycles): md5 for md5, run in runs.items()}
    left = set(longest_of(store, {md5: runs[md5] for md5 in different.values()}).values())
    if len(left) > 1:
        names = ", ".join(sorted(left)[:3]) + (", …" if len(left) > 3 else "")
        why = f"{len(left)} runs that differ have led to the start of one: {names}"
        raise NotJoinableError(run=asked, why=why)
    return left.pop()
