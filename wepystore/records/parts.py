"""The parts of a recording as they are read: what a stranger has written goes together, or is
damage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.records import npy
from wepystore.records.errors import MalformedRecordError
from wepystore.records.recording import (
    CONTINUAL,
    CYCLE_IDX,
    LENGTHS,
    MISSING,
    N_WALKERS,
    WEIGHTS,
    Columns,
    Part,
    forms_of,
)
from wepystore.records.values import Fetch


def read_parts(
    parts: Sequence[Part], names: Sequence[str], fetch: Fetch, where: str
) -> list[Columns]:
    """The columns of several of a recording's parts, by their names, verified: they go together as
    those do that are written here. Raises MalformedRecordError."""
    # Blocks in which the same happened are one object.
    read = {part: read_part(part, names, fetch, where) for part in dict.fromkeys(parts)}
    found = [read[part] for part in parts]
    if any(forms_of(each) != forms_of(found[0]) for each in read.values()):
        problem = "its columns are not of the types and shapes of those before"
        raise MalformedRecordError(where=where, what="table", problem=problem)
    return found


def read_part(part: Part, names: Sequence[str], fetch: Fetch, where: str) -> Columns:
    """The columns of one of them; as read_parts."""
    arrays = npy.load_several(fetch(part.ref), where)
    try:
        if len(arrays) != len(names):
            raise ValueError(f"it has {len(arrays)} arrays for {len(names)} columns")
        found = dict(zip(names, arrays, strict=True))
        _check_columns(found, part.n_cycles)
    except ValueError as problem:
        raise MalformedRecordError(where=where, what="table", problem=problem) from None
    return found


def _check_columns(columns: Columns, n_cycles: int) -> None:
    """Raise ValueError for what does not go together in the columns of so many cycles."""
    if not all(each.ndim for each in columns.values()):
        raise ValueError("a column is a single number")
    counts, weights, missing = columns[N_WALKERS], columns[WEIGHTS], columns[MISSING]
    if len(counts) != n_cycles or weights.ndim != 1 or not _are_lengths(counts, len(weights)):
        raise ValueError("the numbers of walkers and weights do not go together")
    n_rows = np.array([_n_rows(name, columns, n_cycles) for name in columns])
    if missing.shape[1:] != (2,) or missing.dtype.kind != "i":
        raise ValueError("what is missing is not given by column and row")
    places, rows = missing.T
    inside = (places >= 0) & (places < len(n_rows)) & (rows >= 0)
    if not inside.all() or (rows >= n_rows[places]).any():
        raise ValueError("what is missing is in no column")


def _n_rows(name: str, columns: Columns, n_cycles: int) -> int:
    """How many rows a column of a table has; 0 for one of none. Raises ValueError unless it has as
    many as its table."""
    table, _, field = name.partition("/")
    if not field or field.endswith(f"/{LENGTHS}"):
        return 0
    values, lengths = columns[name], columns.get(f"{name}/{LENGTHS}")
    if lengths is not None and not _are_lengths(lengths, len(values)):
        raise ValueError(f"the lengths of {name} and its values do not go together")
    if field == CYCLE_IDX and (values.ndim != 1 or values.dtype.kind != "i"):
        raise ValueError(f"{name} is of no whole numbers")
    found = len(values if lengths is None else lengths)
    wanted = n_cycles if table == CONTINUAL else len(columns.get(f"{table}/{CYCLE_IDX}", ()))
    if found != wanted:
        raise ValueError(f"{name} has {found} rows, and its table {wanted}")
    return found


def _are_lengths(lengths: NDArray[Any], total: int) -> bool:
    """Whether these are whole numbers, none of them below 0, with that sum."""
    if lengths.ndim != 1 or lengths.dtype.kind != "i":
        return False
    # No sum of what is within these bounds is too large for an integer.
    return bool(((lengths >= 0) & (lengths <= total)).all()) and int(lengths.sum()) == total


def cut(columns: Columns, first_cycle: int, start: int, stop: int) -> Columns:
    """The cycles from `start` to before `stop` of a stretch that begins with `first_cycle`."""
    found: dict[str, NDArray[Any]] = {}
    rows = np.empty((len(columns), 2), np.int64)
    for place, (name, array) in enumerate(columns.items()):
        table = name.partition("/")[0]
        cycles = columns.get(f"{table}/{CYCLE_IDX}") if table != CONTINUAL else None
        edges = [start - first_cycle, stop - first_cycle]
        rows[place] = edges if cycles is None else np.searchsorted(cycles, [start, stop])
        lengths = columns[N_WALKERS] if name == WEIGHTS else columns.get(f"{name}/{LENGTHS}")
        begin, end = rows[place]
        if lengths is not None:
            begin, end = np.concatenate([[0], np.cumsum(lengths)])[rows[place]]
        found[name] = array[begin:end]
    places, missing = columns[MISSING].T
    begin, end = rows[places].T
    inside = (begin <= missing) & (missing < end)
    found[MISSING] = np.stack([places, missing - begin], axis=1)[inside]
    return found
