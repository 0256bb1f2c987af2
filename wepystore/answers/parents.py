"""Whose state each walker went on from, as the records of resampling tell."""

from __future__ import annotations

import numpy as np

from wepystore.answers.columns import Ints, Records

#: Records that are looked at in one go.
_AT_A_TIME = 1 << 14


def parents_of(records: Records, squash: int) -> Ints:
    """The parent of each walker of each cycle: whose state it went on from.

    Parameters
    ----------
    records, squash : as in parent_rows_of

    Returns
    -------
    ndarray of int, shape (n,)
        For each walker, one cycle after the other, its number among the walkers of the cycle
        before; -1 in the first cycle, and where no record says.
    """
    rows, n_walkers = parent_rows_of(records, squash), records.n_walkers
    first = np.cumsum(n_walkers) - n_walkers
    before = np.repeat(np.append(0, first[:-1])[: len(n_walkers)], n_walkers)
    return np.where(rows < 0, -1, rows - before)


def parent_rows_of(records: Records, squash: int) -> Ints:
    """For each walker, one cycle after the other, the row of its parent among all of these; -1 in
    the first cycle, and where no record says.

    Records of several steps in one cycle are composed. Where nothing was resampled each walker goes
    on in its place.

    Parameters
    ----------
    records : Records
        Of resampling.
    squash : int
        Number of the decision whose walkers go on nowhere.
    """
    n_walkers = records.n_walkers
    if not records.has("step_idx") or not records.numbers("step_idx").any():
        return _of_one_step(records, squash)
    first = np.cumsum(n_walkers) - n_walkers
    cycles = np.repeat(np.arange(len(n_walkers)), n_walkers)
    slots = np.arange(len(cycles)) - first[cycles]
    before = cycles - 1
    n_before = np.where(before < 0, 0, n_walkers[before])
    found = _before_resampling(records, squash, before, slots)
    known = (found >= 0) & (found < n_before)
    return np.where(known, first[before] + found, -1)


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


def _of_one_step(records: Records, squash: int) -> Ints:
    """As parent_rows_of, where no cycle has records of several steps: none need be looked up."""
    n_walkers, cycle = records.n_walkers, records.cycle
    ends = np.cumsum(n_walkers)
    first = ends - n_walkers
    n_after = np.append(n_walkers[1:], 0)
    found = np.full(int(n_walkers.sum()), -1)
    for quiet in np.flatnonzero(np.bincount(cycle, minlength=len(n_walkers)) == 0).tolist():
        kept = min(n_walkers[quiet], n_after[quiet])
        found[ends[quiet] : ends[quiet] + kept] = np.arange(first[quiet], first[quiet] + kept)
    if not len(records):
        return found
    walkers, decisions = records.walkers(), records.numbers("decision_id")
    targets, record = records.slots()
    # So many at a time stay in the processor's cache, and take memory once.
    for begin in range(0, len(targets), _AT_A_TIME):
        some, slots = record[begin : begin + _AT_A_TIME], targets[begin : begin + _AT_A_TIME]
        whose, when = walkers[some], cycle[some]
        known = (decisions[some] != squash) & (whose < n_walkers[when])
        known &= (slots >= 0) & (slots < n_after[when])
        # Of several records for one slot the last one counts, as numpy has it.
        found[(ends[when] + slots)[known]] = (first[when] + whose)[known]
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
