"""What can go wrong while a simulation runs."""

from __future__ import annotations

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
