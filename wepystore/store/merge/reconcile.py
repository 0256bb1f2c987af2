"""Bring what other stores have, and this one lacks, into this one.

`plan` looks and decides, `apply` does just that. Together they make the union of the stores (S6),
verified: what is damaged or incomplete in the sources stays out and is reported, everything else
comes over (S5, S7). The result does not depend on the order of the sources, except that of two
different defaults the first source's is taken; doing it again changes nothing.

A default snapshot that is the end of a run does not become that of the target: where the run began
does (docs/design/0023-defaults.md).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wepystore.errors import DamagedError
from wepystore.store import carriers, files
from wepystore.store.errors import MD5CollisionError, NoSuchStoreError, NotAStoreError
from wepystore.store.names import KINDS, ONE, Ref
from wepystore.store.runs import Run, origin_of, read_run, run_of
from wepystore.store.store import DEFAULTS, Store

if TYPE_CHECKING:
    from wepystore.store.batch import Batch

Name = tuple[str, str]  # (kind, md5)

# What becomes durable at a time: bounds the unfinished files of an interrupted reconcile.
_CHUNK_FILES = 8192
_CHUNK_BYTES = 4 << 30
# What is verified between two calls of `progress`.
_STEP_FILES = 1024
_STEP_BYTES = 1 << 30
# With more entries than this, those that the target has too are not read where that could bring
# nothing (see Plan.unread).
MANY = 10_000


@dataclass(frozen=True)
class Copy:
    """One file to bring, and the stores that have it (with the right size)."""

    kind: str
    ref: Ref
    sources: tuple[Store, ...]

    @property
    def name(self) -> Name:
        return self.kind, self.ref.md5


@dataclass(frozen=True)
class Entry:
    """A snapshot, configuration or run that the target gets, or gets missing parts of."""

    kind: str
    md5: str
    new: bool
    needs: frozenset[Name]
    """Everything it names, directly or not, that has to be brought for it; and itself."""
    sources: tuple[Store, ...]
    run: Run | None = None


@dataclass(frozen=True)
class Left:
    """An entry (or, with kind "refs", a ref) of a source that was left out, and why."""

    kind: str
    md5: str
    source: Path
    why: str


@dataclass(frozen=True)
class Conflict:
    """A tag that differs (S7). `ours` is None when two sources differ and the target has none."""

    name: str
    ours: str | None
    theirs: str
    source: Path


@dataclass(frozen=True)
class Plan:
    """What `apply` will do."""

    target: Path
    creates: bool
    copies: tuple[Copy, ...]
    """In the order of S4."""
    entries: tuple[Entry, ...]
    refs: tuple[tuple[str, str], ...]
    conflicts: tuple[Conflict, ...]
    left: tuple[Left, ...]
    unread: int = 0
    """Of more than MANY entries, so many that the target has too, with the same sizes, while no
    source has any file beyond what the others need. Whether they are complete was not looked at:
    if not, no source has what they lack."""
    end: str = ""
    """The default snapshot of a source, if that is the end of a run and `refs` has the start."""

    @property
    def size(self) -> int:
        """Bytes to bring."""
        return sum(copy.ref.size for copy in self.copies)


@dataclass(frozen=True)
class Outcome:
    """What `apply` did."""

    entries: tuple[Entry, ...]
    """Only those that are complete in the target now, and were not before."""
    refs: tuple[tuple[str, str], ...]
    conflicts: tuple[Conflict, ...]
    left: tuple[Left, ...]
    linked: int
    copied: int
    size: int
    """Files brought as hard links, as copies, and the bytes of both."""
    unread: int = 0
    """As in the plan."""
    end: str = ""
    """As in the plan."""


def plan(
    target: Store | str | os.PathLike[str],
    sources: Sequence[Store],
    only: Collection[Name] | None = None,
) -> Plan:
    """Decide what to bring. Nothing is written; a target that does not exist is an empty one.

    With `only`, just these entries and what they name are brought, and no refs. Raises what
    Store.open raises for a target that is there and no store.
    """
    creates = False
    here: Store | None
    if isinstance(target, Store):
        here, path = target, target.path
    else:
        path = Path(target)
        creates = Store.can_create(path)
        here = None if creates else Store.open(path)
    return _Planner(here, path, sources).plan(creates, only)


class _Planner:
    def __init__(self, target: Store | None, path: Path, sources: Sequence[Store]) -> None:
        self.target = target
        self.path = path
        self.sources = sources
        # What each entry needs, or why it cannot come; filled by _entry.
        self.needs: dict[Name, frozenset[Name] | str | None] = {}
        self.located: dict[tuple[str, Ref], bool | None] = {}
        # What has been compared in the target, and why something there is in the way (S3).
        self.compared: set[tuple[str, Ref]] = set()
        self.collisions: dict[tuple[str, Ref], str] = {}
        self.copies: dict[Name, Copy] = {}
        self.entries: dict[Name, Entry] = {}
        self.left: list[Left] = []
        self.runs: set[Run] = set()
        self.end = ""

    def plan(self, creates: bool, only: Collection[Name] | None) -> Plan:
        found: dict[Name, list[Store]] = {}
        for kind in ("configs", "snapshots", "runs"):
            for source in self.sources:
                for md5 in source.hashes(kind):
                    if only is None or (kind, md5) in only:
                        found.setdefault((kind, md5), []).append(source)
        names = sorted(found, key=lambda name: (KINDS.index(name[0]), name[1]))
        unread = 0
        if only is None and len(names) > MANY and self.target is not None:
            alike = {name for name in names if self._is_alike(name, found[name])}
            self._read([name for name in names if name not in alike], found)
            if self._is_all():
                names, unread = [], len(alike)
        self._read(names, found)
        wanted = {name for entry in self.entries.values() for name in entry.needs}
        copies = sorted(
            (copy for name, copy in self.copies.items() if name in wanted),
            key=lambda copy: (KINDS.index(copy.kind), copy.ref.md5),
        )
        refs, conflicts = self._refs() if only is None else ({}, [])
        return Plan(
            self.path,
            creates,
            tuple(copies),
            tuple(sorted(self.entries.values(), key=lambda entry: KINDS.index(entry.kind))),
            tuple(refs.items()),
            tuple(conflicts),
            tuple(self.left),
            unread,
            self.end,
        )

    def _read(self, names: Sequence[Name], found: dict[Name, list[Store]]) -> None:
        for kind, md5 in names:
            if (kind, md5) in self.needs:
                continue
            why = self._entry(kind, md5)
            if isinstance(why, str):
                self.left.append(Left(kind, md5, found[kind, md5][0].path, why))

    def _is_alike(self, name: Name, holders: Sequence[Store]) -> bool:
        """Whether the target has a file of the size that all these stores have."""
        assert self.target is not None
        size = self.target.size(*name)
        return size is not None and all(store.size(*name) == size for store in holders)

    def _is_all(self) -> bool:
        """Whether the target has, or gets for the entries found so far, all objects there are."""
        coming = {name for entry in self.entries.values() for name in entry.needs}
        return all(
            ("objects", md5) in coming or self._is_alike(("objects", md5), [source])
            for source in self.sources
            for md5 in source.hashes("objects")
        )

    def _entry(self, kind: str, md5: str) -> frozenset[Name] | str | None:
        """What has to be brought for an entry; a str says why it cannot come; None: it has gone
        from the sources since they were listed, with all its parts, and nothing is amiss."""
        name = (kind, md5)
        if name in self.needs:
            return self.needs[name]
        self.needs[name] = "it names itself"
        result: frozenset[Name] | str | None = self._look(kind, md5)
        if isinstance(result, str) and not any(
            os.path.lexists(store.locate(kind, md5)) for store in self._stores()
        ):
            result = None
        self.needs[name] = result
        return result

    def _look(self, kind: str, md5: str) -> frozenset[Name] | str:
        why = f"{ONE[kind]} {md5} is not there"
        for store in self._stores():
            what = store.locate(kind, md5)
            try:
                found = store.read_manifest(kind, md5)
                parts = found.parts()
                run = run_of(found.value, md5, what) if kind == "runs" else None
                self.runs.update([run] if run else [])
            except (DamagedError, OSError) as error:
                if os.path.lexists(what):
                    why = str(error)
                continue
            return self._closure(kind, found.ref, parts, run)
        return why

    def _closure(
        self, kind: str, ref: Ref, parts: list[tuple[str, Ref]], run: Run | None
    ) -> frozenset[Name] | str:
        needs: set[Name] = set()
        missing = []
        new = self.target is None or not self.target.has(kind, ref.md5)
        for part, part_ref in parts:
            if part != "objects":
                more = self._entry(part, part_ref.md5)
                if not isinstance(more, frozenset):
                    missing.append(more or f"{ONE[part]} {part_ref.md5} is not there")
                    continue
                needs |= more
            there = self._locate(part, part_ref, new)
            if (part, part_ref) in self.collisions:
                missing.append(self.collisions[part, part_ref])
            elif there is None:
                way = carriers.way_of_one([s.file(part, part_ref.md5) for s in self._stores()])
                missing.append(f"{ONE[part]} {part_ref.md5} is not there whole{way}")
            elif not there:
                needs.add((part, part_ref.md5))
        if missing:
            rest = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
            return missing[0] + rest
        if not self._locate(kind, ref):
            needs.add((kind, ref.md5))
        if needs:
            name = (kind, ref.md5)
            holders = tuple(s for s in self.sources if s.has(kind, ref.md5))
            self.entries[name] = Entry(kind, ref.md5, new, frozenset(needs), holders, run)
        return frozenset(needs)

    def _locate(self, kind: str, ref: Ref, new: bool = False) -> bool | None:
        """True: the target has it; False: it can be brought; None: no store has it whole, or
        something else is in the way (see collisions).

        With `new`, for a manifest that the target lacks, it is not enough that there is a file of
        that name and size: nobody has compared it with what this manifest means by it.
        """
        key = (kind, ref)
        if key not in self.located:
            self.located[key] = self._search(kind, ref)
        if new and self.located[key] and key not in self.compared:
            self.compared.add(key)
            self.located[key] = self._compare(kind, ref)
        return self.located[key]

    def _compare(self, kind: str, ref: Ref) -> bool | None:
        assert self.target is not None
        file = self.target.file(kind, ref.md5)
        try:
            with open(files.open_plain(file), "rb", buffering=0) as stream:
                found = files.hash_descriptor(stream.fileno())
        except (DamagedError, OSError):
            return self._from_sources(kind, ref)
        if found == ref:
            return True
        if found.md5 == ref.md5:
            self.collisions[kind, ref] = str(MD5CollisionError(md5=ref.md5, kind=kind, path=file))
            return None
        # Damaged, with its size unchanged: the right content takes its place.
        return self._from_sources(kind, ref)

    def _search(self, kind: str, ref: Ref) -> bool | None:
        if self.target is not None and self.target.size(kind, ref.md5) == ref.size:
            return True
        return self._from_sources(kind, ref)

    def _from_sources(self, kind: str, ref: Ref) -> bool | None:
        holders = tuple(s for s in self.sources if s.size(kind, ref.md5) == ref.size)
        if not holders:
            return None
        first = self.copies.setdefault((kind, ref.md5), Copy(kind, ref, holders))
        if first.ref != ref:
            file = first.sources[0].file(kind, ref.md5)
            self.collisions[kind, ref] = str(MD5CollisionError(md5=ref.md5, kind=kind, path=file))
            return None
        return False

    def _stores(self) -> Iterator[Store]:
        yield from self.sources
        if self.target is not None:
            yield self.target

    def _refs(self) -> tuple[dict[str, str], list[Conflict]]:
        refs: dict[str, str] = {}
        conflicts: list[Conflict] = []
        for name in DEFAULTS.values():
            if self.target is not None and self._ref_is_set(self.target, name):
                continue
            for source in self.sources:
                md5 = self._ref_of(source, name)
                if md5 is not None:
                    refs.setdefault(name, md5)
        if "default-snapshot" in refs:
            refs["default-snapshot"] = self._origin(refs["default-snapshot"])
        for name, values in sorted(self._tags().items()):
            ours = None
            if self.target is not None and self._ref_is_set(self.target, name):
                ours = self._ref_of(self.target, name, complete=False)
            if ours is None and len(values) == 1:
                refs[name] = next(iter(values))
            for theirs, path in values.items():
                if ours != theirs and (ours is not None or len(values) > 1):
                    conflicts.append(Conflict(name, ours, theirs, path))
        return refs, conflicts

    def _origin(self, md5: str) -> str:
        """Where the runs that led to a snapshot began, of those that the target has or gets."""
        if self.target is not None:
            for each in self.target.hashes("runs"):
                with contextlib.suppress(DamagedError, OSError):
                    self.runs.add(read_run(self.target, each))

        def is_whole(snapshot: str) -> bool:
            return isinstance(self._entry("snapshots", snapshot), frozenset)

        found = origin_of(md5, self.runs, is_whole)
        self.end = md5 if found != md5 else ""
        return found

    def _tags(self) -> dict[str, dict[str, Path]]:
        tags: dict[str, dict[str, Path]] = {}
        for source in self.sources:
            for tag in source.tag_names():
                md5 = self._ref_of(source, "tags/" + tag)
                if md5 is not None:
                    tags.setdefault("tags/" + tag, {}).setdefault(md5, source.path)
        return tags

    def _ref_is_set(self, store: Store, name: str) -> bool:
        return os.path.lexists(store.path / "refs" / name)

    def _ref_of(self, store: Store, name: str, complete: bool = True) -> str | None:
        """The hash a ref holds if it means something in the target; else it is reported."""
        try:
            md5 = store.ref(name)
        except DamagedError as error:
            self.left.append(Left("refs", name, store.path, str(error)))
            return None
        if md5 is None or not complete:
            return md5
        kinds = [kind for kind, default in DEFAULTS.items() if default == name]
        for kind in kinds or ("snapshots", "configs", "runs"):
            if isinstance(self._entry(kind, md5), frozenset):
                return md5
        why = f"{md5}, which it names, is not there whole"
        self.left.append(Left("refs", name, store.path, why))
        return None


def apply(plan: Plan, progress: Callable[[int, int], None] | None = None) -> Outcome:
    """Do what a plan says; `progress(files done, files in all)` is called now and then.

    Each file is verified before it gets its name in the target (S2, S10). What turns out to be
    damaged, or has gone from the sources since, is left out with all that needs it.
    """
    try:
        target = Store.open(plan.target)
    except (NoSuchStoreError, NotAStoreError):
        if not plan.creates:
            raise
        target = Store.ensure(plan.target)
    mover = _Mover(target, len(plan.copies), progress)
    by_stage: dict[str, list[Copy]] = {kind: [] for kind in KINDS}
    for copy in plan.copies:
        by_stage[copy.kind].append(copy)
    mover.bring(by_stage["objects"])
    # A manifest may come only if all it names is there; a run only if its snapshots are.
    for kind in ("configs", "snapshots", "runs"):
        lost = {
            (entry.kind, entry.md5)
            for entry in plan.entries
            if not mover.failed.keys().isdisjoint(entry.needs)
        }
        mover.bring([copy for copy in by_stage[kind] if copy.name not in lost])
    entries, left = [], list(plan.left)
    for entry in plan.entries:
        failures = [mover.failed[name] for name in entry.needs if name in mover.failed]
        if not failures:
            entries.append(entry)
        elif any(os.path.lexists(s.file(entry.kind, entry.md5)) for s in entry.sources):
            left.append(Left(entry.kind, entry.md5, entry.sources[0].path, min(failures)))
    refs, conflicts = _set_refs(target, plan)
    return Outcome(
        tuple(entries),
        tuple(refs),
        (*plan.conflicts, *conflicts),
        tuple(left),
        mover.linked,
        mover.done - mover.linked,
        mover.size,
        plan.unread,
        plan.end,
    )


def _set_refs(target: Store, plan: Plan) -> tuple[list[tuple[str, str]], list[Conflict]]:
    """Those of a plan, unless somebody has set them since it was made (S7)."""
    refs, conflicts = [], []
    for name, md5 in plan.refs:
        if not any(target.has(kind, md5) for kind in ("snapshots", "configs", "runs")):
            continue
        try:
            ours = target.claim_ref(name, md5)
        except DamagedError:
            target.set_ref(name, md5)
            ours = md5
        if ours == md5:
            refs.append((name, md5))
        elif name not in DEFAULTS.values():
            holders = [entry.sources for entry in plan.entries if entry.md5 == md5]
            source = holders[0][0].path if holders and holders[0] else plan.target
            conflicts.append(Conflict(name, ours, md5, source))
    return refs, conflicts


class _Mover:
    def __init__(
        self, target: Store, total: int, progress: Callable[[int, int], None] | None
    ) -> None:
        self.target = target
        self.total = total
        self.progress = progress
        self.failed: dict[Name, str] = {}
        self.done = self.linked = self.size = 0

    def bring(self, copies: Sequence[Copy]) -> None:
        """All of one stage (S4)."""
        for chunk in _pieces(copies, _CHUNK_FILES, _CHUNK_BYTES):
            with self.target.batch() as batch:
                for step in _pieces(chunk, _STEP_FILES, _STEP_BYTES):
                    self._step(batch, step)
                    if self.progress is not None:
                        self.progress(self.done + len(self.failed), self.total)
            self.linked += batch.linked

    def _step(self, batch: Batch, copies: Sequence[Copy]) -> None:
        """From the first source that has it whole, each."""
        turn = 0
        while copies:
            kind = copies[0].kind
            files = [copy.sources[turn].locate(kind, copy.ref.md5) for copy in copies]
            pairs = [(copy.ref, file) for copy, file in zip(copies, files, strict=True)]
            again = []
            for copy, file, got in zip(copies, files, batch.bring_many(kind, pairs), strict=True):
                if isinstance(got, Ref):
                    self.failed.pop(copy.name, None)
                    self.done += 1
                    self.size += copy.ref.size
                    continue
                self.failed[copy.name] = (
                    f"{file} has gone" if isinstance(got, OSError) else str(got)
                )
                if turn + 1 < len(copy.sources):
                    again.append(copy)
            copies = again
            turn += 1


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
