"""Walker states out of what people have: arrays, OpenMM's quantities, an openmm.State."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
from openmm import unit

from wepystore.engine.errors import UnfitError, WrongPartError
from wepystore.engine.walker import PARAMETERS, UnaskedBox, WalkerState

_SPEED = unit.nanometer / unit.picosecond


def as_walker_state(
    positions: Any,
    box_vectors: Any = None,
    velocities: Any = None,
    time_ps: Any = 0.0,
) -> WalkerState:
    """A state from an openmm.State, OpenMM quantities or bare arrays in nm and nm/ps.

    Parameters
    ----------
    positions : openmm.State, or Quantity or array_like, shape (n_atoms, 3), nm
        Of a State, positions, velocities, time, global parameters (if it has them)
        and the box are taken; box and velocities give way to the other arguments. OpenMM gives
        every State a box. Where the system proves not to be periodic, when an apparatus or a
        snapshot is built with the state, it is left out.
    box_vectors : Quantity or array_like, shape (3, 3), nm
        Leave it out if the system is not periodic.
    velocities : Quantity or array_like, shape (n_atoms, 3), nm/ps; zero if None
    time_ps : Quantity or float, ps

    Raises
    ------
    UnfitError : the State lacks positions or velocities; a unit is of the wrong kind.
    WrongPartError : it is none of these.
    """
    if isinstance(positions, openmm.State):
        return _of_state(positions, box_vectors, velocities)
    fields: dict[str, Any] = {"positions": _bare(positions, unit.nanometer, "positions")}
    fields["velocities"] = (
        np.zeros_like(fields["positions"])
        if velocities is None
        else _bare(velocities, _SPEED, "velocities")
    )
    if box_vectors is not None:
        fields["box_vectors"] = _bare(box_vectors, unit.nanometer, "box_vectors")
    fields["time"] = _bare(time_ps, unit.picosecond, "time_ps")
    return WalkerState(**fields)


def _of_state(state: openmm.State, box_vectors: Any, velocities: Any) -> WalkerState:
    held = state.getDataTypes()
    needed = [("positions", openmm.State.Positions)]
    if velocities is None:
        needed.append(("velocities", openmm.State.Velocities))
    missing = [name for name, flag in needed if not held & flag]
    if missing:
        raise UnfitError(
            where="the State",
            problem=f"it holds no {' and no '.join(missing)}",
            way_out="ask the context for them: getState(positions=True, velocities=True)",
        )
    if velocities is None:
        velocities = state.getVelocities(asNumpy=True)
    kind = WalkerState if box_vectors is not None else UnaskedBox
    if box_vectors is None:
        box_vectors = state.getPeriodicBoxVectors(asNumpy=True)
    fields: dict[str, Any] = as_walker_state(
        state.getPositions(asNumpy=True), box_vectors, velocities, state.getTime()
    ).dict()
    if held & openmm.State.Parameters:
        parameters = state.getParameters()
        fields.update({f"{PARAMETERS}{name}": parameters[name] for name in sorted(parameters)})
    return kind(**fields)


def _bare(value: Any, in_unit: Any, name: str) -> np.ndarray:
    """Numbers in `in_unit`: of a quantity, of a list of quantities, or as they are."""
    try:
        array = np.array(_numbers(value, in_unit), dtype=np.float64)
        if array.ndim == 0 and name != "time_ps":
            raise ValueError(name)
        return array
    except TypeError as problem:
        if unit.is_quantity(value) and not value.unit.is_compatible(in_unit):
            raise UnfitError(
                where="as_walker_state",
                problem=f"{name} are given in {value.unit}",
                way_out=f"{in_unit} is needed, or what can be converted to it",
            ) from None
        raise _no_numbers(value, name) from problem
    except ValueError as problem:
        raise _no_numbers(value, name) from problem


def _numbers(value: Any, in_unit: Any) -> Any:
    if unit.is_quantity(value):
        return value.value_in_unit(in_unit)
    if isinstance(value, (list, tuple)) and any(unit.is_quantity(item) for item in value):
        return [_numbers(item, in_unit) for item in value]
    return value


def _no_numbers(value: Any, name: str) -> WrongPartError:
    way_out = "each atom needs x, y and z" if name != "time_ps" else "as in time_ps=2.5"
    if hasattr(value, "positions"):
        way_out = "give its .positions"
    return WrongPartError(
        part=f"{name} of a state",
        wanted="numbers, a Quantity of OpenMM's or an openmm.State",
        got=f"a {type(value).__name__}",
        way_out=way_out,
    )
