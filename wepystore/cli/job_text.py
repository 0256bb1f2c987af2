"""How a job stands, in words: a page, a line, JSON."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

from wepystore.cli.common import count, cut, size_text
from wepystore.cli.run_display import clock, describe
from wepystore.orchestrator.job.job_status import JobStatus, Standing, WorkerTimes, age_of
from wepystore.orchestrator.run.watching import Progress, cycles_text
from wepystore.records.trust import arguments
from wepystore.reporters.flux import rate_lines
from wepystore.reporters.told import speed_text

#: So many workers have a line of their own.
_SHOWN = 8
#: Of what a component says of itself, so many characters are shown.
_LONGEST = 240


def page(status: JobStatus) -> Iterator[str]:
    """All there is to tell, in lines."""
    yield f"job {status.job_dir}: {_state(status)}"
    if (spec := status.spec) is None:
        return
    standing = status.standing
    yield _cycles(status)
    if status.state == "running" and standing.told_at is not None:
        yield f"as of {_moment(standing.told_at)}"
    yield f"seed {spec.request.seed}, {spec.request.n_steps} steps a cycle"
    yield from _times(standing)
    if standing.n_cycles:
        yield from _ensemble(standing)
        yield from _workers(standing)
    yield _kept(status)
    if status.is_over and status.state != "complete":
        yield f"to go on: wepy resume {arguments(status.job_dir)}"


def line(status: JobStatus) -> str:
    """How it stands in a line, as the run itself tells it."""
    if status.state != "running" or not status.standing.n_cycles:
        return f"job {status.job_dir}: {_state(status)}"
    return describe(progress_of(status))


def progress_of(status: JobStatus) -> Progress:
    """What the run told its own watcher."""
    standing, spec, weights = status.standing, status.spec, status.standing.weights
    return Progress(
        n_cycles_done=standing.n_cycles,
        n_cycles=spec.request.n_cycles if spec is not None else None,
        elapsed=standing.session_s if standing.session_s is not None else standing.wall_s or 0.0,
        remaining=math.inf if standing.remaining_s is None else standing.remaining_s,
        seconds=math.inf,
        ns_per_day=standing.ns_per_day,
        weight_min=weights.smallest if weights is not None else math.nan,
        weight_max=weights.largest if weights is not None else math.nan,
        n_warped=standing.n_warped or 0,
        n_cloned=standing.n_cloned,
        n_merged=standing.n_merged,
        unit=standing.unit,
        flux=standing.flux,
    )


def _state(status: JobStatus) -> str:
    holder = status.holder
    who = f"process {holder.pid} on {holder.host}" if holder is not None else "its process"
    if status.state == "not begun":
        return "not begun; there is nothing of it yet"
    if status.state == "running":
        text = "runs" if holder is None else f"runs, {who}, since {holder.since}"
        if holder is not None and not holder.is_here and not age_of(status.standing.told_at) < 60:
            text += ", a host that cannot be asked from here whether it still does"
        return text
    if status.state == "killed":
        return f"was killed: {who} is no more, and did not say why"
    if status.state == "complete":
        return "complete"
    why = {"until": "the time was up", "error": "a cycle failed", "seconds": "SECONDS were over"}
    return f"stopped early: {why.get(status.ended_by or '', f'by {status.ended_by}')}"


def _cycles(status: JobStatus) -> str:
    assert status.spec is not None
    n_done, wanted = status.standing.n_cycles, status.spec.request.n_cycles
    if not wanted:
        text = f"{cycles_text(n_done)} done"
    else:
        text = f"cycle {n_done}/{wanted}, {100 * n_done / wanted:.3g} %"
    if status.state == "killed" and n_done > status.kept_cycles:
        text += f"; those after {status.kept_cycles} are lost"
    return text


def _moment(at: float) -> str:
    try:
        shown = time.strftime("%H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        shown = "an unknown moment"
    return f"{shown}, {clock(age_of(at))} ago"


def _times(standing: Standing) -> Iterator[str]:
    parts = []
    if standing.session_s is not None:
        parts.append(f"{clock(standing.session_s)} elapsed")
    if standing.wall_s is not None and standing.wall_s != standing.session_s:
        parts.append(f"{clock(standing.wall_s)} in all sessions")
    if standing.remaining_s is not None:
        parts.append(f"{clock(standing.remaining_s)} left")
    if standing.ns_per_day is not None:
        parts.append(speed_text(standing.ns_per_day))
    if parts:
        yield " · ".join(parts)


def _ensemble(standing: Standing) -> Iterator[str]:
    if (weights := standing.weights) is not None:
        yield (
            f"{weights.n_walkers} walkers, weights {weights.smallest:.2g} to "
            f"{weights.largest:.2g}, as much as {weights.effective:.1f} equal ones"
        )
    counts = [
        ("clone", standing.n_cloned),
        ("merge", standing.n_merged),
        ("warp", standing.n_warped),
    ]
    yield " · ".join(count(number, what) for what, number in counts if number is not None)
    if standing.n_warped:
        # Of the page of the dashboard, without its table.
        for text in rate_lines(standing.flux, standing.unit):
            if text.startswith("- "):
                yield text.removeprefix("- ").replace(" :: ", ": ", 1)
    for name, facts in standing.components.items():
        if facts:
            told = ", ".join(f"{label}: {value}" for label, value in facts.items())
            yield cut(f"{name.replace('_', ' ')}: {told}", _LONGEST)


def _workers(standing: Standing) -> Iterator[str]:
    workers = sorted(standing.workers, key=lambda each: (each.busy or 0.0, each.worker))
    if not workers:
        return
    cycles = f"in {cycles_text(standing.worker_cycles)}"
    if len(workers) <= _SHOWN:
        for each in sorted(workers, key=_by_number):
            yield f"worker {_worker(each)} {cycles}"
        return
    yield f"{len(workers)} workers {cycles}; least busy: {_worker(workers[0])}"
    yield f"most busy: {_worker(workers[-1])}"


def _by_number(worker: WorkerTimes) -> tuple[int, str]:
    return len(worker.worker), worker.worker


def _worker(worker: WorkerTimes) -> str:
    mean = worker.seconds / worker.n_segments if worker.n_segments else math.nan
    busy = f", busy {100 * worker.busy:.0f} %" if worker.busy is not None else ""
    return f"{worker.worker}: {count(worker.n_segments, 'segment')}, {mean:.3g} s each{busy}"


def _kept(status: JobStatus) -> str:
    if not status.kept_cycles:
        return "no checkpoint yet"
    ago = f", {clock(age_of(status.kept_at))} ago" if status.kept_at is not None else ""
    size = status.recorded_bytes
    recorded = f"; {size_text(size)} recorded up to there" if size is not None else ""
    return f"last checkpoint: after {cycles_text(status.kept_cycles)}{ago}{recorded}"


def to_json(status: JobStatus) -> dict[str, Any]:
    """What a program may want of it; moments in s since 1970, and no ages."""
    standing, spec, weights = status.standing, status.spec, status.standing.weights
    return {
        "job": str(status.job_dir),
        "state": status.state,
        "ended_by": status.ended_by,
        "holder": status.holder._asdict() if status.holder is not None else None,
        "start": spec.start.md5 if spec is not None else None,
        "config": spec.config.md5 if spec is not None else None,
        "record": status.record,
        "seed": spec.request.seed if spec is not None else None,
        "n_steps": spec.request.n_steps if spec is not None else None,
        "n_cycles": standing.n_cycles,
        "n_cycles_wanted": spec.request.n_cycles if spec is not None else None,
        "told_at": standing.told_at,
        "session_s": standing.session_s,
        "wall_s": standing.wall_s,
        "remaining_s": standing.remaining_s,
        "ns_per_day": standing.ns_per_day,
        "weights": {**weights._asdict(), "effective": weights.effective} if weights else None,
        "n_cloned": standing.n_cloned,
        "n_merged": standing.n_merged,
        "n_warped": standing.n_warped,
        **_rate(standing),
        "components": {name: dict(facts) for name, facts in standing.components.items()},
        "workers": [each._asdict() for each in standing.workers],
        "worker_cycles": standing.worker_cycles,
        "checkpoint": {"n_cycles": status.kept_cycles, "at": status.kept_at}
        if status.kept_cycles
        else None,
        "recorded_bytes": status.recorded_bytes,
    }


def _rate(standing: Standing) -> dict[str, Any]:
    """The rate of the last half, where there is one to be told; and what is said of it."""
    found = standing.flux.estimate()
    said = [text for text in rate_lines(standing.flux, standing.unit) if "rate :: " in text]
    rate = None
    if found is not None and found.tells:
        rate = {
            "value": found.rate,
            "low": found.low,
            "high": found.high,
            "unit": f"1/{standing.unit}",
            "first_cycle": found.first,
            "last_cycle": found.last,
            "n_warps": found.n_warps,
            "effective_warps": found.effective,
            "value_before": found.before,
            "rises": found.rises,
        }
    return {"rate": rate, "rate_text": said[0].partition(" :: ")[2] if said else None}
