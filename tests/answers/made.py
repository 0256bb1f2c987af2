"""Tables of cycles that were made up, or that a run was recorded in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.reporters import recorded
from wepystore.engine.record_tables import REPORT_KEYS, RecordField
from wepystore.engine.resamplers.decision import Decision
from wepystore.records.recording import Layout, Part, Recording, buffers_of
from wepystore.records.sinks import Memory
from wepystore.records.tables import RunTables

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
