"""What the cycle manager asks of a runner, with answers for those who need nothing."""

from __future__ import annotations

from typing import Any

from wepystore.engine.component import Component, Text


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
    def step_size(self) -> float | None:
        """Length of a step in ps, or None where a step has no length."""
        return None

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

    def reproducible(self, platform: str | None, properties: dict[str, str] | None) -> bool:
        """Whether equal seeds give equal bits on this platform; False unless a runner knows."""
        return False

    def environment(
        self, platform: str | None, properties: dict[str, str] | None
    ) -> dict[str, Any]:
        """Facts for the run record: platform, properties, versions."""
        return {}
