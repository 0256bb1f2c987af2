"""Structures in the file formats that viewers open: PDB and DCD, through OpenMM."""

from __future__ import annotations

import contextlib
import io
import math
import struct
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.topology import openmm_topology

if TYPE_CHECKING:
    from openmm.app import Topology

# Places in the header of a DCD file: two numbers, and 80 characters that OpenMM
# fills with the time of day.
_DCD_N_FRAMES, _DCD_LAST_STEP, _DCD_TIME = 8, 20, 180


def pdb_text(
    topology: str, positions: NDArray[np.float64], box_vectors: NDArray[np.float64] | None = None
) -> str:
    """A PDB file of one structure.

    Parameters
    ----------
    topology : text of `topology_json`
    positions : shape (n_atoms, 3), nm
    box_vectors : shape (3, 3), nm; None for no unit cell

    Raises
    ------
    ValueError
        Number of atoms and of positions differ, or a position is not finite.
    """
    text = io.StringIO()
    write_pdb(text, topology, [(positions, box_vectors)])
    return text.getvalue()


def write_pdb(
    file: IO[str],
    topology: str,
    frames: Iterable[tuple[NDArray[Any], NDArray[Any] | None]],
    numbered: bool = False,
) -> None:
    """Write structures, in their order, as a PDB file.

    Parameters
    ----------
    file : open for writing
    topology : as of pdb_text
    frames : positions, shape (n_atoms, 3), nm, and box, as of pdb_text; one at least
    numbered : whether each of them is a model with a number, as several have to be

    Raises ValueError as pdb_text.
    """
    from openmm import app, unit

    model = openmm_topology(topology)
    for number, (positions, box_vectors) in enumerate(frames, start=1):
        _set_box(model, box_vectors)
        head = io.StringIO()
        app.PDBFile.writeHeader(model, head)
        # Each model has a box, and in front of it: so readers that know boxes of models find all,
        # which of a single one at the beginning some know nothing.
        lines = head.getvalue().splitlines(keepends=True)
        file.writelines(line for line in lines if number == 1 or line.startswith("CRYST1"))
        held = np.asarray(positions) * unit.nanometer
        app.PDBFile.writeModel(model, held, file, number if numbered else None, keepIds=True)
    app.PDBFile.writeFooter(model, file)


def write_dcd(
    file: IO[bytes],
    topology: Topology,
    frames: Iterable[NDArray[np.float64]],
    boxes: Sequence[NDArray[np.float64]] | None = None,
) -> None:
    """Write structures, in their order, as a DCD file.

    Parameters
    ----------
    file : open for reading and writing
    topology : of all of them; its box is lost
    frames : each of shape (n_atoms, 3), nm
    boxes : one of shape (3, 3), nm, for each frame; None for no unit cell

    Raises
    ------
    ValueError
        Number of atoms and of positions differ, or a position is not finite.
    """
    from openmm import app, unit

    if boxes is not None and not all(_set_box(topology, box) for box in boxes):
        boxes = None
    # OpenMM takes the unit cell of a frame from the topology, where it is given one.
    _set_box(topology, boxes[0] if boxes else None)
    writer = app.DCDFile(file, topology, 1.0 * unit.picosecond)
    n_frames = n_atoms = 0
    for place, frame in enumerate(frames):
        if place == 0:
            writer.writeModel(np.asarray(frame))
            n_atoms = len(frame)
        elif len(frame) != n_atoms:
            raise ValueError(f"frame {place} has {len(frame)} atoms, the first has {n_atoms}")
        else:
            _append_frame(file, frame, boxes[place] if boxes else None)
        n_frames += 1
    if not n_frames:
        return
    file.seek(_DCD_N_FRAMES)
    file.write(struct.pack("<i", n_frames))
    file.seek(_DCD_LAST_STEP)
    file.write(struct.pack("<i", n_frames - 1))
    # The same walkers make the same bytes, whatever the clock says.
    file.seek(_DCD_TIME)
    file.write(b"Walkers of a weighted ensemble, one frame each".ljust(80, b"\0"))
    file.seek(0, io.SEEK_END)


def _append_frame(
    file: IO[bytes], positions: NDArray[np.float64], box: NDArray[np.float64] | None
) -> None:
    """Write one more frame after one that OpenMM wrote, in the same form.

    OpenMM converts coordinates one by one: 1.6 s for 48 walkers of 50,000 atoms,
    which a checkpoint would wait for. This takes a tenth of that.
    """
    array = np.asarray(positions, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a position is not finite, and a DCD file cannot hold such a one")
    if box is not None:
        from openmm.app.internal.unitcell import computeLengthsAndAngles

        a, b, c, alpha, beta, gamma = computeLengthsAndAngles(np.asarray(box).tolist())
        cosines = [math.sin(math.pi / 2 - angle) for angle in (gamma, beta, alpha)]
        cell = (10.0 * a, cosines[0], 10.0 * b, cosines[1], cosines[2], 10.0 * c)
        file.write(struct.pack("<i6di", 48, *cell, 48))
    # Angstrom, one axis after another, each between its length in bytes.
    length = struct.pack("<i", 4 * len(array))
    for axis in (10.0 * array).astype("<f4").T:
        file.write(length + axis.tobytes() + length)


def _set_box(model: Any, box_vectors: NDArray[np.float64] | None) -> bool:
    """Give the topology this box, or none, where it is None or none that a file can hold; whether
    it has one."""
    from openmm import Vec3, unit

    model.setPeriodicBoxVectors(None)
    if box_vectors is None:
        return False
    vectors = [Vec3(*map(float, row)) for row in np.asarray(box_vectors)] * unit.nanometer
    with contextlib.suppress(ValueError):
        model.setPeriodicBoxVectors(vectors)
    return model.getPeriodicBoxVectors() is not None
