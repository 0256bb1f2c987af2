"""Reporters: what a run leaves behind besides its snapshots.

The classes are imported when first asked for, h5py and numpy with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wepystore.reporters.base import Reporter
    from wepystore.reporters.dashboard import DashboardReporter
    from wepystore.reporters.family_tree import FamilyTreeReporter
    from wepystore.reporters.hdf5 import HDF5Reporter
    from wepystore.reporters.structures import InitTopologyReporter, WalkerReporter

__all__ = [
    "DashboardReporter",
    "FamilyTreeReporter",
    "HDF5Reporter",
    "InitTopologyReporter",
    "Reporter",
    "WalkerReporter",
]

_HOMES = {
    "DashboardReporter": "dashboard",
    "FamilyTreeReporter": "family_tree",
    "HDF5Reporter": "hdf5",
    "InitTopologyReporter": "structures",
    "Reporter": "base",
    "WalkerReporter": "structures",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
