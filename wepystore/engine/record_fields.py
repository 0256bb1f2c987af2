"""What a component says about the records it makes: names, shapes and types of their fields.

A record is a dict of field name to value. Each group of records (resampling,
resampler, boundary conditions, warping, progress) is described by four class
constants of equal order:

- ``…_FIELDS``: every field that a record may hold;
- ``…_SHAPES``: the shape of the value, e.g. ``(1,)``; ``Ellipsis`` for a rank-1
  array whose length varies or is not known beforehand;
- ``…_DTYPES``: ``int`` or ``float``, stored as 64 bits;
- ``…_RECORD_FIELDS``: the fields short enough for a table.

The mixins below give them as the methods that reporters call, under the names that
wepy's components have, so that reporters take either kind. For a group `g` they are
g_field_names(), g_field_shapes(), g_field_dtypes(), g_record_field_names(), and
g_fields(): (name, shape, dtype) of every field.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

#: A fixed shape, or Ellipsis where the length of a rank-1 value varies.
Shape = Any
_C = TypeVar("_C", bound=type)
_METHODS = {
    "field_names": ["FIELDS"],
    "field_shapes": ["SHAPES"],
    "field_dtypes": ["DTYPES"],
    "fields": ["FIELDS", "SHAPES", "DTYPES"],
    "record_field_names": ["RECORD_FIELDS"],
}


def _with_accessors(*groups: str) -> Callable[[_C], _C]:
    """Add the methods of these groups to a class."""

    def add(cls: _C) -> _C:
        for group in groups:
            for method, columns in _METHODS.items():
                constants = [f"{group.upper()}_{column}" for column in columns]
                setattr(cls, f"{group}_{method}", _reading(constants))
        return cls

    return add


def _reading(constants: Sequence[str]) -> Callable[[Any], Any]:
    """A method that gives one constant, or the rows of several."""
    get = attrgetter(*constants)

    def method(self: Any) -> Any:
        return get(self) if len(constants) == 1 else list(zip(*get(self), strict=True))

    return method


@_with_accessors("resampling", "resampler")
class ResamplerRecords:
    """Field accessors of a resampler."""

    RESAMPLING_FIELDS: ClassVar[tuple[str, ...]] = ()
    RESAMPLING_SHAPES: ClassVar[tuple[Shape, ...]] = ()
    RESAMPLING_DTYPES: ClassVar[tuple[type, ...]] = ()
    RESAMPLING_RECORD_FIELDS: ClassVar[tuple[str, ...]] = ()

    RESAMPLER_FIELDS: ClassVar[tuple[str, ...]] = ()
    RESAMPLER_SHAPES: ClassVar[tuple[Shape, ...]] = ()
    RESAMPLER_DTYPES: ClassVar[tuple[type, ...]] = ()
    RESAMPLER_RECORD_FIELDS: ClassVar[tuple[str, ...]] = ()


@_with_accessors("bc", "warping", "progress")
class BoundaryRecords:
    """Field accessors of boundary conditions."""

    BC_FIELDS: ClassVar[tuple[str, ...]] = ()
    BC_SHAPES: ClassVar[tuple[Shape, ...]] = ()
    BC_DTYPES: ClassVar[tuple[type, ...]] = ()
    BC_RECORD_FIELDS: ClassVar[tuple[str, ...]] = ()

    # Readers of the HDF5 file take warping records by position: this order is part of the format.
    WARPING_FIELDS: ClassVar[tuple[str, ...]] = ("walker_idx", "target_idx", "weight")
    WARPING_SHAPES: ClassVar[tuple[Shape, ...]] = ((1,), (1,), (1,))
    WARPING_DTYPES: ClassVar[tuple[type, ...]] = (int, int, float)
    WARPING_RECORD_FIELDS: ClassVar[tuple[str, ...]] = ("walker_idx", "target_idx", "weight")

    PROGRESS_FIELDS: ClassVar[tuple[str, ...]] = ()
    PROGRESS_SHAPES: ClassVar[tuple[Shape, ...]] = ()
    PROGRESS_DTYPES: ClassVar[tuple[type, ...]] = ()
    PROGRESS_RECORD_FIELDS: ClassVar[tuple[str, ...]] = ()


class Ragged(NamedTuple):
    """A column of values of any length: all one after the other, and how many each record has."""

    values: NDArray[Any]
    lengths: NDArray[np.int64]


#: One row per record.
Column = NDArray[Any] | Ragged


def ragged(column: Column) -> Ragged:
    """Any column as one of any length."""
    if isinstance(column, Ragged):
        return column
    length = column.size // max(1, len(column))
    return Ragged(column.ravel(), np.full(len(column), length, np.int64))


class RecordColumns(Sequence[dict[str, Any]]):
    """Records kept as columns: a sequence of dicts, which are made when one is asked for.

    From then on the dicts are the records, and whoever has them may add to them.

    Parameters
    ----------
    **columns : ndarray with one row per record, or Ragged

    Attributes
    ----------
    columns : dict, or None once there are dicts
    """

    __slots__ = ("_rows", "columns")

    def __init__(self, **columns: Column) -> None:
        self.columns: dict[str, Column] | None = columns
        self._rows: list[dict[str, Any]] = []

    def __len__(self) -> int:
        if self.columns is None:
            return len(self._rows)
        first = next(iter(self.columns.values()), ())
        return len(first.lengths if isinstance(first, Ragged) else first)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self._dicts()[index]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._dicts())

    def __repr__(self) -> str:
        return repr(self._dicts())

    def _dicts(self) -> list[dict[str, Any]]:
        if self.columns is not None:
            names = list(self.columns)
            rows = zip(*map(_rows_of, self.columns.values()), strict=True)
            self._rows = [dict(zip(names, row)) for row in rows]  # noqa: B905
            self.columns = None
        return self._rows


def _rows_of(column: Column) -> Iterable[NDArray[Any]]:
    if not isinstance(column, Ragged):
        return column
    ends = np.cumsum(column.lengths).tolist()
    return [column.values[begin:end] for begin, end in pairwise([0, *ends])]


def together(
    parts: Sequence[Sequence[Mapping[str, Any]]], names: Collection[str]
) -> Sequence[Mapping[str, Any]]:
    """The records of all parts; as a copy of their columns, if all have columns of these names."""
    parts = [part for part in parts if len(part)]
    held = [part.columns for part in parts if isinstance(part, RecordColumns) and part.columns]
    if not parts or len(held) < len(parts) or not all(each.keys() >= {*names} for each in held):
        return list(chain.from_iterable(parts))
    return RecordColumns(**{name: _joined([each[name] for each in held]) for name in names})


def _joined(columns: Sequence[Column]) -> Column:
    plain = [each for each in columns if not isinstance(each, Ragged)]
    if len(plain) == len(columns) and len({each.shape[1:] for each in plain}) == 1:
        return np.concatenate(plain)
    values, lengths = zip(*map(ragged, columns), strict=True)
    return Ragged(np.concatenate(values), np.concatenate(lengths))
