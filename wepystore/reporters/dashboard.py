"""DashboardReporter: one page of text that tells how a run is doing."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from wepystore.engine.ensemble import Floats, weights_of
from wepystore.engine.protocols import SummaryCapabilities
from wepystore.engine.record_tables import weights_warped
from wepystore.engine.resamplers.decision import count_decisions, decision_numbers
from wepystore.engine.walker import Walker
from wepystore.reporters.base import Reporter, named_errors, replace_file
from wepystore.reporters.dashboard_state import read_lines, state_path, write_lines
from wepystore.reporters.flux import Flux, rate_lines
from wepystore.reporters.told import Spread, ns_per_day, speed_text

#: The least time between two rewrites of the file, in seconds.
_EVERY_S = 1.0

#: How many of the latest warps are listed.
_N_WARPS = 20

#: What the run is made of, in the order of the page.
_COMPONENTS = ("runner", "boundary_conditions", "resampler", "work_mapper")

#: Report key of each timed part of a cycle, and what a reader calls it.
_PARTS = {
    "cycle_runner_time": "segments",
    "cycle_bc_time": "boundary conditions",
    "cycle_resampling_time": "resampling",
}

#: What a resampler did, of `_Totals`.
_COUNTS = ("n_cloned", "n_merged")


@dataclass
class _Totals:
    """All that is carried from cycle to cycle: sums and counts, of constant size."""

    n_cycles: int = 0
    n_steps: int = 0
    time_ps: float = 0.0
    aggregate_ps: float = 0.0
    walker_steps: int = 0
    wall_s: float = 0.0
    timed_cycles: int = 0
    parts_s: dict[str, float] = field(default_factory=dict)
    workers: dict[str, list[float]] = field(default_factory=dict)
    n_warps: int = 0
    warped_weight: float = 0.0
    #: None where the resampler, or an earlier release's page, does not tell.
    n_cloned: int | None = 0
    n_merged: int | None = 0
    extremes: dict[str, list[float]] = field(default_factory=dict)

    def copy(self) -> _Totals:
        """These figures, apart: what is added to one changes nothing of the other."""
        return replace(
            self,
            parts_s=dict(self.parts_s),
            workers={worker: list(sums) for worker, sums in self.workers.items()},
            extremes={name: list(ends) for name, ends in self.extremes.items()},
        )


class DashboardReporter(Reporter):
    """Writes `JOB.dash.org`, an org-mode page of running figures.

    Rewritten whole, at most once a second, at each `flush` and at the end. The
    cost of a cycle does not grow: only sums, counts and the last warps are kept.
    """

    suffix: ClassVar[str] = ".dash.org"

    _begun = False

    def init(self, *, init_walkers: Sequence[Walker], **parts: Any) -> None:
        """Begin counting, or go on from the counts of the file that is there."""
        self._parts = {name: parts.get(name) for name in _COMPONENTS}
        self._decisions = decision_numbers(self._parts["resampler"])
        self._totals = self._earlier = _Totals()
        self._warps: deque[tuple[int, int, int, float]] = deque(maxlen=_N_WARPS)
        # Of the last two flushes, and of the cycle before each.
        self._flushed: deque[str] = deque(maxlen=4)
        self._before: dict[str, Any] | None = None
        self._weights: list[float] = weights_of(init_walkers).tolist()
        #: Of a quantity what `_now` gives, of the last cycle.
        self._now: Callable[[str], list[float]] = partial(_now, {}, np.empty(0))
        self._flux = Flux()
        self._last_parts: dict[str, float] = {}
        self._n_steps = 0
        self._since = 0
        self._state_path = state_path(self.path)
        if self._resume_at:
            self._recall(self._resume_at)
            # The speed is that of this session, as the time left is.
            self._earlier = self._totals
        else:
            with contextlib.suppress(FileNotFoundError), named_errors(self._state_path):
                os.unlink(self._state_path)
        self._clock = time.monotonic()
        self._next = 0.0
        self._begun = True
        self._write()

    def report(self, **report: Any) -> None:
        """Add one cycle to the sums; write the page if a second has passed."""
        now = time.monotonic()
        # Another reporter may fail in this cycle: then the job goes on from the one before.
        self._before = self._account()
        totals = self._totals = self._totals.copy()
        n_steps = int(report.get("n_segment_steps") or 0)
        walkers = report["resampled_walkers"]
        n_walkers = len(report["new_walkers"])
        totals.n_cycles = int(report["cycle_idx"]) + 1
        totals.n_steps += n_steps
        totals.walker_steps += n_steps * n_walkers
        step_size = SummaryCapabilities(self._parts["runner"]).step_size
        if step_size:
            totals.time_ps += n_steps * step_size
            totals.aggregate_ps += n_steps * step_size * n_walkers
        self._add_times(now, report)
        if self._parts["resampler"] is not None:
            self._add_decisions(report.get("resampling_data") or ())
        warped = report.get("warp_data") or ()
        self._flux = self._flux.after(n_steps * (step_size or 1.0), weights_warped(warped))
        for warp in warped:
            self._add_warp(int(report["cycle_idx"]), warp)
        progress = report.get("progress_data") or {}
        self._now = partial(_now, progress, weights_of(report["new_walkers"]))
        for name, values in progress.items():
            self._add_extremes(name, values)
        self._weights = weights_of(walkers).tolist()
        self._n_steps = n_steps
        if now >= self._next:
            self._write()

    def flush(self) -> None:
        """Write the page, with the sums so far kept in it for a later `resume`."""
        if not self._begun:
            return
        line = _state_line(self._account())
        if not self._flushed or self._flushed[-1] != line:
            before = None if self._before is None else _state_line(self._before)
            if before is not None and before not in self._flushed:
                self._flushed.append(before)
            self._flushed.append(line)
            write_lines(self._state_path, self._flushed)
        self._write()

    def _account(self) -> dict[str, Any]:
        """What `resume` needs of this cycle; cycles to come change nothing of it."""
        return {
            "totals": self._totals,
            "warps": list(self._warps),
            "since": self._since,
            "n_steps": self._n_steps,
            "now": self._now,
            "flux": self._flux,
        }

    def _add_times(self, now: float, report: Mapping[str, Any]) -> None:
        totals = self._totals
        if totals.timed_cycles == self._earlier.timed_cycles:
            # Of this session the first: it began after all files had been opened.
            self._clock = now - sum(report.get(key) or 0.0 for key in _PARTS)
        self._last_parts = {"whole cycle": now - self._clock}
        totals.wall_s += now - self._clock
        totals.timed_cycles += 1
        self._clock = now
        for key, name in _PARTS.items():
            seconds = report.get(key)
            if seconds is not None:
                self._last_parts[name] = seconds
                totals.parts_s[name] = totals.parts_s.get(name, 0.0) + seconds
        for worker, seconds in (report.get("worker_segment_times") or {}).items():
            sums = totals.workers.setdefault(str(worker), [0.0, 0.0])
            sums[0] += len(seconds)
            sums[1] += sum(seconds)

    def _add_decisions(self, records: Sequence[Any]) -> None:
        counted = count_decisions(records, self._decisions)
        for name, more in zip(_COUNTS, counted or (None, None), strict=True):
            total = getattr(self._totals, name)
            setattr(self._totals, name, None if total is None or more is None else total + more)

    def _add_warp(self, cycle: int, warp: Mapping[str, Any]) -> None:
        weight = float(np.ravel(warp.get("weight", math.nan))[0])
        walker = int(np.ravel(warp.get("walker_idx", -1))[0])
        target = int(np.ravel(warp.get("target_idx", -1))[0])
        self._totals.n_warps += 1
        self._totals.warped_weight += weight
        self._warps.append((cycle, walker, target, weight))

    def _add_extremes(self, name: str, values: Any) -> None:
        if len(values) == 0 or np.ndim(values[0]) != 0:
            return
        low, high = float(min(values)), float(max(values))
        seen = self._totals.extremes.setdefault(name, [low, high])
        seen[0], seen[1] = min(seen[0], low), max(seen[1], high)

    def _recall(self, n_cycles: int) -> None:
        """Take back the sums that were flushed after `n_cycles`.

        Where there are none (the file was deleted, say), count from here and say so.
        """
        self._since = n_cycles
        self._flux = Flux(first=n_cycles)
        for line in read_lines(self._state_path, self.path):
            try:
                state = json.loads(line)
                _check_state(state)
                totals = _Totals(**{**dict.fromkeys(_COUNTS), **state["totals"]})
                warps = [tuple(warp) for warp in state["warps"]]
                since = int(state["since"])
                n_steps = int(state["n_steps"])
                now = {name: list(map(float, three)) for name, three in state["now"].items()}
                # An earlier release kept none.
                flux = Flux.of(state["flux"]) if "flux" in state else Flux(first=n_cycles)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue
            if totals.n_cycles == n_cycles:
                self._totals, self._since = totals, since
                self._n_steps, self._flux = n_steps, flux
                self._now = defaultdict(list, now).__getitem__
                # Not added to what is there: two lines may tell of one cycle.
                self._warps = deque(warps, maxlen=_N_WARPS)
                self._flushed.append(line)

    def _write(self) -> None:
        replace_file(self.path, ("\n".join(self._page()) + "\n").encode())
        self._next = time.monotonic() + _EVERY_S

    def _page(self) -> Iterable[str]:
        name = os.path.basename(self.path).removesuffix(self.suffix)
        yield f"#+TITLE: {name}"
        yield from self._simulation()
        yield from self._weight_section()
        yield from self._progress_section()
        yield from self._resampler_section()
        yield from self._boundary_section()
        yield from self._performance()

    def _simulation(self) -> Iterable[str]:
        totals = self._totals
        yield "\n* Simulation"
        yield f"- cycles :: {totals.n_cycles}"
        if self._since:
            yield f"- figures below :: from cycle {self._since} on"
        yield f"- steps a cycle :: {self._n_steps}"
        yield f"- steps :: {totals.n_steps} of each walker, {totals.walker_steps} in all"
        if totals.time_ps:
            yield f"- sampled time of each walker :: {_picoseconds(totals.time_ps)}"
            yield f"- sampled time of all walkers :: {_picoseconds(totals.aggregate_ps)}"
            sampled = totals.aggregate_ps - self._earlier.aggregate_ps
            speed = ns_per_day(sampled, totals.wall_s - self._earlier.wall_s)
            if speed is not None:
                yield f"- speed :: {speed_text(speed)}"
        yield f"- wall-clock time :: {_seconds(totals.wall_s)}"
        for name, part in self._parts.items():
            if part is not None:
                yield f"- {name.replace('_', ' ')} :: {type(part).__name__}"

    def _weight_section(self) -> Iterable[str]:
        weights = np.array(self._weights, dtype=np.float64)
        yield "\n* Weights"
        yield f"- walkers :: {len(weights)}"
        if (spread := Spread.of(weights)) is None:
            return
        yield f"- total :: {spread.total:.15g}"
        yield f"- smallest :: {spread.smallest:.3g}"
        yield f"- largest :: {spread.largest:.3g}"
        yield (
            f"- entropy :: {spread.entropy:.3g} (as much as {spread.effective:.1f} equal walkers)"
        )

    def _progress_section(self) -> Iterable[str]:
        if not self._totals.extremes:
            return
        yield "\n* Progress"
        # A mean over walkers that does not weigh them says nothing of the system.
        yield "| quantity | least now | mean now, by weight | most now | least ever | most ever |"
        yield "|-"
        for name, (low, high) in self._totals.extremes.items():
            now = ["" if math.isnan(n) else f"{n:.4g}" for n in self._now(name)] or [""] * 3
            yield f"| {' | '.join([name, *now, f'{low:.4g}', f'{high:.4g}'])} |"

    def _resampler_section(self) -> Iterable[str]:
        resampler, totals = self._parts["resampler"], self._totals
        if resampler is None:
            return
        yield "\n* Resampler"
        yield from _summary(resampler)
        for label, number in (("clones", totals.n_cloned), ("merges", totals.n_merged)):
            yield f"- {label} :: {'not known' if number is None else number}"

    def _boundary_section(self) -> Iterable[str]:
        conditions, totals = self._parts["boundary_conditions"], self._totals
        if conditions is None and not totals.n_warps:
            return
        yield "\n* Boundary conditions"
        yield from _summary(conditions)
        yield f"- warps :: {totals.n_warps}"
        yield f"- warped weight :: {totals.warped_weight:.3g}"
        if totals.n_warps:
            yield "\n** Rate"
            yield from rate_lines(self._flux, "ps" if totals.time_ps else "steps")
        if self._warps:
            yield "\n** Latest warps"
            yield "| cycle | walker | target | weight |"
            yield "|-"
            for cycle, walker, target, weight in reversed(self._warps):
                yield f"| {cycle} | {walker} | {target} | {weight:.3g} |"

    def _performance(self) -> Iterable[str]:
        totals = self._totals
        if not totals.timed_cycles:
            return
        yield "\n* Performance"
        yield "| part of a cycle | mean (s) | last (s) |"
        yield "|-"
        for name, seconds in totals.parts_s.items():
            last = self._last_parts.get(name, math.nan)
            yield f"| {name} | {seconds / totals.timed_cycles:.6f} | {last:.6f} |"
        whole = self._last_parts.get("whole cycle")
        if whole is not None:
            known = sum(totals.parts_s.values())
            last_known = sum(self._last_parts.values()) - whole
            mean = max(0.0, totals.wall_s - known) / totals.timed_cycles
            yield f"| everything else | {mean:.6f} | {max(0.0, whole - last_known):.6f} |"
            yield f"| whole cycle | {totals.wall_s / totals.timed_cycles:.6f} | {whole:.6f} |"
        if totals.workers:
            yield "\n** Workers"
            yield "| worker | segments | mean (s) | total (s) |"
            yield "|-"
            for worker, (count, seconds) in sorted(totals.workers.items()):
                mean = seconds / count if count else math.nan
                yield f"| {worker} | {int(count)} | {mean:.6f} | {seconds:.3f} |"


def _state_line(account: Mapping[str, Any]) -> str:
    """What `DashboardReporter._account` gave, as one line of JSON."""
    now = {name: account["now"](name) for name in account["totals"].extremes}
    return json.dumps({**account, "now": now}, separators=(",", ":"), default=asdict)


def _check_state(state: Mapping[str, Any]) -> None:
    """Raise ValueError unless a line read back holds figures where `_state_line` writes some: it
    stands in a file that anybody may have changed."""
    totals = {**asdict(_Totals()), **state["totals"]}
    numbers = [state["since"], state["n_steps"], *itertools.chain(*state["warps"])]
    pairs = [*totals.pop("workers").values(), *totals.pop("extremes").values()]
    numbers += [*itertools.chain(*pairs), *totals.pop("parts_s").values()]
    numbers += [n for name, n in totals.items() if n is not None or name not in _COUNTS]
    good = all(type(n) in (int, float) and not abs(n) >= 2**63 for n in numbers)
    lengths = {len(pair) for pair in pairs} <= {2} and {len(w) for w in state["warps"]} <= {4}
    if not good or not lengths or not {len(n) for n in state["now"].values()} <= {0, 3}:
        raise ValueError("these are no figures")


def _now(progress: Mapping[str, Any], weights: Floats, name: str) -> list[float]:
    """Least, weighted mean and most of a quantity in a cycle; [] if it was not reported."""
    values = np.asarray(progress.get(name, ()), dtype=np.float64)
    if not len(values):
        return []
    # A quantity may be of something other than the walkers.
    mean = np.average(values, weights=weights) if len(values) == len(weights) else math.nan
    return [float(values.min()), float(mean), float(values.max())]


def _summary(part: Any) -> list[str]:
    """What a component says of itself, in lines; none for one that says nothing."""
    facts = SummaryCapabilities(part).summary()
    facts = facts if isinstance(facts, Mapping) else {}
    return [f"- {label} :: {value}" for label, value in facts.items()]


def _picoseconds(value: float) -> str:
    return f"{value:.6g} ps" if value < 1e4 else f"{value * 1e-3:.6g} ns"


def _seconds(value: float) -> str:
    hours, rest = divmod(int(value), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d} ({value:.1f} s)"
