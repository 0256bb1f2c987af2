"""The structures along a lineage, as a page shows them: the first as PDB, and where atoms went."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from wepystore.answers.lineages import Lineage, Lineages
from wepystore.answers.measured import system_of
from wepystore.answers.study import Chain, Study
from wepystore.coordinates.errors import SelectionTextError, UnknownSystemError
from wepystore.coordinates.selections import select
from wepystore.coordinates.superposition import rotations
from wepystore.coordinates.systems import System
from wepystore.records.run_frames import RunFrames
from wepystore.report.errors import NothingToShowError
from wepystore.report.figure import flowing
from wepystore.report.thinning import Floats, Ints, Values, values

#: Coordinates are most of a page: so many frames of so many atoms, in all, at most.
MOST_FRAMES, _MOST_PLACES, _MOST_ATOMS = 60, 60_000, 20_000

SOLUTE = "not water"

CAPTION = flowing(
    """The way of {whom}, back through clones to where it began: {n} of its {of} kept frames,
each laid over the first by all atoms that are shown ({atoms}). Drag to turn it, scroll to come
nearer. Molecules that the periodic box has cut stay cut. One way is one of many: it shows how
it can happen, and not how it mostly does."""
)


@dataclass(frozen=True, eq=False)
class Structure:
    """What is shown.

    Attributes
    ----------
    pdb : str
        The atoms, where they are in the first frame.
    frames : list
        For each frame x, y and z of each atom, one after the other, Å.
    cycle : list of int
        Of each frame, as the tables count.
    weight : list of float
    caption : str
    """

    pdb: str
    frames: list[Values]
    cycle: Values
    weight: Values
    caption: str


def structure_of(study: Study, atoms: str = SOLUTE) -> Structure:
    """The lineage of the heaviest walker that arrived, or else of the heaviest of the last cycle.

    Parameters
    ----------
    study : Study
    atoms : str
        A selection.

    Raises
    ------
    WepystoreError : SelectionTextError, UnknownSystemError; NoFramesError, FramesElsewhereError;
        NothingToShowError for positions that are not of atoms in space.
    """
    chain, lineage = _lineage(study)
    frames = chain.frames()
    system = system_of(study)
    chosen = _kept(frames, _selected(system, atoms))
    kept = lineage.kept(frames)
    some = np.unique(np.linspace(0, len(kept) - 1, _n_frames(len(chosen))).astype(np.int64))
    if not len(kept):
        raise NothingToShowError(why="of no cycle of the lineage there are frames")
    positions = lineage.frames_of(frames, "positions")
    if positions.ndim != 3 or positions.shape[2] != 3:
        raise NothingToShowError(why="its positions are not those of atoms in space")
    places = 10.0 * positions[some][:, chosen].astype(np.float64)
    if not np.isfinite(places).all():
        raise NothingToShowError(why="its positions are no numbers")
    laid = _laid_over(places)
    numbers = _numbers(frames)[chosen]
    return Structure(
        pdb=_pdb(system, numbers, laid[0]),
        frames=[values(frame.ravel().round(2), 7) for frame in laid],
        cycle=values(kept.joined_cycle[some]),
        weight=values(kept.weight[some], 3),
        caption=CAPTION.format(
            whom="the heaviest walker that arrived"
            if lineage.warp is not None
            else "the heaviest walker of the last cycle",
            n=len(some),
            of=len(kept),
            atoms=atoms,
        ),
    )


def _lineage(study: Study) -> tuple[Chain, Lineage]:
    found: tuple[Chain, Lineage] | None = None
    for chain in study.chains:
        lineages = Lineages(chain.tables)
        for lineage in lineages.heaviest_arrivals(1):
            if found is None or lineage.weight[-1] > found[1].weight[-1]:
                found = chain, lineage
    if found is not None:
        return found
    chain = next(study.chains)
    lineages = Lineages(chain.tables)
    return chain, lineages.of(lineages.heaviest_walker())


def _selected(system: System, atoms: str) -> Ints:
    try:
        return np.array(select(atoms, system))
    except (UnknownSystemError, SelectionTextError):
        if atoms != SOLUTE:
            raise
        # Of what nobody has named everything is shown.
        return np.arange(system.n_atoms)


def _numbers(frames: RunFrames) -> Ints:
    """Which atoms the frames hold."""
    if frames.atoms is not None:
        return np.asarray(frames.atoms)
    shape = next((each.shape for each in frames.fields if each.name == "positions"), ())
    if len(shape) != 2 or shape[1] != 3:
        raise NothingToShowError(why="its frames hold no positions of atoms in space")
    return np.arange(shape[0])


def _kept(frames: RunFrames, selected: Ints) -> Ints:
    """The places, in frames, of those atoms that are selected and kept."""
    places = np.flatnonzero(np.isin(_numbers(frames), selected))
    if not len(places):
        raise NothingToShowError(why="its frames hold none of the atoms that are to be shown")
    if len(places) > _MOST_ATOMS:
        why = f"{len(places)} atoms are more than a page can show: choose at most {_MOST_ATOMS}"
        raise NothingToShowError(why=why)
    return places


def _n_frames(n_atoms: int) -> int:
    return max(2, min(MOST_FRAMES, _MOST_PLACES // n_atoms))


def _laid_over(places: Floats) -> Floats:
    """All frames laid over the first, whose centre is the origin."""
    centred = places - places.mean(axis=1, keepdims=True)
    turned: Floats = centred @ rotations(centred, centred[0], least=True)
    return turned


def _pdb(system: System, atoms: Ints, places: Floats) -> str:
    lines = []
    for serial, (atom, place) in enumerate(zip(atoms.tolist(), places, strict=True), 1):
        name, residue, chain, number, element = _names(system, atom)
        x, y, z = (f"{min(max(each, -999.0), 9999.0):8.3f}" for each in place)
        lines.append(
            f"ATOM  {serial % 100000:5d} {name:<4.4} {residue:>3.3} {chain:1.1}{number % 10000:4d}"
            f"    {x}{y}{z}  1.00  0.00          {element:>2.2}"
        )
    return "\n".join([*lines, "END", ""])


def _names(system: System, atom: int) -> tuple[str, str, str, int, str]:
    """Of an atom: name, residue, chain, number of the residue, element."""
    try:
        named = system.named
    except UnknownSystemError:
        return "X", "UNK", "A", 1, "X"
    element = _letters(str(named.element[atom])) or "X"
    name = _letters(str(named.name[atom])) or element
    if len(element) == 1 and len(name) < 4:
        name = f" {name}"
    return (
        name,
        _letters(str(named.resname[atom])) or "UNK",
        _letters(str(named.chain[atom])) or "A",
        int(named.resid[atom]),
        element,
    )


def _letters(text: str) -> str:
    """A name as PDB can have it: letters, digits and quotes."""
    return re.sub(r"[^A-Za-z0-9'*+-]", "", text)


def as_data(structure: Structure) -> dict[str, object]:
    """As a page holds it."""
    return {
        "pdb": structure.pdb,
        "frames": structure.frames,
        "cycle": structure.cycle,
        "weight": structure.weight,
    }
