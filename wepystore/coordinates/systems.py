"""What coordinates need to know of a system: its atoms by name, their masses, a reference."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wepystore.coordinates.errors import UnknownSystemError
from wepystore.coordinates.periodic import Floats

#: What reading a text that is no topology may raise.
_MISSHAPEN = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)


class Named(NamedTuple):
    """The atoms of a topology, one entry for each.

    Attributes
    ----------
    name, element : array of str
        "" for the element of a virtual site.
    resname : array of str
    resid : array of int
        Number of its residue in the file that the system is from.
    residue : array of int
        Which residue it is of, counted from 0.
    chain : array of str
        "" where it has no name.
    bonds : array of int, shape (n_bonds, 2)
    """

    name: NDArray[np.str_]
    element: NDArray[np.str_]
    resname: NDArray[np.str_]
    resid: NDArray[np.int64]
    residue: NDArray[np.int64]
    chain: NDArray[np.str_]
    bonds: NDArray[np.int64]

    def are_bonded(self, first: int, second: int) -> bool:
        """Whether two atoms are, as far as is known: where there are no bonds at all, they are."""
        pairs = np.sort(self.bonds, axis=1) == sorted((first, second))
        return not len(pairs) or bool(pairs.all(axis=1).any())


@dataclass(frozen=True, eq=False)
class System:
    """What is known of a system.

    Attributes
    ----------
    n_atoms : int
    topology : str or None
        JSON as recordings keep it; None for particles without names.
    masses : array, shape (n_atoms,), Da, or None
    reference : array, shape (n_atoms, 3), nm, or None
        Positions that deviations are measured from.
    reference_box : array, shape (3, 3), nm, or None
    """

    n_atoms: int
    topology: str | None = None
    masses: Floats | None = None
    reference: Floats | None = None
    reference_box: Floats | None = None

    @classmethod
    def recorded(
        cls, topology: str | None, masses: Floats | None, at_least: int, **reference: Any
    ) -> System:
        """One of which the number of atoms follows from what is recorded, and is `at_least` so
        many."""
        n_atoms = at_least
        if topology is not None:
            # What is wrong with the text is told when it is asked for names.
            with suppress(*_MISSHAPEN, RecursionError):
                n_atoms = len(_named(json.loads(topology)).name)
        elif masses is not None:
            n_atoms = len(masses)
        return cls(n_atoms, topology, masses, **reference)

    @cached_property
    def named(self) -> Named:
        """Its atoms by name. Raises UnknownSystemError."""
        if self.topology is None:
            why = "nothing is recorded of the names of its atoms: select them by index"
            raise self._unknown("what the atoms are called", why)
        try:
            found = _named(json.loads(self.topology))
        except (*_MISSHAPEN, RecursionError) as problem:
            why = f"its topology cannot be read ({type(problem).__name__}: {problem})"
            raise self._unknown("what the atoms are called", why) from None
        if len(found.name) != self.n_atoms:
            why = f"its topology has {len(found.name)} atoms, and there are {self.n_atoms}"
            raise self._unknown("what the atoms are called", why)
        return found

    def masses_of(self, atoms: tuple[int, ...], what: str) -> tuple[float, ...]:
        """Masses, Da, of some atoms. Raises UnknownSystemError."""
        if self.masses is None:
            raise self._unknown(what, "it needs masses, and none are recorded")
        if self.masses.shape != (self.n_atoms,):
            why = f"there are masses of shape {self.masses.shape} of {self.n_atoms} atoms"
            raise self._unknown(what, why)
        found = self.masses[list(atoms)]
        if not (np.isfinite(found).all() and (found >= 0).all() and found.sum() > 0):
            raise self._unknown(what, "the masses of these atoms are 0, or no masses")
        return tuple(found.tolist())

    def _unknown(self, what: str, why: str) -> UnknownSystemError:
        return UnknownSystemError(what=what, why=why)


def _named(value: dict[str, Any]) -> Named:
    """Raises one of _MISSHAPEN."""
    rows: list[tuple[int, str, str, str, int, int, str]] = []
    for chain in value["chains"]:
        label = str(chain.get("id") or "")
        for residue in chain["residues"]:
            own = (str(residue["name"]), int(residue["resSeq"]), int(residue["index"]), label)
            for atom in residue["atoms"]:
                rows.append((int(atom["index"]), str(atom["name"]), str(atom["element"]), *own))
    rows.sort()
    columns = [*zip(*rows, strict=True)] or [()] * 7
    if columns[0] != tuple(range(len(rows))):
        raise ValueError("its atoms are not numbered one after the other")
    texts = [np.array(columns[k], np.str_) for k in (1, 2, 3, 6)]
    numbers = [np.array(columns[k], np.int64) for k in (4, 5)]
    bonds = np.array([pair[:2] for pair in value.get("bonds") or ()], np.int64).reshape(-1, 2)
    return Named(texts[0], texts[1], texts[2], numbers[0], numbers[1], texts[3], bonds)
