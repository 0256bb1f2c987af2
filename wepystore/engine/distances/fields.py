"""Fields of a state as a progress coordinate: energies, or what a runner of one's own adds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wepystore.engine.distances.coordinate import ProgressCoordinate
from wepystore.engine.ensemble import Ensemble, Floats
from wepystore.engine.parameters import listed


class FieldCoordinate(ProgressCoordinate):
    """Fields of a state, one after the other, in the units that they have there.

    Parameters
    ----------
    fields : list of str
        Names of fields, as in ``state["potential_energy"]``; each is a number or
        an array, which is taken flat.
    """

    takes_ensembles = True

    def __init__(self, fields: Iterable[str]) -> None:
        if isinstance(fields, str):
            raise ValueError(f"fields must be a list of names, got the text {fields!r}")
        self.fields = tuple(str(name) for name in listed(fields, "fields"))
        if not self.fields:
            raise ValueError("fields is empty: there is nothing to measure")

    def many(self, states: Sequence[Any]) -> Floats:
        """The values, shape (n, number of values)."""
        whole = states.fields if isinstance(states, Ensemble) else None
        columns = []
        for name in self.fields:
            try:
                column = [state[name] for state in states] if whole is None else whole[name]
            except KeyError:
                has = sorted(whole if whole is not None else states[0])
                raise ValueError(
                    f"FieldCoordinate looks at {name!r}, but a state has {', '.join(has)}"
                ) from None
            columns.append(np.asarray(column, dtype=np.float64).reshape(len(states), -1))
        return np.concatenate(columns, axis=1)
