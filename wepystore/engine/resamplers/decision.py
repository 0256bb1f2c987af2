"""Decisions: what becomes of each walker, and the one function that carries it out.

Deciding and applying are apart: a resampler returns records, `apply_decisions`
turns them into walkers. A record says for its walker

- NOTHING: it stays in its own slot;
- CLONE: ``target_idxs`` are the slots of its children, its own slot first;
- SQUASH: ``target_idxs`` is the slot of the KEEP_MERGE walker that takes its weight;
- KEEP_MERGE: it stays in its own slot and takes the weight of those squashed into it.

Every survivor keeps its own slot, the number of walkers does not change and
weight is conserved.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import IntEnum
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wepystore.engine.ensemble import Ensemble, Floats, weights_of
from wepystore.engine.protocols import DecisionCapabilities
from wepystore.engine.record_fields import Ragged, RecordColumns, ragged
from wepystore.errors import FailedError

_EPS = sys.float_info.epsilon
#: A relative change of a weight too small to matter beside any statistical error.
_UNNOTICED = 1e-9

Ints = NDArray[np.int64]
#: One walker's record: decision_id, target_idxs, and what else the resampler tells.
Record = Mapping[str, Any]


class DecisionError(FailedError):
    """The resampling records cannot be carried out: {reason}. The resampler that made them is at
    fault."""


class Decision(IntEnum):
    """What becomes of a walker; the numbers are part of the HDF5 format."""

    NOTHING = 1
    CLONE = 2
    SQUASH = 3
    KEEP_MERGE = 4

    @classmethod
    def enum_dict_by_name(cls) -> dict[str, int]:
        """{name: number} of every decision."""
        return {decision.name: int(decision) for decision in cls}


#: Where wepy's dashboard looks the numbers up.
Decision.ENUM = Decision  # type: ignore[attr-defined]

#: As numpy compares them fastest.
_NOTHING, _CLONE, _SQUASH, _KEEP_MERGE = map(int, Decision)
#: A look-up costs a fifth of what `Decision(number)` costs, and there is one for each walker.
_BY_NUMBER = {int(decision): decision for decision in Decision}


def read_record(record: Record) -> tuple[Decision, list[int]]:
    """The decision and the target slots of a record, whose values may be scalars or arrays."""
    number = record["decision_id"]
    number = number.item() if isinstance(number, (np.ndarray, np.generic)) else int(number)
    decision = _BY_NUMBER.get(number)
    if decision is None:
        raise DecisionError(reason=f"there is no decision {number!r}")
    targets = record["target_idxs"]
    if isinstance(targets, np.ndarray):
        whole = targets.dtype.kind == "i"
        targets = targets.ravel().tolist()
        if whole:
            return decision, targets
    return decision, [int(target) for target in targets]


def decision_numbers(resampler: Any) -> dict[str, int]:
    """Name and number of each decision the resampler can take."""
    by_name = DecisionCapabilities(DecisionCapabilities(resampler).DECISION).enum_dict_by_name
    if by_name is None:
        return Decision.enum_dict_by_name()
    return {str(name): int(number) for name, number in by_name().items()}


def count_decisions(
    records: Sequence[Record], numbers: Mapping[str, int]
) -> tuple[int, int] | None:
    """(clones made, walkers merged away) by the records of one cycle, which may be anybody's.

    A walker in its own slot is no clone of itself. None where the records do not tell.

    Parameters
    ----------
    records : of one cycle, in one step or in several
    numbers : as `decision_numbers` gives them
    """
    clone, squash = numbers.get("CLONE"), numbers.get("SQUASH")
    columns = _columns(records)
    if columns is not None and len(records):
        decisions, (_, lengths) = columns
        return int((lengths[decisions == clone] - 1).sum()), int((decisions == squash).sum())
    n_cloned = n_merged = 0
    try:
        for record in records:
            number = record["decision_id"]
            number = number.item() if isinstance(number, (np.ndarray, np.generic)) else int(number)
            if number == clone:
                n_cloned += np.size(record["target_idxs"]) - 1
            elif number == squash:
                n_merged += 1
    except (KeyError, TypeError, ValueError):
        return None
    return (n_cloned, n_merged) if len(records) else None


def _columns(records: Sequence[Record]) -> tuple[Ints, Ragged] | None:
    """Decisions and target slots, if the records are kept as columns."""
    columns = (isinstance(records, RecordColumns) and records.columns) or {}
    decisions, targets = columns.get("decision_id"), columns.get("target_idxs")
    if not isinstance(decisions, np.ndarray) or targets is None:
        return None
    return decisions.ravel(), ragged(targets)


class Resolved(NamedTuple):
    """What records come to.

    Attributes
    ----------
    parents : ndarray, for each slot after resampling the slot of the walker whose state it holds
    children : ndarray, for each walker how many share its weight
    kept : ndarray, the walkers that are KEEP_MERGE
    squashed, into : ndarrays, those squashed, and for each the kept walker that takes its weight
    """

    parents: Ints
    children: Ints
    kept: Ints
    squashed: Ints
    into: Ints

    def merged(self, weights: Floats) -> dict[int, float]:
        """{kept walker: weight of its group, correctly rounded}, of those that take any."""
        groups = defaultdict(list)
        taken = weights[self.squashed].tolist()
        for kept, weight in zip(self.into.tolist(), taken, strict=True):
            groups[kept].append(weight)
        return {kept: math.fsum([weights[kept], *group]) for kept, group in groups.items()}


def first_true(wrong: NDArray[np.bool_]) -> int | None:
    """The first place where an array is true."""
    return int(wrong.argmax()) if wrong.any() else None


def resolve(records: Sequence[Record]) -> Resolved:
    """What records come to.

    Parameters
    ----------
    records : one per walker, in the order of the walkers

    Raises
    ------
    DecisionError : a slot is filled twice or not at all, a squashed walker has
        nowhere to go, or a survivor leaves its own slot.
    """
    n_walkers = len(records)
    columns = _columns(records)
    if columns is None:
        read = [read_record(record) for record in records]
        numbers = np.array([number for number, _ in read], np.int64)
        slots = np.array([*chain.from_iterable(each for _, each in read)], np.int64)
        lengths = np.array([len(each) for _, each in read], np.int64)
    else:
        numbers, (slots, lengths) = columns
        unknown = first_true((numbers < _NOTHING) | (numbers > _KEEP_MERGE))
        if unknown is not None:
            raise DecisionError(reason=f"there is no decision {numbers[unknown].item()!r}")
    owners = np.repeat(np.arange(n_walkers), lengths)
    squash, clone = numbers == _SQUASH, numbers == _CLONE
    _check_slots(numbers, slots, lengths, owners)
    survive = np.repeat(~squash, lengths)
    filled, parents_of = slots[survive], owners[survive]
    n_fillers = np.bincount(filled, minlength=n_walkers)
    slot = first_true(n_fillers > 1)
    if slot is not None:
        one, other = parents_of[filled == slot][:2]
        raise DecisionError(reason=f"slot {slot} is filled by walkers {one} and {other}")
    squashed, into = np.flatnonzero(squash), slots[~survive]
    astray = first_true(numbers[into] != _KEEP_MERGE)
    if astray is not None:
        raise DecisionError(
            reason=f"walker {squashed[astray]} is squashed into slot {into[astray]}, "
            "whose walker is not KEEP_MERGE"
        )
    slot = first_true(n_fillers == 0)
    if slot is not None:
        raise DecisionError(reason=f"no walker fills slot {slot}")
    parents = np.empty(n_walkers, np.int64)
    parents[filled] = parents_of
    kept = np.flatnonzero(numbers == _KEEP_MERGE)
    return Resolved(parents, np.where(clone, lengths, 1), kept, squashed, into)


def _check_slots(numbers: Ints, slots: Ints, lengths: Ints, owners: Ints) -> None:
    """Refuse walkers whose slots are not as many as they need, and their own one first."""

    def said(walker_idx: int) -> str:
        return f"walker {walker_idx} ({Decision(numbers[walker_idx]).name})"

    place = first_true((slots < 0) | (slots >= len(numbers)))
    if place is not None:
        raise DecisionError(
            reason=f"{said(owners[place])} names slot {slots[place]}, "
            f"but there are slots 0 to {len(numbers) - 1}"
        )
    idx = first_true(np.where(numbers == _CLONE, lengths < 2, lengths != 1))
    if idx is not None and numbers[idx] == _CLONE:
        raise DecisionError(
            reason=f"walker {idx} is cloned into {lengths[idx]} slots, at least 2 are needed"
        )
    if idx is not None:
        raise DecisionError(reason=f"{said(idx)} names {lengths[idx]} slots, not 1")
    first = slots[np.cumsum(lengths) - lengths]
    idx = first_true((first != np.arange(len(first))) & (numbers != _SQUASH))
    if idx is not None:
        raise DecisionError(
            reason=f"{said(idx)} survives, but its first slot is {first[idx]} and not its own"
        )


def apply_decisions(walkers: Sequence[Any], records: Sequence[Record]) -> Sequence[Any]:
    """The walkers after resampling, as many as before; `walkers` is left as it was.

    Clones share the weight of their parent equally. A kept walker gets the sum
    of the weights of its group, correctly rounded, so that the order of the
    group does not matter.

    Parameters
    ----------
    walkers : sequence of walkers
        Anything with ``.state``, ``.weight`` and ``.clone(number)`` whose class
        can be called as ``cls(state, weight)``.
    records : sequence of dict
        One per walker, in the same order.

    Returns
    -------
    walkers : an Ensemble if they were one, else a list

    Raises
    ------
    DecisionError : the records do not fill every slot exactly once.
    """
    if len(records) != len(walkers):
        raise DecisionError(reason=f"there are {len(records)} records for {len(walkers)} walkers")
    found = resolve(records)
    changes = bool(len(found.kept)) or bool((found.children > 1).any())
    if isinstance(walkers, Ensemble):
        return _rows(walkers, found) if changes else walkers
    clones = {
        walker_idx: iter(walkers[walker_idx].clone(number - 1))
        for walker_idx, number in enumerate(found.children.tolist())
        if number > 1
    }
    merged = found.merged(weights_of(walkers))
    resampled: list[Any] = []
    for parent in found.parents.tolist():
        walker = walkers[parent]
        if parent in clones:
            walker = next(clones[parent])
        elif parent in merged:
            walker = type(walker)(walker.state, merged[parent])
        resampled.append(walker)
    if changes:
        changed = _without_rounding([walker.weight for walker in resampled], merged=found.kept)
        for idx, weight in changed.items():
            walker = resampled[idx]
            resampled[idx] = type(walker)(walker.state, weight)
    return resampled


def _rows(walkers: Ensemble, found: Resolved) -> Ensemble:
    """What `apply_decisions` gives, to the bit, without an object for each walker."""
    weights = (walkers.weights / found.children)[found.parents]
    merged = found.merged(walkers.weights)
    weights[list(merged)] = list(merged.values())
    for idx, weight in _without_rounding(weights, merged=found.kept).items():
        weights[idx] = weight
    return walkers.take(found.parents, weights)


def _without_rounding(weights: ArrayLike, merged: Ints) -> dict[int, float]:
    """Keep rounding errors from adding up over a long run: |sum of weights - 1| <= n eps (W2).

    Each clone and each merge rounds, and after some ten thousand cycles the sum would be
    off by more than n eps. Once it is off by eps, the heaviest walker takes the difference.
    Not one merged just now: it may be as heavy as is allowed. And only if it is heavy enough
    not to notice. Walkers that are no whole ensemble (their sum is not 1) are left alone.

    Returns {walker: its new weight} for the one that takes it, {} if none does.
    """
    held = np.array(weights, dtype=np.float64)
    missing = math.fsum([1.0, *(-held).tolist()])
    if not _EPS < abs(missing) <= len(held) * _EPS:
        return {}
    held[merged] = 0.0
    heaviest = int(held.argmax())
    if not abs(missing) < _UNNOTICED * held[heaviest]:
        return {}
    return {heaviest: float(held[heaviest]) + missing}
