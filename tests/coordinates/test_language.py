"""Coordinates and selections as they are written; what is wrong is told with where."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from wepystore.coordinates import selections
from wepystore.coordinates.composed import Combination
from wepystore.coordinates.errors import (
    CoordinateTextError,
    SelectionTextError,
    UnknownSystemError,
)
from wepystore.coordinates.geometry import AtomDistance, Torsion
from wepystore.coordinates.language import FromFile, Progress, Written, read
from wepystore.coordinates.selections import select
from wepystore.coordinates.shapes import Contacts
from wepystore.coordinates.systems import System

#: Residues of two chains: name, number, names of atoms.
CHAINS: dict[str, list[tuple[str, int, str]]] = {
    "A": [("ACE", 1, "CH3 C O"), ("ALA", 2, "N H CA CB C O"), ("NME", 3, "N H C")],
    "B": [("ALA", 2, "N CA C"), ("HOH", 7, "O H1 H2"), ("HOH", -1, "O H1 H2"), ("NA", 9, "NA")],
}


def topology(bonds: Any = None) -> str:
    """Of CHAINS, as recordings keep it."""
    chains, n_atoms, n_residues = [], 0, 0
    for label, residues in CHAINS.items():
        held = []
        for name, number, atoms in residues:
            each = [
                {"index": n_atoms + k, "name": atom, "element": atom[:1] if atom != "NA" else "Na"}
                for k, atom in enumerate(atoms.split())
            ]
            held.append({"index": n_residues, "name": name, "resSeq": number, "atoms": each})
            n_atoms, n_residues = n_atoms + len(each), n_residues + 1
        chains.append({"index": len(chains), "id": label, "residues": held})
    return json.dumps({"chains": chains, "bonds": bonds or []})


N_ATOMS = 22
SYSTEM = System(N_ATOMS, topology(), masses=np.arange(1.0, N_ATOMS + 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("index 0", [0]),
        ("index 3-5 0", [0, 3, 4, 5]),
        ("all", range(N_ATOMS)),
        ("resname NME", [9, 10, 11]),
        ("name CA", [5, 13]),
        ("name CA CB", [5, 6, 13]),
        ("name H*", [4, 10, 16, 17, 19, 20]),
        ("element Na", [21]),
        ("resid 2", [3, 4, 5, 6, 7, 8, 12, 13, 14]),
        ("resid 7-9", [15, 16, 17, 21]),
        ("resid -1", [18, 19, 20]),
        ("chain B and name CA", [13]),
        ("water and not name O", [16, 17, 19, 20]),
        ("protein and element C", [0, 1, 5, 6, 7, 11, 13, 14]),
        ("name CA or name CB and chain B", [5, 13]),
        ("(name CA or name CB) and chain A", [5, 6]),
        ("not(protein or water)", [21]),
        ("not not index 1", [1]),
        ("  resname   NA  ", [21]),
        ("@phi-A:2", [1, 3, 5, 7]),
        ("@phi-2", [1, 3, 5, 7]),
        ("@psi-A:2 and name N", [3, 9]),
    ],
)
def test_a_selection_is_these_atoms(text: str, expected: Any) -> None:
    """By names, numbers and what is said of them, sorted."""
    assert select(text, SYSTEM) == tuple(expected)


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("", 1, "something is missing here"),
        ("indx 1", 1, "nothing is selected by 'indx'; did you mean 'index'?"),
        ("Name CA", 1, "did you mean 'name'?"),
        ("name", 5, "'name' needs a value here"),
        ("name and", 6, "'name' needs a value"),
        ("name CX", 6, "no atom has the name 'CX'; did you mean 'C"),
        ("name ca", 6, "did you mean 'CA'?"),
        ("name CA XX", 9, "no atom has the name 'XX'"),
        ("resname ALB", 9, "no atom has the resname 'ALB'; did you mean 'ALA'?"),
        ("resname QQQ", 9, "there are ACE, ALA, HOH, NA, NME"),
        ("index 99", 7, "there is no atom 99: they go from 0 to 21"),
        ("index 20-30", 7, "there is no atom 20-30"),
        ("index x", 7, "'x' is no number, and no range as 1-9"),
        ("index 5-3", 7, "there is no atom 5-3"),
        ("resid 44", 7, "there is no residue 44: they go from -1 to 9"),
        ("name CA resname ALA", 9, "'and' or 'or' must come before 'resname'"),
        ("name CA & index 1", 9, "no atom has the name '&'"),
        ("name CA and", 12, "something is missing here"),
        ("(name CA", 9, "a ')' is missing here"),
        ("name CA)", 8, "must come before ')'"),
        ("name CA and element N", 1, "there is no such atom"),
        ("(" * 60 + "all" + ")" * 60, 1, "more than 50 brackets"),
        ("@phi-B:2", 1, "residue 2, ALA, has no phi"),
        ("@phi-5", 1, "there is no residue 5"),
        ("@phy-2", 1, "did you mean '@phi-'?"),
        ("@chi1-A:2", 1, "residue 2, ALA, has no chi1"),
    ],
)
def test_a_selection_that_selects_nothing(text: str, place: int, said: str) -> None:
    """Where, and the nearest that there is; a line each."""
    with pytest.raises(SelectionTextError) as caught:
        select(text, SYSTEM)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert f"(at character {place})" in str(caught.value)


def test_torsions_of_which_there_are_two_or_that_are_broken() -> None:
    """A chain must be named where both have one; residues that are not bonded have none."""
    both = json.loads(topology())
    both["chains"][1] = json.loads(topology())["chains"][0] | {"id": "C"}
    for residue in both["chains"][1]["residues"]:
        residue["index"] += 3
        for atom in residue["atoms"]:
            atom["index"] += 12
    twice = System(24, json.dumps(both))
    with pytest.raises(
        SelectionTextError, match="there are 2 of these; name a chain, as in @phi-A:2"
    ):
        select("@phi-2", twice)
    assert select("@phi-C:2", twice) == (13, 15, 17, 19)
    bonds = [[1, 3], [3, 5], [5, 7]]
    assert select("@phi-A:2", System(N_ATOMS, topology(bonds))) == (1, 3, 5, 7)
    with pytest.raises(SelectionTextError, match="has no phi"):
        select("@phi-A:2", System(N_ATOMS, topology(bonds[1:])))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "select them by index"),
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        (topology().replace('"index": 1,', '"index": 2,'), "not numbered one after the other"),
        ("{}", "KeyError"),
        ("null", "TypeError"),
        ('{"chains": [{"residues": [{"name": 1, "resSeq": "x", "index": 0}]}]}', "ValueError"),
        ('{"chains": []}', "has 0 atoms, and there are 22"),
    ],
)
def test_a_topology_that_is_none(text: str | None, said: str) -> None:
    """It is somebody's text: told in a line. By index, atoms can be selected all the same."""
    system = System(N_ATOMS, text)
    with pytest.raises(UnknownSystemError) as caught:
        select("name CA", system)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert select("index 3", system) == (3,)


def of(text: str, system: System = SYSTEM) -> Any:
    asked = read(text)
    assert isinstance(asked, Written)
    return asked.of(system)


def test_coordinates_are_read() -> None:
    """To what would be built of numbers; several atoms get their masses."""
    assert of("distance(index 0, index 1)") == AtomDistance((0, 1))
    assert of(" distance( name CB ,resname NA ) ") == AtomDistance((6, 21))
    assert of("distance(index 0-1, index 2)") == AtomDistance(((0, 1), 2), ((1.0, 2.0), None))
    assert of("torsion(@phi-A:2)") == Torsion((1, 3, 5, 7))
    assert of("torsion(index 4, index 3, index 1, index 0)") == Torsion((4, 3, 1, 0))
    assert of("contacts(resname NA, (water and name O), 0.4)") == Contacts((21,), (15, 18), 0.4)
    found = of("-1.5*distance(index 0, index 1) + distance(index 2, index 3)")
    parts = (AtomDistance((0, 1)), AtomDistance((2, 3)))
    assert found == Combination((-1.5, 1.0), parts)
    assert of(found.name) == found
    assert read("progress") == Progress() and read(" progress/min_distances ") == Progress(
        "min_distances"
    )
    assert read("a b/mine.py:bend") == FromFile("a b/mine.py", "bend")


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("", 1, "a coordinate is missing here"),
        ("distanc(index 0, index 1)", 1, "no coordinate 'distanc'; did you mean 'distance'?"),
        ("progres", 1, "did you mean 'progress'?"),
        ("distance", 9, "'(' must come after 'distance': distance(SELECTION, SELECTION)"),
        ("distance(index 0, index 1", 26, "the ')' of 'distance' is missing"),
        ("distance(index 0)", 10, "'distance' is written distance(SELECTION, SELECTION)"),
        ("distance(index 0, )", 18, "is written"),
        ("distance(index 0, index 1) x", 28, "'+' or '-' must come before 'x'"),
        ("2 distance(index 0, index 1)", 3, "'*' and a coordinate must come after 2"),
        ("rg(all) - progress", 11, "it cannot be part of a sum"),
        ("rg(all) -", 10, "a coordinate is missing here"),
        ("?", 1, "'?' begins no coordinate"),
        ("distance(index 0, indx 1)", 19, "did you mean 'index'?"),
        ("distance(index 0, name XX)", 24, "no atom has the name 'XX'"),
        ("torsion(index 0-3)", 9, "one that names a torsion: @phi-5"),
        ("contacts(all, all, near)", 20, "'near' is no number above 0"),
        ("contacts(all, all, 0)", 20, "'0' is no number above 0"),
        ("position(index 0, w)", 19, "'w' is no axis; there are x, y, z"),
        ("rg(all) + contacts(all, all, 1)", 1, "of coordinates of one unit"),
        ("2*torsion(@phi-A:2)", 3, "without a period"),
        ("mine.py:1x", 1, "no coordinate 'mine'"),
    ],
)
def test_a_text_that_is_no_coordinate(text: str, place: int, said: str) -> None:
    """Where it is wrong, and what would be right; in a line."""
    with pytest.raises((CoordinateTextError, SelectionTextError)) as caught:
        of(text)
    assert said in str(caught.value) and f"(at character {place})" in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.exit_status == 2


def test_what_the_system_does_not_tell() -> None:
    """Masses and a reference that are not there are not made up."""
    bare = System(N_ATOMS, topology())
    for text, said in (
        ("rg(all)", "it needs masses, and none are recorded"),
        ("distance(resname ALA, index 1)", "it needs masses"),
        ("rmsd(name CA CB)", "no reference"),
    ):
        with pytest.raises(UnknownSystemError, match=said):
            of(text, bare)
    with pytest.raises(UnknownSystemError, match="are 0, or no masses"):
        of("rg(all)", System(N_ATOMS, masses=np.full(N_ATOMS, np.nan)))


def test_a_text_of_blanks_is_read_once() -> None:
    """However long: it took a time that grew with its square, minutes for this one."""
    words = list(selections._TOKEN.finditer("all" + " " * 1_000_000))
    assert [word[0] for word in words] == ["all"]
