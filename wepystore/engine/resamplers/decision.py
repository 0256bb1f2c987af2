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
from collections.abc import Collection, Mapping, Sequence
from enum import IntEnum
from typing import Any

import numpy as np

from wepystore.engine.ensemble import Ensemble
from wepystore.engine.protocols import DecisionCapabilities
from wepystore.engine.record_fields import RecordColumns
from wepystore.errors import FailedError

_EPS = sys.float_info.epsilon
#: A relative change of a weight too small to matter beside any statistical error.
_UNNOTICED = 1e-9

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
    if isinstance(records, RecordColumns) and len(records):
        # Most often all are NOTHING, which needs no dict for each.
        nothing = np.asarray(records.columns.get("decision_id")) == numbers.get("NOTHING")
        if nothing.all():
            return 0, 0
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


def resolve(records: Sequence[Record]) -> tuple[list[int], dict[int, list[int]], dict[int, int]]:
    """What records come to: (for each slot after resampling the slot of the walker whose state it
    holds, {kept walker: squashed walkers}, {walker: number of children}).

    Parameters
    ----------
    records : one per walker, in the order of the walkers

    Raises
    ------
    DecisionError : a slot is filled twice or not at all, a squashed walker has
        nowhere to go, or a survivor leaves its own slot.
    """
    n_walkers = len(records)
    filled = [-1] * n_walkers
    kept: dict[int, list[int]] = {}
    squashed: list[tuple[int, int]] = []
    children: dict[int, int] = {}
    for walker_idx, record in enumerate(records):
        decision, targets = _checked(walker_idx, record, n_walkers)
        if decision is Decision.SQUASH:
            squashed.append((walker_idx, targets[0]))
            continue
        if decision is Decision.KEEP_MERGE:
            kept[walker_idx] = []
        elif decision is Decision.CLONE:
            children[walker_idx] = len(targets)
        for target in targets:
            if filled[target] != -1:
                raise DecisionError(
                    reason=f"slot {target} is filled by walkers {filled[target]} and {walker_idx}"
                )
            filled[target] = walker_idx
    for walker_idx, target in squashed:
        if target not in kept:
            raise DecisionError(
                reason=f"walker {walker_idx} is squashed into slot {target}, "
                "whose walker is not KEEP_MERGE"
            )
        kept[target].append(walker_idx)
    if -1 in filled:
        raise DecisionError(reason=f"no walker fills slot {filled.index(-1)}")
    return filled, kept, children


def _checked(walker_idx: int, record: Record, n_walkers: int) -> tuple[Decision, list[int]]:
    """Decision and slots of one walker, which are as many as it needs, and its own one first."""
    decision, targets = read_record(record)
    for target in targets:
        if not 0 <= target < n_walkers:
            raise DecisionError(
                reason=f"walker {walker_idx} ({decision.name}) names slot {target}, "
                f"but there are slots 0 to {n_walkers - 1}"
            )
    if decision is Decision.CLONE:
        if len(targets) < 2:
            raise DecisionError(
                reason=f"walker {walker_idx} is cloned into {len(targets)} slots, "
                "at least 2 are needed"
            )
    elif len(targets) != 1:
        raise DecisionError(
            reason=f"walker {walker_idx} ({decision.name}) names {len(targets)} slots, not 1"
        )
    if decision is not Decision.SQUASH and targets[0] != walker_idx:
        raise DecisionError(
            reason=f"walker {walker_idx} ({decision.name}) survives, "
            f"but its first slot is {targets[0]} and not its own"
        )
    return decision, targets


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
    filled, kept, children = resolve(records)
    if isinstance(walkers, Ensemble):
        return _rows(walkers, filled, kept, children)
    clones = {
        walker_idx: iter(walkers[walker_idx].clone(number - 1))
        for walker_idx, number in children.items()
    }
    resampled: list[Any] = []
    for parent in filled:
        walker = walkers[parent]
        if parent in clones:
            resampled.append(next(clones[parent]))
        elif kept.get(parent):
            group = [walker.weight, *(walkers[idx].weight for idx in kept[parent])]
            resampled.append(type(walker)(walker.state, math.fsum(group)))
        else:
            resampled.append(walker)
    if kept or clones:
        changed = _without_rounding([walker.weight for walker in resampled], merged=kept)
        for idx, weight in changed.items():
            walker = resampled[idx]
            resampled[idx] = type(walker)(walker.state, weight)
    return resampled


def _rows(
    walkers: Ensemble,
    filled: list[int],
    kept: Mapping[int, list[int]],
    children: Mapping[int, int],
) -> Ensemble:
    """What `apply_decisions` gives, to the bit, without an object for each walker."""
    if not kept and not children:
        return walkers
    before = walkers.weights.tolist()
    shares = [weight / children.get(idx, 1) for idx, weight in enumerate(before)]
    weights = [shares[parent] for parent in filled]
    for idx, squashed in kept.items():
        weights[idx] = math.fsum([before[idx], *(before[other] for other in squashed)])
    for idx, weight in _without_rounding(weights, merged=kept).items():
        weights[idx] = weight
    return walkers.take(filled, np.array(weights))


def _without_rounding(weights: Sequence[float], merged: Collection[int]) -> dict[int, float]:
    """Keep rounding errors from adding up over a long run: |sum of weights - 1| <= n eps (W2).

    Each clone and each merge rounds, and after some ten thousand cycles the sum would be
    off by more than n eps. Once it is off by eps, the heaviest walker takes the difference.
    Not one merged just now: it may be as heavy as is allowed. And only if it is heavy enough
    not to notice. Walkers that are no whole ensemble (their sum is not 1) are left alone.

    Returns {walker: its new weight} for the one that takes it, {} if none does.
    """
    missing = math.fsum([1.0, *(-weight for weight in weights)])
    if not _EPS < abs(missing) <= len(weights) * _EPS:
        return {}
    heaviest = max(
        (idx for idx in range(len(weights)) if idx not in merged),
        key=lambda idx: weights[idx],
        default=None,
    )
    if heaviest is None or not abs(missing) < _UNNOTICED * weights[heaviest]:
        return {}
    return {heaviest: weights[heaviest] + missing}
