"""What two ends of one run have in common, with little more in memory than the two."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wepystore.records.errors import MalformedRecordError
from wepystore.records.sinks import Hashing, Remembering
from wepystore.records.snapshot import Apparatus, Snapshot, encode_snapshot
from wepystore.records.values import Fetch, decode_states, reading
from wepystore.store.names import Ref
from wepystore.store.store import Store

#: Parts of an apparatus, as a snapshot's manifest names them.
_PARTS = ("runner", "boundary_conditions", "resampler")


@dataclass(frozen=True)
class Comparison:
    """What an end that came out otherwise has in common with the recorded one.

    Attributes
    ----------
    parts : list of str
        What of the snapshot differs: walkers, runner, boundary_conditions, resampler.
    n_walkers : tuple of int
        Recorded, and now.
    n_same : int or None
        How many walkers have the same bits in state and weight as the one in the same
        place. None, like the rest, where the numbers of walkers differ.
    weights : float or None
        Largest difference of two weights.
    fields : dict of str to float
        Largest difference in each field of the states that both have in one shape;
        positions in nm, as they stand: not folded into the box.
    """

    parts: list[str]
    n_walkers: tuple[int, int]
    n_same: int | None = None
    weights: float | None = None
    fields: dict[str, float] = field(default_factory=dict)


def compare(store: Store, then: Ref, walkers: Sequence[Any], apparatus: Apparatus) -> Comparison:
    """The recorded end, a snapshot of `store`, and the one that came out.

    Loads no pickle: states are arrays (S9). Raises MalformedRecordError.
    """
    sink = Hashing()
    encode_snapshot(Snapshot.as_found(walkers, apparatus), Remembering(sink, {}))
    old = store.manifest("snapshots", then.md5, then)
    with reading("snapshot", f"snapshot {then.md5}"):
        return _compared(old, json.loads(sink.manifests["snapshots"]), walkers, store.object)


def _compared(
    old: dict[str, Any], new: dict[str, Any], walkers: Sequence[Any], fetch: Fetch
) -> Comparison:
    parts = [part for part in _PARTS if old["apparatus"].get(part) != new["apparatus"][part]]
    if old["walkers"] != new["walkers"]:
        parts.insert(0, "walkers")
    index, groups = old["walkers"]["states"], old["walkers"]["groups"]
    weights = np.array(old["walkers"]["weights"]), np.array(new["walkers"]["weights"])
    if len(index) != len(walkers):
        return Comparison(parts, (len(index), len(walkers)))
    same = [bool(then == now) for then, now in zip(*weights, strict=True)]
    n_fields = [0] * len(walkers)
    apart: dict[str, float] = {}
    first = 0
    for group in groups:
        n_states = group["n_states"]
        for name, ref in sorted(group["fields"].items()):
            # One field at a time: not a whole end more is to be in memory.
            one = {"n_states": n_states, "fields": {name: ref}}
            states = decode_states({"index": range(n_states), "groups": [one]}, fetch, "walkers")
            for k, number in enumerate(index):
                if first <= number < first + n_states:
                    n_fields[k] += 1
                    alike, largest = _apart(states[number - first][name], walkers[k].state, name)
                    same[k] &= alike
                    if largest is not None:
                        apart[name] = max(apart.get(name, 0.0), largest)
            # Not while the next one is read.
            del states
        first += n_states
    if not all(type(number) is int and 0 <= number < first for number in index):
        problem = f"it goes beyond {first} states"
        raise MalformedRecordError(where="walkers", what="index of states", problem=problem)
    return Comparison(
        parts,
        (len(index), len(walkers)),
        # With no field more or less.
        n_same=sum(
            alike and n == len(walker.state)
            for alike, n, walker in zip(same, n_fields, walkers, strict=True)
        ),
        weights=float(np.max(np.abs(weights[0] - weights[1]))),
        fields=dict(sorted(apart.items())),
    )


def _apart(then: Any, state: Any, name: str) -> tuple[bool, float | None]:
    """Whether a field of a state has the bits that it had, and the largest difference, if it has
    its shape."""
    now = np.asarray(state[name], np.float64) if name in state else None
    if now is None or now.shape != then.shape:
        return False, None
    return now.tobytes() == then.tobytes(), float(np.max(np.abs(then - now), initial=0.0))
