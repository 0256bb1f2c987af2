"""Where in the objects of a store the frames of a walker are: for files that are made of the same
bytes, or that only say where these are."""

from __future__ import annotations

import errno
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple

from wepystore.records.errors import MalformedRecordError
from wepystore.records.frame_rows import check_arrays, row_starts
from wepystore.records.frames import FrameField, Part
from wepystore.records.mapped import arrays_of
from wepystore.records.npy import Placed
from wepystore.records.run_frames import FramesOfRun, Integers
from wepystore.store.names import Ref
from wepystore.store.store import Store
from wepystore.trajectories.errors import NotLinkedError

_WRITE = 0o222
_STRETCH_BYTES = 1 << 20
#: So many objects are open at a time.
_OPEN = 64


class Segment(NamedTuple):
    """A stretch of an object.

    Attributes
    ----------
    ref : Ref
    begin, size : int
        In bytes.
    """

    ref: Ref
    begin: int
    size: int


class _Group(NamedTuple):
    """The object that some walkers of a block are in.

    Attributes
    ----------
    ref : Ref
    begins, ends : list of int
        Where in it each of the fields begins and ends.
    starts : array of int
        The rows with which the walkers begin.
    """

    ref: Ref
    begins: list[int]
    ends: list[int]
    starts: Integers


class _Block(NamedTuple):
    """Some cycles of all runs.

    Attributes
    ----------
    start, stop : int
        The first of them, and the one after the last.
    counts : array of int
        Walkers in each.
    firsts : list of int
        The first walkers of the groups, and how many there are in all.
    groups : list of _Group
    run : str
    """

    start: int
    stop: int
    counts: Integers
    firsts: list[int]
    groups: list[_Group]
    run: str


class FramePlaces:
    """Finds the frames of walkers in the objects that they are in.

    Parameters
    ----------
    store : Store
    runs : sequence of FramesOfRun
        Those that follow each other.
    """

    def __init__(self, store: Store, runs: Sequence[FramesOfRun]) -> None:
        self.store, self._runs = store, runs
        #: Whether there are frames of every cycle.
        self.are_of_each = all(run.frames.every == 1 for run in runs)
        self._fields = [field.name for field in runs[-1].frames.fields]

    @cached_property
    def _blocks(self) -> list[_Block]:
        """Of all runs, one after the other."""
        found, before = [], 0
        for run in self._runs:
            first = 0
            for block in run.frames.blocks:
                n_cycles = min(block.n_cycles, run.n_cycles - first)
                if n_cycles > 0:
                    counts = run.counts[first : first + block.n_cycles]
                    firsts = list(accumulate((part.n_walkers for part in block.parts), initial=0))
                    # Of more there are no rows, and to count those of any number takes any memory.
                    if firsts[-1] != counts.max():
                        problem = f"a block is of {firsts[-1]} walkers, not of {counts.max()}"
                        raise _lacking(run.run, problem)
                    parts = zip(block.parts, firsts, strict=False)
                    groups = [self._group(run, part, counts, walker) for part, walker in parts]
                    start = before + first
                    found.append(_Block(start, start + n_cycles, counts, firsts, groups, run.run))
                first += block.n_cycles
            before += run.n_cycles
        return found

    def _group(self, run: FramesOfRun, part: Part, counts: Integers, first: int) -> _Group:
        where = f"the frames of {run.run}"
        arrays = arrays_of(self.store, part.ref, {len(self._fields)}, where)
        check_arrays(run.frames, arrays, where)
        fields = [each for each in arrays if isinstance(each, Placed)]
        starts = row_starts(counts, first, part.n_walkers)
        return _Group(part.ref, [e.begin for e in fields], [e.end for e in fields], starts)

    def segments(self, of: FrameField, walker: int, start: int, stop: int) -> list[Segment]:
        """Where a field of a walker is in the cycles from `start` to before `stop`, of each of
        which there is a frame of it. Raises DamagedError."""
        field, n_bytes = self._fields.index(of.name), of.n_bytes
        found = []
        place = bisect_right(self._blocks, start, key=attrgetter("start")) - 1
        for block in self._blocks[place:]:
            if block.start >= stop:
                break
            number = bisect_right(block.firsts, walker) - 1
            if number >= len(block.groups):
                raise _lacking(block.run, f"a block has no walker {walker}")
            group = block.groups[number]
            row = int(group.starts[walker - block.firsts[number]])
            begin, end = max(start, block.start), min(stop, block.stop)
            if begin > block.start:
                row += int((block.counts[: begin - block.start] > walker).sum())
            offset, size = group.begins[field] + row * n_bytes, (end - begin) * n_bytes
            if offset + size > group.ends[field]:
                raise _lacking(block.run, f"object {group.ref.md5} has too few")
            found.append(Segment(group.ref, offset, size))
        return found

    def linked(self, segments: Iterable[Segment]) -> list[tuple[str, int, int]]:
        """Segments as HDF5 wants them: name of a file, where in it, how many bytes. The files
        become read-only. Raises NotLinkedError."""
        found = []
        for each in segments:
            path = os.path.abspath(self.store.locate("objects", each.ref.md5))
            make_read_only(path)
            found.append((path, each.begin, each.size))
        return found


def _lacking(run: str, problem: str) -> MalformedRecordError:
    return MalformedRecordError(where=f"the frames of {run}", what="frames", problem=problem)


def copy_segments(store: Store, copies: Iterable[tuple[Segment, int]], target: int) -> None:
    """Copy segments of objects to where they belong in a file that is open for writing. Raises
    DamagedError."""
    room = memoryview(bytearray(_STRETCH_BYTES))
    held: OrderedDict[Ref, int] = OrderedDict()
    try:
        # In the order of the target: that is how a disk is written best.
        for segment, place in copies:
            source = held.pop(segment.ref, None)
            if source is None:
                if len(held) >= _OPEN:
                    os.close(held.popitem(last=False)[1])
                source = store.open_object(segment.ref)
            held[segment.ref] = source
            _copy(source, segment, target, place, room)
    finally:
        for source in held.values():
            os.close(source)


def _copy(source: int, segment: Segment, target: int, place: int, room: memoryview) -> None:
    # In pieces that stay in the processor's cache: quicker than what the kernel does of itself.
    _, begin, left = segment
    while left:
        count = os.preadv(source, [room[: min(left, len(room))]], begin)
        if not count:
            where = f"object {segment.ref.md5}"
            problem = "its file has become shorter"
            raise MalformedRecordError(where=where, what="frames", problem=problem)
        written = 0
        while written < count:
            written += os.pwrite(target, room[written:count], place + written)
        left, begin, place = left - count, begin + count, place + count


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
