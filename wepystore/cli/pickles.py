"""Pickled parts in words, for `wepy show --pickles` and `wepy trust`: read, never loaded (S9)."""

from __future__ import annotations

import binascii
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from wepystore.cli.common import find_entries, size_text, store_of
from wepystore.errors import DamagedError
from wepystore.store import Ref, Store, exports, formats
from wepystore.store.manifests import Manifest
from wepystore.store.names import ONE
from wepystore.store.pickles import opcodes
from wepystore.store.pickles.pickled import XML, Pickled, parts_in
from wepystore.store.pickles.reading import Reading
from wepystore.store.runs import read_run

NO_PROOF = (
    "Nothing was loaded to find this out. That nothing stands out proves nothing: "
    "trust a pickle only if you trust whoever made it."
)

_FUNCTION = re.compile(rb"""\bfunction\s*=\s*["']([0-9a-fA-F]*)["']""")
# What one entry of wepy 1.x is decompressed to at most, in bytes.
_UNPACKED = 1 << 28
_SHOWN = 40


class Subject(NamedTuple):
    """An entry, or a file, and its parts that can run code."""

    title: str
    parts: list[Pickled]
    fetch: Callable[[Ref], bytes]


def subjects_of(args: dict[str, Any]) -> list[Subject]:
    """What a user means by ORCH and HASH: a hash, a tag, START,END or the file of `wepy get`; of a
    run its start, its end and its configuration."""
    if args["ORCH"] is None and os.path.isfile(args["HASH"]):
        return [_file(args["HASH"])]
    store = store_of(args, "HASH")
    subjects: list[Subject] = []
    for kind, md5 in find_entries(store, args["HASH"]):
        subjects += _run(store, md5) if kind == "runs" else [_entry(store, kind, md5)]
    return subjects


def all_subjects(store: Store, warn: Callable[[str], None]) -> list[Subject]:
    """Every snapshot and configuration of a store that has such parts; the damaged are warned of
    and left out."""
    found = []
    for kind in ("configs", "snapshots"):
        for md5 in store.hashes(kind):
            try:
                found.append(_entry(store, kind, md5))
            except DamagedError as error:
                warn(str(error))
    return [subject for subject in found if subject.parts]


def _entry(store: Store, kind: str, md5: str) -> Subject:
    def fetch(ref: Ref) -> bytes:
        # A part may be a string in the manifest itself.
        own = kind != "objects" and ref.md5 == md5
        return store.read(kind if own else "objects", ref.md5, ref)

    title = f"{ONE[kind]} {md5}"
    if kind == "objects":
        return Subject(title, [Pickled("it", "?", Ref.of(store.read(kind, md5)))], fetch)
    return Subject(title, parts_in(store.read_manifest(kind, md5)), fetch)


def _run(store: Store, md5: str) -> list[Subject]:
    run = read_run(store, md5)
    entries = [("snapshots", run.start), ("snapshots", run.end), ("configs", run.config)]
    return [_entry(store, kind, each) for kind, each in dict.fromkeys(entries)]


def _file(path: str) -> Subject:
    kind, md5, entries = exports.read(path)
    found = Manifest.among(entries, kind, md5, path)
    title = f"{path}: {ONE[kind]} {md5}"
    return Subject(
        title, parts_in(found), lambda r: found.data if r == found.ref else found.fetch(r)
    )


def readings(part: Pickled, data: bytes) -> list[Reading]:
    """What the pickles of a part would do: usually one, of a text those in its attributes."""
    whole = formats.format_of(data) if part.where == "it" else None
    if whole is not None:
        return [opcodes.read(whole.unpacked(data, _UNPACKED))]
    if part.of != XML:
        return [opcodes.read(data)]
    found = _FUNCTION.findall(data)[:_SHOWN]
    # What is odd is cut off.
    return [opcodes.read(binascii.unhexlify(digits[: len(digits) // 2 * 2])) for digits in found]


def lines(part: Pickled, data: bytes, trusted: bool) -> Iterator[str]:
    """The text of `wepy show --pickles` for one part."""
    state = "trusted" if trusted else "not trusted"
    yield f"{part.where}: {part.of}, object {part.ref.md5}, {size_text(part.ref.size)}, {state}"
    found = readings(part, data)
    if not found:
        yield "  text for OpenMM that may make it load a pickle; none was found in it"
    for reading in found:
        for line in _reading(reading):
            yield "  " + line


def _reading(reading: Reading) -> Iterator[str]:
    yield f"pickle of protocol {reading.protocol}, {size_text(reading.size)}, {reading.steps} steps"
    for text in reading.suspicious[:_SHOWN]:
        yield f"WORTH A LOOK: {text}"
    for text in reading.problems[:_SHOWN]:
        yield f"NOT FOLLOWED: {text}"
    counts = ", ".join(f"{number} {what}" for what, number in reading.counts)
    if counts:
        yield f"instructions that call: {counts}"
    for name, calls in reading.names[:_SHOWN]:
        called = f"called {calls} times" if calls > 1 else "called once" if calls else "looked up"
        yield f"{name}: {called}"
    yield from _more(reading.names)
    for words in reading.words[:_SHOWN]:
        yield f"with the words {words}"
    for function in reading.functions[:_SHOWN]:
        names = ", ".join(function.names[:_SHOWN]) or "no names"
        yield f"brings code: {function.name} (uses {names})"
    yield from _more(reading.functions)
    for inner in reading.nested[:_SHOWN]:
        yield "a pickle within it:"
        for line in _reading(inner):
            yield "  " + line
    yield from _more(reading.nested)


def _more(items: tuple[Any, ...]) -> Iterator[str]:
    if len(items) > _SHOWN:
        yield f"… and {len(items) - _SHOWN} more"


def as_json(part: Pickled, data: bytes, trusted: bool) -> dict[str, Any]:
    """One part for programs: what `lines` tells of it, as JSON."""
    return {
        "where": part.where,
        "of": part.of,
        "object": part.ref.md5,
        "sha256": part.ref.sha256,
        "size": part.ref.size,
        "trusted": trusted,
        "pickles": [_reading_as_json(reading) for reading in readings(part, data)],
    }


def _reading_as_json(reading: Reading) -> dict[str, Any]:
    return {
        "protocol": reading.protocol,
        "size": reading.size,
        "steps": reading.steps,
        "names": [
            {"module": name.module, "name": name.name, "calls": calls}
            for name, calls in reading.names
        ],
        "counts": dict(reading.counts),
        "functions": [function._asdict() for function in reading.functions],
        "words": list(reading.words),
        "suspicious": list(reading.suspicious),
        "problems": list(reading.problems),
        "nested": [_reading_as_json(inner) for inner in reading.nested],
    }
