"""FamilyTreeReporter: who descends from whom, as a graph for Gephi or networkx.

A GEXF file has all nodes before all edges, so it cannot be appended to, and
writing it anew each cycle costs more the longer a run is. Each cycle therefore
goes, as records of fixed size, into a hidden file beside it (the *spool*), and
the GEXF is composed from that when the run has twice the cycles it had the last
time, looked at whenever the job flushes, and at the end. All the
compositions of a run together then cost about as much as two of the last.
The spool holds every cycle up to the last flush, and is what a resumed job goes on
with; so it stays.
"""

from __future__ import annotations

import errno
import json
import os
import time
import zlib
from collections import namedtuple
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.ensemble import weights_of
from wepystore.engine.protocols import WarpCapabilities
from wepystore.engine.record_tables import parents, table_record_names
from wepystore.engine.resamplers.decision import decision_numbers
from wepystore.engine.walker import Walker
from wepystore.reporters.base import Reporter, draft_name, named_errors
from wepystore.reporters.family_tree import gexf
from wepystore.reporters.files import check_own, create_own, open_own, replacing

#: The first line of a spool: JSON padded to this length, so that records are aligned.
_HEADER = 1024

# The spool is appended to when this much waits, or after this long.
_MAX_WAITING = 1 << 20
_MAX_AGE_S = 10.0


class FamilyTreeReporter(Reporter):
    """Writes `JOB.restree.gexf` (GEXF 1.2), the family tree of the walkers.

    A node ``c-w`` is walker w after the dynamics of cycle c, the same state as
    frame c of trajectory w in `JOB.wepy.h5`, with the attributes cycle, walker,
    weight, warped, what the boundary conditions report as progress, and region
    where the resampler has regions. An edge goes from a node to each of the
    next cycle's whose walker went on from its state.

    A walker that a boundary condition warped in cycle c (``warped``) has no
    edge onwards: its state ended at the target, and the walkers in its place
    begin anew from where the warp put them. So a path along edges is always
    one continuous trajectory, and those that end in a warped node are the
    complete ones. A warp that the boundary conditions call continuous
    (``warping_discontinuity`` is false) keeps its edges.
    """

    suffix: ClassVar[str] = ".restree.gexf"

    _spool: IO[bytes] | None = None

    def init(self, *, init_walkers: Sequence[Walker], **parts: Any) -> None:
        """Begin a spool, or go on with the one that is there."""
        self._bc = parts.get("boundary_conditions")
        self._squash = decision_numbers(parts.get("resampler")).get("SQUASH", 3)
        self._warp_names = table_record_names(self._bc, "warping")
        self._warp_record: Any = namedtuple(  # type: ignore[misc]
            "WarpRecord", ["cycle_idx", *self._warp_names], rename=True
        )
        folder, name = os.path.split(self.path)
        self._spool_path = os.path.join(folder, f".{name}.spool")
        self._progress: list[str] = []
        self._dtype: np.dtype[Any] | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._written = time.monotonic()
        self._n_cycles = 0
        self._composed = 0
        with named_errors(self._spool_path):
            goes_on = bool(self._resume_at) and self._has_spool()
            opened = (
                open_own(self._spool_path, os.O_RDWR) if goes_on else create_own(self._spool_path)
            )
            self._spool = open(opened, "r+b")  # noqa: SIM115
            if goes_on:
                try:
                    self._take_over(self._resume_at or 0)
                except BaseException:
                    self._spool.close()
                    self._spool = None
                    raise

    def report(self, **report: Any) -> None:
        """Add one cycle to the spool; the cost does not depend on the cycle."""
        cycle = int(report["cycle_idx"])
        walkers: Sequence[Any] = report["new_walkers"]
        n_walkers = len(walkers)
        progress = _per_walker(report.get("progress_data") or {}, n_walkers)
        if self._dtype is None:
            self._begin(sorted(progress))
        records: Sequence[Mapping[str, Any]] = report.get("resampling_data") or ()
        going = parents(records, n_walkers, self._squash)
        rows = np.zeros(max(n_walkers, len(going)), dtype=self._dtype)
        rows["cycle"] = cycle
        rows["walker"] = np.arange(len(rows))
        rows["flags"][:n_walkers] = gexf.WALKER
        rows["weight"][:n_walkers] = weights_of(walkers)
        rows["progress"] = np.nan
        for place, name in enumerate(self._progress):
            if name in progress:
                rows["progress"][:n_walkers, place] = progress[name]
        next_parent = np.full(len(rows), -1)
        next_parent[: len(going)] = going
        for walker, ends in self._warps(cycle, report.get("warp_data") or ()):
            rows["flags"][walker] |= gexf.WARPED
            if ends:
                next_parent[next_parent == walker] = -1
        rows["next_parent"] = next_parent
        rows["region"] = -1
        if records and "region_assignment" in records[0]:
            _note_regions(rows["region"], records)
        gexf.seal(rows)
        self._add(rows.tobytes())
        self._n_cycles = cycle + 1
        if self._waiting_bytes >= _MAX_WAITING or time.monotonic() - self._written >= _MAX_AGE_S:
            self._write_waiting()

    def flush(self) -> None:
        """Bring every cycle into the spool; compose the file if the run has doubled."""
        if self._spool is None:
            return
        self._write_waiting()
        with named_errors(self._spool_path):
            # A checkpoint is about to vouch for these cycles.
            os.fsync(self._spool.fileno())
        if self._n_cycles >= 2 * self._composed:
            self.compose()

    def cleanup(self, **parts: Any) -> None:
        """Compose the whole tree."""
        if self._spool is None:
            return
        self._write_waiting()
        self.compose()
        self._spool.close()
        self._spool = None

    def compose(self) -> None:
        """Write the GEXF file from the spool, in one pass for nodes and one for edges."""
        draft = draft_name(self.path)
        text = replacing(self.path, draft, mode="w", encoding="utf-8")
        with named_errors(self.path), text as file:
            gexf.write(file, self._progress, self._rows())
        self._composed = self._n_cycles

    def _begin(self, progress: list[str]) -> None:
        """Settle, at the first cycle, which progress columns the spool has."""
        if len(_header(progress)) != _HEADER:
            progress = []
        self._progress = progress
        self._dtype = gexf.row_dtype(len(progress))
        self._add(_header(progress))

    def _add(self, data: bytes) -> None:
        self._waiting.append(data)
        self._waiting_bytes += len(data)

    def _write_waiting(self) -> None:
        assert self._spool is not None
        with named_errors(self._spool_path):
            self._spool.write(b"".join(self._waiting))
            self._spool.flush()
        self._waiting.clear()
        self._waiting_bytes = 0
        self._written = time.monotonic()

    def _has_spool(self) -> bool:
        """Whether there is a spool to go on with; OSError if there is only its GEXF."""
        problem = "it is not there"
        if os.path.lexists(self._spool_path):
            check_own(self._spool_path, writing=True)
            if os.path.getsize(self._spool_path) >= _HEADER:
                return True
            problem = "its first line is cut off"
        if os.path.lexists(self.path):
            raise self._is_damaged(problem)
        return False

    def _take_over(self, n_cycles: int) -> None:
        """Drop from the spool what lies past `n_cycles`."""
        assert self._spool is not None
        self._progress = self._read_header()
        self._dtype = gexf.row_dtype(len(self._progress))
        rows = self._rows()
        held = int(rows["cycle"][-1]) + 1 if len(rows) else 0
        if held < n_cycles:
            message = (
                f"cannot be continued: it holds {held} cycles where {n_cycles} are expected; "
                "without it and the .gexf beside it, the tree begins anew"
            )
            raise OSError(errno.EINVAL, message, self._spool_path)
        kept = int(np.searchsorted(rows["cycle"], n_cycles))
        if (cycle := gexf.damaged(rows[:kept], n_cycles)) is not None:
            raise self._is_damaged(f"what it holds of cycle {cycle} is damaged")
        del rows
        end = _HEADER + kept * self._dtype.itemsize
        self._spool.truncate(end)
        self._spool.seek(end)
        self._n_cycles = n_cycles

    def _read_header(self) -> list[str]:
        assert self._spool is not None
        line = self._spool.read(_HEADER)
        try:
            progress = json.loads(line)["progress"]
            # As it was written, checksum included.
            good = all(isinstance(name, str) for name in progress) and line == _header(progress)
        except (ValueError, KeyError, TypeError, RecursionError):
            good = False
        if not good:
            raise self._is_damaged("its first line is damaged")
        return list(progress)

    def _is_damaged(self, what: str) -> OSError:
        message = (
            f"cannot be continued: {what}; put a copy of it back, or remove it and the .gexf "
            "beside it: the tree then begins anew"
        )
        return OSError(errno.EINVAL, message, self._spool_path)

    def _rows(self) -> NDArray[Any]:
        """All records of the spool, read from the disk as they are used."""
        assert self._spool is not None
        dtype = self._dtype or gexf.row_dtype(0)
        count = (os.fstat(self._spool.fileno()).st_size - _HEADER) // dtype.itemsize
        if count <= 0:
            return np.zeros(0, dtype=dtype)
        # It leaves the file's position at the end, where it is wanted.
        return np.memmap(self._spool, dtype, "r", _HEADER, (count,))

    def _warps(
        self, cycle: int, warp_data: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[int, bool]]:
        """The walkers warped in a cycle, and whether their trajectory ended there."""
        judge = WarpCapabilities(self._bc).warping_discontinuity
        for warp in warp_data:
            values = [_one(warp.get(name)) for name in self._warp_names]
            ends = True if judge is None else bool(judge(self._warp_record(cycle, *values)))
            yield int(_one(warp["walker_idx"])), ends


def _header(progress: Sequence[str]) -> bytes:
    """The first line of a spool."""
    names = json.dumps(list(progress))
    line = json.dumps({"progress": list(progress), "check": zlib.crc32(names.encode())}).encode()
    return line.ljust(_HEADER - 1) + b"\n"


def _note_regions(region: NDArray[Any], records: Sequence[Mapping[str, Any]]) -> None:
    """Put the regions of the records, each under its walker, into `region`."""
    walkers = [int(_one(record.get("walker_idx", i))) for i, record in enumerate(records)]
    names = [record["region_assignment"] for record in records]
    try:
        levels = np.array(names, dtype=np.int32)[:, : gexf.REGION_LEVELS]
        region[walkers, : levels.shape[1]] = levels
    except (ValueError, IndexError):
        # Regions of unequal depth.
        for walker, name in zip(walkers, names, strict=True):
            row = np.ravel(name)[: gexf.REGION_LEVELS]
            region[walker, : len(row)] = row


def _per_walker(progress: Mapping[str, Any], n_walkers: int) -> dict[str, Any]:
    """The progress quantities that have one number for each walker."""
    return {
        name: values
        for name, values in progress.items()
        if len(values) == n_walkers and (n_walkers == 0 or np.ndim(values[0]) == 0)
    }


def _one(value: Any) -> Any:
    """The one number of an array of one; anything else as it is."""
    return (
        value.item() if isinstance(value, (np.ndarray, np.generic)) and value.size == 1 else value
    )
