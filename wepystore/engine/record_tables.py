"""Record tables: what components say about their data, whatever style they say it in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.adapt import plug_of
from wepystore.engine.record_fields import RecordColumns
from wepystore.errors import FailedError


class RecordError(FailedError):
    """a {table} record lacks the field {field!r} that the component declares: it holds {held}"""


@dataclass(frozen=True)
class RecordField:
    """One column of a record table.

    Attributes
    ----------
    name : str
    shape : tuple of int, or None
        Shape of one record's value; None for rank 1 of any length.
    dtype : numpy dtype
    """

    name: str
    shape: tuple[int, ...] | None
    dtype: np.dtype[Any]


TABLES = ("resampling", "resampler", "warping", "progress", "boundary_conditions")

#: What a report calls the records of each table.
REPORT_KEYS = {
    "resampling": "resampling_data",
    "resampler": "resampler_data",
    "warping": "warp_data",
    "progress": "progress_data",
    "boundary_conditions": "bc_data",
}

_INT = np.dtype(np.int64)
_FLOAT = np.dtype(np.float64)

#: What readers need to find even where no component declares it.
_DEFAULTS = {
    "resampling": (
        RecordField("decision_id", (1,), _INT),
        RecordField("target_idxs", None, _INT),
        RecordField("step_idx", (1,), _INT),
        RecordField("walker_idx", (1,), _INT),
    ),
    "warping": (
        RecordField("walker_idx", (1,), _INT),
        RecordField("target_idx", (1,), _INT),
        RecordField("weight", (1,), _FLOAT),
    ),
}


def table_fields(component: Any, table: str) -> tuple[RecordField, ...]:
    """The columns of `table` as `component` declares them, by method or by constant.

    A component that declares nothing (or None) gets the columns that readers
    of resampling and warping records cannot do without.
    """
    method, *constants = _declared(component, table, "fields", "FIELDS", "SHAPES", "DTYPES")
    specs: Iterable[Any]
    specs = zip(*constants, strict=True) if method is None else method()
    plug = plug_of(component)
    flat = frozenset() if plug is None else plug.FLAT_FIELDS
    fields = tuple(
        RecordField(
            str(name),
            None if shape is Ellipsis or name in flat else tuple(int(each) for each in shape),
            np.dtype(dtype),
        )
        for name, shape, dtype in specs
    )
    return fields or _DEFAULTS.get(table, ())


def table_record_names(component: Any, table: str) -> list[str]:
    """The columns that belong into a summary table, in the order readers unpack them."""
    method, constant = _declared(component, table, "record_field_names", "RECORD_FIELDS")
    names = list(constant if method is None else method())
    if not names and table in _DEFAULTS:
        names = [field.name for field in _DEFAULTS[table]]
    return [str(name) for name in names]


def _declared(component: Any, table: str, *names: str) -> list[Any]:
    """What a component has of a table under these names: methods, in lower case, or None, and
    constants, in upper case, or ()."""
    # As they are called in wepy's protocol.
    prefix = "bc" if table == "boundary_conditions" else table
    asked = [f"{prefix.upper() if name.isupper() else prefix}_{name}" for name in names]
    return [getattr(component, name, () if name.isupper() else None) for name in asked]


def column(
    records: Sequence[Mapping[str, Any]], field: RecordField, table: str
) -> NDArray[np.generic] | list[NDArray[np.generic]]:
    """The values of one column.

    Returns an array of shape (n_records, *field.shape), or for a column of
    any length a list of rank 1 arrays.
    """
    if isinstance(records, RecordColumns) and records.columns and field.shape is not None:
        held = records.columns.get(field.name)
        if isinstance(held, np.ndarray):
            return held.astype(field.dtype).reshape(len(held), *field.shape)
    try:
        values = [record[field.name] for record in records]
    except KeyError:
        bare = next(record for record in records if field.name not in record)
        raise RecordError(table=table, field=field.name, held=sorted(bare)) from None
    if field.shape is None:
        return [np.asarray(value, dtype=field.dtype).ravel() for value in values]
    shape = (len(values), *field.shape)
    try:
        return np.array(values, dtype=field.dtype).reshape(shape)
    except ValueError:
        # Some records hold a scalar where others hold an array of one.
        rows = [np.asarray(value, dtype=field.dtype).reshape(field.shape) for value in values]
        return np.stack(rows)


def parents(
    resampling_data: Sequence[Mapping[str, Any]], n_walkers: int, squash: int = 3
) -> list[int]:
    """The walker before resampling that each slot's state comes from.

    A record says in which slots its walker goes on (``target_idxs``); only a
    squashed walker goes on in none. Several steps in one cycle are composed.

    Parameters
    ----------
    resampling_data : records of one cycle, with decision_id, target_idxs and
        (if there is more than one step) step_idx and walker_idx
    n_walkers : number of walkers before resampling
    squash : number of the decision whose walkers have no children

    Returns
    -------
    list of int, one for each walker after resampling; -1 where no record says.
    """
    lineage = list(range(n_walkers))
    if not resampling_data:
        return lineage
    steps: dict[int, list[tuple[int, Mapping[str, Any]]]] = {}
    for place, record in enumerate(resampling_data):
        step = _one(record.get("step_idx", 0))
        steps.setdefault(step, []).append((_one(record.get("walker_idx", place)), record))
    for step in sorted(steps):
        slots: dict[int, int] = {}
        for walker, record in steps[step]:
            if _one(record["decision_id"]) == squash:
                continue
            origin = lineage[walker]
            targets = record["target_idxs"]
            # Raveled: some of wepy's records nest it.
            for slot in targets.ravel().tolist() if isinstance(targets, np.ndarray) else targets:
                slots[slot] = origin
        lineage = [slots.get(slot, -1) for slot in range(max(slots, default=-1) + 1)]
    return lineage


def weights_warped(records: Any) -> tuple[float, ...]:
    """The weights that were warped in one cycle, by its warping records, which may be anybody's;
    without those that do not tell theirs."""
    columns = (isinstance(records, RecordColumns) and records.columns) or {}
    if isinstance(told := columns.get("weight"), np.ndarray):
        weights = told.reshape(len(told), -1)[:, 0].tolist() if told.size else []
    else:
        weights = [_first(record) for record in records]
    return tuple(weight for weight in weights if math.isfinite(weight))


def _first(record: Any) -> float:
    try:
        return float(np.ravel(record["weight"])[0])
    except (LookupError, TypeError, ValueError):
        return math.nan


def _one(value: Any) -> int:
    """The one number of a value that may be a scalar or an array of one."""
    if type(value) is int:
        return value
    return int(value.item()) if isinstance(value, (np.ndarray, np.generic)) else int(value)
