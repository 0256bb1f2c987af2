"""What wepystore.engine.adapt asks of wepy's components (its `Plug` says what each answer is)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.compat.wepy.classes import is_known_release, wepy_class
from wepystore.compat.wepy.repairs import installed, prepare_wepy
from wepystore.engine.protocols import Capabilities
from wepystore.engine.resamplers.decision import Decision

#: Resamplers and boundary conditions of wepy's that, in its release KNOWN_RELEASE, take all of
#: their random numbers from the global generators, and nothing from clocks or hash seeds.
_REPEATABLE = frozenset(
    {
        "wepy.resampling.resamplers.wexplore.WExploreResampler",
        "wepy.resampling.resamplers.revo.REVOResampler",
        "wepy.resampling.resamplers.resampler.NoResampler",
        "wepy.boundary_conditions.boundary.NoBC",
        "wepy.boundary_conditions.receptor.UnbindingBC",
        "wepy.boundary_conditions.randomwalk.RandomWalkBC",
    }
)

#: Packages whose release bears on the bits of a run with components of wepy's.
_BELOW_WEPY = ("wepy", "networkx", "geomm")

#: An image may be of any rank; here they are all kept alike, flat.
FLAT_FIELDS = frozenset({"image"})


class NotedByResampler(Capabilities):
    """What a resampler of wepy's has in attributes, if it has it."""

    pmax: Any = None


def prepare() -> None:
    prepare_wepy(drawing=False)


def runner(theirs: Any) -> Any:
    from wepystore.compat.wepy.runner import WepyRunner

    return WepyRunner(theirs)


def reporter(theirs: Any, files: Sequence[str], folders: Sequence[str]) -> Any:
    from wepystore.compat.wepy.reporters import GivenWepyReporter

    return GivenWepyReporter(theirs, files, folders)


def draws_from_the_run(component: Any) -> bool:
    return wepy_class(type(component)) in _REPEATABLE and is_known_release()


def releases() -> dict[str, str]:
    found = {name: installed(name) for name in _BELOW_WEPY}
    return {name: version for name, version in found.items() if version is not None}


def never_changes(boundary_conditions: Any) -> bool:
    return wepy_class(type(boundary_conditions)) is not None


def counterpart(thing: Any) -> Any:
    if thing is not Decision:
        return thing
    return import_module("wepy.resampling.decisions.clone_merge").MultiCloneMergeDecision


def why_still(resampler: Any, weights: NDArray[np.float64]) -> str | None:
    pmax = NotedByResampler(resampler).pmax
    if not isinstance(pmax, float) or len(weights) < 2:
        return None
    lightest = float(np.sort(weights)[:2].sum())
    # WExplore merges up to pmax, REVO below it.
    below = any(cls.__name__ == "REVOResampler" for cls in type(resampler).__mro__)
    if lightest < pmax or (lightest == pmax and not below):
        return None
    return (
        f"{type(resampler).__name__} can clone and merge nothing: the two lightest of "
        f"{len(weights)} walkers weigh {lightest:.6g} together, and its pmax is {pmax:g}; "
        "raise pmax or take more walkers"
    )
