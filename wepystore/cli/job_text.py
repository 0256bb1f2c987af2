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


def page(status: JobStatus) -> Iterator[tuple[str, str]]:
    """All there is to tell: what of, and what."""
    yield "job", str(status.job_dir)
    yield "state", _state(status)
    if (spec := status.spec) is None:
        return
    standing = status.standing
    yield "cycles", _cycles(status)
    if times := _times(standing):
        yield "time", times
    if status.state == "running" and standing.told_at is not None:
        yield "as of", _moment(standing.told_at)
    yield "run", f"seed {spec.request.seed}, {spec.request.n_steps} steps a cycle"
    if standing.n_cycles:
        yield from _ensemble(standing)
        yield from _workers(standing)
    yield "checkpoint", _kept(status)
    if status.is_over and status.state != "complete":
        yield "to go on", f"wepy resume {arguments(status.job_dir)}"


def part_done(status: JobStatus) -> float | None:
    """Of what a job is to do, by its cycles, or by the time of its session; None where nothing is
    known to end it."""
    standing, request = status.standing, status.spec.request if status.spec is not None else None
    if request is not None and request.n_cycles:
        return min(1.0, standing.n_cycles / request.n_cycles)
    if standing.session_s and standing.remaining_s is not None:
        return standing.session_s / (standing.session_s + standing.remaining_s)
    return None


def line(status: JobStatus) -> str:
    """How it stands in a line, as the run itself tells it."""
    standing = status.standing
    if status.state != "running" or not standing.n_cycles or standing.weights is None:
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
        text = "running" if holder is None else f"running: {who}, since {holder.since}"
        if holder is not None and not holder.is_here and not age_of(status.standing.told_at) < 60:
            text += ", a host that cannot be asked from here whether it still does"
        return text
    if status.state == "killed":
        return f"killed: {who} is no more, and did not say why"
    if status.state == "complete":
        return "complete"
    why = {"until": "the time was up", "error": "a cycle failed", "seconds": "SECONDS were over"}
    return f"stopped: {why.get(status.ended_by or '', f'by {status.ended_by}')}"


def _cycles(status: JobStatus) -> str:
    assert status.spec is not None
    n_done, wanted = status.standing.n_cycles, status.spec.request.n_cycles
    text = f"{n_done}/{wanted}, {100 * n_done / wanted:.3g} %" if wanted else str(n_done)
    if status.state == "killed" and n_done > status.kept_cycles:
        text += f"; those after {status.kept_cycles} are lost"
    return text


def _moment(at: float) -> str:
    try:
        shown = time.strftime("%H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        shown = "an unknown moment"
    return f"{shown}, {clock(age_of(at))} ago"


def _times(standing: Standing) -> str:
    parts = []
    if standing.session_s is not None:
        parts.append(f"{clock(standing.session_s)} elapsed")
    if standing.wall_s is not None and standing.wall_s != standing.session_s:
        parts.append(f"{clock(standing.wall_s)} in all sessions")
    if standing.remaining_s is not None:
        parts.append(f"{clock(standing.remaining_s)} left")
    if standing.ns_per_day is not None:
        parts.append(speed_text(standing.ns_per_day))
    return " · ".join(parts)


def _ensemble(standing: Standing) -> Iterator[tuple[str, str]]:
    if (weights := standing.weights) is not None:
        spread = f"weights {weights.smallest:.2g} to {weights.largest:.2g}"
        equal = f"as much as {weights.effective:.1f} equal ones"
        yield "walkers", f"{weights.n_walkers}, {spread}, {equal}"
    counts = [
        ("clone", standing.n_cloned),
        ("merge", standing.n_merged),
        ("warp", standing.n_warped),
    ]
    told = " · ".join(count(number, what) for what, number in counts if number is not None)
    yield "so far", told
    if standing.n_warped:
        # Of the page of the dashboard, without its table.
        for text in rate_lines(standing.flux, standing.unit):
            label, is_told, said = text.removeprefix("- ").partition(" :: ")
            if is_told:
                yield label, said
    for name, facts in standing.components.items():
        if facts:
            told = ", ".join(f"{label}: {value}" for label, value in facts.items())
            yield name.replace("_", " "), cut(told, _LONGEST)


def _workers(standing: Standing) -> Iterator[tuple[str, str]]:
    workers = sorted(standing.workers, key=lambda each: (each.busy or 0.0, each.worker))
    cycles = f"in {cycles_text(standing.worker_cycles)}"
    if len(workers) <= _SHOWN:
        for each in sorted(workers, key=_by_number):
            yield f"worker {each.worker}", f"{_worker(each)} {cycles}"
        return
    yield "workers", f"{len(workers)} {cycles}"
    for label, each in (("least busy", workers[0]), ("most busy", workers[-1])):
        yield label, f"worker {each.worker}: {_worker(each)}"


def _by_number(worker: WorkerTimes) -> tuple[int, str]:
    return len(worker.worker), worker.worker


def _worker(worker: WorkerTimes) -> str:
    mean = worker.seconds / worker.n_segments if worker.n_segments else math.nan
    busy = f", busy {100 * worker.busy:.0f} %" if worker.busy is not None else ""
    return f"{count(worker.n_segments, 'segment')}, {mean:.3g} s each{busy}"


def _kept(status: JobStatus) -> str:
    if not status.kept_cycles:
        return "none yet"
    ago = f", {clock(age_of(status.kept_at))} ago" if status.kept_at is not None else ""
    size = status.recorded_bytes
    recorded = f"; {size_text(size)} recorded up to there" if size is not None else ""
    return f"after {cycles_text(status.kept_cycles)}{ago}{recorded}"


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
