"""Topologies as canonical JSON text, and back to OpenMM without loss.

The layout is the one readers of WepyHDF5 files (and MDTraj's HDF5 format) know::

    {"chains": [{"index", "residues": [{"index", "name", "resSeq", "segmentID",
                 "atoms": [{"index", "name", "element"}]}]}],
     "bonds": [[i, j]]}

with what OpenMM knows beyond it under keys of its own: ``id`` of chains,
residues and atoms, ``insertionCode`` of residues, ``formalCharge`` of atoms,
``bond_types`` (one ``[type, order]`` for each bond, left out when no bond has
either) and ``periodic_box_vectors`` (3 rows of 3 numbers, nm). An atom
without element (a virtual site) has the empty string, as MDTraj writes it.

The text is canonical (sorted keys, no spaces), so that one topology is one
text in every process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from wepystore.engine.component import Text
from wepystore.errors import FailedError

if TYPE_CHECKING:
    from openmm.app import Topology

#: The names under which OpenMM's bond types are written.
_BOND_TYPES = ("Single", "Double", "Triple", "Aromatic", "Amide")


class TopologyError(FailedError):
    """{what} is not a topology this program can use: {reason}"""


@contextmanager
def _understood() -> Iterator[None]:
    """A text that has not what it should is told of as TopologyError."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        key = error.args[0] if isinstance(error, KeyError) else None
        reason = str(error) if key is None else f"the key {key!r} is missing"
        raise TopologyError(what="the topology text", reason=reason) from error


def topology_json(openmm_topology: Topology) -> Text:
    """The canonical text of an OpenMM topology; `openmm_topology` undoes it.

    Raises
    ------
    TopologyError
        A bond has a type other than OpenMM's five, so it could not be read back.
    """
    chains = [
        {
            "id": _plain(chain.id),
            "index": chain.index,
            "residues": [_residue_dict(residue) for residue in chain.residues()],
        }
        for chain in openmm_topology.chains()
    ]
    bonds: list[list[int]] = []
    types: list[list[Any]] = []
    for bond in openmm_topology.bonds():
        bonds.append([bond[0].index, bond[1].index])
        types.append([_bond_type_name(bond.type), _plain(bond.order)])
    value: dict[str, Any] = {"chains": chains, "bonds": bonds}
    if any(name is not None or order is not None for name, order in types):
        value["bond_types"] = types
    vectors = openmm_topology.getPeriodicBoxVectors()
    if vectors is not None:
        from openmm import unit

        value["periodic_box_vectors"] = [
            [float(component) for component in row.value_in_unit(unit.nanometer)] for row in vectors
        ]
    return Text(_canonical(value))


@_understood()
def openmm_topology(text: str) -> Topology:
    """The OpenMM topology of a text from `topology_json`, or of a WepyHDF5 file.

    What only `topology_json` writes (ids, charges, types of bonds, box) may be
    missing; ids are then residue numbers and indices counted from 1.

    Raises
    ------
    TopologyError
        The text is not JSON of this layout, or names an element OpenMM lacks.
    """
    from openmm import Vec3, app, unit

    value = _parse(text)
    topology = app.Topology()
    # OpenMM numbers residues and atoms in the order they are added, which
    # need not be that of their parents: so each level is added by index.
    chains = sorted(value["chains"], key=lambda chain: chain["index"])
    pairs = []
    for chain in chains:
        parent = topology.addChain(chain.get("id"))
        pairs += [(parent, residue) for residue in chain["residues"]]
    pairs.sort(key=lambda pair: pair[1]["index"])
    atom_pairs = []
    for parent, residue in pairs:
        made = topology.addResidue(
            residue["name"],
            parent,
            residue.get("id", str(residue["resSeq"])),
            residue.get("insertionCode", ""),
        )
        atom_pairs += [(made, atom) for atom in residue["atoms"]]
    atom_pairs.sort(key=lambda pair: pair[1]["index"])
    atoms = [
        topology.addAtom(
            atom["name"],
            _element(atom["element"]),
            parent,
            atom.get("id"),
            atom.get("formalCharge"),
        )
        for parent, atom in atom_pairs
    ]
    types = value.get("bond_types") or [[None, None]] * len(value["bonds"])
    for (first, second), (name, order) in zip(value["bonds"], types, strict=True):
        if name is not None and name not in _BOND_TYPES:
            raise ValueError(f"there is no type of bonds {name!r}")
        bond_type = None if name is None else getattr(app.topology, name)
        topology.addBond(atoms[first], atoms[second], bond_type, order)
    vectors = value.get("periodic_box_vectors")
    if vectors is not None:
        topology.setPeriodicBoxVectors([Vec3(*row) for row in vectors] * unit.nanometer)
    return topology


@_understood()
def hdf5_topology_json(text: str) -> str:
    """A topology text with no keys but those that readers of WepyHDF5 files expect."""
    value = _parse(text)
    chains = [
        {
            "index": chain["index"],
            "residues": [
                {key: residue[key] for key in ("index", "name", "resSeq", "segmentID")}
                | {
                    "atoms": [
                        {key: atom[key] for key in ("index", "name", "element")}
                        for atom in residue["atoms"]
                    ]
                }
                for residue in chain["residues"]
            ],
        }
        for chain in value["chains"]
    ]
    return _canonical({"chains": chains, "bonds": value["bonds"]})


@_understood()
def part_json(text: str, atoms: Sequence[int]) -> str:
    """The text of the topology of some of the atoms, numbered anew in the order of their numbers;
    residues and chains that have none of them are left out."""
    value = _parse(text)
    places = {atom: place for place, atom in enumerate(sorted(atoms))}
    chains: list[dict[str, Any]] = []
    n_residues = 0
    for chain in sorted(value["chains"], key=lambda each: each["index"]):
        residues = []
        for residue in chain["residues"]:
            held = [
                atom | {"index": places[atom["index"]]}
                for atom in residue["atoms"]
                if atom["index"] in places
            ]
            if held:
                residues.append(residue | {"index": n_residues, "atoms": held})
                n_residues += 1
        if residues:
            chains.append(chain | {"index": len(chains), "residues": residues})
    kept = [k for k, pair in enumerate(value["bonds"]) if places.keys() >= set(pair)]
    bonds = [[places[atom] for atom in value["bonds"][k]] for k in kept]
    found = value | {"chains": chains, "bonds": bonds}
    if "bond_types" in value:
        found["bond_types"] = [value["bond_types"][k] for k in kept]
    return _canonical(found)


@_understood()
def n_atoms(text: str) -> int:
    """Number of atoms, virtual sites among them."""
    chains = _parse(text)["chains"]
    return sum(len(residue["atoms"]) for chain in chains for residue in chain["residues"])


def _residue_dict(residue: Any) -> dict[str, Any]:
    return {
        "id": _plain(residue.id),
        "index": residue.index,
        "insertionCode": residue.insertionCode,
        "name": residue.name,
        "resSeq": _residue_number(residue),
        "segmentID": "",
        "atoms": [_atom_dict(atom) for atom in residue.atoms()],
    }


def _atom_dict(atom: Any) -> dict[str, Any]:
    described = {
        "id": _plain(atom.id),
        "index": atom.index,
        "name": atom.name,
        "element": "" if atom.element is None else atom.element.symbol,
    }
    if atom.formalCharge is not None:
        described["formalCharge"] = _plain(atom.formalCharge)
    return described


def _residue_number(residue: Any) -> int:
    """The number of a residue in its file; its place where the id is no number."""
    try:
        return int(residue.id)
    except (TypeError, ValueError):
        return int(residue.index) + 1


def _bond_type_name(bond_type: Any) -> str | None:
    if bond_type is None:
        return None
    name = repr(bond_type)
    if name not in _BOND_TYPES:
        raise TopologyError(
            what="the OpenMM topology",
            reason=f"a bond has the type {name}; OpenMM's are {', '.join(_BOND_TYPES)}, or None",
        )
    return name


def _element(symbol: str) -> Any:
    from openmm.app import element

    # "VS" is what MDTraj calls the element of a virtual site.
    if symbol in ("", "VS"):
        return None
    try:
        return element.get_by_symbol(symbol)
    except KeyError:
        raise ValueError(f"OpenMM knows no element {symbol!r}") from None


def _plain(value: Any) -> Any:
    """A numpy scalar as the Python number it holds (ids and charges may be either)."""
    return value.item() if isinstance(value, (np.generic, np.ndarray)) else value


def _parse(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise TopologyError(what="the topology text", reason=f"it is no JSON ({error})") from error
    except RecursionError:
        raise TopologyError(what="the topology text", reason="it is nested too deep") from None
    if not isinstance(value, dict):
        raise TopologyError(what="the topology text", reason="it is no JSON object")
    return value


def _canonical(value: Any) -> str:
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
