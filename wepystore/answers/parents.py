"""Whose state each walker went on from, as the records of resampling tell."""

from __future__ import annotations

import numpy as np

from wepystore.answers.columns import Ints, Records


def parents_of(records: Records, squash: int) -> Ints:
    """The parent of each walker of each cycle: whose state it went on from.

    Records of several steps in one cycle are composed. Where nothing was resampled each walker goes
    on in its place.

    Parameters
    ----------
    records : Records
        Of resampling.
    squash : int
        Number of the decision whose walkers go on nowhere.

    Returns
    -------
    ndarray of int, shape (n,)
        For each walker, one cycle after the other, its number among the walkers of the cycle
        before; -1 in the first cycle, and where no record says.
    """
    n_walkers = records.n_walkers
    first = np.cumsum(n_walkers) - n_walkers
    cycles = np.repeat(np.arange(len(n_walkers)), n_walkers)
    slots = np.arange(len(cycles)) - first[cycles]
    before = cycles - 1
    n_before = np.where(before < 0, 0, n_walkers[before])
    found = _before_resampling(records, squash, before, slots)
    return np.where(found < n_before, found, -1)


def _before_resampling(records: Records, squash: int, cycles: Ints, slots: Ints) -> Ints:
    """For each slot after the resampling of a cycle the walker before it; -1 where no record says.

    Parameters
    ----------
    records, squash : as in parents_of
    cycles, slots : ndarray of int, shape (n,)
        A cycle of -1 has no records.
    """
    found = slots.copy()
    if not len(records):
        return found
    walkers = records.walkers()
    targets, record = records.slots()
    if not records.has("step_idx") or not records.numbers("step_idx").any():
        return _of_one_step(records, squash, found, walkers, targets, record)
    step, steps_of = _steps(records)
    # More than there are slots, or walkers, in any step of a resampler that makes sense.
    width = 1 + max(records.n_walkers.max(), len(targets))
    walkers = np.where(walkers < width, walkers, -1)
    known = (records.numbers("decision_id") != squash)[record] & (targets >= 0) & (targets < width)
    targets, record = targets[known], record[known]
    # A slot after a step as one number, to look up whose it is. Of several records for one slot the
    # last one counts.
    keys = step[record] * width + targets
    order = np.argsort(keys, kind="stable")
    keys, origins = np.append(-1, keys[order]), np.append(-1, walkers[record][order])
    begin, end = steps_of[cycles].T
    at = end - 1
    rows = np.flatnonzero(at >= begin)
    # Back through the steps of a cycle, those of all cycles at once.
    while len(rows):
        wanted = at[rows] * width + found[rows]
        place = np.searchsorted(keys, wanted, "right") - 1
        found[rows] = np.where(keys[place] == wanted, origins[place], -1)
        at[rows] -= 1
        rows = rows[(found[rows] >= 0) & (at[rows] >= begin[rows])]
    return found


def _of_one_step(
    records: Records, squash: int, found: Ints, walkers: Ints, targets: Ints, record: Ints
) -> Ints:
    """As _before_resampling, where no cycle has records of several steps, of all slots of all
    cycles, which `found` has: then none need be looked up."""
    n_walkers = records.n_walkers
    ends = np.cumsum(n_walkers)
    n_after = np.append(n_walkers[1:], 0)
    has_records = np.bincount(records.cycle, minlength=len(n_walkers)) > 0
    found[np.repeat(np.append(False, has_records[:-1]), n_walkers)] = -1
    cycle = records.cycle[record]
    known = (records.numbers("decision_id") != squash)[record]
    known &= (targets >= 0) & (targets < n_after[cycle])
    # Of several records for one slot the last one counts, as numpy has it.
    found[(ends[cycle] + targets)[known]] = walkers[record[known]]
    return found


def _steps(records: Records) -> tuple[Ints, Ints]:
    """The steps of all cycles, counted through.

    Returns
    -------
    step : ndarray of int, shape (n_records,)
        Which one each record is of.
    steps_of : ndarray of int, shape (n_cycles + 1, 2)
        The first step of each cycle, and the first after it; none for the last row.
    """
    cycle = records.cycle
    within = records.numbers("step_idx") if records.has("step_idx") else np.zeros_like(cycle)
    order = np.lexsort((within, cycle))
    cycle, within = cycle[order], within[order]
    is_new = np.append(True, (np.diff(cycle) != 0) | (np.diff(within) != 0))
    step = np.empty_like(cycle)
    step[order] = np.cumsum(is_new) - 1
    per_cycle = np.bincount(cycle[is_new], minlength=len(records.n_walkers))
    ends = np.cumsum(per_cycle)
    steps_of = np.stack([ends - per_cycle, ends], axis=1)
    return step, np.append(steps_of, [[0, 0]], axis=0)
