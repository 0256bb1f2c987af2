"""A ligand that has come back to its native pose goes to where it started, away from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.boundary_conditions.base import WarpBC
from wepystore.engine.distances.receptor import RebindingDistance
from wepystore.engine.ensemble import Floats, states_of
from wepystore.engine.parameters import positive
from wepystore.engine.record_fields import Shape


class RebindingBC(WarpBC):
    """Warps walkers whose ligand is within `cutoff_rmsd` of its pose in `native_state`.

    The binding site of a walker is superposed on that of the native state, the
    ligand moved with it, and its RMSD to the native ligand taken as it lies
    (`RebindingDistance`). A walker at or within the cutoff takes one of
    `initial_states` and keeps its weight, so that the flux into the bound state
    is measured in a steady state; see `WarpBC`.

    Parameters
    ----------
    cutoff_rmsd : float, nm, > 0
        A walker is bound when its ligand's RMSD to the native pose is at most this.
    initial_states : list of WalkerState
        Unbound states that a bound walker's state may be replaced with.
    native_state : WalkerState
        The bound state.
    ligand_idxs : list of int
    binding_site_idxs : list of int
        Atoms to superpose: at least three, not on one line.
    initial_weights : list of float, optional
        Relative probabilities of the initial states; equal if not given.
    periodic : bool
        Take nearest periodic images by the states' box vectors.
    """

    ATOM_PARAMETERS: ClassVar[tuple[str, ...]] = ("ligand_idxs", "binding_site_idxs")

    BC_FIELDS: ClassVar[tuple[str, ...]] = ("native_rmsd_cutoff",)
    BC_SHAPES: ClassVar[tuple[Shape, ...]] = ((1,),)
    BC_DTYPES: ClassVar[tuple[type, ...]] = (float,)
    BC_RECORD_FIELDS: ClassVar[tuple[str, ...]] = BC_FIELDS

    PROGRESS_FIELDS: ClassVar[tuple[str, ...]] = ("native_rmsd",)
    PROGRESS_RECORD_FIELDS: ClassVar[tuple[str, ...]] = PROGRESS_FIELDS

    def __init__(
        self,
        cutoff_rmsd: float,
        initial_states: Sequence[Any],
        native_state: Any,
        ligand_idxs: Iterable[int],
        binding_site_idxs: Iterable[int],
        initial_weights: Sequence[float] | None = None,
        periodic: bool = True,
    ) -> None:
        self.cutoff_rmsd = positive(cutoff_rmsd, "cutoff_rmsd", "nm")
        self._set_initial(initial_states, initial_weights)
        self.native_state = native_state
        self.periodic = bool(periodic)
        self._to_native = RebindingDistance(
            ligand_idxs, binding_site_idxs, native_state, self.periodic
        )
        self.ligand_idxs = self._to_native.ligand_idxs
        self.binding_site_idxs = self._to_native.binding_site_idxs
        self._refuse_arrived(
            lambda rmsd: (
                f"bound: its ligand's RMSD to the native pose is {rmsd:.4g} nm, "
                f"the cutoff {self.cutoff_rmsd:g} nm"
            )
        )

    def progress(self, walkers: Sequence[Any]) -> Floats:
        """The ligand's RMSD to its native pose, shape (n,), nm."""
        return self._to_native.images(states_of(walkers))[:, 0]

    def arrived(self, progress: Floats) -> NDArray[np.bool_]:
        """Which RMSDs are those of a bound ligand."""
        return progress <= self.cutoff_rmsd

    def _boundary(self) -> dict[str, Any]:
        return {"native_rmsd_cutoff": np.array([self.cutoff_rmsd])}

    def summary(self) -> dict[str, str]:
        """The boundary and what lies behind it."""
        return {
            "rebinding at": f"RMSD {self.cutoff_rmsd:g} nm",
            "initial states": str(len(self.initial_states)),
        }
