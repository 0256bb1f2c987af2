"""What a run, or the repetition of one, tells while it goes on and at its end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wepystore.engine.ensemble import Floats, weights_of
from wepystore.records.circumstances import Circumstances, stopper
from wepystore.reporters.flux import Flux
from wepystore.reporters.told import Spread, ns_per_day
from wepystore.store.places import CHECKPOINT

if TYPE_CHECKING:
    from wepystore.engine.manager import CycleResult


def cycles_text(n_cycles: int | None) -> str:
    """So many cycles, in words."""
    return "1 cycle" if n_cycles == 1 else f"{n_cycles} cycles"


@dataclass(frozen=True)
class Begun:
    """What begins.

    Attributes
    ----------
    n_walkers, n_steps, seed : int
    seconds : float
        Wall-clock budget of this session, infinity for none.
    job_dir : Path or None
        None for a repetition, which is in memory.
    n_resumed : int or None
        Cycles that earlier sessions have done; None for a run that begins now.
    changes : tuple of str
        Fields of the environment that are not what they were in the session before.
    frames : FramesToCome or None
        None where no frames are kept.
    """

    n_walkers: int
    n_steps: int
    seed: int
    seconds: float = math.inf
    job_dir: Path | None = None
    n_resumed: int | None = None
    changes: tuple[str, ...] = ()
    frames: FramesToCome | None = None


@dataclass(frozen=True)
class FramesToCome:
    """How large the frames of a run will be.

    Attributes
    ----------
    fields : tuple of str
    cycle_bytes : float
        Of a cycle, on average.
    n_bytes : int or None
        Of all cycles to come; None where nobody knows how many these are.
    """

    fields: tuple[str, ...]
    cycle_bytes: float
    n_bytes: int | None


@dataclass(frozen=True)
class Progress:
    """How a run stands after a cycle.

    Times in s, `remaining` infinite where nothing is known to end it. ns_per_day is over all
    walkers since the first cycle of this session began, None if unknown. n_cloned, n_merged and
    n_warped count from the start of the run: clones made and walkers merged away are None where
    the resampler, or the record of an earlier session, does not tell. `flux` is what was warped
    so far in each stretch of the run, in times of `unit`, "ps" or "steps".
    """

    n_cycles_done: int
    n_cycles: int | None
    elapsed: float
    remaining: float
    seconds: float
    ns_per_day: float | None
    weight_min: float
    weight_max: float
    n_warped: int
    n_cloned: int | None = None
    n_merged: int | None = None
    unit: str = "steps"
    flux: Flux = field(default_factory=Flux, repr=False)
    weights: Floats | None = field(default=None, repr=False, compare=False)

    @property
    def spread(self) -> Spread | None:
        """How the weights are spread."""
        return None if self.weights is None else Spread.of(self.weights)

    @classmethod
    def after(
        cls,
        result: CycleResult,
        how: Circumstances,
        sampled_ps: float,
        cycling: float,
        **stands: Any,
    ) -> Progress:
        """After a cycle; so much of all walkers was simulated in `cycling` s, in this session."""
        weights = weights_of(result.walkers)
        return cls(
            ns_per_day=ns_per_day(sampled_ps, cycling),
            weight_min=float(weights.min()),
            weight_max=float(weights.max()),
            n_warped=how.n_warped or 0,
            n_cloned=how.n_cloned,
            n_merged=how.n_merged,
            unit=how.time_unit,
            weights=weights,
            **stands,
        )


class Watcher:
    """Who looks on, and here does nothing; nothing it does can change the result."""

    def begun(self, what: Begun) -> None:
        """Workers and files are about to be opened."""

    def cycle_done(self, progress: Progress) -> None:
        """A cycle is whole."""

    def checkpoint_written(self, end: str, n_cycles: int, seconds: float) -> None:
        """A checkpoint is durable, `seconds` after it was handed over, and `end` is the hash of its
        snapshot; cycles may have been done since. Told between two of them, and in their order."""

    def stopping(self, signal_name: str) -> None:
        """A signal asks for an end. Called in its handler: to do next to nothing."""

    def remark(self, text: str) -> None:
        """Something that whoever started the run may want to know."""


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Attributes
    ----------
    start, end : str
        Hashes; equal where not one cycle was done.
    record : str or None
        Hash of the run's record, which `verify` repeats; None where not one cycle was done.
    n_cycles : int
        Since the start of the run, in all sessions.
    ended_by : str
        "n_cycles", "seconds", "until", or the name of a signal.
    job_dir : Path
        The job's folder, and in it `store`, the job's own store.
    complete : bool
        It has done all it was asked for. False also where its time was over before
        `wanted` cycles were done.
    wanted : int or None
        Cycles that were asked for.
    seconds : float
        The wall-clock budget that was asked for, infinity for none.
    was_complete : bool
        The job had nothing left to do.
    """

    start: str
    end: str
    record: str | None
    n_cycles: int
    seed: int
    reproducible: bool = field(repr=False)
    job_dir: Path
    ended_by: str
    complete: bool = field(repr=False)
    wanted: int | None = field(repr=False)
    seconds: float = field(repr=False)
    was_complete: bool = field(default=False, repr=False)

    @property
    def store(self) -> Path:
        """The job's own store, which holds start, end, configuration and record."""
        return self.job_dir / CHECKPOINT

    @property
    def stopped_by(self) -> str | None:
        """Name of the signal that ended it early, or "until"; None if it ended by itself."""
        return stopper(self.ended_by)
