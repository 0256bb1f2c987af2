"""Whether a run began where its warped walkers begin anew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wepystore.records import npy
from wepystore.store.errors import MissingError
from wepystore.store.manifests import walkers_of
from wepystore.store.names import Ref
from wepystore.store.store import Store

#: The weights of a start may be off by so much; they are rounded.
_TOLERANCE = 1e-6


def starts_in_initial_state(store: Store, snapshot: str) -> bool:
    """Whether the walkers of a snapshot have the positions to which its boundary conditions send
    those that arrive, of several with the same weights; False where nobody knows. Raises
    DamagedError.

    Nothing of the apparatus is loaded: its manifest names them.
    """
    try:
        manifest = store.manifest("snapshots", snapshot)
        params = _under(manifest, "apparatus", "boundary_conditions", "component", "params")
        states = _under(params, "initial_states", "states")
        initial = {"states": _under(states, "index"), "groups": _under(states, "groups")}
        shares = _shares(store, initial, _under(params, "initial_weights"))
        walkers = manifest.get("walkers")
        started = _shares(store, walkers, _under(walkers, "weights"))
    except (MissingError, ValueError, IndexError):
        return False
    return shares.keys() == started.keys() and all(
        math.isclose(shares[place], started[place], rel_tol=_TOLERANCE) for place in shares
    )


def _under(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _shares(store: Store, states: Any, weights: Any) -> dict[bytes, float]:
    """The weight of states at each of their positions; equal weights where there are none. Raises
    ValueError where they are not known, IndexError, MissingError, DamagedError."""
    held = walkers_of({"walkers": states})
    index: Sequence[int] = held.states or ()
    numbers = walkers_of({"walkers": {"weights": weights or [1.0] * len(index)}}).weights or ()
    if len(numbers) != len(index) or not all("positions" in fields for fields in held.fields):
        raise ValueError("there are no positions, or no weights")
    where, rows = "the states of a snapshot", []
    for fields in held.fields:
        stack = npy.load(store.object(Ref.from_json(fields["positions"], where)), where)
        rows += [row.tobytes() for row in np.atleast_1d(stack)]
    total = math.fsum(numbers)
    if not total > 0 or min(index) < 0:
        raise ValueError("these are no weights, or no states")
    found: dict[bytes, float] = {}
    for state, weight in zip(index, numbers, strict=True):
        found[rows[state]] = found.get(rows[state], 0.0) + weight / total
    return found
