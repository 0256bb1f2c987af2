"""Which runs led to the start of another, and how far they count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from wepystore.records.attached import Attached, recorded_runs
from wepystore.records.covering import longest_of
from wepystore.records.run import RunRecord, place_in, read_record
from wepystore.records.tables import NotJoinableError
from wepystore.store.store import Store


class Step(NamedTuple):
    """A run, and how many of its cycles count."""

    run: str
    record: RunRecord
    n_cycles: int


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
    led_to: dict[str, list[str]] = {}
    for run, record in recorded.items():
        if record.start.md5 != record.end.md5:
            led_to.setdefault(record.end.md5, []).append(run)
    step: Step | None = Step(md5, recorded[md5], recorded[md5].n_cycles)
    found: dict[str, Step] = {}
    while step is not None:
        if step.run in found:
            raise NotJoinableError(run=md5, why=f"run {step.run} leads to its own start")
        found[step.run] = step
        step = _before(store, recorded, led_to, step, md5)
    return [
        Step(run, attached.to(run, record), n_cycles)
        for run, record, n_cycles in reversed(found.values())
    ]


def _before(
    store: Store,
    runs: Mapping[str, RunRecord],
    led_to: Mapping[str, Sequence[str]],
    step: Step,
    asked: str,
) -> Step | None:
    """The run that led to the start of another, and how far; None where it begins of its own.

    `led_to` has the runs that end in each snapshot. Raises NotJoinableError for the run `asked`.
    """
    n_cycles, before = None, led_to.get(step.record.start.md5, ())
    if not before:
        place = step.record.execution.continues
        if not place:
            return None
        n_cycles = place.get("n_cycles")
        before = [run for run, record in runs.items() if _passes(record, place)]
        if not before:
            why = f"the run that run {step.run} continues is not here"
            raise NotJoinableError(run=asked, why=why)
    run = _one_of(store, {each: runs[each] for each in before}, asked)
    return Step(run, runs[run], n_cycles or runs[run].n_cycles)


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
    recorded = {(run.start.md5, run.n_cycles) for run in runs.values() if run.recording is not None}
    # Any of those of which the same is recorded since the same start; of which nothing is, as
    # little more happened.
    different = {
        (run.start.md5, run.n_cycles, run.recording): md5
        for md5, run in runs.items()
        if run.recording is not None or (run.start.md5, run.n_cycles) not in recorded
    }
    left = set(longest_of(store, {md5: runs[md5] for md5 in different.values()}).values())
    if len(left) > 1:
        names = ", ".join(sorted(left)[:3]) + (", …" if len(left) > 3 else "")
        why = f"{len(left)} runs that differ have led to the start of one: {names}"
        raise NotJoinableError(run=asked, why=why)
    return left.pop()
