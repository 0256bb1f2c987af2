"""Structures in the file formats that viewers open: PDB and DCD, through OpenMM."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.topology import openmm_topology

if TYPE_CHECKING:
    from openmm.app import Topology

#: Where OpenMM's DCD header keeps the time of day at which it was written.
_DCD_TIME = slice(180, 260)


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
    from openmm import app, unit

    model = _model(topology, box_vectors)
    text = io.StringIO()
    app.PDBFile.writeFile(model, np.asarray(positions) * unit.nanometer, text, keepIds=True)
    return text.getvalue()


class DCDWriter:
    """Writes structures of one topology as DCD files, one after the other.

    Parameters
    ----------
    topology : text of `topology_json`; parsed once
    """

    def __init__(self, topology: str) -> None:
        self._topology = openmm_topology(topology)

    def write(
        self,
        file: IO[bytes],
        frames: Sequence[NDArray[np.float64]],
        boxes: Sequence[NDArray[np.float64]] | None = None,
    ) -> None:
        """Write `frames`, in their order, to a file open for reading and writing.

        Parameters
        ----------
        frames : each of shape (n_atoms, 3), nm
        boxes : one of shape (3, 3), nm, for each frame; None for no unit cell

        Raises
        ------
        ValueError
            Number of atoms and of positions differ, or a position is not finite.
        """
        from openmm import Vec3, app, unit

        usable = boxes is not None and all(_set_box(self._topology, box) for box in boxes)
        if not usable:
            self._topology.setPeriodicBoxVectors(None)
        writer = app.DCDFile(file, self._topology, 1.0 * unit.picosecond)
        for place, frame in enumerate(frames):
            vectors = None
            if boxes is not None and usable:
                vectors = [Vec3(*map(float, row)) for row in boxes[place]] * unit.nanometer
            writer.writeModel(np.asarray(frame), periodicBoxVectors=vectors)
        # The same walkers make the same bytes, whatever the clock says.
        width = _DCD_TIME.stop - _DCD_TIME.start
        file.seek(_DCD_TIME.start)
        file.write(b"Walkers of a weighted ensemble, one frame each".ljust(width, b"\0"))
        file.seek(0, io.SEEK_END)


def _model(topology: str, box_vectors: NDArray[np.float64] | None) -> Topology:
    model = openmm_topology(topology)
    if not _set_box(model, box_vectors):
        model.setPeriodicBoxVectors(None)
    return model


def _set_box(model: Any, box_vectors: NDArray[np.float64] | None) -> bool:
    """Give the topology this box; False where it is none a file can hold."""
    from openmm import Vec3, unit

    if box_vectors is None:
        return False
    vectors = [Vec3(*map(float, row)) for row in np.asarray(box_vectors)] * unit.nanometer
    try:
        model.setPeriodicBoxVectors(vectors)
    except ValueError:
        return False
    return True
