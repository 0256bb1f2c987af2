"""What can go wrong while a simulation runs."""

from __future__ import annotations

from wepystore.errors import FailedError


class WeightError(FailedError):
    """cycle {cycle_idx}: {step} broke the weights: {problem}; nothing of this cycle was kept"""


class SegmentError(FailedError):
    """cycle {cycle_idx}, walker {walker_idx}, {worker}: the segment failed: {problem}"""


class StepError(FailedError):
    """cycle {cycle_idx}: {component} failed: {problem}"""


class WorkerDiedError(FailedError):
    """cycle {cycle_idx}: worker {worker} (pid {pid}) died with status {status} while it ran
    walkers {walker_idxs}; look for an out-of-memory kill, or try fewer workers"""


class WorkerStartError(FailedError):
    """worker {worker} did not start (status {status}): {problem}"""


class PlatformError(FailedError):
    """OpenMM platform {platform!r} cannot be used here: {problem}; platforms at hand: {known}"""


class ComponentError(FailedError):
    """{component}: {problem}"""


class PeriodicityError(FailedError):
    """{component} folds distances into the periodic box, but the runner's system is not periodic;
    build it with periodic=False"""
