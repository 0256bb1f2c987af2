"""Healing a store: what is damaged is set aside, what is missing is fetched from other stores.

Nothing is deleted. A damaged file for which a source has the right content is replaced by the same
steps as any write (S2): the good file is verified under tmp/ first, then the bad one goes to
quarantine/ and the good one takes its name. So after a kill at any point the same command goes
on where it stopped. What no source has is only set aside.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wepystore import durable
from wepystore.errors import DamagedError, FailedError
from wepystore.store import bringing, files, graph, publish
from wepystore.store.batch import Batch
from wepystore.store.care import report
from wepystore.store.care.listing import mark_fault
from wepystore.store.care.report import Problem, Report
from wepystore.store.completeness import may_be_elsewhere
from wepystore.store.errors import DamagedEntryError
from wepystore.store.merge import Source
from wepystore.store.names import KINDS, MARK, Name, Ref
from wepystore.store.store import MARKED, Store

_NOT_AS_NAMED = frozenset(
    (report.DAMAGED, report.UNREADABLE, report.MISPLACED, report.LINK, report.NO_FILE)
)
# What the name is taken away from when nothing better is there.
_SET_ASIDE = _NOT_AS_NAMED | {report.MALFORMED}
# What a source may have in a better state.
_FETCHED = _NOT_AS_NAMED | {report.MISSING}
_CHUNK_FILES = 512


@dataclass(frozen=True)
class Repaired:
    """What `repair` did."""

    healed: tuple[Problem, ...]
    unhealed: tuple[Problem, ...]
    quarantined: tuple[tuple[str, str], ...]
    """Where a file was and where it is now, relative to the store."""
    brought: tuple[Name, ...]
    """What came from other stores, with what it needed."""
    size: int
    """Bytes of that."""


def repair(store: Store, found: Report, sources: Sequence[Source] = ()) -> Repaired:
    """Do what can be done about the problems of a report.

    With `sources`, the right content of what is damaged or missing comes from the first of them
    that has it whole, verified, with what it needs and is not here. Without, damaged files are
    only set aside. A ref that is damaged or points nowhere is set as in the first source whose
    ref of that name means something here. Raises what Source.fetch raises.
    """
    return _Repair(store, found, sources).repair()


class _Repair:
    def __init__(self, store: Store, found: Report, sources: Sequence[Source]) -> None:
        self.store = store
        self.problems = found.problems
        self.sources = sources
        self.aside: list[tuple[str, str]] = []
        self.brought: list[Name] = []
        self.size = 0
        # Entries that are not to be relied on here, and where their right content may be found.
        self.bad: dict[Name, Problem] = {
            (p.kind, p.name): p for p in found.problems if p.kind in KINDS and p.what in _FETCHED
        }
        self.strays = {
            (p.kind, p.name): store.path / p.path
            for p in found.problems
            if p.what == report.MISPLACED
        }
        # What to fetch, with all it needs; None: it cannot be had.
        self.wanted: dict[Name, Ref | None] = {}
        self.needs: dict[Name, frozenset[Name] | None] = {}

    def repair(self) -> Repaired:
        # Nothing is written through a directory that is a link: it may lead anywhere.
        files.check_real(self.store.path / "tmp", self.store.path / "quarantine")
        for p in self.problems:
            if p.kind in KINDS:
                file = self.store.path / p.path
                files.check_real(*[d for d in file.parents if self.store.path in d.parents])
        quarantine = self.store.path / "quarantine"
        before = set(os.listdir(quarantine)) if quarantine.is_dir() else set()
        changed = durable.make_directory(quarantine)
        changed |= durable.make_directory(self.store.path / "tmp")
        for directory in changed:
            durable.sync_directory(directory)
        self._mark()
        self._clear()
        # What manifests name has to be known before it is planned what else is to come.
        self._fetch({name: p.ref for name, p in self.bad.items() if name[0] != "objects"})
        for name, problem in self.bad.items():
            self._want(*name, problem.ref)
        self._fetch(self.wanted)
        self._bring_all()
        self._see_replaced(set(os.listdir(quarantine)) - before)
        self._set_aside()
        self._refs()
        healed = [p for p in self.problems if self._is_healed(p)]
        unhealed = [p for p in self.problems if p not in healed]
        return Repaired(
            tuple(healed), tuple(unhealed), tuple(self.aside), tuple(self.brought), self.size
        )

    # ---- the store's own file

    def _mark(self) -> None:
        if not self.sources or not any(p.name == MARK for p in self.problems):
            return
        file = self.store.path / MARK
        if os.path.lexists(file):
            self._quarantine(MARK)
        publish.write_file(self.store.path, file, MARKED)

    # ---- what stands in the way

    def _clear(self) -> None:
        """Mode bits are put right; links and directories go aside: no file can replace them."""
        for name, problem in list(self.bad.items()):
            file = self.store.file(*name)
            if problem.what == report.UNREADABLE:
                self._make_readable(file)
                if _is_whole(self.store, *name):
                    del self.bad[name]
            elif problem.what in (report.LINK, report.NO_FILE):
                self._quarantine(problem.path)

    def _make_readable(self, file: Path) -> None:
        mark = self.store.path / MARK
        like = os.stat(mark).st_mode & durable.MODE if mark.is_file() else 0o444
        try:
            facts = os.lstat(file)
            if stat.S_ISREG(facts.st_mode) and facts.st_nlink > 1:
                # Its mode bits may be those of another store's entry, or of a user's file.
                self._own_copy(file)
            else:
                os.chmod(file, stat.S_IMODE(os.stat(file).st_mode) | like | 0o400)
        except OSError:
            # Another's file: it goes aside, which only needs rights on the directory.
            if os.path.lexists(file):
                self._quarantine(str(file.relative_to(self.store.path)))

    def _own_copy(self, file: Path) -> None:
        """A file with the same bytes in place of one that has other names."""
        tmp = durable.unfinished_path(self.store.path / "tmp")
        _, descriptor, _ = bringing.copy(os.fspath(file), os.fspath(tmp))
        durable.sync(descriptor)
        os.replace(tmp, file)
        durable.sync_directory(file.parent)

    # ---- what to fetch

    def _want(self, kind: str, md5: str, ref: Ref | None) -> frozenset[Name] | None:
        """Plan to have an entry here, whole; what has to be brought for it, or None."""
        name = (kind, md5)
        if name in self.needs:
            return self.needs[name]
        self.needs[name] = None  # Against manifests that name each other in a circle.
        there = name not in self.bad and self.store.size(kind, md5) is not None
        if not there and not self._holders(kind, md5, ref):
            return None
        needs: set[Name] = set()
        if kind != "objects":
            for part in self._parts(kind, md5, ref):
                if may_be_elsewhere(kind, part[0]):
                    # If it is damaged it is a problem of its own.
                    continue
                more = self._want(part[0], part[1].md5, part[1])
                if more is None:
                    return None
                needs |= more
        if not there:
            self.wanted[name] = ref
            needs.add(name)
        self.needs[name] = frozenset(needs)
        return self.needs[name]

    def _parts(self, kind: str, md5: str, ref: Ref | None) -> graph.Parts:
        for source in (self.store, *self.sources):
            if not source.is_near(kind, md5):
                continue
            try:
                data = source.read(kind, md5, ref)
                return graph.parse(kind, md5, data, source.where(kind, md5))[0]
            except (DamagedError, OSError):
                continue
        return ()

    def _holders(self, kind: str, md5: str, ref: Ref | None) -> list[Path]:
        found = [Path(s.locate(kind, md5)) for s in self.sources if _has(s, (kind, md5), ref)]
        if (kind, md5) in self.strays:
            found.append(self.strays[kind, md5])
        return found

    # ---- fetching

    def _fetch(self, wanted: Mapping[Name, Ref | None]) -> None:
        """Have these near, from every source that has them."""
        for source in self.sources:
            source.fetch([name for name, ref in wanted.items() if _has(source, name, ref)])

    def _bring_all(self) -> None:
        """In the order of S4, a chunk at a time; what needs something that failed stays out."""
        failed: set[Name] = set()
        for kind in KINDS:
            names = [name for name in self.wanted if name[0] == kind]
            for first in range(0, len(names), _CHUNK_FILES):
                with self.store.batch() as batch:
                    for name in names[first : first + _CHUNK_FILES]:
                        needs = self.needs[name] or ()
                        if not failed.isdisjoint(needs) or not self._bring(batch, name):
                            failed.add(name)

    def _bring(self, batch: Batch, name: Name) -> bool:
        ref = self.wanted[name]
        for file in self._holders(*name, ref):
            try:
                got = batch.bring(*name, file, ref)
            except (DamagedError, FileNotFoundError, PermissionError):
                continue
            self.brought.append(name)
            self.size += got.size
            return True
        return False

    def _see_replaced(self, new: set[str]) -> None:
        """Note what went to quarantine/ when a good file took its name (see publish.place)."""
        for name in self.bad:
            path = self.store.file(*name)
            for aside in new:
                if aside.startswith(f"{name[0]}-{path.name}-"):
                    item = (str(path.relative_to(self.store.path)), f"quarantine/{aside}")
                    if item not in self.aside:
                        self.aside.append(item)

    # ---- setting aside

    def _set_aside(self) -> None:
        """Runs first, objects last: no reader sees a name whose parts have just gone."""
        order = {kind: place for place, kind in enumerate(reversed(KINDS))}
        todo = [p for p in self.problems if p.kind in KINDS and p.what in _SET_ASIDE]
        for p in sorted(todo, key=lambda p: (order[p.kind], p.path)):
            if not os.path.lexists(self.store.path / p.path):
                continue
            in_place = self.store.path / p.path == self.store.file(p.kind, p.name)
            if in_place and p.what != report.MALFORMED and _is_whole(self.store, p.kind, p.name):
                # It was fetched, or somebody else was faster.
                continue
            self._quarantine(p.path)

    def _quarantine(self, path: str, keep: bool = False) -> None:
        """Move a file to quarantine/; with `keep` it has its own name too, until it is replaced."""
        file = self.store.path / path
        parts = path.split("/")
        if parts[0] in KINDS:
            # As publish.place calls it there: without the first digits of its hash.
            parts = [parts[0], parts[-1]]
        name = "-".join(parts)
        aside = f"quarantine/{name}-{os.urandom(4).hex()}"
        try:
            if keep:
                os.link(file, self.store.path / aside, follow_symlinks=False)
            else:
                os.rename(file, self.store.path / aside)
        except FileNotFoundError:
            return
        except OSError as error:
            if not keep or error.errno not in durable.NO_LINK:
                raise
            # A ref, where there are no hard links.
            (self.store.path / aside).write_bytes(files.read_plain(file, files.MAX_REF))
        durable.sync_directory(self.store.path / "quarantine")
        durable.sync_directory(file.parent)
        self.aside.append((path, aside))

    # ---- refs

    def _refs(self) -> None:
        for p in self.problems:
            if p.what != report.BAD_REF or self._is_healed(p):
                continue
            md5 = self._ref_of_sources(p.name)
            holds = _ref(self.store, p.name)
            # One that holds a hash is left alone while nothing better is known: what it names
            # may come yet (S5).
            if md5 is None and holds is not None:
                continue
            # Replaced in one step: were the name gone for a moment, a kill in it would leave
            # nothing that tells the next repair that there was such a ref.
            keep = md5 is not None and (self.store.path / p.path).is_file()
            self._quarantine(p.path, keep)
            if md5 is not None:
                self.store.set_ref(p.name, md5)

    def _ref_of_sources(self, name: str) -> str | None:
        kinds = graph.kinds_of_ref(name)
        found = (_ref(source, name) for source in self.sources)
        whole = (
            md5 for md5 in found if md5 and any(_is_complete(self.store, k, md5) for k in kinds)
        )
        return next(whole, None)

    # ---- the result

    def _is_healed(self, p: Problem) -> bool:
        if p.kind == "store":
            return p.name == MARK and mark_fault(self.store) is None
        if p.what == report.BAD_REF:
            md5 = _ref(self.store, p.name)
            kinds = graph.kinds_of_ref(p.name)
            return md5 is not None and any(self.store.has(kind, md5) for kind in kinds)
        if p.what == report.CONTRADICTED:
            return False
        if p.what == report.MALFORMED:
            return not p.needed_by and not self.store.has(p.kind, p.name)
        if not os.path.lexists(self.store.file(p.kind, p.name)):
            # Set aside, and nobody misses it: the store is whole without it.
            return p.kind == "objects" and not any(
                need.kind == "refs" or self.store.has(need.kind, need.name) for need in p.needed_by
            )
        return _is_whole(self.store, p.kind, p.name, p.ref)


def _ref(source: Source, name: str) -> str | None:
    """What a ref holds; None if it is not there, or damaged."""
    try:
        return source.ref(name)
    except (DamagedError, OSError):
        return None


def _is_complete(store: Store, kind: str, md5: str) -> bool:
    if not store.has(kind, md5):
        return False
    try:
        return not store.missing(kind, md5)
    except (DamagedError, FailedError, OSError):
        return False


def _has(source: Source, name: Name, ref: Ref | None) -> bool:
    """Whether a source lists a file that can be the right one, by its size."""
    size = source.size(*name)
    return size is not None and (ref is None or size == ref.size)


def _is_whole(store: Store, kind: str, md5: str, ref: Ref | None = None) -> bool:
    """Whether the file is there and holds what its name says, read in chunks."""
    try:
        found = files.hash_file(store.locate(kind, md5))
    except (DamagedEntryError, OSError):
        return False
    return found.md5 == md5 and (ref is None or found == ref)
