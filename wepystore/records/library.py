"""Snapshots, configurations and run records in a store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from wepystore.engine.component import Text
from wepystore.engine.fit import check_type
from wepystore.records import own
from wepystore.records.configuration import (
    Configuration,
    decode_configuration,
    encode_configuration,
)
from wepystore.records.run import RunRecord, decode_run, encode_run
from wepystore.records.snapshot import Snapshot, decode_snapshot, encode_snapshot
from wepystore.records.values import Bytes, Sink
from wepystore.store.names import Ref
from wepystore.store.pickles.pickled import Pickled, may_run_code, parts_in_store
from wepystore.store.store import Store


def save_snapshot(store: Store, snapshot: Snapshot) -> str:
    """Put a snapshot into a store, durably; its hash."""
    check_type(snapshot, Snapshot, "save_snapshot(store, snapshot)")
    with store.batch() as batch:
        return encode_snapshot(snapshot, Remembering(batch, {})).md5


def save_configuration(store: Store, configuration: Configuration) -> str:
    """Put a configuration into a store, durably; its hash."""
    check_type(configuration, Configuration, "save_configuration(store, configuration)")
    with store.batch() as batch:
        return encode_configuration(configuration, Remembering(batch, {})).md5


def save_run(store: Store, record: RunRecord) -> str:
    """Put a run record into a store, durably; its hash."""
    with store.batch() as batch:
        return encode_run(record, Remembering(batch, {})).md5


#: Told of the pickled parts before any is loaded; raises to prevent it.
Check = Callable[[Sequence[Pickled]], None]


def load_snapshot(store: Store, md5: str, check: Check | None = None) -> Snapshot:
    """The snapshot of a hash, verified. Loads its pickled parts, if it has any (S9).

    Loading a pickle runs what is in it. Without `check` that is up to the
    caller; with `Trust.check` of wepystore.orchestrator.trust only what the
    user made or trusts is loaded, as by `wepy run`.
    """
    _check(check, store, "snapshots", md5)
    return decode_snapshot(store.manifest("snapshots", md5), fetch_from(store), f"snapshot {md5}")


def load_configuration(store: Store, md5: str, check: Check | None = None) -> Configuration:
    """The configuration of a hash, verified. Pickled parts and `check` as in load_snapshot."""
    _check(check, store, "configs", md5)
    return decode_configuration(
        store.manifest("configs", md5), fetch_from(store), f"configuration {md5}"
    )


def _check(check: Check | None, store: Store, kind: str, md5: str) -> None:
    if check is not None:
        check(parts_in_store(store, kind, md5))


def load_run(store: Store, md5: str) -> RunRecord:
    """The run record of a hash, verified."""
    return decode_run(store.manifest("runs", md5), f"run {md5}")


def fetch_from(store: Store) -> Callable[[Ref], bytes]:
    """How decoding gets an object's bytes: verified by MD5, SHA-256 and size (S10)."""
    return lambda ref: store.read("objects", ref.md5, ref)


class Memory:
    """A sink that keeps what it is given: entries by kind and MD5."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], bytes] = {}

    def put(self, kind: str, data: Any) -> Ref:
        joined = bytes(data) if isinstance(data, (bytes, memoryview)) else b"".join(data)
        ref = Ref(
            hashlib.md5(joined, usedforsecurity=False).hexdigest(),
            hashlib.sha256(joined).hexdigest(),
            len(joined),
        )
        self.entries[kind, ref.md5] = joined
        return ref

    def put_text(self, text: Text) -> Ref:
        return self.put("objects", text.encode())

    def put_many(self, kind: str, many: Sequence[Any]) -> list[Ref]:
        return [self.put(kind, data) for data in many]


class Remembering:
    """A sink in front of another that puts each long text only once.

    A checkpoint names the same system and topology as the one before; a large
    system's XML takes longer to hash than its coordinates. `known` outlives the
    batches it is used with; it must only ever be used with one store.
    """

    def __init__(self, sink: Bytes, known: dict[Text, Ref]) -> None:
        self._sink = sink
        self._known = known

    def put(self, kind: str, data: Any) -> Ref:
        return self._sink.put(kind, data)

    def put_many(self, kind: str, many: Sequence[Any]) -> list[Ref]:
        return self._sink.put_many(kind, many)

    def put_text(self, text: Text) -> Ref:
        # A str caches its hash, so finding the very same text again costs nothing.
        ref = self._known.get(text)
        if ref is None:
            data = text.encode()
            if may_run_code(data):
                own.made(hashlib.sha256(data).hexdigest())
            ref = self._known[text] = self._sink.put("objects", data)
        return ref


def encode(thing: Snapshot | Configuration, sink: Sink) -> tuple[str, Ref]:
    """Put a snapshot or configuration into `sink`; its kind and Ref."""
    if isinstance(thing, Snapshot):
        return "snapshots", encode_snapshot(thing, sink)
    return "configs", encode_configuration(thing, sink)


def hash_of(thing: Snapshot | Configuration) -> str:
    """The hash that `thing` has, or would have, in any store (I1)."""
    if not isinstance(thing, Configuration):
        check_type(thing, Snapshot, "hash_of(snapshot), or hash_of(configuration)")
    return encode(thing, Memory())[1].md5
