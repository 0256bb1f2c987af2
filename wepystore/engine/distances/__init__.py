"""How different two states are: progress coordinates for resamplers."""

from wepystore.engine.distances.base import Distance
from wepystore.engine.distances.pair import PairDistance
from wepystore.engine.distances.receptor import (
    RebindingDistance,
    ReceptorLigandDistance,
    UnbindingDistance,
)

#: The name a search for "distance between two atoms" finds.
AtomPairDistance = PairDistance

__all__ = [
    "AtomPairDistance",
    "Distance",
    "PairDistance",
    "RebindingDistance",
    "ReceptorLigandDistance",
    "UnbindingDistance",
]
