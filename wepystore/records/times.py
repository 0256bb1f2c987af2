"""Times: how long the cycles of one execution of a run took, and which worker ran which segment.

They differ from execution to execution, so they are no part of a recording: what the run record
tells under `execution` names their objects. As of tables, each is one .npy file after the other, an
array for each column: those of COLUMNS have one row a cycle, but for BY_SEGMENT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.errors import FailedError
from wepystore.records import npy
from wepystore.records.errors import MalformedRecordError
from wepystore.records.frames import check_blocks, check_left_over
from wepystore.records.recording import Columns, Part, part_of
from wepystore.records.run import RunRecord
from wepystore.records.values import Fetch, only, reading

#: What the time of a cycle goes to.
SPENT = ("runner_s", "bc_s", "resampling_s", "reporting_s", "checkpoint_s")

_NUMBERS = ("cycle_idx", "n_segments", "walker_idx", "worker")

#: Those with one row a segment; `n_segments` tells how many each cycle has.
BY_SEGMENT = ("segment_s", "walker_idx", "worker")

#: The columns in the order of their arrays, and their types.
COLUMNS = {
    name: np.dtype("<i8" if name in _NUMBERS else "<f8")
    for name in sorted((*SPENT, "ended", "segment_s", *_NUMBERS))
}


class NoTimesError(FailedError):
    """how long the cycles of run {run} took is not kept: it was made by an older version, or by
    wepy 1.x; its record may tell how long all of them took"""


@dataclass(frozen=True)
class Times:
    """Those of one run.

    Attributes
    ----------
    block_cycles : int
        Cycles of a full block.
    parts : tuple of Part
        In the order of the cycles: full blocks, then what is left over.
    seconds : {one of SPENT: s}
        Of all cycles together.
    """

    block_cycles: int
    parts: tuple[Part, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(SPENT, 0.0))

    @property
    def n_full(self) -> int:
        """How many of the parts are full blocks."""
        return sum(part.n_cycles == self.block_cycles for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """What the run record tells of them."""
        return {
            "block_cycles": self.block_cycles,
            "columns": list(COLUMNS),
            "n_cycles": sum(part.n_cycles for part in self.parts),
            "parts": [part.to_json() for part in self.parts],
            "seconds": {name: round(spent, 6) for name, spent in self.seconds.items()},
        }


def times_of(record: RunRecord, where: str) -> Times | None:
    """What a run record, read from `where`, names; None if it names none. Raises DamagedError."""
    told = record.execution.times
    if told is None:
        return None
    with reading("times", where):
        only(told, "block_cycles", "columns", "n_cycles", "parts", "seconds")
        if told["columns"] != list(COLUMNS):
            raise ValueError("they have other columns than are known")
        size, seconds = told["block_cycles"], told["seconds"]
        if type(size) is not int or size < 1:
            raise ValueError("a block has no cycles")
        if seconds.keys() != set(SPENT) or not all(
            type(each) in (int, float) for each in seconds.values()
        ):
            raise ValueError("their sums are no seconds")
        found = Times(size, tuple(part_of(each, where) for each in told["parts"]), seconds)
        check_blocks([part.n_cycles for part in found.parts], size)
        check_left_over([part.ref for part in found.parts[found.n_full :]])
        if sum(part.n_cycles for part in found.parts) != told["n_cycles"]:
            raise ValueError("their parts have not as many cycles as they say")
    return found


def read_stretches(parts: Sequence[Part], fetch: Fetch, where: str) -> list[Columns]:
    """The columns of several parts, verified. Raises DamagedError."""
    read = {part: _read(part, fetch, where) for part in dict.fromkeys(parts)}
    return [read[part] for part in parts]


def joined(stretches: Sequence[Columns]) -> dict[str, NDArray[Any]]:
    """The columns of stretches that follow each other."""
    return {
        name: np.concatenate([np.empty(0, dtype), *(each[name] for each in stretches)])
        for name, dtype in COLUMNS.items()
    }


def _read(part: Part, fetch: Fetch, where: str) -> Columns:
    arrays = npy.load_several(fetch(part.ref), where)
    found = dict(zip(COLUMNS, arrays, strict=False))
    if len(arrays) != len(COLUMNS) or any(
        found[name].dtype != dtype or found[name].ndim != 1 for name, dtype in COLUMNS.items()
    ):
        raise _malformed(where, "its arrays are not of the types and shapes of the columns")
    counts, n_segments = found["n_segments"], len(found["segment_s"])
    # No sum of what is within these bounds is too large for an integer.
    if not ((counts >= 0) & (counts <= n_segments)).all() or counts.sum() != n_segments:
        raise _malformed(where, "its segments are not as many as its cycles have")
    for name, column in found.items():
        wanted = n_segments if name in BY_SEGMENT else part.n_cycles
        if len(column) != wanted:
            raise _malformed(where, f"{name} has {len(column)} rows for {wanted}")
    return found


def _malformed(where: str, problem: str) -> MalformedRecordError:
    return MalformedRecordError(where=where, what="table of times", problem=problem)
