"""What can go wrong while a simulation runs."""

from __future__ import annotations

from typing import Any

from wepystore.errors import FailedError


class WeightError(FailedError):
    """cycle {cycle_idx}: {step} broke the weights: {problem}; nothing of this cycle was kept"""


class NeverResamplesError(FailedError):
    """{resampler} could never clone or merge any of these walkers: {reason}; {way_out}, or take
    NoResampler() if plain dynamics is meant"""


class SegmentError(FailedError):
    """cycle {cycle_idx}, walker {walker_idx}, {worker}: the segment failed: {problem}"""


class StepError(FailedError):
    """cycle {cycle_idx}: {component} failed: {problem}"""


class WorkerDiedError(FailedError):
    """cycle {cycle_idx}, walker {walker_idx}, {worker}: the worker died with status {status};
    the segment had been tried before, in {first}; look for an out-of-memory kill, or try fewer
    workers"""


class WorkerHungError(FailedError):
    """cycle {cycle_idx}, walker {walker_idx}, {worker}: the worker {problem} and was given up;
    the segment had been tried before, in {first}; if segments may take that long, raise the
    mapper's segment_timeout"""


class WorkerStartError(FailedError):
    """worker {worker} did not start (status {status}): {problem}"""


class MissingDaskError(FailedError):
    """dask.distributed is needed, and it is not installed: pip install 'wepystore[dask]'"""


class SchedulerError(FailedError):
    """the dask scheduler {scheduler} cannot be reached: {problem}; start one with 'dask scheduler'
    and give its address as tcp://HOST:PORT, or its scheduler file as NAME.json"""


class NoDaskWorkersError(FailedError):
    """the dask scheduler {scheduler} has had no worker for {seconds:g} s; start some with
    'dask worker {scheduler}'"""


class PlatformError(FailedError):
    """OpenMM platform {platform!r} cannot be used here: {problem}; platforms at hand: {known}"""


class ComponentError(FailedError):
    """{component}: {problem}"""


class PeriodicityError(FailedError):
    """{component} folds distances into the periodic box, but the runner's system is not periodic;
    build it with periodic=False"""


class WrongPartError(FailedError):
    """{part} must be {wanted}, but is {got}; {way_out}"""


class UnfitError(FailedError):
    """{where}: {problem}; {way_out}"""


class MeasureError(FailedError):
    """{when}what a distance or a progress coordinate gives cannot be used"""

    def __init__(self, message: str | None = None, /, **fields: Any) -> None:
        fields.setdefault("when", "")
        super().__init__(message, **fields)

    def happened_in(self, cycle_idx: int) -> None:
        """Say of which cycle it is, which only the cycle manager knows."""
        self.fields["when"] = f"cycle {cycle_idx}: "


# Positions that are no numbers end a segment, so what is measured on them is not to blame them.


class CoordinateError(MeasureError):
    """{when}the progress coordinate {coordinate} of {whose} is {value}, {cause}"""


class NoPlaceError(MeasureError):
    """{when}the distance {distance} of walker {walker_idx} to the first region is not a number;
    its positions were looked at after the segment and are numbers, so look at what {distance} does
    with that state"""


class NegativeDistanceError(MeasureError):
    """{when}{distance} puts walker {walker_idx} at {value} from a region: a distance is at
    least 0"""


class NotADistanceError(MeasureError):
    """{when}the distance {distance} between walkers {walker_a} and {walker_b} is {value};
    their positions were looked at after the segment and are numbers, so look at what {distance}
    does with these states"""
