"""WExplore: walkers spread over a hierarchy of regions (Dickson & Brooks 2014)."""

from wepystore.engine.resamplers.wexplore.region_tree import RegionTree
from wepystore.engine.resamplers.wexplore.resampler import WExploreResampler

__all__ = ["RegionTree", "WExploreResampler"]
