"""How different two states are: progress coordinates for resamplers."""

from wepystore.engine.distances.base import Distance
from wepystore.engine.distances.coordinate import (
    CoordinateDistance,
    ImageCoordinate,
    PositionCoordinate,
    ProgressCoordinate,
    ReferenceCoordinate,
)
from wepystore.engine.distances.pair import PairDistance
from wepystore.engine.distances.receptor import (
    RebindingDistance,
    ReceptorLigandDistance,
    UnbindingDistance,
)
from wepystore.engine.distances.rmsd import RMSDDistance
from wepystore.engine.distances.xy import XYDistance

#: The name a search for "distance between two atoms" finds.
AtomPairDistance = PairDistance

__all__ = [
    "AtomPairDistance",
    "CoordinateDistance",
    "Distance",
    "ImageCoordinate",
    "PairDistance",
    "PositionCoordinate",
    "ProgressCoordinate",
    "RMSDDistance",
    "RebindingDistance",
    "ReceptorLigandDistance",
    "ReferenceCoordinate",
    "UnbindingDistance",
    "XYDistance",
]
