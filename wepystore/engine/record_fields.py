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

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, ClassVar, TypeVar, overload

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


class RecordColumns(Sequence[dict[str, Any]]):
    """Records kept as columns: a sequence of dicts that are made when they are asked for.

    Parameters
    ----------
    **columns : ndarray, each with one row per record
    """

    __slots__ = ("columns",)

    def __init__(self, **columns: NDArray[Any]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> RecordColumns: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | RecordColumns:
        rows = {name: column[index] for name, column in self.columns.items()}
        return RecordColumns(**rows) if isinstance(index, slice) else rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in zip(*self.columns.values(), strict=True):
            yield dict(zip(self.columns, row, strict=True))
