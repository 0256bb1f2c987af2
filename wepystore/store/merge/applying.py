"""Doing what a plan says: one order of writes, whatever moves the files (S4).

A *mover* brings copies to one kind of target: Into to a store of this machine, where each file is
verified before it gets its name (S2, S10); a remotes.Destination to one that is elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wepystore.errors import DamagedError
from wepystore.store.merge.plans import Conflict, Copy, Left, Plan
from wepystore.store.merge.source import Progress, Source, bring_near
from wepystore.store.names import KINDS, Name, Ref
from wepystore.store.store import DEFAULTS, Store

if TYPE_CHECKING:
    from wepystore.store.batch import Batch

# What becomes durable at a time: bounds the unfinished files of an interrupted reconcile.
_CHUNK_FILES = 8192
_CHUNK_BYTES = 4 << 30
# What is verified between two calls of `progress`.
_STEP_FILES = 1024
_STEP_BYTES = 1 << 30


@dataclass(frozen=True, repr=False)
class Outcome(Plan):
    """What a reconcile did: of the plan's copies those that were brought, `linked` of them as hard
    links; of its entries those that are complete in the target now and were not before; of its refs
    those that were set."""

    linked: int = 0

    @property
    def copied(self) -> int:
        return len(self.copies) - self.linked


class Mover(Protocol):
    """A way for files to a target."""

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """The kinds that are brought together, in the order of S4."""

    @property
    def linked(self) -> int:
        """How many of the files that were brought are hard links."""

    def begin(self) -> None:
        """Make the target if it is not there."""

    def bring(self, copies: Sequence[Copy], progress: Progress) -> dict[Name, str]:
        """Bring those of one stage: durable when this returns. Why the others did not come."""

    def claim(self, refs: Sequence[tuple[str, str]]) -> Mapping[str, str]:
        """Set refs that are not set (S7): what each of them holds then."""


def fetch(plan: Plan, progress: Progress | None = None) -> None:
    """Have near what is on no source of this machine. Raises what Source.fetch raises."""
    wanted: dict[Source, list[Name]] = {}
    for copy in plan.copies:
        if not any(source.is_near(*copy.name) for source in copy.sources):
            wanted.setdefault(copy.sources[0], []).append(copy.name)
    bring_near(wanted, progress)


def apply(plan: Plan, progress: Progress | None = None, mover: Mover | None = None) -> Outcome:
    """Do what a plan says, by way of a mover: into the plan's target on this machine, if none is
    given. What is elsewhere has been fetched (see `fetch`).

    What turns out to be damaged, or has gone from the sources since, is left out with all that
    needs it: a manifest comes only if all it names is there, a run only if its snapshots are.
    Raises what the mover raises.
    """
    mover = mover or Into(plan)
    mover.begin()
    failed: dict[Name, str] = {}
    brought: list[Copy] = []
    done = 0

    def told(now: int, _: int) -> None:
        if progress is not None:
            progress(done + now, plan.size)

    for stage in mover.stages:
        lost = _lost(plan, failed)
        copies = [copy for copy in plan.copies if copy.kind in stage and copy.name not in lost]
        failed |= mover.bring(copies, told)
        done += sum(copy.ref.size for copy in copies)
        brought += (copy for copy in copies if copy.name not in failed)
    lost = _lost(plan, failed)
    refs, conflicts = _claim(mover, plan, {md5 for _, md5 in lost})
    return Outcome(
        plan.target,
        plan.creates,
        tuple(brought),
        tuple(entry for entry in plan.entries if (entry.kind, entry.md5) not in lost),
        tuple(refs),
        (*plan.conflicts, *conflicts),
        (*plan.left, *_left(plan, failed)),
        plan.unread,
        plan.end,
        plan.withheld,
        mover.linked,
    )


def _lost(plan: Plan, failed: Mapping[Name, str]) -> set[Name]:
    """The entries that need something which did not come."""
    return {
        (entry.kind, entry.md5)
        for entry in plan.entries
        if not failed.keys().isdisjoint(entry.needs)
    }


def _left(plan: Plan, failed: Mapping[Name, str]) -> Iterator[Left]:
    """Those of them that some source still has: what has gone with all its parts is not amiss."""
    for entry in plan.entries:
        failures = [failed[name] for name in entry.needs if name in failed]
        if failures and any(s.is_there(entry.kind, entry.md5) for s in entry.sources):
            yield Left(entry.kind, entry.md5, entry.sources[0].label, min(failures))


def _claim(
    mover: Mover, plan: Plan, lost: set[str]
) -> tuple[list[tuple[str, str]], list[Conflict]]:
    """Set the plan's refs, unless somebody has set them since it was made (S7), or what they name
    has not come."""
    wanted = [(name, md5) for name, md5 in plan.refs if md5 not in lost]
    held = mover.claim(wanted)
    refs = [(name, md5) for name, md5 in wanted if held.get(name) == md5]
    conflicts = []
    for name, md5 in wanted:
        if name in held and held[name] != md5 and name not in DEFAULTS.values():
            holders = [entry.sources for entry in plan.entries if entry.md5 == md5]
            source = holders[0][0].label if holders and holders[0] else plan.target
            conflicts.append(Conflict(name, held[name], md5, source))
    return refs, conflicts


class Into:
    """A mover into a store of this machine: by hard links where they can be."""

    stages = tuple((kind,) for kind in KINDS)

    def __init__(self, plan: Plan) -> None:
        self._path = plan.target
        self._creates = plan.creates
        self.linked = 0

    def begin(self) -> None:
        self._target = (Store.ensure if self._creates else Store.open)(self._path)

    def bring(self, copies: Sequence[Copy], progress: Progress) -> dict[Name, str]:
        failed: dict[Name, str] = {}
        done = 0
        for chunk in _pieces(copies, _CHUNK_FILES, _CHUNK_BYTES):
            with self._target.batch() as batch:
                for step in _pieces(chunk, _STEP_FILES, _STEP_BYTES):
                    failed |= _bring(batch, step)
                    done += sum(copy.ref.size for copy in step)
                    progress(done, done)
            self.linked += batch.linked
        return failed

    def claim(self, refs: Sequence[tuple[str, str]]) -> dict[str, str]:
        held = {}
        for name, md5 in refs:
            if not any(self._target.has(kind, md5) for kind in KINDS[1:]):
                continue
            try:
                held[name] = self._target.claim_ref(name, md5)
            except DamagedError:
                self._target.set_ref(name, md5)
                held[name] = md5
        return held


def _bring(batch: Batch, copies: Sequence[Copy]) -> dict[Name, str]:
    """Each from the first source that has it whole; why the others did not come."""
    failed: dict[Name, str] = {}
    turn = 0
    while copies:
        kind = copies[0].kind
        pairs = [(copy.ref, copy.sources[turn].locate(*copy.name)) for copy in copies]
        again = []
        for copy, got in zip(copies, batch.bring_many(kind, pairs), strict=True):
            if isinstance(got, Ref):
                failed.pop(copy.name, None)
                continue
            where = copy.sources[turn].where(*copy.name)
            if isinstance(got, DamagedError):
                failed[copy.name] = str(type(got)(**{**got.fields, "file": where}))
            else:
                gone = f"{where} has gone"
                failed[copy.name] = copy.sources[turn].faults.get(copy.name, gone)
            if turn + 1 < len(copy.sources):
                again.append(copy)
        copies = again
        turn += 1
    return failed


def _pieces(copies: Sequence[Copy], n_files: int, n_bytes: int) -> Iterator[Sequence[Copy]]:
    """In order, so many files or bytes at a time (at least one file)."""
    first = size = 0
    for place, copy in enumerate(copies):
        if place > first and (place - first >= n_files or size + copy.ref.size > n_bytes):
            yield copies[first:place]
            first, size = place, 0
        size += copy.ref.size
    if first < len(copies):
        yield copies[first:]
