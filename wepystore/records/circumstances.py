"""What a run record tells under `execution`: how the run came about. The only place that knows the
keys; what writes one, and whatever shows or goes on from one, goes through here."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

#: What ended a run, besides the name of a signal: it had its cycles, its SECONDS were over,
#: a limit for the whole process drew near, a cycle failed.
N_CYCLES = "n_cycles"
SECONDS = "seconds"
UNTIL = "until"
ERROR = "error"

#: More cycles, or steps of a segment, than anybody has run, and as many as are taken.
MOST_CYCLES = 10**12
_MOST = 2**63


class Circumstances(NamedTuple):
    """How a run came about. None where a record does not tell, as those of older versions and of
    others may not. What could not be meant is as if it were not there: none of it bears on the
    result.

    Attributes
    ----------
    job_name, narration : str or None
    begun : str or None
        When, in UTC, as ISO 8601.
    wall_s : float or None
        s, in all sessions.
    n_walkers : int or None
    step_size_ps : float or None
        ps; None also where the runner has none.
    n_workers : int or None
        None also for one for each core.
    platform_override : str or None
    complete : bool or None
        Whether it did all it was asked for.
    ended_by : str or None
        "n_cycles", "seconds", "until", a signal or "error"; None while it goes on.
    stopped_by : str or None
        As `ended_by`, of what ended it early.
    n_warped, n_cloned, n_merged : int or None
    recorded_bytes : int or None
        The size of what is recorded of it.
    continues : dict or None
        Where in another run it began, as records/run.py's `place_in` says it; None also where its
        start's store had none that ended there.
    times : dict or None
        How long its cycles took, as records/times.py says it.
    checkpoints : list or None
        Pairs of cycles done and wall time in s.
    resumed_from : list of dict or None
    """

    job_name: str | None = None
    narration: str | None = None
    begun: str | None = None
    wall_s: float | None = None
    n_walkers: int | None = None
    step_size_ps: float | None = None
    n_workers: int | None = None
    platform_override: str | None = None
    complete: bool | None = None
    ended_by: str | None = None
    stopped_by: str | None = None
    n_warped: int | None = None
    n_cloned: int | None = None
    n_merged: int | None = None
    recorded_bytes: int | None = None
    continues: dict[str, Any] | None = None
    times: dict[str, Any] | None = None
    checkpoints: list[list[float]] | None = None
    resumed_from: list[dict[str, Any]] | None = None

    @property
    def was_told(self) -> bool:
        """Whether it is of an end that somebody was told of, and may count on."""
        # Older ones have no `ended_by`.
        return self.complete is True or self.ended_by is not None or self.stopped_by is not None

    def counting(self, n_warped: int, n_cloned: int | None, n_merged: int | None) -> Circumstances:
        """With what one more cycle has done; None where that is not known."""
        return self._replace(
            n_warped=_added(self.n_warped, n_warped),
            n_cloned=_added(self.n_cloned, n_cloned),
            n_merged=_added(self.n_merged, n_merged),
        )

    @property
    def time_unit(self) -> str:
        """In which its times are counted: "ps", or "steps" where the runner has no time step."""
        return "ps" if self.step_size_ps else "steps"

    def time_of(self, n_steps: int | None) -> float:
        """The time of one walker in so many steps, in that unit."""
        return (n_steps or 0) * (self.step_size_ps or 1.0)

    def cycle_s(self) -> dict[str, float]:
        """What the mean cycle spent on each of its parts, in s; empty where that is not told."""
        n_cycles, seconds = (self.times or {}).get("n_cycles"), (self.times or {}).get("seconds")
        if type(n_cycles) is not int or not 0 < n_cycles < _MOST or not isinstance(seconds, dict):
            return {}
        return {
            str(name): spent / n_cycles
            for name, spent in seconds.items()
            if type(spent) in (int, float) and 0 <= spent < _MOST
        }

    def sampled_ps(self, n_cycles: int, n_steps: Any) -> float | None:
        """Simulated time of all walkers together, in ps."""
        if self.n_walkers is None or self.step_size_ps is None or not isinstance(n_steps, int):
            return None
        try:
            found = self.n_walkers * n_cycles * n_steps * self.step_size_ps
        except OverflowError:
            return None
        return found if math.isfinite(found) else None


def _added(total: int | None, more: int | None) -> int | None:
    return None if total is None or more is None else total + more


#: Of a run that begins.
NOTHING_YET = Circumstances(
    wall_s=0.0,
    complete=False,
    n_warped=0,
    n_cloned=0,
    n_merged=0,
    checkpoints=[],
    resumed_from=[],
)


def stopper(ended_by: str | None) -> str | None:
    """Who ended a run from outside: a signal, or UNTIL; None if nobody did."""
    return None if ended_by in (None, N_CYCLES, SECONDS, ERROR) else ended_by


def _kinds(hint: Any) -> tuple[type, ...]:
    """The types of a field in JSON, where a float may be whole."""
    kinds = tuple(get_origin(each) or each for each in get_args(hint) if each is not type(None))
    return (int, float) if kinds == (float,) else kinds


# type(), not isinstance: True is an int.
_ITEMS = tuple(
    (name, kinds := _kinds(hint), int in kinds)
    for name, hint in get_type_hints(Circumstances).items()
)


def circumstances_of(execution: Any) -> Circumstances:
    """What a record's `execution` tells, whoever wrote it."""
    if not isinstance(execution, dict):
        return Circumstances()
    get: Any = execution.get
    found = Circumstances(
        *[
            value
            if type(value := get(name)) in kinds and (not is_number or 0 <= value < _MOST)
            else None
            for name, kinds, is_number in _ITEMS
        ]
    )
    if not found.checkpoints and not found.resumed_from:
        return found
    pairs = [p for p in found.checkpoints or () if isinstance(p, list) and len(p) == 2]
    resumed = [each for each in found.resumed_from or () if isinstance(each, dict)]
    return found._replace(checkpoints=pairs, resumed_from=resumed)
