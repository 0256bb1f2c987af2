"""What the cycle manager asks of a runner, with answers for those who need nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wepystore.engine.component import Component, Text
from wepystore.engine.ensemble import Ensemble, Floats, stacked, weights_of
from wepystore.engine.protocols import Properties


class Runner(Component):
    """Propagates a walker's state.

    A runner's own class need only define `run_segment`; everything else has a
    default. Runners written for wepy, which know nothing of this class, run too.
    """

    #: Topology JSON (see engine.topology), or None where there are no atoms.
    topology: Text | None = None
    #: Whether distances may fold by the states' box_vectors.
    periodic: bool = False

    @property
    def has_box(self) -> bool:
        """Whether the states' box is one: if not, files for other programs are written without."""
        return True

    @property
    def step_size(self) -> float | None:
        """Length of a step in ps, or None where a step has no length."""
        return None

    def check(self) -> None:
        """Raise a WepystoreError if this can never run; asked when an apparatus is built."""

    def check_state(self, state: Mapping[str, Any], where: str) -> None:
        """Raise a WepystoreError if no segment can begin from a state that `where` names."""

    def doubts(self, states: Sequence[Mapping[str, Any]]) -> list[str]:
        """What is possible and seldom meant, in words: told when a snapshot of these states
        is built, and when a run begins."""
        return []

    def pre_cycle(self, **kwargs: Any) -> None:
        """Called before a cycle's segments with walkers=, n_segment_steps=, cycle_idx=."""

    def post_cycle(self, **kwargs: Any) -> None:
        """Called after a cycle's segments."""

    def run_segment(
        self, walker: Any, segment_length: int, *, seed: int | None = None, **kwargs: Any
    ) -> Any:
        """Propagate `walker` by `segment_length` steps.

        The result must depend on nothing but the walker's state, the length and
        the seed (R1). Returns a new walker of the same weight.
        """
        raise NotImplementedError

    def reproducible(self, platform: str | None, properties: Properties) -> bool:
        """Whether equal seeds give equal bits on this platform; False unless a runner knows."""
        return False

    def environment(self, platform: str | None, properties: Properties) -> dict[str, Any]:
        """Facts for the run record: platform, properties, versions."""
        return {}


class AdaptedRunner(Runner):
    """Base of what stands for a runner of another program's.

    Attributes
    ----------
    original : object
        That runner, which reporters and monitors of its program are shown.
    """

    original: Any

    @property
    def split_times(self) -> Any:
        """Seconds that the runner notes of the parts of its segments, as it notes them; or None."""
        return None


class EnsembleRunner(Runner):
    """Base of the runners that propagate all walkers at once, as arrays.

    A subclass defines `run_segments`, or `move` alone. The manager calls it once a cycle in
    its own process, so the result cannot depend on a work mapper (R1).
    """

    def run_segments(
        self,
        walkers: Sequence[Any],
        n_steps: int,
        *,
        rng: np.random.Generator,
        cycle_idx: int | None = None,
        **kwargs: Any,
    ) -> Ensemble:
        """Propagate every walker by `n_steps` steps.

        The result must depend on nothing but the states, the number of steps and
        what `rng` gives (R1). Returns walkers of the same weights in the same order.
        """
        positions, times = self.start(walkers)
        self.move(positions, n_steps, rng, cycle_idx)
        return self.end(walkers, positions, times + n_steps * (self.step_size or 1.0))

    def move(
        self, positions: Floats, n_steps: int, rng: np.random.Generator, cycle_idx: int | None
    ) -> None:
        """Propagate the positions of all walkers, shape (n, n_atoms, n_dims), where they stand."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to run segments")

    def run_segment(
        self, walker: Any, segment_length: int, *, seed: int | None = None, **kwargs: Any
    ) -> Any:
        """The case of one walker, with random numbers of its own."""
        (moved,) = self.run_segments(
            [walker], segment_length, rng=np.random.Generator(np.random.PCG64(seed)), **kwargs
        )
        return moved

    @staticmethod
    def start(walkers: Sequence[Any]) -> tuple[Floats, Floats]:
        """Where all walkers are, to be changed at will: positions (n, n_atoms, n_dims), time (n,).

        A state without a time, such as one written by hand, is at time 0.
        """
        positions = stacked(walkers, "positions")
        if isinstance(walkers, Ensemble):
            positions = positions.copy()
        if positions.ndim != 3:
            raise ValueError(
                f"positions must have shape (n_atoms, n_dims), got {positions.shape[1:]}"
            )
        if isinstance(walkers, Ensemble) and "time" in walkers.fields:
            # One number a walker, also where it was kept as an array of one.
            times = walkers.fields["time"].reshape(len(walkers), -1)[:, 0]
        else:
            times = np.array(
                [float(np.ravel(walker.state.dict().get("time", 0.0))[0]) for walker in walkers]
            )
        return positions, times

    @staticmethod
    def end(walkers: Sequence[Any], positions: Floats, times: Floats) -> Ensemble:
        """`walkers` with their weights where they are now."""
        return Ensemble.adopt(weights_of(walkers), {"positions": positions, "time": times})
