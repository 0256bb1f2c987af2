"""What names what in a store, as plain dictionaries of hashes."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wepystore.errors import DamagedError
from wepystore.store import canonical, formats
from wepystore.store.attachments import attachment_of
from wepystore.store.carriers import FILES
from wepystore.store.completeness import may_be_elsewhere
from wepystore.store.errors import BadJSONError
from wepystore.store.names import ONE, Name, Ref, is_hex, references
from wepystore.store.runs import run_of
from wepystore.store.store import DEFAULTS, DIRECTORIES, Store

Parts = Sequence[tuple[str, Ref]]

# Kinds that name others. Listed in this order, then objects: the reverse of S4, so that what is
# listed later has all that was named by what was listed before, though writers are busy.
NAMING = ("attachments", "runs", "recordings", "frames", "snapshots", "configs")

# What a record has had from the first.
_RUN = frozenset(
    (
        *("start", "end", "config", "n_cycles", "n_steps", "seed"),
        *("reproducible", "environment", "execution"),
    )
)

_CONFIG = frozenset(("monitor", "platform", "platform_properties", "reporters", "work_mapper"))
_RECORDING = frozenset(
    (
        *("n_cycles", "n_steps", "block_cycles", "columns", "tables"),
        *("decisions", "summaries", "topology"),
    )
)

_MORE_OF_RECORDING = _RECORDING | {"frames", "masses", "step_size_ps"}

#: The keys of each kind, besides `type` and `format`, by format from 1 on.
_KEYS = {
    "snapshots": (frozenset(("walkers", "apparatus")),),
    "configs": (_CONFIG, _CONFIG | {"recording"}),
    "frames": (frozenset(("n_cycles", "every", "block_cycles", "fields", "atoms", "blocks")),),
    "recordings": (_RECORDING, _MORE_OF_RECORDING, _MORE_OF_RECORDING),
    "runs": (_RUN, _RUN | {"recording"}),
    "attachments": (frozenset(("run", "recording")),),
}

#: The newest format of each kind that is known here.
NEWEST = {kind: len(keys) for kind, keys in _KEYS.items()}


def parse(kind: str, md5: str, data: bytes, what: str) -> tuple[Parts, int]:
    """What a manifest or record names, and its format. Raises BadJSONError.

    An entry in another program's format (I3) is one piece: it names nothing.
    """
    if kind in formats.KINDS and formats.format_of(data) is not None:
        return (), 1
    manifest = canonical.load_object(data, what)
    parts = list(references(manifest, what))
    number = manifest.get("format")
    if type(number) is int and number > NEWEST[kind]:
        return parts, number
    if manifest.get("type") != ONE[kind]:
        raise BadJSONError(what=what, why=f'its type is not "{ONE[kind]}"')
    check_keys(kind, manifest, what)
    if kind == "runs":
        run_of(manifest, md5, what)
    if kind == "attachments":
        attachment_of(manifest, md5, what)
    return parts, 1


def check_keys(kind: str, manifest: Mapping[str, Any], what: str) -> None:
    """Raise BadJSONError if a manifest or record of the format that is known here has a key that is
    not: what that means nobody knows, and so not what it needs."""
    number = manifest.get("format")
    # What is of no format is looked at as if it were of the first.
    place = number - 1 if type(number) is int and 1 <= number <= NEWEST[kind] else 0
    more = manifest.keys() - _KEYS[kind][place] - {"type", "format"}
    if more:
        names = ", ".join(repr(name[:40]) for name in sorted(more)[:4])
        raise BadJSONError(what=what, why=f"no {ONE[kind]} of format {number} has {names}")


@dataclass
class Graph:
    """All manifests and records of a store, and what its refs hold."""

    parts: dict[Name, Parts] = field(default_factory=dict)
    faults: dict[Name, str] = field(default_factory=dict)
    """Manifests and records that cannot be read, and why."""
    refs: dict[str, str] = field(default_factory=dict)
    bad_refs: dict[str, str] = field(default_factory=dict)
    objects: list[str] = field(default_factory=list)
    newer: dict[Name, int] = field(default_factory=dict)
    """Manifests and records of formats that are not known here."""

    def roots(self, without: Collection[Name] = ()) -> set[Name]:
        """What the user means to keep by itself: runs, but for those in `without`, and what tags
        and defaults name."""
        found = {name for name in self.parts if name[0] == "runs" and name not in without}
        for ref, md5 in self.refs.items():
            found |= {(kind, md5) for kind in kinds_of_ref(ref) if (kind, md5) in self.parts}
        return found

    def unnamed(self, without: Collection[Name] = ()) -> list[Name]:
        """Snapshots, configurations and recordings that no run, tag or default needs, and what is
        attached to no run; and the runs in `without` with what only they need."""
        naming = {
            name: [part for part in parts if part[0] != "objects"]
            for name, parts in self.parts.items()
        }
        kept = closure(naming, self.roots(without))
        kept |= closure(naming, self.attached_to(kept))
        return [name for name in self.parts if name not in kept]

    def attached_to(self, runs: Collection[Name]) -> list[Name]:
        """The attachments of the runs among these: they go with them."""
        return [
            name
            for name, parts in self.parts.items()
            if name[0] == "attachments"
            and any((kind, ref.md5) in runs for kind, ref in parts if kind == "runs")
        ]

    def elsewhere(self, store: Store) -> dict[Name, list[Name]]:
        """What may be elsewhere and is, so that there is nothing of its name in the store (D4); and
        what names it. Not what anything else needs."""
        found: dict[Name, list[Name]] = {}
        for by, parts in self.parts.items():
            for kind, ref in parts:
                is_here = not may_be_elsewhere(by[0], kind) or store.is_there(kind, ref.md5)
                # What names it may be a checkpoint that was superseded while we looked.
                if not is_here and store.is_there(*by):
                    found.setdefault((kind, ref.md5), []).append(by)
        if found:
            # Only made-up manifests name it besides.
            for by, parts in self.parts.items():
                for kind, ref in parts:
                    if (kind, ref.md5) in found and not may_be_elsewhere(by[0], kind):
                        del found[kind, ref.md5]
        return found

    def orphans(self, without: Iterable[Name] = ()) -> list[str]:
        """Objects that no manifest names, leaving those in `without` out of account."""
        skip = set(without)
        named = {
            ref.md5
            for name, parts in self.parts.items()
            if name not in skip
            for kind, ref in parts
            if kind == "objects"
        }
        return [md5 for md5 in self.objects if md5 not in named]


def by_hash(elsewhere: Mapping[Name, Sequence[Name]]) -> dict[str, tuple[str, ...]]:
    """What Graph.elsewhere gives, as hashes: of frames, and of the recordings that name them."""
    return {
        md5: tuple(sorted(by for _, by in names)) for (_, md5), names in sorted(elsewhere.items())
    }


def load(store: Store, objects: bool = True) -> Graph:
    """Read all manifests, records and refs of a store; each is verified by its MD5."""
    graph = Graph()
    for kind in NAMING:
        for md5 in store.hashes(kind):
            what = store.locate(kind, md5)
            try:
                parts, number = parse(kind, md5, store.read(kind, md5), what)
                graph.parts[kind, md5] = parts
                if number > NEWEST[kind]:
                    graph.newer[kind, md5] = number
            except (DamagedError, OSError) as error:
                if os.path.lexists(what):
                    graph.faults[kind, md5] = str(error)
    for name in ref_names(store):
        try:
            found = store.ref(name)
        except (DamagedError, OSError) as error:
            graph.bad_refs[name] = str(error)
            continue
        if found is not None:
            graph.refs[name] = found
    if objects:
        graph.objects = store.hashes("objects")
    return graph


def unknown_kinds(store: Store) -> list[str]:
    """Directories of the store that look like those of entries, and are of no kind known here."""
    found = []
    with os.scandir(store.path) as entries:
        for entry in entries:
            if entry.name in (*DIRECTORIES, *FILES) or not entry.is_dir(follow_symlinks=False):
                continue
            with os.scandir(entry.path) as inside:
                if any(len(each.name) == 2 and is_hex(each.name) for each in inside):
                    found.append(entry.name)
    return sorted(found)


def ref_names(store: Store) -> list[str]:
    """The names of all refs that are there, whatever they hold."""
    there = [n for n in DEFAULTS.values() if os.path.lexists(store.path / "refs" / n)]
    return there + ["tags/" + tag for tag in store.tag_names()]


def kinds_of_ref(name: str) -> tuple[str, ...]:
    """The kinds that a ref may point at."""
    kinds = tuple(kind for kind, default in DEFAULTS.items() if default == name)
    return kinds or ("snapshots", "configs", "runs")


def closure(parts: Mapping[Name, Parts], roots: Iterable[Name]) -> set[Name]:
    """The roots and everything they name, directly or through others."""
    found = set(roots)
    todo = list(found)
    while todo:
        for kind, ref in parts.get(todo.pop(), ()):
            name = (kind, ref.md5)
            if name not in found:
                found.add(name)
                todo.append(name)
    return found


def needers(parts: Mapping[Name, Parts], of: Iterable[Name]) -> dict[Name, list[Name]]:
    """For each of these, all that name it, directly or through others, in a stable order."""
    direct: dict[Name, list[Name]] = {}
    for name, named in parts.items():
        for kind, ref in named:
            direct.setdefault((kind, ref.md5), []).append(name)
    found = {}
    for name in of:
        seen: set[Name] = set()
        todo = [name]
        while todo:
            for other in direct.get(todo.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        found[name] = sorted(seen - {name}, key=lambda n: (NAMING[::-1].index(n[0]), n[1]))
    return found
