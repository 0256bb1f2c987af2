"""Resamplers: which walkers to clone and which to merge."""

from wepystore.engine.resamplers.base import Resampler
from wepystore.engine.resamplers.bins import BinResampler
from wepystore.engine.resamplers.decision import Decision, apply_decisions
from wepystore.engine.resamplers.noop import NoResampler
from wepystore.engine.resamplers.revo import REVOResampler
from wepystore.engine.resamplers.wexplore import WExploreResampler

__all__ = [
    "BinResampler",
    "Decision",
    "NoResampler",
    "REVOResampler",
    "Resampler",
    "WExploreResampler",
    "apply_decisions",
]
