"""Walkers of ours as what a reporter written for wepy knows: wepy's own, made when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

#: State field -> the flag of openmm.State that says it is there.
_FLAGS = {
    "positions": "Positions",
    "velocities": "Velocities",
    "forces": "Forces",
    "potential_energy": "Energy",
}

#: What openmm.State has a method for -> the field of ours, and the unit of its numbers.
_QUANTITIES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "getPositions": ("positions", lambda unit: unit.nanometer),
    "getVelocities": ("velocities", lambda unit: unit.nanometer / unit.picosecond),
    "getForces": ("forces", lambda unit: unit.kilojoule_per_mole / unit.nanometer),
    "getPeriodicBoxVectors": ("box_vectors", lambda unit: unit.nanometer),
    "getKineticEnergy": ("kinetic_energy", lambda unit: unit.kilojoule_per_mole),
    "getPotentialEnergy": ("potential_energy", lambda unit: unit.kilojoule_per_mole),
    "getTime": ("time", lambda unit: unit.picosecond),
}


class TheirWalkers:
    """Makes wepy's walkers, one state for one of ours, so that clones go on sharing theirs.

    Parameters
    ----------
    openmm : bool
        Whether states are those of OpenMM's runner, with quantities as attributes.
    """

    def __init__(self, openmm: bool) -> None:
        self._openmm = openmm
        # Each with the state of ours, which must stay alive for its id() to mean anything.
        self._known: dict[int, tuple[Any, Any]] = {}

    def __call__(self, walkers: Iterable[Any]) -> list[Any]:
        """A list of wepy's walkers with the bits of `walkers`."""
        theirs = import_module("wepy.runners.openmm" if self._openmm else "wepy.walker")
        cls = theirs.OpenMMWalker if self._openmm else theirs.Walker
        return [cls(self._state(walker.state), walker.weight) for walker in walkers]

    def _state(self, state: Any) -> Any:
        if not isinstance(state, Mapping):
            return state  # Somebody's own, which its own reporter will know.
        found = self._known.get(id(state))
        if found is None:
            found = self._known[id(state)] = (state, self._made(state))
        return found[1]

    def _made(self, state: Mapping[str, Any]) -> Any:
        if self._openmm:
            return openmm_state(ArrayState(state), state)
        # Copies, since wepy's are its reporters' to write to.
        fields = {name: np.array(value) for name, value in state.items()}
        return import_module("wepy.walker").WalkerState(**fields)


def openmm_state(state: Any, fields: Mapping[str, Any]) -> Any:
    """wepy's OpenMMState of what answers as an openmm.State does, with a copy of the fields of ours
    that this has no place for."""
    theirs = import_module("wepy.runners.openmm")
    others = {
        name: np.array(value)
        for name, value in fields.items()
        if name not in theirs.KEYS and not name.startswith("parameter")
    }
    return theirs.OpenMMState(state, **others)


class ArrayState:
    """Answers as an openmm.State does, from arrays; no context is needed to make it.

    Parameters
    ----------
    fields : mapping of str to array
        Of a WalkerState. What is not among them raises OpenMMException when asked for.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        if name not in _QUANTITIES:
            raise AttributeError(name)
        return lambda asNumpy=False: self._quantity(*_QUANTITIES[name])

    def _quantity(self, name: str, of: Callable[[Any], Any]) -> Any:
        import openmm
        from openmm import unit

        if name not in self._fields:
            raise openmm.OpenMMException(f"the state has no {name}")
        value = np.array(self._fields[name])
        number = float(value.reshape(-1)[0]) if value.size == 1 else value
        return unit.Quantity(number, of(unit))

    def _numbers(self, prefix: str) -> dict[str, float]:
        return {
            name.removeprefix(prefix): float(np.ravel(value)[0])
            for name, value in self._fields.items()
            if name.startswith(prefix)
        }

    def getDataTypes(self) -> int:
        """The sum of the flags of what is there."""
        import openmm

        found = sum(getattr(openmm.State, flag) for name, flag in _FLAGS.items() if name in self)
        if self._numbers("parameters/"):
            found |= openmm.State.Parameters
        if self._numbers("parameter_derivatives/"):
            found |= openmm.State.ParameterDerivatives
        return int(found)

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def getPeriodicBoxVolume(self) -> Any:
        """nm³."""
        if "box_volume" in self._fields:
            return self._quantity("box_volume", lambda unit: unit.nanometer**3)
        from openmm import unit

        volume = abs(np.linalg.det(self.getPeriodicBoxVectors()._value))
        return unit.Quantity(float(volume), unit.nanometer**3)

    def getParameters(self) -> dict[str, float]:
        """The context's parameters by name."""
        return self._numbers("parameters/")

    def getEnergyParameterDerivatives(self) -> dict[str, float]:
        """The energy's derivatives by the parameters, by name."""
        return self._numbers("parameter_derivatives/")
