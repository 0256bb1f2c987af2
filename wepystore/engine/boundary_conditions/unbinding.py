"""A ligand that has left its receptor goes back to where it started."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.boundary_conditions.base import BoundaryConditions, WarpResult
from wepystore.engine.distances.base import atom_indices, state_boxes, state_positions
from wepystore.engine.distances.periodic import minimum_distances
from wepystore.engine.record_fields import Shape


class UnbindingBC(BoundaryConditions):
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

    BC_FIELDS: ClassVar[tuple[str, ...]] = ("boundary_distance",)
    BC_SHAPES: ClassVar[tuple[Shape, ...]] = ((1,),)
    BC_DTYPES: ClassVar[tuple[type, ...]] = (float,)
    BC_RECORD_FIELDS: ClassVar[tuple[str, ...]] = ("boundary_distance",)

    PROGRESS_FIELDS: ClassVar[tuple[str, ...]] = ("min_distances",)
    PROGRESS_SHAPES: ClassVar[tuple[Shape, ...]] = (Ellipsis,)
    PROGRESS_DTYPES: ClassVar[tuple[type, ...]] = (float,)
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
        self.cutoff_distance = float(cutoff_distance)
        if not 0.0 < self.cutoff_distance < math.inf:
            raise ValueError(f"cutoff_distance must be positive, got {cutoff_distance} nm")
        if isinstance(initial_states, Mapping) or hasattr(initial_states, "dict"):
            raise ValueError("initial_states must be a list of states, got a single state")
        self.initial_states = list(initial_states)
        if not self.initial_states:
            raise ValueError("initial_states is empty: unbound walkers need a state to go to")
        self.ligand_idxs = atom_indices(ligand_idxs, "ligand_idxs")
        self.receptor_idxs = atom_indices(receptor_idxs, "receptor_idxs")
        both = sorted({*self.ligand_idxs} & {*self.receptor_idxs})
        if both:
            raise ValueError(f"atoms {both} are in both ligand_idxs and receptor_idxs")
        self.initial_weights = _checked_weights(initial_weights, len(self.initial_states))
        self.periodic = bool(periodic)
        # A warped walker that is unbound again at once would be a flux out of nothing.
        shortest = self.min_distances(self.initial_states)
        for idx in np.flatnonzero(shortest >= self.cutoff_distance).tolist():
            raise ValueError(
                f"initial state {idx} is itself unbound: its shortest ligand-receptor distance "
                f"is {shortest[idx]:.4g} nm, the cutoff {self.cutoff_distance:g} nm"
            )

    def min_distances(self, states: Sequence[Any]) -> NDArray[np.float64]:
        """The shortest ligand-receptor distance of each state, shape (n,), nm."""
        ligand, receptor = np.array(self.ligand_idxs), np.array(self.receptor_idxs)
        return minimum_distances(
            np.stack([state_positions(state, ligand, "ligand_idxs") for state in states]),
            np.stack([state_positions(state, receptor, "receptor_idxs") for state in states]),
            state_boxes(states) if self.periodic else None,
        )

    def warp_walkers(self, walkers: Sequence[Any], cycle_idx: int) -> WarpResult:
        """Replace the states of unbound walkers.

        Returns
        -------
        walkers : list, in the same order, every weight kept
        warp_data : per warp walker_idx, target_idx (which initial state), weight, each (1,)
        bc_data : at cycle 0 one record, boundary_distance (1,) nm; otherwise none
        progress_data : {"min_distances": one float per walker, nm, before warping}
        """
        shortest = self.min_distances([walker.state for walker in walkers])
        warped = list(walkers)
        warp_data = []
        for walker_idx in np.flatnonzero(shortest >= self.cutoff_distance).tolist():
            walker = walkers[walker_idx]
            target_idx = self._draw_target()
            warped[walker_idx] = type(walker)(self.initial_states[target_idx], walker.weight)
            warp_data.append(
                {
                    "walker_idx": np.array([walker_idx], dtype=np.int64),
                    "target_idx": np.array([target_idx], dtype=np.int64),
                    "weight": np.array([walker.weight], dtype=np.float64),
                }
            )
        bc_data = [{"boundary_distance": np.array([self.cutoff_distance])}] if not cycle_idx else []
        return warped, warp_data, bc_data, {"min_distances": shortest.tolist()}

    def _draw_target(self) -> int:
        weights = np.array(self.initial_weights or [1.0] * len(self.initial_states))
        return int(self.rng.choice(len(weights), p=weights / weights.sum()))

    def warping_discontinuity(self, warping_record: Any) -> bool:
        """Always: a warped walker jumps to where it started."""
        return True

    def summary(self) -> dict[str, str]:
        """The boundary and what lies behind it."""
        return {
            "unbinding at": f"{self.cutoff_distance:g} nm",
            "initial states": str(len(self.initial_states)),
        }


def _checked_weights(weights: Sequence[float] | None, n_states: int) -> list[float] | None:
    if weights is None:
        return None
    checked = [float(weight) for weight in weights]
    if len(checked) != n_states:
        raise ValueError(f"{len(checked)} initial_weights for {n_states} initial_states")
    if not all(0.0 <= weight < math.inf for weight in checked) or sum(checked) <= 0:
        raise ValueError(f"initial_weights must be probabilities, got {checked}")
    return checked
