"""What is in a store: counts, sizes, names, and what is not as it should be. Nothing is hashed
but manifests and records; `fsck` reads everything."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from wepystore.store import graph
from wepystore.store.names import KINDS, Name, Ref, path_of
from wepystore.store.store import Store
from wepystore.store.whereabouts import LASTING


class Amount(NamedTuple):
    """So many files and the bytes in them."""

    files: int
    size: int


@dataclass(frozen=True)
class Incomplete:
    """An entry and what it needs that is not there, directly or through others (S5)."""

    kind: str
    md5: str
    missing: tuple[tuple[str, Ref], ...]


@dataclass(frozen=True)
class Status:
    """A look at a store."""

    path: str
    entries: dict[str, Amount]
    """By kind; only regular files, and links that lead to one."""
    defaults: dict[str, str]
    """"snapshot" and "config", if set."""
    tags: dict[str, str]
    incomplete: tuple[Incomplete, ...]
    elsewhere: dict[str, tuple[str, ...]]
    """Frames that are elsewhere (D4), and the recordings that name them."""
    damaged: dict[str, str]
    """Paths of manifests, records and refs that cannot be read, and why."""
    unnamed: tuple[tuple[str, str], ...]
    """Snapshots, configurations and recordings that no run, tag or default needs."""
    orphans: Amount
    """Objects that nothing names."""
    leftovers: Amount
    """In tmp/."""
    quarantine: tuple[str, ...]
    quarantine_size: int

    @property
    def whole(self) -> bool:
        return not (self.incomplete or self.damaged)


def look(store: Store) -> Status:
    """Look at a store; what is listed is sorted."""
    found = graph.load(store)
    # Before what is here is looked at: frames may just be coming.
    elsewhere = found.elsewhere(store)
    sizes = {kind: _sizes(store, kind) for kind in KINDS}
    damaged = {
        str(store.file(*name).relative_to(store.path)): why for name, why in found.faults.items()
    }
    damaged.update({f"refs/{name}": why for name, why in found.bad_refs.items()})
    for name, md5 in found.refs.items():
        if not any(md5 in sizes[kind] for kind in graph.kinds_of_ref(name)):
            damaged[f"refs/{name}"] = f"it names {md5}, which is not there"
    orphans = [md5 for md5 in found.orphans() if md5 in sizes["objects"]]
    quarantine, quarantine_size = _directory(store.path / "quarantine")
    tmp, tmp_size = _directory(store.path / "tmp")
    return Status(
        path=os.fspath(store.path),
        entries={kind: Amount(len(s), sum(s.values())) for kind, s in sizes.items()},
        defaults={
            name.removeprefix("default-"): md5
            for name, md5 in found.refs.items()
            if not name.startswith("tags/")
        },
        tags={n[5:]: md5 for n, md5 in found.refs.items() if n.startswith("tags/")},
        incomplete=tuple(_incomplete(found, sizes, elsewhere)),
        elsewhere=graph.by_hash(elsewhere),
        damaged=damaged,
        unnamed=tuple(sorted(found.unnamed())),
        orphans=Amount(len(orphans), sum(sizes["objects"][md5] for md5 in orphans)),
        leftovers=Amount(len(tmp), tmp_size),
        quarantine=tuple(quarantine),
        quarantine_size=quarantine_size,
    )


def _sizes(store: Store, kind: str) -> dict[str, int]:
    sizes = {}
    root = os.fspath(store.path)
    for md5 in store.hashes(kind):
        try:
            sizes[md5] = os.stat(f"{root}/{path_of(kind, md5)}").st_size
        except OSError:
            # A link of git-annex to what is not here.
            continue
    return sizes


def _incomplete(
    found: graph.Graph, sizes: dict[str, dict[str, int]], elsewhere: Collection[Name]
) -> list[Incomplete]:
    lacking = {
        name: [
            (kind, ref)
            for kind, ref in parts
            if sizes[kind].get(ref.md5) != ref.size and (kind, ref.md5) not in elsewhere
        ]
        for name, parts in found.parts.items()
    }
    bad = {name for name, missing in lacking.items() if missing}
    bad |= set(found.faults)
    result = []
    affected = {other for others in graph.needers(found.parts, bad).values() for other in others}
    for name in sorted(affected | (bad & found.parts.keys()), key=lambda n: (KINDS.index(n[0]), n)):
        inside = graph.closure(found.parts, [name])
        missing = dict.fromkeys(part for other in sorted(inside) for part in lacking.get(other, ()))
        for kind, ref in found.parts.get(name, ()):
            if (kind, ref.md5) in found.faults:
                missing[kind, ref] = None
        result.append(Incomplete(*name, tuple(missing)))
    return result


def _directory(path: Path) -> tuple[list[str], int]:
    names, size = [], 0
    with suppress(FileNotFoundError), os.scandir(path) as entries:
        for entry in entries:
            if entry.name not in (".gitkeep", ".gitignore", *LASTING):
                names.append(entry.name)
                size += entry.stat(follow_symlinks=False).st_size
    return sorted(names), size
