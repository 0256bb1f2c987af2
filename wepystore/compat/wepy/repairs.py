"""What wepy 1.x needs to run on today's libraries: a few attributes, added while it is in use.

wepy 1.2, the newest release, does not work as installed. Nothing of its files is
changed; `prepare_wepy` adds to its modules, once they are loaded in this process,

- ``wepy.runners.openmm.get_parameter_derivs = False``: the constructor of OpenMMRunner reads a
  global of that name which is defined nowhere, so that no runner could be made;
- ``networkx.Graph.node``: wepy's WExplore and its graph layouts use it; networkx took it away
  in 2.4. It is the same mapping as ``Graph._node``;
- the field ``image`` in ``WExploreResampler.RESAMPLER_FIELDS``, which its records have, so that
  wepy's HDF5 reporter fails at the first new region. For the class its shape and type are
  "any" and "none", of which HDF5 can make nothing, so each resampler says those of its own images;
- ``matplotlib.cm.get_cmap``, which wepy's ResTree reporter uses: matplotlib took it away in 3.9.

What is there already is left alone, so that newer releases, or a user's own repairs, win.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from wepystore.errors import FailedError

_PACKAGE = "wepy"

#: The release whose source all that is said here of wepy was read in, and is tested with.
KNOWN_RELEASE = "1.2"


class WepyMissingError(FailedError):
    """{what} needs wepy 1.x, which is not installed here: pip install 'wepy==1.2' mdtraj matplotlib
    (or turn it into a native one where wepy is installed: 'wepystore convert ORCH HASH')"""


def have_wepy() -> bool:
    """Whether the package wepy is installed. Imports nothing."""
    return _PACKAGE in sys.modules or find_spec(_PACKAGE) is not None


def installed(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def prepare_wepy(drawing: bool = True) -> list[str]:
    """Make wepy 1.x usable in this process; the names of what was added this time.

    Call it before you build wepy's components in a script of your own. Snapshots
    that hold such components bring it with them: a run calls it by itself.
    It may be called any number of times.

    Parameters
    ----------
    drawing : bool
        Whether to load matplotlib for the sake of its repair, if nobody has: it takes half a
        second. Without, it is repaired only if it is there.

    Raises
    ------
    WepyMissingError : wepy is not installed.
    """
    if not have_wepy():
        raise WepyMissingError(what="this")
    return [
        name
        for place, load, repair in _REPAIRS
        for name in _repaired(place, drawing if load is None else load, repair)
    ]


# Where pickles have it (docs/design/0032-names-that-stay.md).
prepare_wepy.__module__ = "wepystore.engine.wepy_repairs"


def _repaired(place: str, load: bool, repair: Callable[[ModuleType], str | None]) -> list[str]:
    module = sys.modules.get(place)
    if module is None and load:
        # Without OpenMM, say, there is nothing of it to repair.
        with contextlib.suppress(ImportError):
            module = import_module(place)
    name = repair(module) if module is not None else None
    return [] if name is None else [name]


def _runner(module: ModuleType) -> str | None:
    if "get_parameter_derivs" in vars(module):
        return None
    module.get_parameter_derivs = False  # type: ignore[attr-defined]
    return f"{module.__name__}.get_parameter_derivs"


def _graph(module: ModuleType) -> str | None:
    if "node" in vars(module.Graph):
        return None
    module.Graph.node = property(lambda graph: graph._node)
    return "networkx.Graph.node"


def _wexplore(module: ModuleType) -> str | None:
    cls = module.WExploreResampler
    if (
        "image" in cls.RESAMPLER_FIELDS
        or len(cls.RESAMPLER_SHAPES) != len(cls.RESAMPLER_FIELDS) + 1
    ):
        return None
    cls.RESAMPLER_FIELDS = (*cls.RESAMPLER_FIELDS, "image")
    cls.resampler_field_shapes = _with_own(cls.resampler_field_shapes, "image_shape", Ellipsis)
    cls.resampler_field_dtypes = _with_own(cls.resampler_field_dtypes, "image_dtype", None)
    return f"{module.__name__}.WExploreResampler.RESAMPLER_FIELDS: image"


def _with_own(listed: Callable[[Any], tuple[Any, ...]], own: str, unknown: Any) -> Any:
    """A method that lists something of every field, which gives of the image what the resampler
    itself knows where its class does not."""

    @functools.wraps(listed)
    def method(resampler: Any) -> tuple[Any, ...]:
        found = list(listed(resampler))
        names = resampler.resampler_field_names()
        place = names.index("image") if "image" in names else len(found)
        # Known from the first cycle on.
        value = vars(resampler).get(own, unknown)
        if place < len(found) and found[place] is unknown:
            # A number that is no array is recorded as an array of one (reporters.py).
            found[place] = (1,) if value == () else value
        return tuple(found)

    return method


def _colours(module: ModuleType) -> str | None:
    maps = sys.modules.get("matplotlib.cm")
    if maps is None or "get_cmap" in vars(maps):
        return None
    known = sys.modules["matplotlib"].colormaps
    maps.get_cmap = lambda name=None, lut=None: known[name or "viridis"]  # type: ignore[attr-defined]
    return "matplotlib.cm.get_cmap"


#: (module, whether it is imported for this or, None, only for drawing, what is done to it)
_REPAIRS: tuple[tuple[str, bool | None, Callable[[ModuleType], str | None]], ...] = (
    ("networkx", True, _graph),
    ("wepy.runners.openmm", True, _runner),
    ("wepy.resampling.resamplers.wexplore", True, _wexplore),
    ("matplotlib.cm", None, _colours),
)
