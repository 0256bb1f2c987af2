"""The frames of a cycle, out of its walkers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.ensemble import Ensemble
from wepystore.engine.kept_frames import OF_ATOMS, PRECISIONS, USUAL, Recording
from wepystore.engine.walker import BOX_FIELDS, UNITS
from wepystore.records.errors import CannotRecordError
from wepystore.records.frame_rows import CycleFrames
from wepystore.records.frames import FrameField

_WHERE = "the frames of this run"


def fields_of(
    walkers: Sequence[Any], recording: Recording, has_box: bool = True, at_start: bool = False
) -> tuple[FrameField, ...]:
    """The fields of which frames are kept, sorted by name; () for none.

    Parameters
    ----------
    walkers : of the first cycle, after their segments
    recording : Recording
    has_box : bool
        Whether the box of the states is one.
    at_start : bool
        That they are those of the start: what these lack the first segments may bring.

    Raises CannotRecordError: the states lack a field, or have fewer atoms, than is asked for.
    """
    found = []
    for name in sorted(recording.fields):
        if name in BOX_FIELDS and not has_box:
            continue
        shape = _shape(walkers, name)
        if shape is None:
            if name in USUAL or at_start:
                continue
            held = ", ".join(sorted(set().union(*(walker.state for walker in walkers))))
            raise CannotRecordError(where=_WHERE, problem=f"states have no {name!r}, but {held}")
        if recording.atoms is not None and name in OF_ATOMS:
            n_atoms = shape[0] if shape else 0
            if recording.atoms.max() >= n_atoms:
                problem = f"atom {recording.atoms.max()} is asked for, and {name} are of {n_atoms}"
                raise CannotRecordError(where=_WHERE, problem=problem)
            shape = (len(recording.atoms), *shape[1:])
        found.append(FrameField(name, shape, PRECISIONS[recording.precision], UNITS.get(name)))
    return tuple(found)


def _shape(walkers: Sequence[Any], name: str) -> tuple[int, ...] | None:
    if isinstance(walkers, Ensemble):
        return walkers.fields[name].shape[1:] if name in walkers.fields else None
    return next((w.state[name].shape for w in walkers if name in w.state), None)


def frames_of(
    walkers: Sequence[Any], fields: Sequence[FrameField], atoms: NDArray[np.int64] | None
) -> CycleFrames:
    """The frames of a cycle's walkers. Raises CannotRecordError for a value of another shape."""
    arrays: dict[str, NDArray[Any]] = {}
    missing: list[tuple[int, int]] = []
    for number, field in enumerate(fields):
        found = np.empty((len(walkers), *field.shape), field.dtype)
        chosen = atoms if field.name in OF_ATOMS else None
        try:
            # What is too large for single precision is infinite in it.
            with np.errstate(over="ignore"):
                lacking = _fill(found, walkers, field.name, chosen)
        except (ValueError, IndexError) as problem:
            where = f"{_WHERE}, field {field.name!r}"
            raise CannotRecordError(where=where, problem=problem) from problem
        missing += [(number, walker) for walker in lacking]
        # Of numbers a sum of squares is one: so there is no need to look for what is none.
        with np.errstate(over="ignore"):
            has_unknown = np.isnan(np.vdot(found, found))
        if has_unknown:
            # One NaN, whatever the bits of those that came.
            found[np.isnan(found)] = np.nan
        arrays[field.name] = found
    return arrays, missing


def _fill(
    found: NDArray[Any], walkers: Sequence[Any], name: str, atoms: NDArray[np.int64] | None
) -> list[int]:
    """Fill in a field; the walkers that lack it."""
    if isinstance(walkers, Ensemble) and name in walkers.fields:
        held = walkers.fields[name]
        _same_shape(held[:, atoms] if atoms is not None else held, found.shape)
        found[:] = held if atoms is None else held[:, atoms]
        return []
    lacking = []
    for row, walker in enumerate(walkers):
        if name not in walker.state:
            lacking.append(row)
            found[row] = np.nan
            continue
        value = walker.state[name] if atoms is None else walker.state[name][atoms]
        _same_shape(value, found.shape[1:])
        found[row] = value
    return lacking


def _same_shape(value: NDArray[Any], shape: tuple[int, ...]) -> None:
    # What can be broadcast would pass for what is asked for.
    if value.shape != shape:
        raise ValueError(f"it has shape {value.shape}, and had {shape}")
