"""Is everything there that should be, and is it what its name says?

`check` looks and changes nothing; `repair` does what can be done about what it found. Both are
values in, values out: printing them is left to others.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from wepystore.errors import DamagedError
from wepystore.store import carriers, files, graph
from wepystore.store.care import listing, report, scan
from wepystore.store.care.listing import Names
from wepystore.store.care.repair import Repaired, repair
from wepystore.store.care.report import Need, Note, Problem, Report
from wepystore.store.care.scan import Scan, Work
from wepystore.store.errors import BadJSONError, DamagedEntryError
from wepystore.store.names import KINDS, MARK, ONE, Name, Ref, is_tag
from wepystore.store.store import DEFAULTS, DIRECTORIES, Store
from wepystore.store.whereabouts import LASTING

__all__ = ["Need", "Note", "Problem", "Repaired", "Report", "check", "repair"]


# What else may lie in a store without being an entry.
_USUAL = carriers.FILES | {MARK, "gc.lock"}


def check(
    store: Store,
    *,
    fast: bool = False,
    sha256: bool = False,
    subset: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check a store. Nothing is written.

    All manifests, records and refs are read and verified in any case, and the names and sizes of
    all objects are looked at. Beyond that

    - by default each object is read and compared with its name, the MD5;
    - with `sha256` also with the SHA-256 that manifests give (S3);
    - with `subset` (n, t) only the n-th of t parts of the objects are read;
    - with `fast` none.

    `progress(files done, files in all)` is called now and then. Raises NewerFormatError, and
    OSError where a directory cannot be listed.
    """
    checker = _Checker(store, fast, sha256, subset, progress)
    # Hundreds of thousands of small tuples are made and none is part of a circle; looking for
    # circles among them again and again would take a third of the time.
    enabled = gc.isenabled()
    gc.disable()
    try:
        return checker.check()
    finally:
        if enabled:
            gc.enable()


class _Named:
    """What manifests say of the entries that they name.

    Attributes
    ----------
    first : dict
        By kind and hash: what the first manifest says, and which one that is.
    others : list
        What others say that is not the same: kind, Ref, and which.
    """

    def __init__(self) -> None:
        self.first: dict[str, dict[str, tuple[Ref, Name]]] = {kind: {} for kind in KINDS}
        self.others: list[tuple[str, Ref, Name]] = []

    def take(self, parts_of: Mapping[Name, graph.Parts]) -> None:
        """Take in what all manifests name."""
        for name, parts in parts_of.items():
            for kind, ref in parts:
                if self.first[kind].setdefault(ref.md5, (ref, name))[0] != ref:
                    self.others.append((kind, ref, name))

    def ref(self, kind: str, md5: str) -> Ref | None:
        """What they agree on."""
        found = self.first[kind].get(md5)
        if found is None or any((kind, md5) == (k, ref.md5) for k, ref, _ in self.others):
            return None
        return found[0]

    def size(self, md5: str) -> int | None:
        """Of an object, in bytes."""
        ref = self.ref("objects", md5)
        return ref.size if ref is not None else None


class _Checker:
    def __init__(
        self,
        store: Store,
        fast: bool,
        sha256: bool,
        subset: tuple[int, int] | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.store = store
        self.root = os.fspath(store.path)
        self.read = scan.subset_of(*subset) if subset is not None else None
        if fast:
            self.read = lambda md5: False
        self.sha256 = sha256 and not fast
        self.progress = progress
        self.done = 0
        self.listings: dict[str, Names] = {}
        self.scans: dict[str, Scan] = {}
        self._present: dict[str, set[str]] = {}
        self.graph = graph.Graph()
        self.problems: list[Problem] = []
        self.notes: list[Note] = []
        self.named = _Named()
        self.elsewhere: dict[Name, list[Name]] = {}

    def check(self) -> Report:
        self._mark()
        # What names before what is named (see graph.NAMING).
        for kind in (*graph.NAMING, "objects"):
            self.listings[kind] = listing.list_kind(self.root, kind)
        with Work(self.listings["objects"], self.sha256, self.read) as work:
            for kind in graph.NAMING:
                self._manifests(kind)
            self.named.take(self.graph.parts)
            self.elsewhere = self.graph.elsewhere(self.store)
            found = scan.scan(work, size_of=self.named.size, progress=self._step)
            self.scans["objects"] = found
        self._faults()
        self._compare()
        self._refs()
        self._names()
        self._unnamed()
        return Report(
            self.root,
            tuple(_with_needs(self.problems, self.graph)) if self.problems else (),
            tuple(self.notes),
            graph.by_hash(self.elsewhere),
            {kind: len(self.listings[kind]) for kind in KINDS},
            sum(found.files_read for found in self.scans.values()),
            sum(found.bytes_read for found in self.scans.values()),
        )

    def present(self, kind: str) -> set[str]:
        """All hashes of a kind that have a file, or something else of that name."""
        if kind not in self._present:
            names = self.listings[kind]
            self._present[kind] = {*names, *names.no_files}
        return self._present[kind]

    def _step(self, files: int) -> None:
        if self.progress is not None:
            self.done += files
            self.progress(self.done, sum(map(len, self.listings.values())))

    def _mark(self) -> None:
        why = listing.mark_fault(self.store)
        if why is not None:
            what = report.DAMAGED if os.path.lexists(self.store.path / MARK) else report.MISSING
            self.problems.append(Problem(what, "store", MARK, MARK, why))

    def _manifests(self, kind: str) -> None:
        names = self.listings[kind]

        def keep(md5: str, data: bytes) -> None:
            path = names.path(md5)
            try:
                parts, number = graph.parse(kind, md5, data, path)
            except BadJSONError as error:
                why = str(error.fields["why"])
                self.graph.faults[kind, md5] = why
                self.problems.append(Problem(report.MALFORMED, kind, md5, path, why))
                return
            if number > (newest := graph.NEWEST[kind]):
                why = f"it has format {number}; this program knows formats up to {newest}"
                self.notes.append(Note(report.NEWER, path, why))
            self.graph.parts[kind, md5] = parts

        with Work(names, self.sha256) as work:
            self.scans[kind] = scan.scan(work, keep=keep, progress=self._step)

    def _faults(self) -> None:
        holders = self._names_by_content()
        for kind in KINDS:
            names = self.listings[kind]
            for md5, fault in sorted(self.scans[kind].faults.items()):
                self.graph.faults[kind, md5] = fault.why
                absent = fault.what == report.MISSING and kind == "objects"
                if absent and md5 not in self.named.first[kind]:
                    continue
                why = fault.why
                if fault.found in holders:
                    why += f", the content of {holders[fault.found]}"
                ref = self.named.ref(kind, md5)
                path = names.path(md5)
                self.problems.append(Problem(fault.what, kind, md5, path, why, ref=ref))

    def _names_by_content(self) -> dict[str | None, str]:
        """Of the contents that files with a wrong name have: the path that each belongs to."""
        found = {f.found for s in self.scans.values() for f in s.faults.values() if f.found}
        if not found:
            return {}
        known = {name for kind in KINDS for name in ((kind, m) for m in self.listings[kind])}
        known |= {(kind, md5) for kind in KINDS for md5 in self.named.first[kind]}
        return {md5: self.listings[kind].path(md5) for kind, md5 in sorted(known) if md5 in found}

    def _compare(self) -> None:
        """Is all there that manifests name, with the size and SHA-256 that they give?"""
        for kind, expected in self.named.first.items():
            sizes, sha256 = self.scans[kind].sizes, self.scans[kind].sha256
            for md5, (ref, by) in expected.items():
                if (kind, md5) in self.elsewhere:
                    continue
                if sizes.get(md5) != ref.size or (sha256 and sha256.get(md5) != ref.sha256):
                    self._not_as_expected(kind, ref, by)
        for kind, ref, by in self.named.others:
            if (kind, ref.md5) in self.elsewhere:
                continue
            digest = None
            with suppress(DamagedEntryError, OSError):
                digest = files.hash_file(self.store.locate(kind, ref.md5)).sha256
            self._not_as_expected(kind, ref, by, digest)
            first, by = self.named.first[kind][ref.md5]
            if digest != first.sha256:
                self._not_as_expected(kind, first, by, digest)

    def _not_as_expected(self, kind: str, ref: Ref, by: Name, digest: str | None = None) -> None:
        found = self.scans[kind]
        if ref.md5 in found.faults:
            return
        size = found.sizes.get(ref.md5)
        if size is None:
            self._missing(kind, ref, by)
            return
        digest = digest or found.sha256.get(ref.md5)
        if size != ref.size or (digest is not None and digest != ref.sha256):
            problem = self._contradiction(kind, size, ref, by)
            if problem not in self.problems:
                self.problems.append(problem)

    def _contradiction(self, kind: str, size: int, ref: Ref, by: Name) -> Problem:
        path = self.listings[kind].path(ref.md5)
        by_text = f"{ONE[by[0]]} {by[1]}"
        if kind == "objects" and self.read is not None and not self.read(ref.md5):
            # Its bytes were not read, so this is what damage looks like from outside.
            carrier = carriers.carrier_of(self.store.path / path)
            if carrier is not None:
                why = carriers.brings(self.store.path / path, carrier)
                return Problem(report.MISSING, kind, ref.md5, path, why, ref=ref)
            why = f"it has {size} bytes and should have {ref.size}, by {by_text}"
            return Problem(
                report.DAMAGED, kind, ref.md5, path, why, ref=self.named.ref(kind, ref.md5)
            )
        what = f"a size of {ref.size} bytes, not {size}" if ref.size != size else "another SHA-256"
        why = f"its MD5 is right, but {by_text} gives {what}: one of the two was made up"
        return Problem(report.CONTRADICTED, kind, ref.md5, path, why, ref=ref)

    def _missing(self, kind: str, ref: Ref, by: Name) -> None:
        path = self.listings[kind].path(ref.md5)
        if os.path.lexists(self.store.path / path) or not os.path.lexists(self.store.file(*by)):
            # Added since the listing; or by was a checkpoint that was superseded while we looked:
            # S4 takes manifests away before what they name.
            return
        agreed = self.named.ref(kind, ref.md5)
        why = f"it is not there ({ref.size} bytes)"
        problem = Problem(report.MISSING, kind, ref.md5, path, why, ref=agreed)
        if problem not in self.problems[-1:]:
            self.problems.append(problem)

    def _refs(self) -> None:
        for name in graph.ref_names(self.store):
            path, why = f"refs/{name}", ""
            try:
                md5 = self.store.ref(name)
                if md5 is None and os.path.lexists(self.store.path / path):
                    raise BadJSONError(what=path, why="it is a directory or a dangling link")
            except DamagedError as error:
                why = str(error.fields.get("why") or error)
            except OSError as error:
                why = str(error.strerror or error)
            if why:
                self.problems.append(Problem(report.BAD_REF, "refs", name, path, why))
                continue
            if md5 is None:
                continue
            if os.path.islink(self.store.path / path):
                self.notes.append(Note(report.FOREIGN, path, "a symbolic link"))
            self.graph.refs[name] = md5
            kinds = graph.kinds_of_ref(name)
            if not any(md5 in self.present(kind) for kind in kinds):
                why = f"it names {md5}, and no {_or(kinds)} of that name is there"
                self.problems.append(Problem(report.BAD_REF, "refs", name, path, why))

    def _names(self) -> None:
        """Names that are no entry's, leftovers, quarantine."""
        for name in sorted(os.listdir(self.root)):
            if name not in DIRECTORIES and name not in _USUAL:
                self.notes.append(Note(report.FOREIGN, name, "no part of a store has such a name"))
        for kind in KINDS:
            names = self.listings[kind]
            for path in names.link_directories:
                target = os.path.realpath(os.path.join(self.root, path))
                why = f"a link out of the store, to {target}: a copy of the store lacks it"
                self.problems.append(Problem(report.LINK, "store", path, path, why))
            for odd in names.odd:
                if odd.md5 is not None and odd.md5 not in self.scans[kind].sizes:
                    why = f"it belongs to {names.path(odd.md5)}"
                    problem = Problem(report.MISPLACED, kind, odd.md5, odd.path, why)
                    self.problems.append(problem)
                else:
                    self.notes.append(Note(report.FOREIGN, odd.path, odd.why))
        tags = filter(is_tag, _others(self.store.path / "refs" / "tags", ()))
        for folder, known, what, why in (
            ("refs", {*DEFAULTS.values(), "tags"}, report.FOREIGN, "no ref has such a name"),
            ("refs/tags", {*tags}, report.FOREIGN, "no tag is named so"),
            ("tmp", LASTING, report.LEFTOVER, "an unfinished write"),
            ("quarantine", set[str](), report.QUARANTINED, "set aside"),
        ):
            for name in _others(self.store.path / folder, known):
                self.notes.append(Note(what, f"{folder}/{name}", why))

    def _unnamed(self) -> None:
        for kind, md5 in self.graph.unnamed():
            path = self.listings[kind].path(md5)
            why = "no run, tag or default needs it"
            self.notes.append(Note(report.UNNAMED, path, why))
        for md5 in sorted(self.scans["objects"].sizes.keys() - self.named.first["objects"].keys()):
            path = self.listings["objects"].path(md5)
            self.notes.append(Note(report.ORPHAN, path, "nothing names it"))


def _with_needs(problems: Sequence[Problem], known: graph.Graph) -> Iterator[Problem]:
    """The problems, each with all that is incomplete because of it."""
    by = graph.needers(known.parts, {(p.kind, p.name) for p in problems})
    held: dict[str, list[str]] = {}
    for ref, md5 in sorted(known.refs.items()):
        held.setdefault(md5, []).append(ref)
    order = {kind: place for place, kind in enumerate((*KINDS, "refs", "store"))}
    for p in sorted(problems, key=lambda p: (order[p.kind], p.name, p.what)):
        if p.kind == "store":
            yield p
            continue
        found = by[p.kind, p.name]
        needs = [Need(*name) for name in found]
        needs += [
            Need("refs", ref)
            for kind, md5 in ((p.kind, p.name), *found)
            for ref in held.get(md5, ())
            if kind in graph.kinds_of_ref(ref)
        ]
        yield replace(p, needed_by=tuple(dict.fromkeys(needs)))


def _others(directory: Path, known: Iterable[str]) -> list[str]:
    try:
        return sorted(set(os.listdir(directory)) - set(known) - {".gitkeep", ".gitignore"})
    except (FileNotFoundError, NotADirectoryError):
        return []


def _or(kinds: tuple[str, ...]) -> str:
    words = [ONE[kind] for kind in kinds]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]
