"""A ligand that has left its receptor goes back to where it started."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wepystore.coordinates.periodic import minimum_distances
from wepystore.engine.boundary_conditions.base import WarpBC
from wepystore.engine.distances.base import atom_indices, stacked_positions, state_boxes
from wepystore.engine.ensemble import Ensemble, Floats, states_of
from wepystore.engine.parameters import positive
from wepystore.engine.record_fields import Shape


class UnbindingBC(WarpBC):
    """Warps walkers whose ligand is at least `cutoff_distance` from every receptor atom.

    Such a walker takes one of `initial_states` and keeps its weight, so that
    the flux into the unbound state is measured in a steady state.

    Parameters
    ----------
    cutoff_distance : float, nm, > 0
        A walker is unbound when its shortest ligand-receptor distance is at least this.
    initial_states : list of WalkerState
        What an unbound walker's state may be replaced with.
    ligand_idxs, receptor_idxs : list of int
        Atoms of the ligand and of the receptor; no atom may be in both.
    initial_weights : list of float, optional
        Relative probabilities of the initial states; equal if not given.
    periodic : bool
        Take nearest periodic images by the states' box vectors.
    """

    ATOM_PARAMETERS: ClassVar[tuple[str, ...]] = ("ligand_idxs", "receptor_idxs")

    BC_FIELDS: ClassVar[tuple[str, ...]] = ("boundary_distance",)
    BC_SHAPES: ClassVar[tuple[Shape, ...]] = ((1,),)
    BC_DTYPES: ClassVar[tuple[type, ...]] = (float,)
    BC_RECORD_FIELDS: ClassVar[tuple[str, ...]] = ("boundary_distance",)

    PROGRESS_FIELDS: ClassVar[tuple[str, ...]] = ("min_distances",)
    PROGRESS_RECORD_FIELDS: ClassVar[tuple[str, ...]] = ("min_distances",)

    def __init__(
        self,
        cutoff_distance: float,
        initial_states: Sequence[Any],
        ligand_idxs: Iterable[int],
        receptor_idxs: Iterable[int],
        initial_weights: Sequence[float] | None = None,
        periodic: bool = True,
    ) -> None:
        self.cutoff_distance = positive(cutoff_distance, "cutoff_distance", "nm")
        self._set_initial(initial_states, initial_weights)
        self.ligand_idxs = atom_indices(ligand_idxs, "ligand_idxs")
        self.receptor_idxs = atom_indices(receptor_idxs, "receptor_idxs")
        both = sorted({*self.ligand_idxs} & {*self.receptor_idxs})
        if both:
            raise ValueError(f"atoms {both} are in both ligand_idxs and receptor_idxs")
        self.periodic = bool(periodic)
        self._atoms = np.array(self.ligand_idxs + self.receptor_idxs)
        self._refuse_arrived(
            lambda shortest: (
                f"unbound: its shortest ligand-receptor distance is {shortest:.4g} nm, "
                f"the cutoff {self.cutoff_distance:g} nm"
            )
        )

    def progress(self, walkers: Sequence[Any]) -> Floats:
        """The shortest ligand-receptor distance of each walker, shape (n,), nm."""
        positions = self._positions(walkers)
        boxes = None
        if self.periodic:
            if isinstance(walkers, Ensemble) and "box_vectors" in walkers.fields:
                boxes = walkers.fields["box_vectors"]
            else:
                boxes = state_boxes(states_of(walkers))
        n_ligand = len(self.ligand_idxs)
        return minimum_distances(positions[:, :n_ligand], positions[:, n_ligand:], boxes)

    def _positions(self, walkers: Sequence[Any]) -> Floats:
        """Positions (n, n_ligand + n_receptor, 3), nm, of the atoms that matter."""
        try:
            if isinstance(walkers, Ensemble):
                return walkers.fields["positions"][:, self._atoms]
            rows = [walker.state["positions"] for walker in walkers]
            if 2 * len(self._atoms) >= len(rows[0]):
                # Nearly all of them: one call for all walkers is cheaper than one for each.
                return np.array(rows, dtype=np.float64)[:, self._atoms]
            return np.array([row[self._atoms] for row in rows], dtype=np.float64)
        except (IndexError, ValueError):
            # Atoms that are not there, or states of unequal size: the slow way says which.
            groups = (self.ligand_idxs, "ligand_idxs"), (self.receptor_idxs, "receptor_idxs")
            states = states_of(walkers)
            rows = [stacked_positions(states, np.array(idxs), name) for idxs, name in groups]
            return np.concatenate(rows, axis=1)

    def arrived(self, progress: Floats) -> NDArray[np.bool_]:
        """Which distances are those of an unbound ligand."""
        return progress >= self.cutoff_distance

    def _boundary(self) -> dict[str, Any]:
        return {"boundary_distance": np.array([self.cutoff_distance])}

    def summary(self) -> dict[str, str]:
        """The boundary and what lies behind it."""
        return {
            "unbinding at": f"{self.cutoff_distance:g} nm",
            "initial states": str(len(self.initial_states)),
        }
