"""Lineages: where the state of a walker came from, cycle by cycle, back to where it began.

A walker is taken as it is after the segments of a cycle, before warps and resampling. Its parent is
the walker of the cycle before whose state the resampler put in its place. A warped walker's state
ended at the target, and who goes on from its place begins anew, so that a lineage is one continuous
trajectory; on request it goes on through warps. Boundary conditions that warp without a jump say so
in their records, under `continuous`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.columns import Ints, Records, read_columns
from wepystore.answers.errors import NoSuchWalkerError, NoSuchWarpError, UntraceableError
from wepystore.answers.parents import parents_of
from wepystore.records.library import AnyStore, load_tables
from wepystore.records.recording import WEIGHTS
from wepystore.records.run_frames import RunFrames
from wepystore.records.tables import RunTables

#: Rows of a lineage that a notebook shows at either end.
_SHOWN = 5
#: As the decisions of this package and of wepy are numbered, where a recording does not say.
_SQUASH = 3


@dataclass(frozen=True, eq=False)
class Lineage:
    """A walker and its ancestors, the first one first; one row a cycle.

    Attributes
    ----------
    runs : tuple of str
        Hashes of the records of the runs that it goes through.
    run : ndarray of int, shape (n,)
        Which of `runs` the cycle is of.
    cycle : ndarray of int, shape (n,)
        From 0 in each run.
    joined_cycle : ndarray of int, shape (n,)
        The cycle as the tables count it that were asked.
    walker : ndarray of int, shape (n,)
    weight : ndarray of float, shape (n,)
        After the segments of the cycle.
    begins_anew : bool
        Whether it begins where a walker was warped in the cycle before, and not with the tables.
    warp : int or None
        Of a lineage that ends in a warp its number, from 0.
    target : int or None
        `target_idx` of that warp.
    """

    runs: tuple[str, ...]
    run: Ints
    cycle: Ints
    joined_cycle: Ints
    walker: Ints
    weight: NDArray[np.float64]
    begins_anew: bool
    warp: int | None = None
    target: int | None = None

    def cycles_in(self, frames: RunFrames) -> Ints:
        """Its cycles as frames of the same runs count them. Raises ValueError if it goes through
        another run."""
        firsts = {span.run: span.first_cycle for span in frames.runs}
        others = [run for run in self.runs if run not in firsts]
        if others:
            raise ValueError(f"these are not the frames of run {others[0]}")
        return np.array([firsts[run] for run in self.runs])[self.run] + self.cycle

    def kept(self, frames: RunFrames) -> Lineage:
        """Its cycles of which frames are kept, with the weights to them: the rows of
        `frames_of`."""
        inside = np.isin(self.cycles_in(frames), frames.cycles)
        names = ("run", "cycle", "joined_cycle", "walker", "weight")
        return replace(self, **{name: getattr(self, name)[inside] for name in names})

    def frames_of(self, frames: RunFrames, field: str = "positions") -> NDArray[Any]:
        """A field of the states along it, in those of its cycles of which frames are kept.

        Parameters
        ----------
        frames : RunFrames
            Of the runs that it goes through: of load_frames, joined as it is.
        field : str

        Returns
        -------
        ndarray, shape (n_frames, *shape of the field); read-only.

        Raises as cycles_in, and as RunFrames.of.
        """
        kept = self.kept(frames)
        return frames.of(kept.cycles_in(frames), kept.walker, field)

    def __len__(self) -> int:
        return len(self.cycle)

    def __repr__(self) -> str:
        runs = f" of {len(self.runs)} runs" if len(self.runs) > 1 else ""
        begun = ", begun anew after a warp" if self.begins_anew else ""
        end = f"walker {self.walker[-1]} in cycle {self.joined_cycle[-1]}"
        warped = "" if self.warp is None else f", warp {self.warp}"
        weight = f"weight {self.weight[-1]:.3g}"
        return f"<Lineage: {len(self)} cycles{runs}{begun}; to {end}{warped}, {weight}>"

    def _repr_html_(self) -> str:
        heading = "".join(f"<th>{name}</th>" for name in ("run", "cycle", "walker", "weight"))
        places = range(len(self))
        shown: list[int | None] = [*places]
        if len(self) > 2 * _SHOWN + 1:
            shown = [*places[:_SHOWN], None, *places[-_SHOWN:]]
        rows = "".join(
            "<tr>" + "".join(f"<td>{cell}</td>" for cell in self._cells(k)) + "</tr>" for k in shown
        )
        return f"<table><caption>{escape(repr(self))}</caption><tr>{heading}</tr>{rows}</table>"

    def _cells(self, place: int | None) -> list[str]:
        if place is None:
            return ["…"] * 4
        run = escape(self.runs[self.run[place]][:8])
        return [
            run,
            *map(str, (self.cycle[place], self.walker[place])),
            f"{self.weight[place]:.3g}",
        ]


@dataclass(frozen=True, eq=False)
class Warps:
    """All warps of tables, in their order.

    Attributes
    ----------
    cycle, walker : ndarray of int, shape (n,)
        Who arrived at a target, and when, as the tables count.
    weight : ndarray of float, shape (n,)
    target : ndarray of int, shape (n,), or None
        `target_idx`; None where the boundary conditions do not record it.
    """

    cycle: Ints
    walker: Ints
    weight: NDArray[np.float64]
    target: Ints | None

    def __len__(self) -> int:
        return len(self.cycle)


class Lineages:
    """Who descends from whom in a run, or in runs that continue each other.

    Parameters
    ----------
    tables : RunTables
        Cycles and walkers are counted as there.

    Attributes
    ----------
    n_walkers : ndarray of int, shape (n_cycles,)
    weights : ndarray of float, shape (n,)
        Of each walker of each cycle, one cycle after the other, as the column is.
    parents : ndarray of int, shape (n,)
        In that order its parent, a walker of the cycle before; -1 in the first cycle, and where no
        record says.
    warped : ndarray of bool, shape (n,)
        Whether its trajectory ended in a warp at the end of its cycle: its children begin anew.
    warps : Warps

    Raises
    ------
    WepystoreError : UntraceableError where the components have not recorded what is needed,
        DamagedError for what cannot be read, or contradicts itself.
    """

    def __init__(self, tables: RunTables) -> None:
        self.runs = list(tables.runs)
        self._run = self.runs[-1].run
        columns = read_columns(tables)
        self.weights: NDArray[np.float64] = columns[WEIGHTS].astype(np.float64)
        resampling, warping = (Records(columns, t, self._run) for t in ("resampling", "warping"))
        self.parents = parents_of(resampling, tables.recording.decisions.get("SQUASH", _SQUASH))
        self.n_walkers = resampling.n_walkers
        # Where the walkers of each cycle begin in the columns.
        self._first: Ints = np.concatenate([[0], np.cumsum(self.n_walkers)])
        cycle, walker = warping.cycle, warping.walkers_that_are_there()
        weight = self.weights[self._first[cycle] + walker]
        target = warping.numbers("target_idx") if warping.has("target_idx") else None
        self.warps = Warps(cycle, walker, weight, target)
        has_ended = np.ones(len(warping), bool)
        if warping.has("continuous"):
            has_ended = warping.numbers("continuous") == 0
        self.warped = np.zeros(len(self.weights), bool)
        self.warped[(self._first[cycle] + walker)[has_ended]] = True

    def of(self, walker: int, cycle: int = -1, *, through_warps: bool = False) -> Lineage:
        """The lineage of a walker.

        Parameters
        ----------
        walker : int
        cycle : int
            As the tables count; -1 for the last, and so on.
        through_warps : bool
            Whether it goes on through warps to where the tables begin.

        Raises NoSuchWalkerError.
        """
        return self._back_from(walker, self._checked(walker, cycle), through_warps)

    def of_warp(self, warp: int, *, through_warps: bool = False) -> Lineage:
        """The lineage of the walker that arrived in a warp, counted from 0; -1 is the last.

        Raises NoSuchWarpError.
        """
        n_warps = len(self.warps)
        if not -n_warps <= warp < n_warps:
            there = f"there are warps 0 to {n_warps - 1}" if n_warps else "no walker was warped"
            raise NoSuchWarpError(run=self._run, warp=warp, what_there_is=there)
        warp %= n_warps
        walker, cycle = self.warps.walker.item(warp), self.warps.cycle.item(warp)
        return self._back_from(walker, cycle, through_warps, warp)

    def heaviest_arrivals(
        self, n: int = 1, target: int | None = None, *, through_warps: bool = False
    ) -> list[Lineage]:
        """The lineages of those that arrived with most weight, the heaviest first.

        Parameters
        ----------
        n : int
            At most so many, from 0 on.
        target : int or None
            Only of warps with this `target_idx`.

        Raises UntraceableError where `target_idx` is asked for and not recorded.
        """
        places = np.arange(len(self.warps))
        if target is not None:
            if self.warps.target is None:
                why = "its boundary conditions record no target_idx of a warp"
                raise UntraceableError(run=self._run, why=why)
            places = places[self.warps.target == target]
        heaviest = places[np.argsort(-self.warps.weight[places], kind="stable")[: max(n, 0)]]
        return [self.of_warp(warp, through_warps=through_warps) for warp in heaviest.tolist()]

    def heaviest_walker(self, cycle: int = -1) -> int:
        """The walker of most weight in a cycle. Raises NoSuchWalkerError."""
        cycle = self._checked(0, cycle)
        return int(self.weights[self._first[cycle] : self._first[cycle + 1]].argmax())

    def __repr__(self) -> str:
        runs = f" of {len(self.runs)} runs" if len(self.runs) > 1 else ""
        return f"<Lineages: {len(self.n_walkers)} cycles{runs}; {len(self.warps)} warps>"

    def _checked(self, walker: int, cycle: int) -> int:
        """The cycle, counted from 0. Raises NoSuchWalkerError."""
        n_cycles, n_walkers = len(self.n_walkers), 0
        there = f"there are cycles 0 to {n_cycles - 1}" if n_cycles else "there are no cycles"
        if -n_cycles <= cycle < n_cycles:
            cycle %= n_cycles
            n_walkers = int(self.n_walkers[cycle])
            there = f"there are walkers 0 to {n_walkers - 1}" if n_walkers else "there are none"
        if not 0 <= walker < n_walkers:
            raise NoSuchWalkerError(run=self._run, walker=walker, cycle=cycle, what_there_is=there)
        return cycle

    def _back_from(
        self, walker: int, cycle: int, through_warps: bool, warp: int | None = None
    ) -> Lineage:
        """The lineage of a walker that is there."""
        last, walkers, begins_anew = cycle, [walker], False
        while (parent := self.parents.item(self._first.item(cycle) + walker)) >= 0:
            if not through_warps and self.warped.item(self._first.item(cycle - 1) + parent):
                begins_anew = True
                break
            cycle, walker = cycle - 1, parent
            walkers.append(walker)
        joined_cycle, targets = np.arange(cycle, last + 1), self.warps.target
        found = np.array(walkers[::-1], np.int64)
        first_cycles = np.array([span.first_cycle for span in self.runs])
        run = np.searchsorted(first_cycles, joined_cycle, "right") - 1
        return Lineage(
            runs=tuple(span.run for span in self.runs[run[0] :][: run[-1] - run[0] + 1]),
            run=run - run[0],
            cycle=joined_cycle - first_cycles[run],
            joined_cycle=joined_cycle,
            walker=found,
            weight=self.weights[self._first[joined_cycle] + found],
            begins_anew=begins_anew,
            warp=warp,
            target=None if warp is None or targets is None else targets.item(warp),
        )


def load_lineages(
    store: AnyStore, name: str, joined: bool = True, verify: bool = False
) -> Lineages:
    """Who descends from whom in a run, and in those that led to its start.

    Parameters
    ----------
    store, name, verify : as of load_tables
    joined : bool
        Whether lineages go on in the runs that led to its start; cycles and warps are then counted
        through all of them.

    Raises
    ------
    WepystoreError : as load_tables, and as Lineages.
    """
    return Lineages(load_tables(store, name, joined=joined, verify=verify))
