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
#: A message shows so much of what a library says.
_SAID = 100
#: Of a system without a topology so many atoms are made up, where frames are of a few: one number
#: of a stranger's would ask for any amount of memory.
_MOST_MADE_UP = 1 << 20


def mdtraj_for(what: str) -> Any:
    """The library. Raises LibraryMissingError."""
    try:
        import mdtraj
    except ImportError:
        raise LibraryMissingError(what=what) from None
    return mdtraj


def spans(text: str) -> list[tuple[int, int]] | None:
    """First and last of each stretch of numbers in "0-9,12"; None for what is no such list."""
    if not _NUMBERS.fullmatch(text):
        return None
    bounds = (part.partition("-") for part in text.split(","))
    return [(int(first), int(last or first)) for first, _, last in bounds]


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
        if topology is None and n_system > max(_MOST_MADE_UP, n_kept):
            reason = f"there is none, and frames are of {n_kept} atoms, the last {n_system - 1}"
            raise TopologyError(what=f"the topology of run {run}", reason=reason)
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
        wanted = self._wanted(atoms)
        if not len(wanted):
            raise SelectionError(selection=atoms, why="there are none of that kind")
        order = np.argsort(self.numbers)
        found = np.searchsorted(self.numbers, wanted, sorter=order)
        inside = found < len(order)
        inside[inside] = self.numbers[order[found[inside]]] == wanted[inside]
        if not inside.all():
            raise self._lacking(int(wanted[~inside][0]))
        places: Integers = order[found]
        return places

    def _wanted(self, atoms: str | Sequence[int]) -> Integers:
        """Their numbers, sorted."""
        if not isinstance(atoms, str):
            return np.unique([int(each) for each in atoms])
        found = spans(atoms)
        if found is None:
            return self._selected(atoms)
        for first, last in found:
            if last < first:
                why = f"{first}-{last} ends before it begins"
                raise SelectionError(selection=atoms, why=why)
            if last > self.numbers.max(initial=-1):
                raise self._lacking(last)
        return np.unique(np.concatenate([np.arange(first, last + 1) for first, last in found]))

    def _lacking(self, atom: int) -> NoSuchAtomError:
        held = "they have none"
        if len(self.numbers):
            first, last = self.numbers.min(), self.numbers.max()
            held = f"they have {len(self.numbers)}, the first {first}, the last {last}"
        return NoSuchAtomError(run=self._run, atom=atom, held=held)

    def _selected(self, selection: str) -> Integers:
        mdtraj = mdtraj_for(f"to select {selection!r}, which are no numbers as in 0-9,12,")
        system = mdtraj.Topology.from_openmm(openmm_topology(self.full_topology))
        try:
            found: Integers = np.asarray(system.select(selection), np.int64)
        except Exception as problem:
            # Its parser raises whatever comes up, and may list all that it knows.
            first = (str(problem).splitlines() or [""])[0]
            said = f" ({first})" if 0 < len(first) <= _SAID else ""
            why = f"MDTraj does not understand it{said}"
            raise SelectionError(selection=selection, why=why) from None
        return found
