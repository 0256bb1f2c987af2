"""How a job stands, for whoever looks on while it runs, or after.

Nothing is opened for writing, and no lock is taken. While a process works, what it tells itself
(progress_file.py) is read, a few kB; what is in the store only where it tells nothing: then of the
tables the cycles since the last look, and of the rest what the last record names.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wepystore.errors import DamagedError, WepystoreError
from wepystore.orchestrator.errors import NoJobError, NoJobStoreError
from wepystore.orchestrator.job.job import SPEC, JobSpec, why_no_job
from wepystore.orchestrator.job.lock import LOCK, Holder, holder_of
from wepystore.orchestrator.job.progress_file import number, read_progress
from wepystore.records.circumstances import MOST_CYCLES
from wepystore.records.run import RunRecord, read_record
from wepystore.records.tables import read_recording
from wepystore.records.times import read_stretches, times_of
from wepystore.records.trust import arguments
from wepystore.records.warped import flux_after
from wepystore.reporters import files
from wepystore.reporters.flux import Flux
from wepystore.reporters.told import Spread, ns_per_day, rate_text, speed_text
from wepystore.store.errors import MissingError
from wepystore.store.places import CHECKPOINT
from wepystore.store.store import Store

#: How a job stands: nothing of it is there; a process works; all is done that was asked for; it
#: ended before that, and told so; its process is no more, and told nothing.
NOT_BEGUN, RUNNING, COMPLETE, STOPPED, KILLED = (
    *("not begun", "running", "complete", "stopped", "killed"),
)


class WorkerTimes(NamedTuple):
    """What one worker did.

    Attributes
    ----------
    worker : str
    n_segments : int
    seconds : float
        In all of them.
    busy : float or None
        The part of the time in which segments were run, by any worker, that it was running one.
    """

    worker: str
    n_segments: int
    seconds: float
    busy: float | None


class _Stretch(NamedTuple):
    """Some cycles: when the last of them ended, and how long one took, in s."""

    n_cycles: int = 0
    ended: float | None = None
    cycle_s: float = 0.0
    workers: tuple[WorkerTimes, ...] = ()


@dataclass(frozen=True)
class Standing:
    """What is known of a run at one moment.

    Attributes
    ----------
    told_at : float or None
        That moment, in s since 1970; None where it is not told.
    n_cycles : int
        Done so far.
    session_s : float or None
        Wall-clock time of the session that goes on; None of a run that has ended.
    wall_s : float or None
        Of all sessions.
    remaining_s : float or None
        To go from that moment on; None where nothing is known to end it.
    ns_per_day : float or None
        Of all walkers together, in the session that goes on or was the last.
    weights : Spread or None
    n_warped, n_cloned, n_merged : int or None
    flux : Flux
    unit : str
        Of its times: "ps" or "steps".
    components : {part of the apparatus: {label: value}}
        What they say of themselves, while it goes on.
    workers : tuple of WorkerTimes
    worker_cycles : int
        In so many cycles, the last ones.
    """

    told_at: float | None = None
    n_cycles: int = 0
    session_s: float | None = None
    wall_s: float | None = None
    remaining_s: float | None = None
    ns_per_day: float | None = None
    weights: Spread | None = None
    n_warped: int | None = None
    n_cloned: int | None = None
    n_merged: int | None = None
    flux: Flux = field(default_factory=Flux, repr=False)
    unit: str = "steps"
    components: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    workers: tuple[WorkerTimes, ...] = ()
    worker_cycles: int = 0


@dataclass(frozen=True)
class JobStatus:
    """How a job stands.

    Attributes
    ----------
    job_dir : Path
    state : str
        "not begun", "running", "complete", "stopped" or "killed".
    ended_by : str or None
        As the run record tells it; None while it runs, and of one that was killed.
    holder : Holder or None
        The process that works, or was killed.
    spec : JobSpec or None
        What was asked for; None of a job that has not begun.
    record : str or None
        Hash of the record of its last checkpoint.
    standing : Standing
    kept_cycles : int
        In that checkpoint.
    kept_at : float or None
        When it was written, in s since 1970.
    recorded_bytes : int or None
        The size of what is recorded up to there.
    """

    job_dir: Path
    state: str
    ended_by: str | None = None
    holder: Holder | None = None
    spec: JobSpec | None = field(default=None, repr=False)
    record: str | None = None
    standing: Standing = field(default_factory=Standing)
    kept_cycles: int = 0
    kept_at: float | None = None
    recorded_bytes: int | None = None

    def __repr__(self) -> str:
        wanted = self.spec.request.n_cycles if self.spec is not None else None
        done = f"{self.standing.n_cycles}{f' of {wanted}' if wanted else ''} cycles"
        return f"<JobStatus {str(self.job_dir)!r}: {self.state}, {done}, {self.kept_cycles} kept>"

    def _repr_html_(self) -> str:
        told = self.standing
        facts = {
            "state": self.state,
            "ended by": self.ended_by,
            "cycles": told.n_cycles,
            "kept": self.kept_cycles,
            "clones": told.n_cloned,
            "merges": told.n_merged,
            "warps": told.n_warped,
            "weights": told.weights
            and f"{told.weights.smallest:.2g} to {told.weights.largest:.2g}",
            "rate": rate_text(told.flux, told.unit),
            "speed": told.ns_per_day and speed_text(told.ns_per_day),
        }
        rows = (
            f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>"
            for name, value in facts.items()
            if value is not None
        )
        return f"<table><caption>{escape(str(self.job_dir))}</caption>{''.join(rows)}</table>"

    @property
    def is_over(self) -> bool:
        """Whether no process works on it any more."""
        return self.state in (COMPLETE, STOPPED, KILLED)


def read_job(job_dir: str | os.PathLike[str]) -> JobStatus:
    """How a job stands now, whether a process works on it or not. For more than one look a
    JobReader costs less.

    Raises NoJobError, MalformedJobError and what else is DamagedError or FailedError, OSError.
    """
    return JobReader(Path(job_dir)).read()


class JobReader:
    """Looks at one job again and again, and each time at what is new.

    Parameters
    ----------
    job_dir : Path
    """

    def __init__(self, job_dir: Path) -> None:
        self.job_dir = job_dir
        self._spec: tuple[Any, JobSpec] | None = None
        self._store: Store | None = None
        self._newest: tuple[Any, tuple[str, RunRecord] | None] = (None, None)
        self._told: tuple[Holder | None, dict[str, Any] | None] = (None, None)
        self._records: dict[str, RunRecord] = {}
        self._kept: tuple[str, Standing] | None = None
        # Up to so many cycles, of a run that had been resumed so often.
        self._flux: tuple[int, int, Flux] = (0, 0, Flux())

    def read(self) -> JobStatus:
        """How it stands now. Raises as read_job."""
        # First: what a process has written before it let go is there after that.
        holder = holder_of(self.job_dir)
        works = holder is not None and not holder.is_gone()
        spec = self._read_spec(works)
        if spec is None:
            return JobStatus(self.job_dir, RUNNING if works else NOT_BEGUN, holder=holder)
        told = self._read_progress(holder if works else None)
        newest = self._read_newest(spec, works)
        status = JobStatus(self.job_dir, RUNNING, holder=holder, spec=spec)
        if newest is not None:
            status = _with_record(status, *newest, self._written_at(newest[0]))
        standing = _standing_told(told) if told is not None else None
        if standing is not None and told is not None:
            status = _with_checkpoint(status, told.get("checkpoint"))
        if not works:
            status = _over(status, newest)
        if standing is None or status.state in (COMPLETE, STOPPED):
            standing = self._standing_kept(newest, works)
        return _changed(status, standing=standing)

    def _read_progress(self, worker: Holder | None) -> dict[str, Any] | None:
        """What the last process tells, or told."""
        told = read_progress(self.job_dir)
        if told is None and worker is not None and self._told[0] == worker:
            # On NFS what is replaced while it is read is lost to its reader for a moment.
            return self._told[1]
        self._told = (worker, told)
        return told

    def _read_spec(self, works: bool) -> JobSpec | None:
        """What was asked for; None if there is no job yet. Raises NoJobError where there will be
        none by waiting."""
        file = self.job_dir / SPEC
        mark = _mark(file)
        if mark is None:
            self._spec = None
            if not works and not _may_begin(self.job_dir):
                raise NoJobError(job_dir=self.job_dir, problem=why_no_job(self.job_dir))
            return None
        # Of a folder on another host the marks may be minutes old; what is opened is not.
        if self._spec is None or self._spec[0] != mark or not works:
            self._spec = (mark, JobSpec.read(file))
        return self._spec[1]

    def _read_newest(self, spec: JobSpec, works: bool) -> tuple[str, RunRecord] | None:
        """The record of the last checkpoint, and its hash."""
        path = self.job_dir / CHECKPOINT
        files.check_own_folder(path)
        if not os.path.lexists(path):
            if works:
                return None
            raise NoJobStoreError(job_dir=self.job_dir, found=CHECKPOINT, store=arguments(path))
        # It moves with each checkpoint.
        mark = _mark(path / "refs" / "default-snapshot")
        if mark is None or mark != self._newest[0] or not works:
            self._newest = (mark, self._find_newest(path, spec))
        return self._newest[1]

    def _find_newest(self, path: Path, spec: JobSpec) -> tuple[str, RunRecord] | None:
        if self._store is None:
            self._store = Store.open(path)
        there = self._store.hashes("runs")
        for md5 in there:
            if md5 not in self._records:
                # A checkpoint is superseded while it is looked at; one that is damaged is none.
                with suppress(MissingError, DamagedError):
                    self._records[md5] = read_record(self._store, md5)
        self._records = {md5: self._records[md5] for md5 in there if md5 in self._records}
        wanted = (spec.start, spec.config, spec.request.seed, spec.request.n_steps)
        own = [
            (record.n_cycles, record.execution.complete is True, md5, record)
            for md5, record in self._records.items()
            if (record.start, record.config, record.seed, record.n_steps) == wanted
        ]
        if not own:
            return None
        *_, md5, record = max(own, key=lambda each: each[:3])
        return md5, record

    def _written_at(self, md5: str) -> float | None:
        try:
            return os.stat(self.job_dir / CHECKPOINT / "runs" / md5[:2] / f"{md5}.json").st_mtime
        except OSError:
            return None

    def _standing_kept(self, newest: tuple[str, RunRecord] | None, works: bool) -> Standing:
        """What the store holds of the last checkpoint."""
        if newest is None:
            return Standing()
        if self._kept is None or self._kept[0] != newest[0]:
            try:
                self._kept = (newest[0], self._standing_of(*newest))
            except (WepystoreError, OSError):
                # It was just superseded: the next look finds the one after.
                if not works:
                    raise
        return self._kept[1] if self._kept is not None else Standing(n_cycles=newest[1].n_cycles)

    def _standing_of(self, md5: str, record: RunRecord) -> Standing:
        assert self._store is not None
        how, recording = record.execution, read_recording(self._store, record)
        flux = Flux(first=record.n_cycles)
        if recording is not None:
            n_done, n_sessions, flux = self._flux
            sessions = len(how.resumed_from or ())
            if record.n_cycles < n_done or sessions != n_sessions:
                # What was done after the checkpoint of then has been done again.
                n_done, flux = 0, Flux()
            time_each = how.time_of(record.n_steps)
            flux = flux_after(flux, n_done, recording, time_each, self._store)
            self._flux = (record.n_cycles, sessions, flux)
        stretch = self._last_times(record)
        sampled_ps = how.sampled_ps(1, record.n_steps) or 0.0
        return Standing(
            told_at=stretch.ended,
            n_cycles=record.n_cycles,
            wall_s=how.wall_s,
            ns_per_day=ns_per_day(sampled_ps, stretch.cycle_s),
            weights=_weights_of(self._store, record),
            n_warped=how.n_warped,
            n_cloned=how.n_cloned,
            n_merged=how.n_merged,
            flux=flux,
            unit=how.time_unit,
            workers=stretch.workers,
            worker_cycles=stretch.n_cycles,
        )

    def _last_times(self, record: RunRecord) -> _Stretch:
        """What the times of the last stretch of cycles tell."""
        assert self._store is not None
        times = times_of(record, "its record")
        if times is None or not times.parts:
            return _Stretch()
        last = times.parts[-1]
        [columns] = read_stretches([last], self._store.object, "its times")
        # Between sessions nothing was done.
        resumed = (record.execution.resumed_from or [{}])[-1].get("n_cycles")
        first = resumed if type(resumed) is int else 0
        ended = columns["ended"][np.searchsorted(columns["cycle_idx"], min(first, MOST_CYCLES)) :]
        cycle_s = float(ended[-1] - ended[0]) / (len(ended) - 1) if len(ended) > 1 else 0.0
        runner_s = float(columns["runner_s"].sum())
        numbers = [columns[name] for name in ("runner_s", "segment_s", "ended")]
        if not all(math.isfinite(float(column.sum())) for column in numbers):
            # Who wrote it measured no time.
            return _Stretch()
        workers, places = np.unique(columns["worker"], return_inverse=True)
        counts = np.bincount(places, minlength=len(workers)).tolist()
        seconds = np.bincount(places, columns["segment_s"], minlength=len(workers)).tolist()
        told = zip(map(str, workers.tolist()), counts, seconds, strict=True)
        at = float(ended[-1]) if len(ended) else None
        return _Stretch(
            last.n_cycles, at, cycle_s, tuple(_worker(*each, runner_s) for each in told)
        )


def _changed(status: JobStatus, **facts: Any) -> JobStatus:
    return JobStatus(**{**vars(status), **facts})


def _mark(file: Path) -> Any:
    """What changes when a file is replaced; None if it is not there."""
    try:
        found = os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _may_begin(folder: Path) -> bool:
    """Whether a run may yet take a folder: it is not there, in one that is, or it is empty."""
    try:
        return not set(os.listdir(folder)) - {LOCK}
    except FileNotFoundError:
        return folder.absolute().parent.is_dir() and not os.path.lexists(folder)
    except NotADirectoryError:
        return False


def _with_record(
    status: JobStatus, md5: str, record: RunRecord, written_at: float | None
) -> JobStatus:
    return _changed(
        status,
        record=md5,
        kept_cycles=record.n_cycles,
        kept_at=written_at,
        recorded_bytes=record.execution.recorded_bytes,
    )


def _with_checkpoint(status: JobStatus, told: Any) -> JobStatus:
    """With the last checkpoint of this session, as the process tells it."""
    with suppress(ValueError, TypeError):
        n_cycles, at = map(number, told)
        if n_cycles >= status.kept_cycles:
            return _changed(status, kept_cycles=int(n_cycles), kept_at=at)
    return status


def _over(status: JobStatus, newest: tuple[str, RunRecord] | None) -> JobStatus:
    """Of a job on which no process works."""
    spec, how = status.spec, newest[1].execution if newest is not None else None
    assert spec is not None
    if newest is not None and spec.ended == newest[0]:
        return _changed(status, state=COMPLETE, ended_by=how and how.ended_by)
    # A lock that is left behind is that of a process that was killed.
    if status.holder is not None or how is None or not how.was_told or how.complete:
        return _changed(status, state=KILLED)
    return _changed(status, state=STOPPED, ended_by=how.ended_by)


def _weights_of(store: Store, record: RunRecord) -> Spread | None:
    """How the weights are spread at the end of a run."""
    manifest = store.manifest("snapshots", record.end.md5, record.end.ref)
    with suppress(KeyError, TypeError, ValueError):
        weights = np.array(manifest["walkers"]["weights"], dtype=np.float64)
        good = weights.ndim == 1 and (weights > 0).all() and np.isfinite(weights.sum())
        return Spread.of(weights) if good else None
    return None


def _worker(name: str, n_segments: int, seconds: float, runner_s: float) -> WorkerTimes:
    return WorkerTimes(name, n_segments, seconds, seconds / runner_s if runner_s > 0 else None)


def _standing_told(told: Mapping[str, Any]) -> Standing | None:
    """What a process tells of itself; None if that is nothing that it would."""
    try:
        return Standing(
            told_at=number(told["at"]),
            n_cycles=int(number(told["n_cycles"])),
            session_s=number(told["session_s"]),
            wall_s=number(told["wall_s"]),
            remaining_s=_optional(told["remaining_s"]),
            ns_per_day=_optional(told["ns_per_day"]),
            weights=_spread(told["weights"]),
            n_warped=int(number(told["n_warped"])),
            n_cloned=_optional_int(told["n_cloned"]),
            n_merged=_optional_int(told["n_merged"]),
            flux=_flux(told["flux"]),
            unit="ps" if told["unit"] == "ps" else "steps",
            components={
                str(name): {str(label): str(value) for label, value in facts.items()}
                for name, facts in told["components"].items()
            },
            workers=tuple(
                _worker(str(name), int(number(n)), number(s), number(told["runner_s"]))
                for name, (n, s) in told["workers"].items()
            ),
            worker_cycles=int(number(told["session_cycles"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
        return None


def _flux(value: Any) -> Flux:
    """Of what a process tells. Raises as Flux.of, and ArithmeticError for what makes no rate."""
    for block in (*value["blocks"], value["current"]):
        all(map(number, block))
    flux = Flux.of(value)
    flux.estimate()
    return flux


def _optional(value: Any) -> float | None:
    return None if value is None else number(value)


def _optional_int(value: Any) -> int | None:
    return None if value is None else int(number(value))


def _spread(value: Sequence[Any] | None) -> Spread | None:
    if value is None:
        return None
    n_walkers, total, smallest, largest, entropy = map(number, value)
    return Spread(int(n_walkers), total, smallest, largest, entropy)


def age_of(moment: float | None) -> float:
    """Seconds since then, by this host's clock; NaN where it is not known."""
    return math.nan if moment is None else max(0.0, time.time() - moment)
