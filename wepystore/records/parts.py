"""The parts of a recording as they are read: what a stranger has written goes together, or is
damage."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from wepystore.records import npy
from wepystore.records.errors import MalformedRecordError
from wepystore.records.mapped import arrays_of
from wepystore.records.recording import (
    CONTINUAL,
    CYCLE_IDX,
    LENGTHS,
    MISSING,
    N_WALKERS,
    WEIGHTS,
    Column,
    Columns,
    Part,
    forms_of,
)
from wepystore.records.values import Fetch
from wepystore.store.store import Store

_Column = TypeVar("_Column", NDArray[Any], Column)


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
    return _together(arrays, names, part.n_cycles, where)


def read_columns(
    part: Part, names: Sequence[str], wanted: Container[str], store: Store, where: str
) -> dict[str, Column]:
    """The columns of one of them, not verified: those that are wanted are read. What is read goes
    together, and with the types and shapes of all. Raises DamagedError."""
    numbers = {number for number, name in enumerate(names) if name in wanted}
    arrays = arrays_of(store, part.ref, numbers, where)
    return _together(arrays, names, part.n_cycles, where)


def _together(
    arrays: Sequence[_Column], names: Sequence[str], n_cycles: int, where: str
) -> dict[str, _Column]:
    """The arrays of an object by the names of the columns. Raises MalformedRecordError for what
    does not go together."""
    try:
        if len(arrays) != len(names):
            raise ValueError(f"it has {len(arrays)} arrays for {len(names)} columns")
        found = dict(zip(names, arrays, strict=True))
        _check_columns(found, n_cycles)
    except ValueError as problem:
        raise MalformedRecordError(where=where, what="table", problem=problem) from None
    return found


def needed_for(names: Collection[str], columns: Sequence[str], to_cut: bool) -> set[str]:
    """The columns to be read for those of these names: with them those that tell where the values
    of a record or a cycle are; if they are `to_cut`, also of which cycle each record is."""
    if to_cut and MISSING in names:
        return set(columns)
    found = set(names)
    for name in names:
        found.add(N_WALKERS if name == WEIGHTS else f"{name}/{LENGTHS}")
        if to_cut:
            found.add(f"{name.partition('/')[0]}/{CYCLE_IDX}")
    return found & set(columns)


def _check_columns(columns: Mapping[str, Column], n_cycles: int) -> None:
    """Raise ValueError for what does not go together in the columns of so many cycles. Of those
    that are not read what their headers tell is looked at."""
    if not all(each.shape for each in columns.values()):
        raise ValueError("a column is a single number")
    counts, weights, missing = columns[N_WALKERS], columns[WEIGHTS], columns[MISSING]
    is_flat = len(weights.shape) == 1
    if counts.shape[0] != n_cycles or not is_flat or not _are_lengths(counts, weights.shape[0]):
        raise ValueError("the numbers of walkers and weights do not go together")
    n_rows = np.array([_n_rows(name, columns, n_cycles) for name in columns])
    if missing.shape[1:] != (2,) or missing.dtype.kind != "i":
        raise ValueError("what is missing is not given by column and row")
    if isinstance(missing, npy.Placed):
        return
    places, rows = missing.T
    inside = (places >= 0) & (places < len(n_rows)) & (rows >= 0)
    if not inside.all() or (rows >= n_rows[places]).any():
        raise ValueError("what is missing is in no column")


def _n_rows(name: str, columns: Mapping[str, Column], n_cycles: int) -> int:
    """How many rows a column of a table has; 0 for one of none. Raises ValueError unless it has as
    many as its table."""
    table, _, field = name.partition("/")
    if not field or field.endswith(f"/{LENGTHS}"):
        return 0
    values, lengths = columns[name], columns.get(f"{name}/{LENGTHS}")
    if lengths is not None and not _are_lengths(lengths, values.shape[0]):
        raise ValueError(f"the lengths of {name} and its values do not go together")
    if field == CYCLE_IDX and (len(values.shape) != 1 or values.dtype.kind != "i"):
        raise ValueError(f"{name} is of no whole numbers")
    cycles = columns.get(f"{table}/{CYCLE_IDX}")
    found = (values if lengths is None else lengths).shape[0]
    wanted = n_cycles if table == CONTINUAL else 0 if cycles is None else cycles.shape[0]
    if found != wanted:
        raise ValueError(f"{name} has {found} rows, and its table {wanted}")
    return found


def _are_lengths(lengths: Column, total: int) -> bool:
    """Whether these are whole numbers, none of them below 0, with that sum; of those that are not
    read, whether they may be."""
    if len(lengths.shape) != 1 or lengths.dtype.kind != "i":
        return False
    if isinstance(lengths, npy.Placed):
        return True
    # No sum of what is within these bounds is too large for an integer.
    return bool(((lengths >= 0) & (lengths <= total)).all()) and int(lengths.sum()) == total


def cut(columns: Columns, first_cycle: int, start: int, stop: int) -> Columns:
    """The cycles from `start` to before `stop` of a stretch that begins with `first_cycle`: all
    columns, or what needed_for gives. Raises ValueError for records that are in no order."""
    found: dict[str, NDArray[Any]] = {}
    rows = np.empty((len(columns), 2), np.int64)
    for place, (name, array) in enumerate(columns.items()):
        table = name.partition("/")[0]
        cycles = columns.get(f"{table}/{CYCLE_IDX}") if table != CONTINUAL else None
        edges = [start - first_cycle, stop - first_cycle]
        if cycles is array and (np.diff(cycles) < 0).any():
            raise ValueError(f"the records of {table} are not one cycle after the other")
        rows[place] = edges if cycles is None else np.searchsorted(cycles, [start, stop])
        lengths = columns[N_WALKERS] if name == WEIGHTS else columns.get(f"{name}/{LENGTHS}")
        begin, end = rows[place]
        if lengths is not None:
            begin, end = np.concatenate([[0], np.cumsum(lengths)])[rows[place]]
        found[name] = array[begin:end]
    if MISSING not in columns:
        return found
    places, missing = columns[MISSING].T
    begin, end = rows[places].T
    inside = (begin <= missing) & (missing < end)
    found[MISSING] = np.stack([places, missing - begin], axis=1)[inside]
    return found
