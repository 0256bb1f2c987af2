"""What to bring of what other places have, and a store lacks.

`plan` looks and decides, `apply` (applying.py) does just that. Together they make the union of the
stores (S6), verified: what is damaged or incomplete in the sources stays out and is reported,
everything else comes over (S5, S7). The result does not depend on the order of the sources, except
that of two different defaults the first source's is taken; doing it again changes nothing.

A default snapshot that is the end of a run does not become that of the target: where the run began
does (docs/design/0023-defaults.md).
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from wepystore.errors import DamagedError
from wepystore.store import carriers, files
from wepystore.store.attachments import attachment_of, is_newer
from wepystore.store.completeness import may_be_elsewhere
from wepystore.store.errors import MD5CollisionError
from wepystore.store.graph import kinds_of_ref
from wepystore.store.merge.differing import differing
from wepystore.store.merge.plans import Arrival, Conflict, Copy, Left, Plan, needed
from wepystore.store.merge.source import Source, bring_near, read_manifest
from wepystore.store.names import KINDS, ONE, Name, Ref
from wepystore.store.runs import Run, origin_of, run_of
from wepystore.store.store import DEFAULTS, Store

# What may name others, in the order of S4.
_NAMING = KINDS[1:]
# With more entries than this, those that the target has too are not read where that could bring
# nothing (see Plan.unread).
MANY = 10_000


def plan(
    target: Source | str | os.PathLike[str],
    sources: Sequence[Source],
    only: Collection[Name] | None = None,
    frames: bool = True,
) -> Plan:
    """Decide what to bring. Nothing is written to the target; one that does not exist is an empty
    one. Manifests that are elsewhere, and that the target lacks, come near.

    With `only`, just these entries and what they name are brought, and no refs; without `frames`
    these stay where they are. Raises what Store.open raises for a target that is there and no
    store, and what Source.fetch raises.
    """
    creates = False
    if isinstance(target, (str, os.PathLike)):
        creates = Store.can_create(target)
        target = Store(Path(target)) if creates else Store.open(target)
    planner = _Planner(target, creates, sources)
    found = planner.plan(only)
    rest = planner.rest()
    if rest:
        bring_near(rest)
        found = _Planner(target, creates, sources).plan(only)
    return found if frames else found.without_frames()


def _first_of(missing: list[str]) -> str:
    return missing[0] + (f", and {len(missing) - 1} more" if len(missing) > 1 else "")


def _order(name: Name) -> tuple[int, str]:
    """That of S4."""
    return KINDS.index(name[0]), name[1]


class _Planner:
    def __init__(self, target: Source, creates: bool, sources: Sequence[Source]) -> None:
        self.target = target
        self.creates = creates
        self.sources = sources
        # Where a manifest is read, in this order.
        self.everywhere = (*sources, target)
        # What each entry needs, or why it cannot come; filled by _entry.
        self.needs: dict[Name, frozenset[Name] | str | None] = {}
        self.located: dict[tuple[str, Ref], bool | None] = {}
        # What has been compared in the target, and why something there is in the way (S3).
        self.compared: set[tuple[str, Ref]] = set()
        self.collisions: dict[tuple[str, Ref], str] = {}
        self.copies: dict[Name, Copy] = {}
        self.entries: dict[Name, Arrival] = {}
        self.left: list[Left] = []
        self.runs: set[Run] = set()
        self.end = ""

    def plan(self, only: Collection[Name] | None) -> Plan:
        holders = self._holders()
        self._fetch(holders)
        names = sorted((n for n in holders if only is None or n in only), key=_order)
        unread = 0
        if only is None and len(names) > MANY and not self.creates:
            alike = {name for name in names if self._is_alike(name, holders[name])}
            self._read([name for name in names if name not in alike], holders)
            if self._is_all():
                names, unread = [], len(alike)
        self._read(names, holders)
        wanted = needed(self.entries.values())
        refs, conflicts = self._refs() if only is None else ({}, [])
        if only is None:
            conflicts += differing(self.target, self.sources, self._comes)
        self._leave_faults()
        return Plan(
            self.target.label,
            self.creates,
            tuple(self.copies[name] for name in sorted(wanted & self.copies.keys(), key=_order)),
            tuple(sorted(self.entries.values(), key=lambda entry: KINDS.index(entry.kind))),
            tuple(refs.items()),
            tuple(conflicts),
            tuple(self.left),
            unread,
            self.end,
        )

    def _holders(self) -> dict[Name, list[Source]]:
        """Who lists each configuration, snapshot and run."""
        holders: dict[Name, list[Source]] = {}
        for kind in _NAMING:
            for source in self.sources:
                for md5 in source.hashes(kind):
                    holders.setdefault((kind, md5), []).append(source)
        return holders

    # ---- what is elsewhere

    def _fetch(self, holders: dict[Name, list[Source]]) -> None:
        """Have near what the target lacks, each from the first source that has it."""
        wanted: dict[Source, list[Name]] = {}
        for name, sources in holders.items():
            if any(source.is_near(*name) for source in sources):
                continue
            here = self.target.size(*name)
            first = next((source for source in sources if source.size(*name) != here), None)
            if first is not None:
                wanted.setdefault(first, []).append(name)
        bring_near(wanted)

    def rest(self) -> dict[Source, list[Name]]:
        """What is damaged in the target, or in the first of several sources, has looked as if it
        were not needed from elsewhere; it is."""
        wanted: dict[Source, list[Name]] = {}
        for left in self.left:
            name = left.kind, left.md5
            for source in self.sources if left.kind in _NAMING else ():
                if name not in source.faults and source.has(*name) and not source.is_near(*name):
                    wanted.setdefault(source, []).append(name)
        return wanted

    def _leave_faults(self) -> None:
        known = {(left.kind, left.md5) for left in self.left}
        for source in self.sources:
            for (kind, md5), why in source.faults.items():
                if kind != "objects" and (kind, md5) not in known:
                    self.left.append(Left(kind, md5, source.label, why))

    # ---- entries

    def _read(self, names: Sequence[Name], holders: dict[Name, list[Source]]) -> None:
        for kind, md5 in names:
            if (kind, md5) in self.needs:
                continue
            why = self._entry(kind, md5)
            if isinstance(why, str):
                self.left.append(Left(kind, md5, holders[kind, md5][0].label, why))

    def _is_alike(self, name: Name, holders: Sequence[Source]) -> bool:
        """Whether the target has a file of the size that all these have."""
        size = self.target.size(*name)
        return size is not None and all(source.size(*name) == size for source in holders)

    def _is_all(self) -> bool:
        """Whether the target has, or gets for the entries found so far, all objects there are."""
        coming = needed(self.entries.values())
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
        if isinstance(result, str) and not any(s.is_there(kind, md5) for s in self.everywhere):
            result = None
        self.needs[name] = result
        return result

    def _look(self, kind: str, md5: str) -> frozenset[Name] | str:
        why = f"{ONE[kind]} {md5} is not there"
        for source in self.everywhere:
            if not source.is_near(kind, md5):
                continue
            try:
                found = read_manifest(source, kind, md5)
                parts = found.parts()
                run = run_of(found.value, md5, found.what) if kind == "runs" else None
                self.runs.update([run] if run else [])
                if kind == "attachments" and not is_newer(found.value):
                    attachment_of(found.value, md5, found.what)
            except (DamagedError, OSError) as error:
                if source.is_there(kind, md5):
                    why = str(error)
                continue
            return self._closure(kind, found.ref, parts, run)
        return why

    def _closure(
        self, kind: str, ref: Ref, parts: list[tuple[str, Ref]], run: Run | None
    ) -> frozenset[Name] | str:
        needs: set[Name] = set()
        missing: list[str] = []
        new = self.creates or not self.target.has(kind, ref.md5)
        for part, part_ref in parts:
            apart = may_be_elsewhere(kind, part)
            if part != "objects":
                more = self._entry(part, part_ref.md5)
                if not isinstance(more, frozenset):
                    why = more or f"{ONE[part]} {part_ref.md5} is not there"
                    missing += [why] if not apart else self._leave_apart(part, part_ref.md5, more)
                    continue
                needs |= more if not apart else frozenset()
            there = self._locate(part, part_ref, new)
            if (part, part_ref) in self.collisions:
                missing.append(self.collisions[part, part_ref])
            elif there is None:
                missing.append(self._missing(part, part_ref.md5))
            elif not there and not apart:
                needs.add((part, part_ref.md5))
        if missing:
            return _first_of(missing)
        if not self._locate(kind, ref):
            needs.add((kind, ref.md5))
        if needs:
            self._arrive(kind, ref.md5, new, frozenset(needs), run)
        return frozenset(needs)

    def _arrive(
        self, kind: str, md5: str, new: bool, needs: frozenset[Name], run: Run | None
    ) -> None:
        holders = tuple(source for source in self.sources if source.has(kind, md5))
        self.entries[kind, md5] = Arrival(kind, md5, new, needs, holders, run)

    def _leave_apart(self, kind: str, md5: str, why: str | None) -> tuple[str, ...]:
        """Frames that cannot come keep nothing from coming (D4); that something is amiss with those
        of a source, if it is, is told. What is missing because of that: nothing."""
        known = any((left.kind, left.md5) == (kind, md5) for left in self.left)
        holder = next((source for source in self.sources if source.has(kind, md5)), None)
        if why is not None and holder is not None and not known:
            self.left.append(Left(kind, md5, holder.label, why))
        return ()

    def _missing(self, kind: str, md5: str) -> str:
        near = [source for source in self.everywhere if source.is_near(kind, md5)]
        way = carriers.way_of_one([Path(source.locate(kind, md5)) for source in near])
        return f"{ONE[kind]} {md5} is not there whole{way}"

    def _locate(self, kind: str, ref: Ref, new: bool = False) -> bool | None:
        """True: the target has it; False: it can be brought; None: no store has it whole, or
        something else is in the way (see collisions).

        With `new`, for a manifest that the target lacks, it is not enough that there is a file of
        that name and size: nobody has compared it with what this manifest means by it.
        """
        key = (kind, ref)
        if key not in self.located:
            is_here = not self.creates and self.target.size(kind, ref.md5) == ref.size
            self.located[key] = is_here or self._from_sources(kind, ref)
        if new and self.located[key] and key not in self.compared:
            self.compared.add(key)
            self.located[key] = self._compare(kind, ref)
        return self.located[key]

    def _compare(self, kind: str, ref: Ref) -> bool | None:
        if not self.target.is_near(kind, ref.md5):
            return True
        file = self.target.locate(kind, ref.md5)
        try:
            found = files.hash_file(file)
        except (DamagedError, OSError):
            return self._from_sources(kind, ref)
        if found == ref:
            return True
        if found.md5 == ref.md5:
            self.collisions[kind, ref] = str(MD5CollisionError(md5=ref.md5, kind=kind, path=file))
            return None
        # Damaged, with its size unchanged: the right content takes its place.
        return self._from_sources(kind, ref)

    def _from_sources(self, kind: str, ref: Ref) -> bool | None:
        holders = tuple(s for s in self.sources if s.size(kind, ref.md5) == ref.size)
        if not holders:
            return None
        first = self.copies.setdefault((kind, ref.md5), Copy(kind, ref, holders))
        if first.ref != ref:
            path = first.sources[0].where(kind, ref.md5)
            self.collisions[kind, ref] = str(MD5CollisionError(md5=ref.md5, kind=kind, path=path))
            return None
        return False

    def _comes(self, kind: str, md5: str) -> bool:
        """Whether the target has an entry whole, or gets it."""
        return isinstance(self._entry(kind, md5), frozenset)

    # ---- refs

    def _refs(self) -> tuple[dict[str, str], list[Conflict]]:
        refs: dict[str, str] = {}
        conflicts: list[Conflict] = []
        for name in DEFAULTS.values():
            if self.target.has_ref(name):
                continue
            for source in self.sources:
                md5 = self._ref_of(source, name)
                if md5 is not None:
                    refs.setdefault(name, md5)
        if "default-snapshot" in refs:
            refs["default-snapshot"] = self._origin(refs["default-snapshot"])
        for name, values in sorted(self._tags().items()):
            ours = None
            if self.target.has_ref(name):
                ours = self._ref_of(self.target, name, complete=False)
            if ours is None and len(values) == 1:
                refs[name] = next(iter(values))
            for theirs, label in values.items():
                if ours != theirs and (ours is not None or len(values) > 1):
                    conflicts.append(Conflict(name, ours, theirs, label))
        return refs, conflicts

    def _origin(self, md5: str) -> str:
        """Where the runs that led to a snapshot began, of those that the target has or gets."""
        for each in self.target.hashes("runs"):
            with contextlib.suppress(DamagedError, OSError):
                record = read_manifest(self.target, "runs", each)
                self.runs.add(run_of(record.value, each, record.what))

        found = origin_of(md5, self.runs, functools.partial(self._comes, "snapshots"))
        self.end = md5 if found != md5 else ""
        return found

    def _tags(self) -> dict[str, dict[str, str]]:
        tags: dict[str, dict[str, str]] = {}
        for source in self.sources:
            for tag in source.tag_names():
                md5 = self._ref_of(source, "tags/" + tag)
                if md5 is not None:
                    tags.setdefault("tags/" + tag, {}).setdefault(md5, source.label)
        return tags

    def _ref_of(self, source: Source, name: str, complete: bool = True) -> str | None:
        """The hash a ref holds if it means something in the target; else it is reported."""
        try:
            md5 = source.ref(name)
        except DamagedError as error:
            self.left.append(Left("refs", name, source.label, str(error)))
            return None
        if md5 is None or not complete:
            return md5
        if any(self._comes(kind, md5) for kind in kinds_of_ref(name)):
            return md5
        why = f"{md5}, which it names, is not there whole"
        self.left.append(Left("refs", name, source.label, why))
        return None
