"""Frames that stay in the objects of a store, for a file that only says where they are."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np

from wepystore.records.frame_rows import check_arrays, rows_before
from wepystore.records.frames import Block, FrameField, kept_cycles
from wepystore.records.mapped import arrays_of
from wepystore.records.npy import Placed
from wepystore.records.run_frames import FramesOfRun
from wepystore.store.names import Ref
from wepystore.store.store import Store
from wepystore.trajectories.errors import NotLinkedError

#: Name of a file, where in it, and how many bytes: as HDF5 wants to have them.
Segment = tuple[str, int, int]

_WRITE = 0o222


class Linker:
    """Finds the frames of walkers in the objects that they are in, and sees to it that nobody
    changes these by way of a file that names them.

    Parameters
    ----------
    store : Store
    runs : sequence of FramesOfRun
        Those that follow each other.
    """

    def __init__(self, store: Store, runs: Sequence[FramesOfRun]) -> None:
        self._store, self._runs = store, runs
        self._firsts = list(accumulate((run.n_cycles for run in runs), initial=0))
        self._found: dict[Ref, list[Placed]] = {}

    def segments(self, of: FrameField, walker: int, start: int, stop: int) -> list[Segment]:
        """Where a field of a walker is in the cycles from `start` to before `stop`, of each of
        which there is a frame of it. Raises DamagedError, NotLinkedError."""
        found: list[Segment] = []
        for run, first in zip(self._runs, self._firsts, strict=False):
            begin, end = max(start - first, 0), min(stop - first, run.n_cycles)
            if begin < end:
                found += self._in_run(run, of, walker, begin, end)
        return found

    def _in_run(
        self, run: FramesOfRun, of: FrameField, walker: int, start: int, stop: int
    ) -> Iterator[Segment]:
        frames, first = run.frames, 0
        number = [field.name for field in frames.fields].index(of.name)
        for block in frames.blocks:
            kept = kept_cycles(first, block.n_cycles, frames.every)
            inside = [place for place, cycle in enumerate(kept) if start <= cycle < stop]
            first += block.n_cycles
            if not inside:
                continue
            counts = run.counts[kept.start : kept.stop : kept.step]
            ref, before = _part_of(block, walker)
            place = self._arrays(run, ref)[number]
            walkers, places = np.array([walker]), np.array(inside[:1])
            row = int(rows_before(counts, before, walkers, places)[0])
            begin, size = place.begin + row * of.n_bytes, len(inside) * of.n_bytes
            if begin + size > place.end:
                why = f"object {ref.md5} has not the frames that it should have"
                raise NotLinkedError(file=ref.md5, why=why)
            yield self._path(ref), begin, size

    def _arrays(self, run: FramesOfRun, ref: Ref) -> list[Placed]:
        found = self._found.get(ref)
        if found is None:
            where = f"the frames of {run.run}"
            arrays = arrays_of(self._store, ref, {len(run.frames.fields)}, where)
            check_arrays(run.frames, arrays, where)
            found = self._found[ref] = [each for each in arrays if isinstance(each, Placed)]
            make_read_only(self._path(ref))
        return found

    def _path(self, ref: Ref) -> str:
        return os.path.abspath(self._store.locate("objects", ref.md5))


def _part_of(block: Block, walker: int) -> tuple[Ref, int]:
    """The object that a walker's frames are in, and its first walker."""
    before = 0
    for part in block.parts:
        if walker < before + part.n_walkers:
            return part.ref, before
        before += part.n_walkers
    raise NotLinkedError(file="a block of frames", why=f"it has no walker {walker}")


def make_read_only(path: str) -> None:
    """Take the right to write to a file from everybody. Raises NotLinkedError.

    HDF5 writes to the files that a dataset names, in whatever program, if the file that names them
    is open for writing.
    """
    mode = os.stat(path).st_mode
    if not mode & _WRITE:
        return
    try:
        os.chmod(path, mode & 0o7777 & ~_WRITE)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES, errno.EROFS):
            raise
        if os.access(path, os.W_OK):
            why = "it is another's, who alone can make it read-only, and you may write to it"
            raise NotLinkedError(file=path, why=why) from None
