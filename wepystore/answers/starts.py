"""Whether a run began where its warped walkers begin anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.records import npy
from wepystore.store.errors import MissingError
from wepystore.store.manifests import walkers_of
from wepystore.store.names import Ref
from wepystore.store.store import Store


def starts_in_initial_state(store: Store, snapshot: str) -> bool:
    """Whether all walkers of a snapshot have the positions to which its boundary conditions send
    those that arrive; False where there are several such, or nobody knows. Raises DamagedError.

    Nothing of the apparatus is loaded: its manifest names them.
    """
    try:
        manifest = store.manifest("snapshots", snapshot)
        apparatus = manifest.get("apparatus")
        boundary = _under(apparatus, "boundary_conditions", "component", "params")
        (initial,) = _stacks(store, _under(boundary, "initial_states", "states"))
        return all(
            each.shape[1:] == initial.shape[1:] and bool((each == initial[0]).all())
            for each in (*_stacks(store, manifest.get("walkers")), initial)
        )
    except (MissingError, ValueError, IndexError):
        return False


def _under(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _stacks(store: Store, states: Any) -> list[NDArray[Any]]:
    """The positions of states, of each group, shape (n, n_atoms, 3); of the same bytes once. Raises
    ValueError where they are not known, MissingError, DamagedError."""
    groups = walkers_of({"walkers": states}).fields
    if not groups or not all("positions" in fields for fields in groups):
        raise ValueError("there are no positions")
    where = "the states of a snapshot"
    refs = [Ref.from_json(fields["positions"], where) for fields in groups]
    known = {ref.md5: ref for ref in refs}
    found = [npy.load(store.object(ref), where) for ref in known.values()]
    return [np.atleast_1d(each) for each in found]
