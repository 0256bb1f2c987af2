"""What a component says about the records it makes: names, shapes and types of their fields.

A record is a dict of field name to value. Each group of records (resampling,
resampler, boundary conditions, warping, progress) is described by four class
constants of equal order:

- ``…_FIELDS``: every field that a record may hold;
- ``…_SHAPES``: the shape of the value, e.g. ``(1,)``; ``Ellipsis`` for a rank-1
  array whose length varies or is not known beforehand;
- ``…_DTYPES``: ``int`` or ``float``, stored as 64 bits;
- ``…_RECORD_FIELDS``: the fields short enough for a table.

The mixins below give them as the accessor methods that reporters call, under
the names wepy's components use, so that reporters take either kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, overload

from numpy.typing import NDArray

#: A fixed shape, or Ellipsis where the length of a rank-1 value varies.
Shape = Any
#: (name, shape, dtype) of one field.
FieldSpec = tuple[str, Shape, type]


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

    def resampling_field_names(self) -> tuple[str, ...]:
        """Names of the fields of a resampling record."""
        return self.RESAMPLING_FIELDS

    def resampling_field_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the fields of a resampling record."""
        return self.RESAMPLING_SHAPES

    def resampling_field_dtypes(self) -> tuple[type, ...]:
        """Types of the fields of a resampling record."""
        return self.RESAMPLING_DTYPES

    def resampling_fields(self) -> list[FieldSpec]:
        """(name, shape, dtype) of every field of a resampling record."""
        return _specs(self.RESAMPLING_FIELDS, self.RESAMPLING_SHAPES, self.RESAMPLING_DTYPES)

    def resampling_record_field_names(self) -> tuple[str, ...]:
        """Fields of a resampling record that fit into a table."""
        return self.RESAMPLING_RECORD_FIELDS

    def resampler_field_names(self) -> tuple[str, ...]:
        """Names of the fields of a resampler record."""
        return self.RESAMPLER_FIELDS

    def resampler_field_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the fields of a resampler record."""
        return self.RESAMPLER_SHAPES

    def resampler_field_dtypes(self) -> tuple[type, ...]:
        """Types of the fields of a resampler record."""
        return self.RESAMPLER_DTYPES

    def resampler_fields(self) -> list[FieldSpec]:
        """(name, shape, dtype) of every field of a resampler record."""
        return _specs(self.RESAMPLER_FIELDS, self.RESAMPLER_SHAPES, self.RESAMPLER_DTYPES)

    def resampler_record_field_names(self) -> tuple[str, ...]:
        """Fields of a resampler record that fit into a table."""
        return self.RESAMPLER_RECORD_FIELDS


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

    def bc_field_names(self) -> tuple[str, ...]:
        """Names of the fields of a boundary condition record."""
        return self.BC_FIELDS

    def bc_field_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the fields of a boundary condition record."""
        return self.BC_SHAPES

    def bc_field_dtypes(self) -> tuple[type, ...]:
        """Types of the fields of a boundary condition record."""
        return self.BC_DTYPES

    def bc_fields(self) -> list[FieldSpec]:
        """(name, shape, dtype) of every field of a boundary condition record."""
        return _specs(self.BC_FIELDS, self.BC_SHAPES, self.BC_DTYPES)

    def bc_record_field_names(self) -> tuple[str, ...]:
        """Fields of a boundary condition record that fit into a table."""
        return self.BC_RECORD_FIELDS

    def warping_field_names(self) -> tuple[str, ...]:
        """Names of the fields of a warping record."""
        return self.WARPING_FIELDS

    def warping_field_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the fields of a warping record."""
        return self.WARPING_SHAPES

    def warping_field_dtypes(self) -> tuple[type, ...]:
        """Types of the fields of a warping record."""
        return self.WARPING_DTYPES

    def warping_fields(self) -> list[FieldSpec]:
        """(name, shape, dtype) of every field of a warping record."""
        return _specs(self.WARPING_FIELDS, self.WARPING_SHAPES, self.WARPING_DTYPES)

    def warping_record_field_names(self) -> tuple[str, ...]:
        """Fields of a warping record that fit into a table."""
        return self.WARPING_RECORD_FIELDS

    def progress_field_names(self) -> tuple[str, ...]:
        """Names of the fields of a progress record."""
        return self.PROGRESS_FIELDS

    def progress_field_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the fields of a progress record."""
        return self.PROGRESS_SHAPES

    def progress_field_dtypes(self) -> tuple[type, ...]:
        """Types of the fields of a progress record."""
        return self.PROGRESS_DTYPES

    def progress_fields(self) -> list[FieldSpec]:
        """(name, shape, dtype) of every field of a progress record."""
        return _specs(self.PROGRESS_FIELDS, self.PROGRESS_SHAPES, self.PROGRESS_DTYPES)

    def progress_record_field_names(self) -> tuple[str, ...]:
        """Fields of a progress record that fit into a table."""
        return self.PROGRESS_RECORD_FIELDS


def _specs(
    names: tuple[str, ...], shapes: tuple[Shape, ...], dtypes: tuple[type, ...]
) -> list[FieldSpec]:
    return list(zip(names, shapes, dtypes, strict=True))


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
