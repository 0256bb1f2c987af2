"""Run a recorded run again and say whether it ends in the same bits.

Usage:
  wepy verify [options] RUN
  wepy verify [options] ORCH RUN
  wepy verify [options] ORCH START END

RUN is START,END as 'wepy ls runs' prints it, the end alone if only one start leads there, or the
hash of a run's record. It is repeated in memory from its start, with the seed, the number of steps
and the platform that the record names, without reporters and checkpoints; nothing is written.

Ends with 0 only if the end has the same hash, and with 1 if not: whether it should have, what of
the environment differs, and what the two ends have in common is on stderr. See
docs/reproducibility.md.

Options:
  --n-workers N        Worker processes, instead of the configuration's number.
  --scheduler ADDRESS  Run the segments on the workers of this dask scheduler.
  --platform NAME      OpenMM platform, instead of the record's: the last bits may then differ.
  --json               Print the verdict as JSON, with all numbers.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import find_entries, store_of
from wepystore.cli.running import components_on_stderr, options_of
from wepystore.errors import FailedError
from wepystore.orchestrator.run.request import Means
from wepystore.store import whereabouts
from wepystore.store.names import is_hex
from wepystore.store.places import is_place
from wepystore.store.resolving import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wepystore.cli.console import Console
    from wepystore.orchestrator.verify.comparison import Comparison
    from wepystore.orchestrator.verify.verify import Verdict
    from wepystore.store import Store

NOT_REPRODUCED = 1

#: Of what OpenMM's states hold.
UNITS = {
    "positions": "nm",
    "velocities": "nm/ps",
    "box_vectors": "nm",
    "time": "ps",
    "forces": "kJ/mol/nm",
    "kinetic_energy": "kJ/mol",
    "potential_energy": "kJ/mol",
    "box_volume": "nm^3",
}


class NoRunEndsThereError(FailedError):
    """no run in {path} ends in snapshot {end}: 'wepy ls runs {path}' lists what there is"""


class SeveralStartsError(FailedError):
    """runs from {count} starts end in {end}: name one of them, as in 'wepy verify {path}
    {start},{end}'"""


def main(args: dict[str, Any], console: Console) -> int:
    """Repeat every run that was named; 0 only if all of them are reproduced."""
    means = Means(**options_of(args, Means))
    store, text = _named(args)
    runs = _find(store, text)

    from wepystore.cli.run_display import RunDisplay
    from wepystore.orchestrator.verify.verify import distinct, verify
    from wepystore.records.trust import users_own

    verdicts = []
    for run in distinct(store, runs):
        with components_on_stderr(), RunDisplay(console) as display:
            verdict = verify(store, run, means, display, trust=users_own())
        verdicts.append(verdict)
        if not args["--json"]:
            _tell(verdict, store, console)
    if args["--json"]:
        shown = [_as_json(verdict) for verdict in verdicts]
        console.json(shown[0] if len(shown) == 1 else shown)
    return 0 if all(verdict.is_same for verdict in verdicts) else NOT_REPRODUCED


def _named(args: dict[str, Any]) -> tuple[Store, str]:
    """The store and the run, however they were typed."""
    orch, run = args["ORCH"], args["RUN"]
    if run is None:
        store = store_of(args, "START", "END")
        return store, f"{args['START'].rstrip(', ')},{args['END']}"
    pair = orch is not None and not os.path.isdir(orch) and is_hex(orch.rstrip(","))
    if pair and not is_place(run):
        # START END, or START, END as `wepy ls runs` prints them, in a store found from here.
        args["ORCH"], args["RUN"] = None, f"{orch.rstrip(',')},{run}"
    return store_of(args, "RUN"), args["RUN"]


def _find(store: Store, text: str) -> list[str]:
    if "," in text:
        return [md5 for _, md5 in find_entries(store, text)]
    kind, md5 = resolve(store, text, ("runs", "snapshots"))
    if kind == "runs":
        return [md5]
    from wepystore.store.runs import read_run

    found = [
        run for run in (read_run(store, each) for each in store.hashes("runs")) if run.end == md5
    ]
    if not found:
        raise NoRunEndsThereError(path=store.path, end=md5)
    starts = sorted({run.start for run in found})
    if len(starts) > 1:
        raise SeveralStartsError(count=len(starts), path=store.path, start=starts[0], end=md5)
    return [run.md5 for run in found]


def _tell(verdict: Verdict, store: Store, console: Console) -> None:
    record = verdict.record
    pair = f"{record.start.md5}, {record.end.md5}"
    if verdict.reproduced:
        console.out(f"{pair} reproduced")
    else:
        console.out(f"{pair} not reproduced")
        console.note(f"It ends in {verdict.end} now.")
    _tell_of_recording(verdict, store, console)
    _tell_of_resumes(verdict, console)
    _tell_what_was_promised(verdict, console)
    if verdict.differences:
        but = ", and made no difference here" if verdict.reproduced else ""
        console.note(f"The environment differs{but}; what is likeliest to matter comes first:")
        for name, then, now in verdict.differences:
            console.note(f"  {name}: {_value(then)} -> {_value(now)}")
    if not verdict.reproduced:
        if verdict.same_until is not None:
            console.note(f"It is the same until cycle {verdict.same_until} (a checkpoint).")
        if verdict.other_after is not None:
            console.note(f"It is another one after cycle {verdict.other_after} (a checkpoint).")
        if verdict.comparison is None:
            console.note("The recorded end is not here, or not whole: nothing to compare with.")
        else:
            for line in _compared(verdict.comparison):
                console.note(line)


def _tell_of_recording(verdict: Verdict, store: Store, console: Console) -> None:
    parting = verdict.parting
    if parting is not None:
        of = "" if parting.walker_idx is None else f", walker {parting.walker_idx}"
        console.note(
            f"What is recorded of it is not the same from cycle {parting.cycle_idx} on "
            f"({parting.column}{of})."
        )
    if verdict.other_facts:
        told = ", ".join(verdict.other_facts)
        console.note(f"What is recorded of it as a whole is not the same: {told}.")
    if not verdict.is_recorded and verdict.record.recording is not None:
        console.note("What is recorded of it is not here whole: it was not compared.")
    if verdict.frames_elsewhere is not None:
        way = whereabouts.way(store, [verdict.frames_elsewhere])
        console.note(f"Its frames are elsewhere, and were not compared: {way}.")


def _tell_of_resumes(verdict: Verdict, console: Console) -> None:
    resumed = verdict.record.execution.resumed_from
    if not resumed:
        return
    after = [str(each.get("n_cycles", "?")) for each in resumed]
    changed = ", ".join(verdict.changes)
    where = f", in an environment that had changed in {changed}," if changed else ""
    console.note(
        f"The recorded run was interrupted, and resumed{where} after cycle "
        f"{', '.join(after)}; this repetition was not."
    )


def _tell_what_was_promised(verdict: Verdict, console: Console) -> None:
    if verdict.reason is not None:
        console.note(f"The record says that it is not reproducible: {verdict.reason}.")
    elif not verdict.promised:
        console.note("It was repeated on another platform, as asked: equal bits would be luck.")
    elif not verdict.reproduced and not verdict.differences:
        console.note(
            "The record says that it is reproducible, and its environment is the one here: this "
            "should not happen. Either somebody has changed the record, or a component draws "
            "from elsewhere than its generator, or a machine miscounts, or wepystore has a bug."
        )
    elif not verdict.reproduced:
        console.note("The record says that it is reproducible in the environment it names.")


def _compared(comparison: Comparison) -> Iterator[str]:
    then, now = comparison.n_walkers
    yield f"Parts that differ: {', '.join(comparison.parts) or 'none'}"
    if comparison.n_same is None:
        yield f"Walkers: {then} -> {now}"
        return
    same = "all" if comparison.n_same == then else str(comparison.n_same)
    yield f"Walkers: {then}, {same} of them the same to the bit, each compared with its place"
    yield f"Weights: {_apart(comparison.weights or 0.0, '')}"
    for name, apart in comparison.fields.items():
        yield f"{name.capitalize()}: {_apart(apart, UNITS.get(name, ''))}"


def _apart(number: float, unit: str) -> str:
    return f"largest deviation {number:.3g} {unit}".rstrip() if number else "the same"


def _value(value: Any) -> str:
    return "nothing" if value is None else str(value)


def _as_json(verdict: Verdict) -> dict[str, Any]:
    record = verdict.record
    return {
        "run": verdict.run,
        "start": record.start.md5,
        "end": record.end.md5,
        "end_now": verdict.end,
        "reproduced": verdict.reproduced,
        "promised": verdict.promised,
        "reason": verdict.reason,
        "seed": record.seed,
        "n_steps": record.n_steps,
        "n_cycles": record.n_cycles,
        "resumed_from": record.execution.resumed_from or [],
        "changes": verdict.changes,
        "environment": verdict.environment,
        "differences": [each._asdict() for each in verdict.differences],
        "comparison": None if verdict.comparison is None else asdict(verdict.comparison),
        "same_until": verdict.same_until,
        "other_after": verdict.other_after,
        "recorded": verdict.is_recorded,
        "frames_elsewhere": verdict.frames_elsewhere,
        "parting": None if verdict.parting is None else asdict(verdict.parting),
        "other_facts": verdict.other_facts,
    }
