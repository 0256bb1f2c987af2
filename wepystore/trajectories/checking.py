"""Whether frames that are written to a file are those that were recorded, byte by byte."""

from __future__ import annotations

from collections.abc import Sequence

from wepystore.errors import DamagedError
from wepystore.records.run_frames import FramesOfRun, Integers
from wepystore.store.store import Store
from wepystore.trajectories.errors import NotAsRecordedError


def check_frames(
    store: Store, runs: Sequence[FramesOfRun], cycles: Integers, walkers: Integers | None
) -> None:
    """Read and hash the objects that some frames are in. Raises NotAsRecordedError.

    Parameters
    ----------
    store : Store
    runs : sequence of FramesOfRun
        Those that follow each other.
    cycles : array of int, shape (n,)
        Counted through all runs.
    walkers : array of int, shape (n,), or None
        One for each of the cycles; None for all of each.
    """
    before = 0
    for run in runs:
        first = 0
        for block in run.frames.blocks:
            stop = min(first + block.n_cycles, run.n_cycles)
            here = (cycles >= before + first) & (cycles < before + stop)
            walker = 0
            for part in block.parts if here.any() else ():
                until = walker + part.n_walkers
                wanted = None if walkers is None else walkers[here]
                if wanted is None or ((wanted >= walker) & (wanted < until)).any():
                    try:
                        store.object(part.ref)
                    except DamagedError as error:
                        raise NotAsRecordedError(
                            run=run.run,
                            walkers=_span(walker, until),
                            cycles=_span(first, stop),
                            why=error,
                        ) from error
                walker = until
            first += block.n_cycles
        before += run.n_cycles


def _span(start: int, stop: int) -> str:
    return str(start) if stop - start == 1 else f"{start} to {stop - 1}"
