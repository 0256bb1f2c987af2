"""Tables of cycles that were made up or recorded, and runs whose states tell where they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.reporters import recorded
from tests.systems import plain_configuration, run_in_turn
from wepystore.api import (
    Apparatus,
    BinResampler,
    Configuration,
    PositionCoordinate,
    Snapshot,
    TargetBC,
    Walker,
    WalkerState,
    prepare_store,
)
from wepystore.api import (
    Recording as RecordingChoice,
)
from wepystore.engine.record_tables import REPORT_KEYS, RecordField
from wepystore.engine.resamplers.decision import Decision
from wepystore.engine.runners.base import EnsembleRunner
from wepystore.records.recording import Layout, Part, Recording, buffers_of
from wepystore.records.sinks import Memory
from wepystore.records.tables import RunTables

#: Of `chain`: cycles of each of its runs.
N_WALKERS, N_ATOMS, LENGTHS = 9, 6, (13, 4, 8)
INT = np.dtype(np.int64)
RESAMPLING = (
    *(RecordField(name, (1,), INT) for name in ("decision_id", "step_idx", "walker_idx")),
    RecordField("target_idxs", None, INT),
)
WARPING = (RecordField("walker_idx", (1,), INT), RecordField("target_idx", (1,), INT))
EMPTY: dict[str, Any] = {"resampling": [], "warping": []}


def tables_of(
    weights: Sequence[Any],
    records: Sequence[Mapping[str, Any]],
    lengths: Sequence[int] | None = None,
    layout: Layout | None = None,
    part_cycles: int = 5,
) -> RunTables:
    """Runs that continue each other, of so many cycles each; their hashes are "0", "1", …

    Parameters
    ----------
    weights, records : for each cycle those of the walkers, and {table: records}
    """
    layout = layout or Layout({"resampling": RESAMPLING, "warping": WARPING})
    memory, runs, first = Memory(), [], 0
    for name, n_cycles in enumerate(lengths or [len(weights)]):
        parts = []
        for start in range(0, n_cycles, part_cycles):
            stop = min(start + part_cycles, n_cycles)
            inside = slice(first + start, first + stop)
            columns = layout.columns(start, weights[inside], records[inside])
            parts.append(Part(stop - start, memory.put("objects", buffers_of(columns))))
        numbers = Decision.enum_dict_by_name()
        recording = Recording(10, part_cycles, tuple(layout.names()), tuple(parts), numbers)
        runs.append((str(name), recording, n_cycles))
        first += n_cycles
    return RunTables(runs, lambda ref: memory.entries["objects", ref.md5])


def tables_of_run(shown: recorded.Recording, lengths: Sequence[int] | None = None) -> RunTables:
    """What was reported of a run, recorded; cut into runs of so many cycles."""
    layout = Layout.of(shown.resampler, shown.boundary_conditions)
    reports = shown.reports
    records = [{table: each[key] for table, key in REPORT_KEYS.items()} for each in reports]
    weights = [np.array([w.weight for w in each["new_walkers"]]) for each in reports]
    return tables_of(weights, records, lengths, layout)


class Remembering(EnsembleRunner):
    """Moves the first atom, and gives each other atom the place of the one before it: so that a
    state holds where it has been."""

    def move(
        self, positions: Any, n_steps: int, rng: np.random.Generator, cycle_idx: int | None
    ) -> None:
        positions[:, 1:] = positions[:, :-1].copy()
        positions[:, 0, 0] += 0.2 * rng.standard_normal(len(positions))


def chain(folder: Path, every: int = 1) -> tuple[Path, list[str]]:
    """Runs that continue each other, in one store, and their records."""
    left = WalkerState(positions=np.zeros((N_ATOMS, 3)))
    apparatus = Apparatus(
        Remembering(),
        TargetBC(PositionCoordinate(), [left], threshold=0.9),
        BinResampler(PositionCoordinate(), [0.2, 0.5], 3),
    )
    snapshot = Snapshot([Walker(left, 1 / N_WALKERS) for _ in range(N_WALKERS)], apparatus)
    usual = plain_configuration()
    configuration = Configuration(
        usual.work_mapper, recording=RecordingChoice(["positions"], every=every)
    )
    made = prepare_store(folder / "start.orch", snapshot, configuration)
    store, runs = run_in_turn(made, folder, LENGTHS)
    return store.path, runs
