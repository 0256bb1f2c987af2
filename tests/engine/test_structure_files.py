"""Structure files: the bytes are those that OpenMM itself would write."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from openmm import Vec3, app, unit

from wepystore.engine.structure_files import pdb_text, write_dcd, write_pdb
from wepystore.engine.topology import topology_json

TRICLINIC = np.array([[4.0, 0, 0], [0.5, 3.5, 0], [0.25, -1.0, 3.0]])


def water() -> app.Topology:
    made = app.Topology()
    residue = made.addResidue("HOH", made.addChain("W"), "17")
    for name, element in (("O", "O"), ("H1", "H"), ("H2", "H")):
        made.addAtom(name, app.element.get_by_symbol(element), residue)
    return made


def by_openmm(frames: list[Any], boxes: list[Any] | None) -> bytes:
    topology = water()
    if boxes is not None:
        topology.setUnitCellDimensions(Vec3(4, 4, 4))
    file = io.BytesIO()
    writer = app.DCDFile(file, topology, 1.0 * unit.picosecond)
    for place, frame in enumerate(frames):
        vectors = boxes and [Vec3(*row) for row in boxes[place].tolist()] * unit.nanometer
        writer.writeModel(frame, periodicBoxVectors=vectors)
    return file.getvalue()


@pytest.mark.parametrize("boxes", [None, [np.eye(3) * 3.0, TRICLINIC, np.eye(3) * 2.5]])
def test_dcd_frames_are_openmms_byte_for_byte(boxes: list[Any] | None) -> None:
    """Only the time of day in the header differs: it is not there."""
    rng = np.random.default_rng(3)
    frames = [rng.normal(size=(3, 3)) for _ in range(3)]
    file = io.BytesIO()
    write_dcd(file, water(), frames, boxes)
    ours, theirs = bytearray(file.getvalue()), bytearray(by_openmm(frames, boxes))
    ours[180:260] = theirs[180:260] = bytes(80)
    assert ours == theirs


def test_one_topology_does_for_files_with_and_without_a_box() -> None:
    """Nothing of one file is left over for the next."""
    topology = water()
    frames = [np.zeros((3, 3))]
    sizes = []
    for boxes in (None, [TRICLINIC], None):
        file = io.BytesIO()
        write_dcd(file, topology, frames, boxes)
        sizes.append(len(file.getvalue()))
    assert sizes[0] == sizes[2] == sizes[1] - 56


@pytest.mark.parametrize("place", [0, 1])
def test_positions_that_are_not_finite_are_refused(place: int) -> None:
    """A file with them would open and show nonsense."""
    frames = [np.zeros((3, 3)), np.zeros((3, 3))]
    frames[place][1, 2] = np.nan
    with pytest.raises(ValueError, match=r"NaN|not finite"):
        write_dcd(io.BytesIO(), water(), frames)


def test_a_frame_of_another_size_is_refused() -> None:
    """A DCD file holds frames of one number of atoms."""
    with pytest.raises(ValueError, match="frame 1 has 2 atoms, the first has 3"):
        write_dcd(io.BytesIO(), water(), [np.zeros((3, 3)), np.zeros((2, 3))])


def test_pdb_keeps_ids_and_box_and_has_none_where_there_is_none() -> None:
    """Chain, residue number and unit cell are those of the topology and the state."""
    text = topology_json(water())
    with_box = pdb_text(text, np.zeros((3, 3)), TRICLINIC)
    assert "CRYST1   40.000" in with_box
    assert " O   HOH W  17" in with_box
    assert "CRYST1" not in pdb_text(text, np.zeros((3, 3)))


def test_a_box_no_file_can_hold_is_left_out() -> None:
    """A model's box that is not in reduced form must not end a run."""
    odd = np.ones((3, 3))
    assert "CRYST1" not in pdb_text(topology_json(water()), np.zeros((3, 3)), odd)


def test_each_model_of_a_pdb_file_has_its_box() -> None:
    """In front of it, where readers that know more than one look; once the rest of the head."""
    file, held = io.StringIO(), np.zeros((3, 3))
    frames = [(held, TRICLINIC), (held + 1.0, 2 * TRICLINIC), (held, None)]
    write_pdb(file, topology_json(water()), frames, numbered=True)
    lines = file.getvalue().splitlines()
    heads = [line[:6].strip() for line in lines if line[:6] in ("REMARK", "CRYST1", "MODEL ")]
    assert heads == ["REMARK", "CRYST1", "MODEL", "CRYST1", "MODEL", "MODEL"]
    cells = [float(line[6:15]) for line in lines if line.startswith("CRYST1")]
    assert cells == [10 * TRICLINIC[0][0], 20 * TRICLINIC[0][0]]
