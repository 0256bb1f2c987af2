"""What of a run's states is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wepystore.engine.component import Component
from wepystore.engine.errors import ComponentError

#: Name of a precision -> its type in a file.
PRECISIONS = {"float32": "<f4", "float64": "<f8"}

#: What is recorded unless something else is asked for, as far as states have it.
USUAL = ("positions", "box_vectors")

#: Fields with a value for each atom.
OF_ATOMS = ("positions", "velocities", "forces")


class Recording(Component):
    """Which frames a run leaves in its store. What else happened is recorded in any case.

    Parameters
    ----------
    fields : sequence of str
        Of the walkers' states, such as "positions", "box_vectors", "velocities", "forces",
        "potential_energy"; () for no frames.
    atoms : sequence of int, or None
        Numbers of atoms, from 0: of positions, velocities and forces only theirs are kept. None for
        all.
    every : int
        Frames of every so many cycles, the first one's among them.
    precision : str
        "float32" (of a position within 10 nm, 5e-7 nm) or "float64".

    Raises
    ------
    ComponentError : values of other types, or no such precision.
    """

    ATOM_PARAMETERS = ("atoms",)

    def __init__(
        self,
        fields: Sequence[str] = USUAL,
        atoms: Sequence[int] | None = None,
        every: int = 1,
        precision: str = "float32",
    ) -> None:
        problem = None
        if isinstance(fields, (str, bytes)) or not all(isinstance(name, str) for name in fields):
            problem = f'fields is {fields!r}, and no sequence of names, as in ["positions"]'
        elif len(set(fields)) != len(fields):
            problem = f"fields names one twice: {list(fields)}"
        elif type(every) is not int or every < 1:
            problem = f"every is {every!r}, and no number of cycles from 1 on"
        elif precision not in PRECISIONS:
            problem = f"precision is {precision!r}, and neither {' nor '.join(PRECISIONS)}"
        if problem is not None:
            raise ComponentError(component="Recording", problem=problem)
        self.fields = list(fields)
        self.atoms = None if atoms is None else _atoms(atoms)
        self.every = every
        self.precision = precision

    def summary(self) -> dict[str, str]:
        """A few facts for a person who watches a run: {label: value}."""
        if not self.fields:
            return {"Frames": "none"}
        atoms = "all atoms" if self.atoms is None else f"{len(self.atoms)} atoms"
        what = f"{', '.join(self.fields)} of {atoms}, {self.precision}"
        return {"Frames": what if self.every == 1 else f"{what}, every {self.every} cycles"}


def _atoms(atoms: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    numbers = np.asarray(atoms)
    if numbers.ndim != 1 or not numbers.size or numbers.dtype.kind not in "iu" or numbers.min() < 0:
        problem = "atoms is no list of numbers of atoms, counted from 0"
        raise ComponentError(component="Recording", problem=problem)
    if len(np.unique(numbers)) != len(numbers):
        raise ComponentError(component="Recording", problem="atoms names one twice")
    return numbers.astype(np.int64)
