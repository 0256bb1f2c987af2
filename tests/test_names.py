"""Every built-in component has a name for ever, round-trips, and is at hand in wepystore.api."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wepystore.api
from tests.systems import pair_runner, pair_state
from wepystore.api import WalkerState, as_walker_state
from wepystore.engine.component import Component
from wepystore.records import registry
from wepystore.records.errors import UnknownComponentError
from wepystore.records.library import Memory
from wepystore.records.values import decode, encode

#: Names that stand in stores out there. A name may be added, none may ever go.
RELEASED = {
    "DashboardReporter",
    "FamilyTreeReporter",
    "HDF5Reporter",
    "InitTopologyReporter",
    "NoBC",
    "NoResampler",
    "OpenMMRunner",
    "PairDistance",
    "ProcessMapper",
    "RebindingDistance",
    "ReceptorLigandDistance",
    "SerialMapper",
    "UnbindingBC",
    "UnbindingDistance",
    "WExploreResampler",
    "WalkerReporter",
}


def four_atoms() -> WalkerState:
    """A ligand atom and a binding site of three."""
    positions = [[0.5, 0.5, 0.5], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    return as_walker_state(positions, np.eye(3) * 4.0)


#: How to make those that need arguments.
MAKE: dict[str, Callable[[Any], Any]] = {
    "OpenMMRunner": lambda cls: pair_runner(),
    "UnbindingBC": lambda cls: cls(1.0, [pair_state()], [0], [1], periodic=False),
    "PairDistance": lambda cls: cls(0, 1),
    "WExploreResampler": lambda cls: cls(wepystore.api.PairDistance(0, 1)),
    **{
        name: lambda cls: cls([0], [1, 2, 3], four_atoms())
        for name in ("ReceptorLigandDistance", "UnbindingDistance", "RebindingDistance")
    },
}


def test_released_names_stay() -> None:
    """Old snapshots must load for ever."""
    assert set(registry.builtin_names()) >= RELEASED


@pytest.mark.parametrize("name", registry.builtin_names())
def test_a_name_resolves_and_round_trips(name: str) -> None:
    """Class by name, name by class, and an equal component from its own parameters."""
    cls = registry.builtin_class(name, "test")
    assert issubclass(cls, Component)
    component = MAKE.get(name, lambda cls: cls())(cls)
    assert registry.builtin_name(component) == name
    memory = Memory()
    encoded = encode(component, memory, "x")
    assert encoded["component"]["class"] == name
    assert '"pickle"' not in json.dumps(encoded)
    again = decode(encoded, lambda ref: memory.entries["objects", ref.md5], "x")
    assert type(again) is cls
    assert encode(again, Memory(), "x") == encoded


@pytest.mark.parametrize("name", registry.builtin_names())
def test_a_name_is_exported(name: str) -> None:
    """A script needs to know one module."""
    assert getattr(wepystore.api, name) is registry.builtin_class(name, "test")
    assert name in wepystore.api.__all__


def test_all_is_sorted_and_true() -> None:
    """Nothing in __all__ is missing, nothing twice."""
    names = wepystore.api.__all__
    assert len(set(names)) == len(names)
    assert all(hasattr(wepystore.api, name) for name in names)


def test_an_unknown_name_says_what_to_do() -> None:
    """A newer wepystore may know it."""
    with pytest.raises(UnknownComponentError, match=r"runner: .*'Warp'.*upgrade"):
        registry.builtin_class("Warp", "runner")
