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
from wepystore.records.values import MISSHAPEN, Fetch, decode_states
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
    try:
        return _compared(old, json.loads(sink.manifest), walkers, store.object)
    except MISSHAPEN as problem:
        raise MalformedRecordError(
            where=f"snapshot {then.md5}",
            what="snapshot",
            problem=f"{type(problem).__name__}: {problem}",
        ) from problem


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
    comparing = _Comparing(index, walkers, same)
    # One field at a time: not a whole end more is to be in memory.
    first = 0
    for group in groups:
        for name, ref in sorted(group["fields"].items()):
            one = {"n_states": group["n_states"], "fields": {name: ref}}
            comparing.field(name, one, first, fetch)
        first += group["n_states"]
    if not all(type(number) is int and 0 <= number < first for number in index):
        problem = f"it goes beyond {first} states"
        raise MalformedRecordError(where="walkers", what="index of states", problem=problem)
    return Comparison(
        parts,
        (len(index), len(walkers)),
        n_same=comparing.n_same(),
        weights=float(np.max(np.abs(weights[0] - weights[1]))),
        fields=dict(sorted(comparing.apart.items())),
    )


class _Comparing:
    """Walkers compared with recorded ones in the same places, field by field.

    Parameters
    ----------
    index : list of int
        Each recorded walker's state, by its number.
    walkers : sequence of walkers
    same : list of bool
        Whether their weights are.
    """

    def __init__(self, index: Sequence[int], walkers: Sequence[Any], same: list[bool]) -> None:
        self._index, self._walkers, self._same = index, walkers, same
        self._n_compared = [0] * len(walkers)
        self.apart: dict[str, float] = {}

    def field(self, name: str, group: dict[str, Any], first: int, fetch: Fetch) -> None:
        """One field of the recorded states that are numbered from `first`."""
        n_states = group["n_states"]
        states = decode_states({"index": range(n_states), "groups": [group]}, fetch, "walkers")
        for k, number in enumerate(self._index):
            if not first <= number < first + n_states:
                continue
            self._n_compared[k] += 1
            then, state = states[number - first][name], self._walkers[k].state
            now = np.asarray(state[name], np.float64) if name in state else None
            if now is None or now.shape != then.shape:
                self._same[k] = False
                continue
            self._same[k] = self._same[k] and now.tobytes() == then.tobytes()
            largest = float(np.max(np.abs(then - now), initial=0.0))
            self.apart[name] = max(self.apart.get(name, 0.0), largest)

    def n_same(self) -> int:
        """How many are the same, with no field more or less."""
        whole = [
            n == len(walker.state)
            for n, walker in zip(self._n_compared, self._walkers, strict=True)
        ]
        return sum(same and every for same, every in zip(self._same, whole, strict=True))
