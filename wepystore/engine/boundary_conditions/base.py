"""What all boundary conditions are, and what those that warp at a target have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.adapt import is_state, native_state, plug_of
from wepystore.engine.component import Component
from wepystore.engine.ensemble import Ensemble, Floats, weights_of
from wepystore.engine.errors import CoordinateError
from wepystore.engine.parameters import listed, real
from wepystore.engine.record_fields import BoundaryRecords, Shape
from wepystore.engine.rng import Drawing
from wepystore.engine.walker import Walker, WalkerState

#: walkers, warping records, boundary condition records, progress
WarpResult = tuple[Sequence[Any], list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]


class BoundaryConditions(BoundaryRecords, Drawing, Component):
    """Base: recognises walkers at a target and says what becomes of them."""

    #: Which targets begin a new trajectory, for wepy's dashboard: all of them, or None.
    DISCONTINUITY_TARGET_IDXS: ClassVar[Any] = Ellipsis

    def warp_walkers(self, walkers: Sequence[Any], cycle_idx: int) -> WarpResult:
        """Replace the states of walkers at a target, their weights kept (W3).

        Returns
        -------
        walkers : in the same order
        warp_data : list of dict, one record per warp
        bc_data : list of dict, one record per change of the boundary conditions
        progress_data : {field: one number per walker}
        """
        raise NotImplementedError(f"{type(self).__name__} does not say which walkers to warp")

    def warping_discontinuity(self, warping_record: Any) -> bool:
        """Whether the trajectory before such a warp and the one after it are not one."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say whether its warps are discontinuous"
        )


class NoBC(BoundaryConditions):
    """No boundary conditions: every walker goes on as it is."""

    DISCONTINUITY_TARGET_IDXS: ClassVar[Any] = None

    def __init__(self) -> None:
        """Takes no parameters."""

    def warp_walkers(self, walkers: Sequence[Any], cycle_idx: int) -> WarpResult:
        """The walkers as they are, and no records."""
        return walkers if isinstance(walkers, Ensemble) else list(walkers), [], [], {}

    def warping_discontinuity(self, warping_record: Any) -> bool:
        """Never: nothing is warped."""
        return False


class WarpBC(BoundaryConditions):
    """Base of those that send walkers at a target back to where they started.

    A subclass says how far each walker is (`progress`) and which of these are at
    the target (`arrived`), names both in its record fields, calls `_set_initial`
    in its constructor, and tells in `_boundary` where the boundary lies. Such a
    walker takes one of `initial_states` and keeps its weight, so that the flux
    into the target is measured in a steady state (Hill, *Free Energy
    Transduction in Biology*, 1977: its inverse is the mean first passage time).
    """

    # Of one progress for each walker.
    PROGRESS_SHAPES: ClassVar[tuple[Shape, ...]] = (Ellipsis,)
    PROGRESS_DTYPES: ClassVar[tuple[type, ...]] = (float,)

    initial_states: list[Any]
    initial_weights: list[float] | None

    def progress(self, walkers: Sequence[Any]) -> Floats:
        """How far each walker is, shape (n,), or (n, d) for several numbers each."""
        raise NotImplementedError(f"{type(self).__name__} does not say how far walkers are")

    def arrived(self, progress: Floats) -> NDArray[np.bool_]:
        """Which of these are at the target, shape (n,)."""
        raise NotImplementedError(f"{type(self).__name__} does not say where its target is")

    def _boundary(self) -> dict[str, Any]:
        """The record of where the boundary lies, by the names of BC_FIELDS; {} for none."""
        return {}

    def _set_initial(
        self, initial_states: Sequence[Any], initial_weights: Sequence[float] | None
    ) -> None:
        """Check where warped walkers go, and keep it."""
        if is_state(initial_states):
            raise ValueError("initial_states must be a list of states, got a single state")
        states = listed(initial_states, "initial_states", "states")
        self.initial_states = [_as_state(s) for s in states]
        if not self.initial_states:
            raise ValueError("initial_states is empty: warped walkers need a state to go to")
        self.initial_weights = checked_weights(initial_weights, len(self.initial_states))

    def _refuse_arrived(self, told: Callable[[Any], str]) -> None:
        """Raise ValueError for an initial state that is at the target: a walker that is there again
        at once would be a flux out of nothing. `told` says of its progress what is wrong."""
        try:
            progress = self.progress([Walker(state, 1.0) for state in self.initial_states])
        except CoordinateError as problem:
            whose = str(problem.fields["whose"]).replace("walker", "initial state")
            raise CoordinateError(**{**problem.fields, "whose": whose}) from None
        for idx in np.flatnonzero(self.arrived(progress)).tolist():
            raise ValueError(f"initial state {idx} is itself {told(progress[idx])}")

    def warp_walkers(self, walkers: Sequence[Any], cycle_idx: int) -> WarpResult:
        """Replace the states of walkers at the target.

        Returns
        -------
        walkers : in the same order, every weight kept
        warp_data : per warp walker_idx, target_idx (which initial state), weight, each (1,)
        bc_data : at cycle 0 one record of the boundary; otherwise none
        progress_data : {its field: one float per walker, before warping}
        """
        progress = np.asarray(self.progress(walkers))
        if progress.shape[:1] != (len(walkers),):
            raise ValueError(f"progress has shape {progress.shape} for {len(walkers)} walkers")
        rows = np.flatnonzero(self._checked_arrived(progress)).tolist()
        boundary = self._boundary()
        bc_data = [boundary] if boundary and not cycle_idx else []
        told: Any = progress.reshape(-1)
        whole = isinstance(walkers, Ensemble)
        if not whole:
            told = told.tolist()
        progress_data = {self.PROGRESS_FIELDS[0]: told}
        if not rows:
            return walkers if whole else list(walkers), [], bc_data, progress_data
        shares = np.array(self.initial_weights or [1.0] * len(self.initial_states))
        drawn = self.rng.choice(len(shares), size=len(rows), p=shares / shares.sum())
        targets: list[int] = drawn.tolist()
        for target in sorted(set(targets)):
            self._check_fit(walkers[rows[0]].state, target)
        weights = weights_of(walkers)
        warp_data = [
            {
                "walker_idx": np.array([row], dtype=np.int64),
                "target_idx": np.array([target], dtype=np.int64),
                "weight": np.array([weights[row]], dtype=np.float64),
            }
            for row, target in zip(rows, targets, strict=True)
        ]
        warped: Any
        if isinstance(walkers, Ensemble):
            warped = walkers.with_states(rows, [self.initial_states[k] for k in targets])
        else:
            warped = list(walkers)
            for row, target in zip(rows, targets, strict=True):
                walker = walkers[row]
                warped[row] = type(walker)(self.initial_states[target], walker.weight)
        return warped, warp_data, bc_data, progress_data

    def _checked_arrived(self, progress: Floats) -> NDArray[np.bool_]:
        """What is NaN, or has no truth, would never arrive, and nobody would notice."""
        unknown = np.argwhere(np.isnan(progress))
        if len(unknown):
            raise ValueError(
                f"the progress of walker {unknown[0, 0]} is NaN, though its positions are numbers: "
                f"look at what {type(self).__name__}.progress does with that state"
            )
        arrived = np.asarray(self.arrived(progress))
        if arrived.shape != progress.shape[:1]:
            raise ValueError(
                f"arrived() gave shape {arrived.shape} for {len(progress)} walkers: one truth for "
                "each is needed"
            )
        return arrived

    def _check_fit(self, state: Any, target: int) -> None:
        """Now, where it can be said what is wrong, and not in the runner a cycle later."""
        given = self.initial_states[target]
        if "positions" not in state or "positions" not in given:
            return
        wanted, found = np.shape(state["positions"]), np.shape(given["positions"])
        if found != wanted:
            raise ValueError(
                f"initial state {target} has positions of shape {found}, the walkers {wanted}"
            )

    def warping_discontinuity(self, warping_record: Any) -> bool:
        """Always: a warped walker jumps to where it started."""
        return True


def _as_state(state: Any) -> Any:
    """A state that every other component takes, and a store keeps as arrays."""
    if plug_of(state) is not None:
        return native_state(state)
    return WalkerState(**state) if isinstance(state, dict) else state


def checked_weights(weights: Sequence[float] | None, n_states: int) -> list[float] | None:
    """Relative probabilities of the initial states, as floats.

    Raises
    ------
    ValueError : not one for each state, negative, not finite, or all zero.
    """
    if weights is None:
        return None
    name = "initial_weights"
    checked = [real(weight, f"each of {name}") for weight in listed(weights, name)]
    if len(checked) != n_states:
        raise ValueError(f"{len(checked)} initial_weights for {n_states} initial_states")
    if min(checked) < 0.0 or sum(checked) <= 0:
        raise ValueError(f"initial_weights must be probabilities, got {checked}")
    return checked
