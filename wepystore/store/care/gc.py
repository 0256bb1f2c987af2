"""Removing what nothing needs: objects that nothing names, and files left in tmp/.

Everything a run, a tag or a default needs is kept, and every snapshot, configuration and recording,
unless the caller says that unnamed ones may go. Nothing younger than the grace period goes.

Writers hold no lock (S8), so nothing here relies on one. Why nothing goes that somebody is just
about to name:

1. What is new is safe by the grace period. The age of a file is that of its last change of
   content, mode or *name* (the later of mtime and ctime), so a hard link of an old file counts as
   new.
2. What is old and put again is renewed by its writer (renewal.renew) before the manifest that
   names it is written: by its mtime, or, if it has other names, by that of a file in tmp/. We
   take a name away by renaming the file into tmp/, and look at both after that. Either the
   renewal came first: we see it, and the name comes back. Or the rename came first: the writer
   finds nothing there, and writes the file anew.
3. What is old and named by somebody who did not put it: after all names are taken away the
   manifests are listed once more, and what a new one names comes back. Only then is anything
   deleted.

Names are taken away in the reverse of S4, so at every moment of a crash a reader finds no name
whose parts have gone. What a crash leaves under tmp/gc-… gets its name back from the next gc,
before that looks for what to remove.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from wepystore import durable
from wepystore.errors import DamagedError, FailedError
from wepystore.store import canonical, files, graph
from wepystore.store.care.busy import (
    ASIDE,
    age_mark,
    check_quiet,
    facts_of,
    is_taken,
    is_writing,
    lock,
    tmp_files,
)
from wepystore.store.completeness import may_be_elsewhere
from wepystore.store.names import KINDS, Name, is_hash
from wepystore.store.renewal import Renewals
from wepystore.store.runs import run_of
from wepystore.store.store import Store

GRACE_S = 14 * 86400.0
UNNEEDED = "no run, tag or default needs it"


class UnreadableManifestsError(DamagedError):
    """{path} has {count} manifests that cannot be read ({first}), so nobody knows what they
    need: heal them with '{to_heal}' before '{to_clean}'"""


class NewerEntriesError(FailedError):
    """{path} holds what this program does not know ({what}), and so not what that needs: upgrade it
    before '{to_clean}'"""


#: Run records that others tell all of; or frames that are not wanted here.
Asked = Callable[[], Collection[str]]


class Item(NamedTuple):
    """One file to remove."""

    kind: str
    """A kind of entry, or "tmp"."""
    name: str
    path: str
    """Relative to the store."""
    size: int
    why: str


@dataclass(frozen=True)
class Removal:
    """The plan of what `apply` will remove."""

    store: Store
    grace_s: float
    unnamed: bool
    covered: Asked | None
    frames: Asked | None
    now: float
    items: tuple[Item, ...]
    """In the order of removal."""
    young: int
    """How many more there are within the grace period."""
    known: frozenset[Name]
    """Every manifest and record that was there when this was decided."""
    renewals: Renewals
    """From before anything was looked at."""

    @property
    def size(self) -> int:
        """Bytes to remove."""
        return sum(item.size for item in self.items)


@dataclass(frozen=True)
class Collected:
    """What `apply` removed."""

    removed: tuple[Item, ...]
    returned: tuple[Item, ...]
    """What somebody came to need meanwhile."""

    @property
    def size(self) -> int:
        return sum(item.size for item in self.removed)


def plan(
    store: Store,
    grace_s: float = GRACE_S,
    unnamed: bool = False,
    now: float | None = None,
    recovered: Collection[Name] = (),
    covered: Asked | None = None,
    frames: Asked | None = None,
) -> Removal:
    """Decide what to remove. Nothing is written.

    grace_s : seconds since its last change for which a file stays in any case.
    unnamed : whether snapshots, configurations and recordings that no run, tag or default needs
        may go.
    recovered : what an interrupted gc had taken away; that its name was changed does not count.
    covered : asked for runs that may go, with recordings and ends that only they need.
    frames : asked for frames that may go, which are elsewhere then (D4).

    Raises UnreadableManifestsError, NewerEntriesError.
    """
    now = time.time() if now is None else now
    before = now - grace_s
    renewals = Renewals.of(store.path)
    found = graph.load(store)
    _check_known(store, found)

    old = partial(_old, store, before, renewals, recovered)
    all_items = _covered(found, old, covered() if covered is not None else ())
    runs = set(_names(all_items))
    own = graph.closure(found.parts, [*runs, *found.attached_to(runs)]) - runs
    # Of runs that an interrupted gc has removed.
    own |= set(recovered if covered is not None else ())
    superfluous = [n for n in found.unnamed(runs) if n in own or (unnamed and n not in runs)]
    all_items += [old(*name, UNNEEDED) for name in superfluous if name[0] != "frames"]
    spare = _frames_to_spare(found, superfluous, _names(all_items))
    spare |= {("frames", md5): "they were asked to go" for md5 in (frames() if frames else ())}
    all_items += [old(*name, why) for name, why in sorted(spare.items())]
    orphans = sorted(found.orphans(_names(all_items)))
    all_items += [old("objects", md5, "nothing names it") for md5 in orphans]
    all_items += _left_in_tmp(store, before)
    items = [item for item in all_items if item is not None]
    items.sort(key=lambda i: (i.kind == "tmp", -KINDS.index(i.kind) if i.kind in KINDS else 0))
    young = len(all_items) - len(items)
    known = frozenset(found.parts)
    return Removal(
        store, grace_s, unnamed, covered, frames, now, tuple(items), young, known, renewals
    )


def _old(
    store: Store,
    before: float,
    renewals: Renewals,
    recovered: Collection[Name],
    kind: str,
    md5: str,
    why: str,
) -> Item | None:
    """An entry that may go; None for one that is young, or gone already."""
    file = store.file(kind, md5)
    facts = facts_of(file)
    if facts is None:
        return None
    changed = facts.st_mtime if (kind, md5) in recovered else age_mark(facts)
    if max(changed, renewals.last(facts)) >= before:
        return None
    return Item(kind, md5, str(file.relative_to(store.path)), facts.st_size, why)


def _covered(
    found: graph.Graph, old: Callable[[str, str, str], Item | None], runs: Collection[str]
) -> list[Item | None]:
    """The runs among these that may go, with what is attached to them; so not one of which that is
    young."""
    names: list[Name] = [("runs", md5) for md5 in sorted(runs)]
    kept = {
        ref.md5
        for name in found.attached_to(set(names))
        if old(*name, UNNEEDED) is None
        for _, ref in found.parts[name]
    }
    return [None if n[1] in kept else old(*n, "a longer run covers it") for n in names]


def _frames_to_spare(
    found: graph.Graph, superfluous: Iterable[Name], gone: Iterable[Name]
) -> dict[Name, str]:
    """Frames that nothing needs, once ``gone`` is; a recording within the grace keeps its own."""
    held = {
        (kind, ref.md5)
        for name in found.parts.keys() - set(gone)
        for kind, ref in found.parts.get(name, ())
        if may_be_elsewhere(name[0], kind)
    }
    return {n: UNNEEDED for n in superfluous if n[0] == "frames" and n not in held}


def _names(items: Iterable[Item | None]) -> list[Name]:
    return [(item.kind, item.name) for item in items if item is not None]


def _check_known(store: Store, found: graph.Graph) -> None:
    """Raise if there is something of which nobody here knows what it needs."""
    bad = {**found.faults, **{("refs", name): why for name, why in found.bad_refs.items()}}
    if bad:
        first = "/".join(min(bad))
        raise UnreadableManifestsError(path=store.path, count=len(bad), first=first)
    unknown = [
        *(f"{kind}/{md5} of format {number}" for (kind, md5), number in found.newer.items()),
        *(f"the directory {name}" for name in graph.unknown_kinds(store)),
    ]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise NewerEntriesError(path=store.path, what=unknown[0] + more)


def _left_in_tmp(store: Store, before: float) -> Iterator[Item | None]:
    """What is in tmp/; None for what is young or in use."""
    for path in tmp_files(store):
        facts = facts_of(store.path / path)
        if facts is None:
            continue
        name = path.removeprefix("tmp/")
        if name.startswith(ASIDE):
            yield Item("tmp", name, path, facts.st_size, "of an interrupted gc")
            continue
        newest, size = age_mark(facts), facts.st_size
        why, busy = "an unfinished write", is_writing(name)
        if stat.S_ISDIR(facts.st_mode):
            newest, size = _inside(store.path / path)
            why, busy = "an unfinished transfer", is_taken(store.path / path)
        yield Item("tmp", name, path, size, why) if newest < before and not busy else None


def apply(plan: Removal, progress: Callable[[int, int], None] | None = None) -> Collected:
    """Remove what a plan says. Raises BusyError, LockedError."""
    store = plan.store
    with lock(store):
        check_quiet(store)
        back = recover(store)
        if back:
            plan = _again(plan, back)
        aside: list[tuple[Item, Path]] = []
        returned: list[Item] = []
        for kind in (*reversed(KINDS), "tmp"):
            changed: set[Path] = set()
            for item in plan.items:
                if item.kind != kind:
                    continue
                moved = _take(plan, item)
                if moved is not None:
                    aside.append((item, moved))
                    changed.add((store.path / item.path).parent)
                    if progress is not None:
                        progress(len(aside), len(plan.items))
            # Manifests are durably gone before their parts go.
            for directory in changed:
                durable.sync_directory(directory)
        needed = _needed_since(store, plan, aside)
        is_renewed = Renewals.of(store.path) != plan.renewals
        kept: list[tuple[Item, Path]] = []
        # Parts come back before what names them.
        for item, moved in reversed(aside):
            renewed = _was_touched(moved) or (is_renewed and item.kind != "tmp")
            if renewed or (item.kind, item.name) in needed:
                _give_back(moved, store.path / item.path)
                returned.append(item)
            else:
                kept.append((item, moved))
        for _, moved in reversed(kept):
            moved.unlink(missing_ok=True)
        return Collected(tuple(item for item, _ in reversed(kept)), tuple(returned))


def _again(old: Removal, recovered: Collection[Name]) -> Removal:
    return plan(old.store, old.grace_s, old.unnamed, old.now, recovered, old.covered, old.frames)


def recover(store: Store) -> list[Name]:
    """Give back the names of what a killed gc has left under tmp/."""
    left = []
    for path in tmp_files(store):
        parts = path.removeprefix("tmp/").split("-")
        if parts[0] + "-" == ASIDE and len(parts) == 5 and parts[1] in KINDS and is_hash(parts[2]):
            left.append((KINDS.index(parts[1]), parts[2], store.path / path))
    # Objects before manifests before runs.
    for place, md5, moved in sorted(left):
        _give_back(moved, store.file(KINDS[place], md5))
    return [(KINDS[place], md5) for place, md5, _ in sorted(left)]


# ---- what may go


def _inside(folder: Path) -> tuple[float, int]:
    """When something in a folder was last changed, and the bytes in it."""
    newest, size = 0.0, 0
    for directory, _, names in os.walk(folder):
        for name in (".", *names):
            facts = facts_of(Path(directory, name))
            if facts is not None:
                newest = max(newest, age_mark(facts))
                size += facts.st_size if name != "." else 0
    return newest, size


# ---- taking and giving


def _take(plan: Removal, item: Item) -> Path | None:
    """Rename a file away from its name; None if it is not what was planned any more."""
    store, before = plan.store, plan.now - plan.grace_s
    file = store.path / item.path
    if item.kind != "tmp":
        # Nothing is removed through a directory that is a link: it may lead anywhere.
        files.check_real(file.parent.parent, file.parent)
    facts = facts_of(file)
    if facts is None or (item.kind != "tmp" and facts.st_mtime >= before):
        return None
    if item.kind == "tmp":
        if stat.S_ISDIR(facts.st_mode):
            if is_taken(file):
                return None
            shutil.rmtree(file, ignore_errors=True)
        else:
            file.unlink(missing_ok=True)
        return file
    if Renewals.of(store.path) != plan.renewals:
        return None
    stamp = facts.st_mtime_ns
    moved = store.path / "tmp" / f"{ASIDE}{item.kind}-{item.name}-{stamp}-{os.urandom(4).hex()}"
    try:
        os.rename(file, moved)
    except FileNotFoundError:
        return None
    # Whatever number of names it has by now: another store may just have given up its own.
    if _was_touched(moved) or Renewals.of(store.path) != plan.renewals:
        _give_back(moved, file)
        return None
    return moved


def _was_touched(moved: Path) -> bool:
    if not moved.name.startswith(ASIDE):
        return False
    facts = facts_of(moved)
    return facts is not None and facts.st_mtime_ns != int(moved.name.split("-")[3])


def _give_back(moved: Path, file: Path) -> None:
    changed = durable.make_directory(file.parent)
    # It exists if a writer has put it anew.
    with suppress(FileExistsError):
        durable.move(moved, file, replace=False)
    for directory in changed | {file.parent}:
        durable.sync_directory(directory)
    moved.unlink(missing_ok=True)


def _needed_since(store: Store, plan: Removal, aside: Sequence[tuple[Item, Path]]) -> set[Name]:
    """What manifests, records and refs need that were not there when the plan was made."""
    now = graph.load(store, objects=False)
    planned, going = set(_names(plan.items)), set(_names(item for item, _ in aside))
    # What was planned and is there still could not be taken away.
    new = [name for name in now.parts if name not in plan.known or name in planned]
    # A ref may have come to name a snapshot that is going: its file is not among now.parts.
    held = {(kind, md5) for ref, md5 in now.refs.items() for kind in graph.kinds_of_ref(ref)}
    needed = graph.closure(now.parts, new) | (held & going)
    # What names something stands before what it names; and what is attached to a run, which it
    # names, is needed with it.
    for item, moved in (*aside, *aside):
        needed |= _with_parts(item, moved, needed)
    return needed


def _with_parts(item: Item, moved: Path, needed: Collection[Name]) -> set[Name]:
    """A manifest or record that was taken away, and what it names, if it is needed after all."""
    name = (item.kind, item.name)
    is_needed = name in needed or _was_touched(moved)
    if item.kind not in graph.NAMING or not (is_needed or item.kind in ("runs", "attachments")):
        return set()
    data = files.read_plain(moved, files.MAX_MANIFEST, manifest=True)
    parts, _ = graph.parse(*name, data, str(moved))
    if item.kind == "attachments":
        is_needed = is_needed or any((k, ref.md5) in needed for k, ref in parts if k == "runs")
    if item.kind == "runs":
        # It tells where a new run comes from.
        end = run_of(canonical.load_object(data, item.name), item.name, item.name).end
        is_needed = is_needed or ("snapshots", end) in needed
    return {name, *((part, ref.md5) for part, ref in parts)} if is_needed else set()
