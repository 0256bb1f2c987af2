"""Many independent weighted-ensemble runs of one system, and what is seen of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.science.estimate import Figure
from tests.science.reference import Chain
from wepystore.api import SerialMapper, Walker
from wepystore.engine.ensemble import weights_of
from wepystore.engine.manager import CycleManager
from wepystore.engine.resamplers.decision import Decision
from wepystore.engine.rng import Streams

Floats = NDArray[np.float64]

#: A steady state is only one if the exact expectation says so to this, relatively.
RELAXED = 2e-3


@dataclass(frozen=True)
class Experiment:
    """A system, a resampler and how long to run them.

    Parameters
    ----------
    runner, boundary_conditions : shared by all repeats; they keep no state
    resampler : callable that makes a new one for each repeat
    start : state of every walker
    n_walkers, n_steps, n_cycles : int
        n_steps of a cycle: the boundary is looked at, and walkers are resampled, after each.
    """

    runner: Any
    boundary_conditions: Any
    resampler: Callable[[], Any]
    start: Any
    n_walkers: int
    n_steps: int
    n_cycles: int
    mapper: Callable[[], Any] = field(default=SerialMapper)

    def repeats(
        self,
        n_repeats: int,
        seed: int,
        look: Callable[[Any], Any] | None = None,
        of: str = "new_walkers",
        first: int = 0,
    ) -> tuple[Floats, Floats]:
        """Run `n_repeats` times, each with random numbers of its own.

        Parameters
        ----------
        look : callable, walkers -> array
            Called on the walkers of each cycle.
        of : which of them, "new_walkers" (after dynamics, before warps and resampling) or
            "resampled_walkers"
        first : int
            The number of the first repeat, so that several processes can share them.

        Returns
        -------
        fluxes : shape (n_repeats, n_cycles), the weight warped in each cycle
        seen : shape (n_repeats, n_cycles, ...), what `look` gave
        """
        fluxes, seen = [], []
        for repeat in range(first, first + n_repeats):
            witness = Witness(look, of)
            manager = CycleManager(
                [Walker(self.start, 1 / self.n_walkers) for _ in range(self.n_walkers)],
                self.runner,
                self.boundary_conditions,
                self.resampler(),
                self.mapper(),
                Streams([seed, repeat]),
                reporters=[witness],
            )
            manager.init()
            try:
                walkers: Sequence[Any] = manager.init_walkers
                for cycle_idx in range(self.n_cycles):
                    walkers = manager.run_cycle(walkers, self.n_steps, cycle_idx).walkers
            finally:
                manager.cleanup()
            fluxes.append(witness.fluxes)
            seen.append(witness.seen)
        return np.array(fluxes), np.array(seen)


class Witness:
    """A reporter that keeps the warped weight, and what else it is asked to, of each cycle."""

    def __init__(self, look: Callable[[Any], Any] | None, of: str) -> None:
        self._look = look
        self._of = of
        self.fluxes: list[float] = []
        self.seen: list[Any] = []

    def init(self, **parts: Any) -> None:
        """Nothing to open."""

    def report(self, **report: Any) -> None:
        """Keep what is asked for."""
        self.fluxes.append(sum(float(np.sum(warp["weight"])) for warp in report["warp_data"]))
        if self._look is not None:
            self.seen.append(self._look(report[self._of]))

    def cleanup(self, **parts: Any) -> None:
        """Nothing to close."""


def flux_figure(name: str, fluxes: Floats, chain: Chain, target: float, discard: int) -> Figure:
    """The steady flux into a target, beside 1 / MFPT (in cycles) that it must be.

    The flux is compared and not its inverse, since only the mean of the flux is
    free of bias. `discard` cycles are left out while the flux relaxes; that they
    are enough is read from the exact fluxes, not from the run.

    Parameters
    ----------
    fluxes : shape (n_repeats, n_cycles)
    chain : looked at once a cycle
    """
    steady = 1 / chain.mfpt(target)
    exact = chain.fluxes(target, fluxes.shape[1])[discard:].mean()
    assert abs(exact / steady - 1) < RELAXED, f"{name}: discard more than {discard} cycles"
    return Figure.of(name, fluxes[:, discard:].mean(axis=1), steady)


@cache
def biased(resampler: type, exponent: float) -> type:
    """`resampler`, wrong on purpose: a survivor is drawn by weight ** exponent.

    1 is right. 0 draws evenly, infinity keeps the heaviest; 0.9 makes of odds
    of 10 to 1 odds of 8 to 1.
    """

    class Biased(resampler):  # type: ignore[misc]
        def draw_survivor(self, weights: Sequence[float]) -> int:
            relative = np.asarray(weights, dtype=np.float64) / max(weights)
            return super().draw_survivor((relative**exponent).tolist())

    return Biased


class Favouring:
    """A resampler that is wrong on purpose: some merges keep the walker that has come farthest.

    Everything else is left as the resampler decides it, weights included.

    Parameters
    ----------
    resampler : a resampler that is right
    coordinate : callable, walkers -> shape (n,), how far they have come
    chance : float, in [0, 1]
        The part of the merges in which weights have no say.
    """

    def __init__(self, resampler: Any, coordinate: Callable[[Any], Floats], chance: float) -> None:
        self.resampler = resampler
        self.coordinate = coordinate
        self.chance = chance

    def set_rng(self, rng: np.random.Generator) -> None:
        """One generator for both: draws come in one order."""
        self.rng = rng
        self.resampler.set_rng(rng)

    def resample(self, walkers: Any) -> tuple[Any, list[dict[str, Any]], list[dict[str, Any]]]:
        """As the resampler has it, but for the survivors of some merges."""
        resampled, records, changes = self.resampler.resample(walkers)
        resampled = list(resampled)
        reached = self.coordinate(walkers)
        groups: dict[int, list[int]] = {}
        for idx, record in enumerate(records):
            if int(record["decision_id"][0]) == Decision.SQUASH:
                groups.setdefault(int(record["target_idxs"][0]), []).append(idx)
        for kept, squashed in groups.items():
            if self.rng.random() < self.chance:
                farthest = max([kept, *squashed], key=lambda idx: float(reached[idx]))
                resampled[kept] = Walker(walkers[farthest].state, resampled[kept].weight)
        return resampled, records, changes


class Leaking:
    """A resampler that is wrong on purpose: a share of all weight is dealt out evenly.

    Light walkers, which are where it is improbable to be, thus gain from heavy
    ones; the sum of weights stays what it was.

    Parameters
    ----------
    resampler : a resampler that is right
    share : float, in [0, 1]
        Of the weight, at each resampling.
    """

    def __init__(self, resampler: Any, share: float) -> None:
        self.resampler = resampler
        self.share = share

    def set_rng(self, rng: np.random.Generator) -> None:
        """For the resampler; this needs no random numbers."""
        self.resampler.set_rng(rng)

    def resample(self, walkers: Any) -> tuple[Any, list[dict[str, Any]], list[dict[str, Any]]]:
        """As the resampler has it, but for the weights."""
        resampled, records, changes = self.resampler.resample(walkers)
        weights = (1 - self.share) * weights_of(resampled) + self.share / len(resampled)
        return (
            [
                Walker(walker.state, weight)
                for walker, weight in zip(resampled, weights.tolist(), strict=True)
            ],
            records,
            changes,
        )
