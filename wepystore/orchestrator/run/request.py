"""What a run is asked for, and what it tells: values that several rooms share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from wepystore.records.circumstances import Circumstances
from wepystore.records.configuration import Configuration
from wepystore.records.snapshot import Snapshot
from wepystore.store.names import EntryRef
from wepystore.store.store import Store

if TYPE_CHECKING:
    from wepystore.orchestrator.job.job import Job
    from wepystore.orchestrator.trust import Trust

#: SLURM's default KillWait: so long after its SIGTERM comes its SIGKILL.
GRACE_S = 30.0

#: What ended a run, besides the name of a signal: it had its cycles, its SECONDS were over,
#: a limit for the whole process drew near, a cycle failed.
N_CYCLES = "n_cycles"
SECONDS = "seconds"
UNTIL = "until"
ERROR = "error"


@dataclass(frozen=True)
class RunOptions:
    """How long and where to run, and what to override.

    Attributes
    ----------
    seconds : float, > 0
        Wall-clock budget; see Budget. When a job is resumed, of this session. Infinity for
        none: then it is cycles, a signal or `until` that ends the run.
    n_steps : int, > 0
        Steps in each segment.
    n_cycles : int or None
        Stop after so many cycles, counted from the start of the run.
    job_dir, job_name : Path, str
    narration : str
        A note for the run record.
    n_workers, platform : int, str or None
        Override the configuration for this run. They are noted in the record;
        the configuration keeps its hash.
    checkpoint_freq : int or None
        Cycles between checkpoints; None for none by cycles.
    checkpoint_every : float or None
        Seconds between checkpoints, 0 for none by time; see Pace. One at the end is always
        written.
    seed : int or None
        None draws one from the system.
    grace : float, s, >= 0
        How long after a signal the process may still live.
    until : float or None
        Seconds since the epoch; by then the last checkpoint must be written.
    scheduler : str or None
        Address of a dask scheduler whose workers run the segments.
    """

    seconds: float
    n_steps: int
    job_dir: Path
    job_name: str
    n_cycles: int | None = None
    narration: str = ""
    n_workers: int | None = None
    platform: str | None = None
    checkpoint_freq: int | None = None
    checkpoint_every: float | None = None
    seed: int | None = None
    grace: float = GRACE_S
    until: float | None = None
    scheduler: str | None = None


@dataclass(frozen=True)
class Progress:
    """How a run stands after a cycle.

    Times in s, `remaining` infinite where nothing is known to end it. ns_per_day is over all
    walkers, None if unknown. n_cloned, n_merged and n_warped count from the start of the run:
    clones made and walkers merged away are None where the resampler, or the record of an earlier
    session, does not tell.
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


def added(total: int | None, more: int | None) -> int | None:
    """The sum of two counts; None where one of them is not known."""
    return None if total is None or more is None else total + more


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Attributes
    ----------
    start, end : str
        Hashes; equal where not one cycle was done.
    n_cycles : int
        Since the start of the run, in all sessions.
    ended_by : str
        N_CYCLES, SECONDS, UNTIL, or the name of a signal.
    complete : bool
        It has done all it was asked for. False also where SECONDS were over before
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
    n_cycles: int
    seed: int
    reproducible: bool
    job_dir: Path
    ended_by: str
    complete: bool
    wanted: int | None
    seconds: float
    was_complete: bool = False

    @property
    def stopped_by(self) -> str | None:
        """Name of the signal that ended it early, or UNTIL; None if it ended by itself."""
        return stopper(self.ended_by)


class Watcher(Protocol):
    """Who looks on; nothing it does can change the result."""

    def begun(self, job: Job, options: RunOptions, seed: int, n_walkers: int) -> None: ...

    def cycle_done(self, progress: Progress) -> None: ...

    def checkpoint_written(self, end: str, n_cycles: int, seconds: float) -> None: ...

    def stopping(self, signal_name: str) -> None: ...

    def remark(self, text: str) -> None: ...


@dataclass(frozen=True)
class Start:
    """What a run begins from: objects in memory, and the way to copy them into the job's store.

    For one run only: it takes the walkers away, and changes the resampler.
    Of a resumed run, `snapshot` is its last checkpoint; `snapshot_ref` is where the run began.
    """

    snapshot: Snapshot
    configuration: Configuration
    snapshot_ref: EntryRef
    config_ref: EntryRef
    bring_into: Callable[[Store], None]
    trust: Trust | None = None
    """What may be unpickled; None leaves that to the caller."""

    def take_walkers(self) -> Sequence[Any]:
        """The walkers; the snapshot is left without them.

        Of a large system they are not to stay in memory for as long as a run takes.
        """
        walkers = self.snapshot.walkers
        object.__setattr__(self, "snapshot", Snapshot.as_found((), self.snapshot.apparatus))
        return walkers


@dataclass(frozen=True)
class Past:
    """What earlier sessions of a run have left; of a run that begins now, nothing.

    Attributes
    ----------
    end : str or None
        The snapshot to go on from; None if that is the start.
    n_cycles, n_warped : int
        Done so far.
    n_cloned, n_merged : int or None
        Likewise; None where that is not known.
    wall_s : float
        Time spent on these cycles, in all sessions.
    checkpoints : list of [int, float]
        Cycles done and wall_s at each.
    resumed_from : list of dict
        As in RunRecord.execution.
    environment : dict or None
        The environment of the last session.
    complete : bool
        Whether it has done all it was asked for.
    ended_by : str or None
        What ended the session before; None for a checkpoint on the way, and in old records.
    """

    end: str | None = None
    record: str | None = None
    n_cycles: int = 0
    n_warped: int = 0
    n_cloned: int | None = 0
    n_merged: int | None = 0
    wall_s: float = 0.0
    begun: str | None = None
    checkpoints: list[list[float]] = field(default_factory=list)
    resumed_from: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, Any] | None = None
    reproducible: bool = True
    complete: bool = False
    ended_by: str | None = None


def stopper(ended_by: str | None) -> str | None:
    """Who ended a run from outside: a signal, or UNTIL; None if nobody did."""
    return None if ended_by in (None, N_CYCLES, SECONDS, ERROR) else ended_by


def was_told(how: Circumstances) -> bool:
    """Whether a record is that of an end that somebody was told of, and may count on."""
    # Older ones have no `ended_by`.
    return how.complete is True or how.ended_by is not None or how.stopped_by is not None
