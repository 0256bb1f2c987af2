"""Every built-in component has a name for ever, round-trips, and is at hand in wepystore.api; and
what may be said where."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wepystore.api
from tests.systems import REPOSITORY, pair_runner, pair_state
from wepystore import errors
from wepystore.api import WalkerState, as_walker_state
from wepystore.cli.main import COMMANDS
from wepystore.engine.component import Component
from wepystore.records import registry
from wepystore.records.errors import UnknownComponentError
from wepystore.records.sinks import Memory
from wepystore.records.values import decode, encode

PACKAGE = REPOSITORY / "wepystore"

#: Names that stand in stores out there. A name may be added, none may ever go.
RELEASED = {
    "BinResampler",
    "CoordinateDistance",
    "DashboardReporter",
    "DaskMapper",
    "DoubleWell",
    "FamilyTreeReporter",
    "FieldCoordinate",
    "FunctionPotential",
    "HDF5Reporter",
    "Harmonic",
    "ImageCoordinate",
    "InitTopologyReporter",
    "NoBC",
    "NoResampler",
    "OpenMMRunner",
    "OverdampedLangevinRunner",
    "PairDistance",
    "PositionCoordinate",
    "ProcessMapper",
    "REVOResampler",
    "RMSDDistance",
    "RandomWalkDistance",
    "RandomWalkRunner",
    "RandomWalkTargetBC",
    "RebindingBC",
    "RebindingDistance",
    "ReceptorLigandDistance",
    "ReferenceCoordinate",
    "SerialMapper",
    "TargetBC",
    "UnbindingBC",
    "UnbindingDistance",
    "WExploreResampler",
    "WalkerReporter",
    "XYDistance",
}

#: Those whose very purpose is to hold a user's function: they need a pickle.
OF_FUNCTIONS = {"FunctionPotential"}


def four_atoms() -> WalkerState:
    """A ligand atom and a binding site of three."""
    positions = [[0.5, 0.5, 0.5], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    return as_walker_state(positions, np.eye(3) * 4.0)


def four_atoms_bound() -> WalkerState:
    """The same, with the ligand in its place."""
    positions = [[0.3, 0.3, 0.1], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    return as_walker_state(positions, np.eye(3) * 4.0)


#: How to make those that need arguments.
MAKE: dict[str, Callable[[Any], Any]] = {
    "OpenMMRunner": lambda cls: pair_runner(),
    "UnbindingBC": lambda cls: cls(1.0, [pair_state()], [0], [1], periodic=False),
    "PairDistance": lambda cls: cls(0, 1),
    "REVOResampler": lambda cls: cls(wepystore.api.PairDistance(0, 1), 0.2, 0.1),
    "BinResampler": lambda cls: cls(wepystore.api.PositionCoordinate(), [0.0, 1.0]),
    "RMSDDistance": lambda cls: cls([0, 1, 2]),
    "XYDistance": lambda cls: cls([0]),
    "CoordinateDistance": lambda cls: cls(wepystore.api.PositionCoordinate()),
    "FieldCoordinate": lambda cls: cls(["x", "y"]),
    "ImageCoordinate": lambda cls: cls(wepystore.api.PairDistance(0, 1)),
    "ReferenceCoordinate": lambda cls: cls(wepystore.api.PairDistance(0, 1), pair_state()),
    "OverdampedLangevinRunner": lambda cls: cls(wepystore.api.DoubleWell(5.0)),
    "FunctionPotential": lambda cls: cls(np.square, np.negative),
    "TargetBC": lambda cls: cls(wepystore.api.PositionCoordinate(), [pair_state()], threshold=1.0),
    "RandomWalkTargetBC": lambda cls: cls(5, [WalkerState(positions=np.zeros((1, 1)))]),
    "RebindingBC": lambda cls: cls(0.1, [four_atoms()], four_atoms_bound(), [0], [1, 2, 3]),
    "WExploreResampler": lambda cls: cls(wepystore.api.PairDistance(0, 1)),
    **{
        name: lambda cls: cls([0], [1, 2, 3], four_atoms())
        for name in ("ReceptorLigandDistance", "UnbindingDistance", "RebindingDistance")
    },
}


def test_released_names_stay() -> None:
    """Old snapshots must load for ever."""
    assert set(registry.PLACES) >= RELEASED


@pytest.mark.parametrize("name", sorted(registry.PLACES))
def test_a_name_resolves_and_round_trips(name: str) -> None:
    """Class by name, name by class, and an equal component from its own parameters."""
    cls = registry.builtin_class(name, "test")
    assert issubclass(cls, Component)
    component = MAKE.get(name, lambda cls: cls())(cls)
    assert registry.builtin_name(component) == name
    memory = Memory()
    encoded = encode(component, memory, "x")
    assert encoded["component"]["class"] == name
    assert ('"pickle"' in json.dumps(encoded)) == (name in OF_FUNCTIONS)
    again = decode(encoded, lambda ref: memory.entries["objects", ref.md5], "x")
    assert type(again) is cls
    assert encode(again, Memory(), "x") == encoded


@pytest.mark.parametrize("name", sorted(registry.PLACES))
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


#: A command of the command line in a text.
COMMAND = re.compile(rf"\bwepy ({'|'.join(COMMANDS)})\b")
#: Who may name them: the command line itself, and the table of ways out that messages refer to.
NAME_COMMANDS = ("cli", "errors.py")


def texts_of(file: Path) -> list[tuple[int, str]]:
    """Line and value of every literal text of a module, docstrings included."""
    tree = ast.parse(file.read_text(), str(file))
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def test_only_one_table_names_commands() -> None:
    """The library knows of the command line nothing but the ways out in errors.WAYS."""
    named = [
        f"{file.relative_to(PACKAGE)}:{line}: {text.strip()[:60]}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.relative_to(PACKAGE).parts[0] not in NAME_COMMANDS
        for line, text in texts_of(file)
        if COMMAND.search(text)
    ]
    assert not named


def test_ways_out_are_commands_and_are_taken() -> None:
    """Each begins with a command that there is, or is an option; each is named in some message,
    and each that is named is there."""
    for text in errors.WAYS.values():
        assert text.startswith("--") or COMMAND.match(text), text
    others = [file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "errors.py"]
    texts = [text for file in others for _, text in texts_of(file)]
    in_messages = {name for text in texts for name in re.findall(r"\{(to_[a-z_]+)\}", text)}
    assert in_messages <= set(errors.WAYS) <= in_messages.union(texts)


#: Names that modules of several rooms share, and what they mean in each of them.
SHARED_NAMES = {
    "base": "what the classes of a folder are derived from",
    "errors": "what can go wrong in a room",
    "files": "how a room opens files that anybody may have put there",
    "ledger": "a list of what was begun, from which is struck off what has come to its end",
    "pickles": "pickles: made, read without being loaded, told of",
    "run": "a run: its record, what does it, the command",
    "trust": "which pickles may be loaded, and the command that says so",
    "wepy": "what is for programs written for wepy 1.x",
}


def test_a_module_name_means_one_thing() -> None:
    """Modules and folders of different rooms have different names, except commands, which are
    called as what they do, and those that mean one thing everywhere."""
    rooms: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        room, *inner = file.relative_to(PACKAGE).with_suffix("").parts
        if inner and not (room == "cli" and inner[-1] in COMMANDS):
            for name in inner:
                rooms.setdefault(name, set()).add(room)
    shared = {name for name, found in rooms.items() if len(found) > 1 and name != "__init__"}
    assert shared <= set(SHARED_NAMES)


def test_docstrings_can_be_read_alone() -> None:
    """None begins with "The same": what is it the same as?"""
    found = [
        f"{file.relative_to(PACKAGE)}:{line}"
        for file in sorted(PACKAGE.rglob("*.py"))
        for line, text in texts_of(file)
        if text.startswith("The same")
    ]
    assert not found


def test_public_classes_are_in_the_table_of_words() -> None:
    """The last words of each class of wepystore.api, or of one that it derives from, are explained
    in docs/architecture.md."""
    table = (REPOSITORY / "docs" / "architecture.md").read_text().partition("## Rooms")[0]
    cells = [line.split("|")[1] for line in table.split("\n") if line.startswith("|")]
    known = {word.strip() for cell in cells for word in cell.split(",")} | {"bc"}

    def explained(cls: type) -> bool:
        words = " ".join(re.findall("BC|[A-Z][a-z]+|[A-Z]+", cls.__name__)).lower().split()
        return bool({words[-1], " ".join(words[-2:]).removesuffix("s")} & known)

    classes = {name: getattr(wepystore.api, name) for name in wepystore.api.__all__}
    unknown = [
        name
        for name, found in classes.items()
        if isinstance(found, type) and not explained(found)
        # What all parts derive from explains none of them.
        if not any(map(explained, set(found.__mro__[1:]) - {Component, *Component.__mro__}))
    ]
    assert not unknown
