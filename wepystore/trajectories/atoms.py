"""Which atoms: by their numbers, or as MDTraj's language of selections tells them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.kept_frames import OF_ATOMS
from wepystore.engine.topology import TopologyError, n_atoms, openmm_topology
from wepystore.records.run_frames import RunFrames
from wepystore.reporters.hdf5.layout import topology_of
from wepystore.trajectories.errors import (
    LibraryMissingError,
    NoPositionsError,
    NoSuchAtomError,
    SelectionError,
)

Integers = NDArray[np.int64]

#: "0-9,12": what needs no library.
_NUMBERS = re.compile(r"\s*\d{1,12}(\s*-\s*\d{1,12})?(\s*,\s*\d{1,12}(\s*-\s*\d{1,12})?)*\s*")
#: More than any system has.
_MOST = 1 << 32


def mdtraj_for(what: str) -> Any:
    """The library. Raises LibraryMissingError."""
    try:
        import mdtraj
    except ImportError:
        raise LibraryMissingError(what=what) from None
    return mdtraj


def numbers(text: str) -> list[int] | None:
    """The numbers in "0-9,12"; None for what is no such list."""
    if not _NUMBERS.fullmatch(text):
        return None
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = int(first), int(last or first)
        if end >= _MOST or end - begin >= 10**8:
            return None
        found += range(begin, end + 1)
    return found


class KeptAtoms:
    """The atoms of which frames are kept.

    Parameters
    ----------
    run : str
        Hash of the record.
    frames : RunFrames
    topology : str or None
        JSON of the whole system.

    Attributes
    ----------
    numbers : array of int, shape (n_kept,)
        In the order in which they are kept.
    topology : str
        Of the whole system; of bare particles where there is none.

    Raises NoPositionsError, and TopologyError for a topology that is not of these atoms.
    """

    def __init__(self, run: str, frames: RunFrames, topology: str | None) -> None:
        shapes = {field.name: field.shape for field in frames.fields}
        if "positions" not in shapes:
            raise NoPositionsError(run=run)
        self._run = run
        n_kept = shapes["positions"][0] if shapes["positions"] else 1
        self.numbers: Integers = np.arange(n_kept) if frames.atoms is None else frames.atoms
        n_system = int(self.numbers.max(initial=-1)) + 1
        self.topology = topology_of(topology, n_system)
        self.full_topology = topology or self.topology
        has = n_system if topology is None else n_atoms(self.topology)
        fits = has >= n_system if frames.atoms is not None else has == n_system
        others = [name for name in OF_ATOMS if name in shapes and shapes[name][:1] != (n_kept,)]
        if not fits or (others and shapes["positions"]):
            reason = f"it has {has} atoms, and frames are of {n_kept}"
            raise TopologyError(what=f"the topology of run {run}", reason=reason)

    def places(self, atoms: str | Sequence[int]) -> Integers:
        """Where in the frames the atoms are that are asked for, sorted by their numbers.

        Parameters
        ----------
        atoms : str or sequence of int
            Numbers, counted from 0 in the whole system, also as "0-9,12"; or a selection in
            MDTraj's language.

        Raises SelectionError, NoSuchAtomError, LibraryMissingError.
        """
        given = numbers(atoms) if isinstance(atoms, str) else [int(each) for each in atoms]
        wanted = self._selected(str(atoms)) if given is None else np.unique(given)
        if not len(wanted):
            raise SelectionError(selection=atoms, why="there are none of that kind")
        order = np.argsort(self.numbers)
        found = np.searchsorted(self.numbers, wanted, sorter=order)
        inside = found < len(order)
        inside[inside] = self.numbers[order[found[inside]]] == wanted[inside]
        if not inside.all():
            atom = int(wanted[~inside][0])
            held = f"they have {len(order)}, the first {self.numbers.min()}, the last "
            raise NoSuchAtomError(run=self._run, atom=atom, held=f"{held}{self.numbers.max()}")
        places: Integers = order[found]
        return places

    def _selected(self, selection: str) -> Integers:
        mdtraj = mdtraj_for(f"to select {selection!r}, which are no numbers as in 0-9,12,")
        system = mdtraj.Topology.from_openmm(openmm_topology(self.full_topology))
        try:
            found: Integers = np.asarray(system.select(selection), np.int64)
        except Exception as problem:
            # Its parser raises whatever comes up.
            first = (str(problem).splitlines() or [type(problem).__name__])[0]
            why = f"MDTraj does not understand it ({first})"
            raise SelectionError(selection=selection, why=why) from None
        return found
