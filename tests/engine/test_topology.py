"""Topology text: canonical, and lossless both ways."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from openmm import Vec3, app, unit

from wepystore.engine.component import Text
from wepystore.engine.topology import (
    TopologyError,
    hdf5_topology_json,
    n_atoms,
    openmm_topology,
    topology_json,
)


def rich_topology() -> app.Topology:
    """Everything OpenMM can say, with residues and atoms not in their parents' order."""
    made = app.Topology()
    first, second = made.addChain("A"), made.addChain("lig")
    late = made.addResidue("HIS", second, "12", "B")
    early = made.addResidue("HOH", first, "W1")
    nitrogen = made.addAtom("N", app.element.nitrogen, late, "7", 1)
    oxygen = made.addAtom("O", app.element.oxygen, early, "x", -1)
    site = made.addAtom("M", None, early)
    made.addBond(nitrogen, oxygen, app.topology.Aromatic, 2)
    made.addBond(site, oxygen)
    vectors = [Vec3(4, 0, 0), Vec3(0.1, 3.3, 0), Vec3(0.2, 0.3, 3.0)]
    made.setPeriodicBoxVectors(vectors * unit.nanometer)
    return made


def everything(topology: app.Topology) -> list[object]:
    vectors = topology.getPeriodicBoxVectors()
    return [
        [(chain.index, chain.id) for chain in topology.chains()],
        sorted(
            (r.index, r.name, r.id, r.insertionCode, r.chain.index) for r in topology.residues()
        ),
        sorted(
            (a.index, a.name, a.element and a.element.symbol, a.id, a.formalCharge, a.residue.index)
            for a in topology.atoms()
        ),
        [(bond[0].index, bond[1].index, bond.type, bond.order) for bond in topology.bonds()],
        None if vectors is None else [tuple(row.value_in_unit(unit.nanometer)) for row in vectors],
    ]


def test_nothing_is_lost_on_the_way_through_text() -> None:
    """Ids, insertion codes, charges, virtual sites, bond types and the box come back."""
    made = rich_topology()
    assert everything(openmm_topology(topology_json(made))) == everything(made)


def test_the_text_of_the_topology_read_back_is_the_same_text() -> None:
    """The text is canonical, and of the kind that a store keeps as an object (I1)."""
    text = topology_json(rich_topology())
    assert isinstance(text, Text)
    assert topology_json(openmm_topology(text)) == text
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_a_topology_without_a_box_has_none_afterwards() -> None:
    """No box is not a box of some default size."""
    made = app.Topology()
    assert openmm_topology(topology_json(made)).getPeriodicBoxVectors() is None
    assert "bond_types" not in topology_json(made)


def test_the_wepy_text_has_only_the_keys_its_readers_know() -> None:
    """MDTraj and wepy read the atoms, elements and bonds from it."""
    value = json.loads(hdf5_topology_json(topology_json(rich_topology())))
    assert value.keys() == {"chains", "bonds"}
    residue = value["chains"][0]["residues"][0]
    assert value["chains"][0].keys() == {"index", "residues"}
    assert residue.keys() == {"index", "name", "resSeq", "segmentID", "atoms"}
    assert residue["resSeq"] == 2
    assert residue["atoms"] == [
        {"element": "O", "index": 1, "name": "O"},
        {"element": "", "index": 2, "name": "M"},
    ]
    assert value["bonds"] == [[0, 1], [2, 1]]


def test_a_topology_from_a_wepy_file_is_read() -> None:
    """What wepy leaves out is filled in: ids from numbers, no box, plain bonds."""
    text = (
        '{"chains": [{"residues": [{"index": 0, "name": "Ar", "atoms": [{"index": 0, "name": "Ar",'
        ' "element": "Ar"}], "resSeq": 5, "segmentID": ""}], "index": 0}], "bonds": []}'
    )
    made = openmm_topology(text)
    assert [(r.id, r.insertionCode) for r in made.residues()] == [("5", "")]
    assert next(made.atoms()).element is app.element.argon
    assert n_atoms(text) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "it is no JSON"),
        ("[]", "it is no JSON object"),
        ('{"chains": []}', "the key 'bonds' is missing"),
        (
            '{"bonds": [], "chains": [{"index": 0, "residues": [{"index": 0, "name": "X",'
            ' "resSeq": 1, "atoms": [{"index": 0, "name": "Q", "element": "Qq"}]}]}]}',
            "OpenMM knows no element 'Qq'",
        ),
        ('{"bonds": [[0, 9]], "chains": []}', "out of range"),
    ],
)
def test_a_text_that_is_no_topology_says_why(text: str, reason: str) -> None:
    """The message names what is wrong with it."""
    with pytest.raises(TopologyError, match=reason):
        openmm_topology(text)


def test_counting_atoms_needs_no_openmm() -> None:
    """Readers of a store must not pay for importing a simulation engine."""
    code = (
        "import sys; from wepystore.engine.topology import n_atoms;"
        "assert n_atoms('{\"chains\":[]}') == 0; assert 'openmm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
