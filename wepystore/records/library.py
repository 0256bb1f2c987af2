"""Snapshots, configurations and run records in a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wepystore.engine.fit import check_type
from wepystore.records.bundle import decode, encode
from wepystore.records.configuration import Configuration, encode_configuration
from wepystore.records.run import RunRecord, decode_run, encode_run
from wepystore.records.sinks import Memory, Remembering
from wepystore.records.snapshot import Snapshot, encode_snapshot
from wepystore.store import formats
from wepystore.store.pickles.pickled import Pickled, parts_in
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
    caller; with `Trust.check` of wepystore.records.trust only what the
    user made or trusts is loaded.
    """
    snapshot: Snapshot = _decoded(store, "snapshots", md5, check)
    return snapshot


def load_configuration(store: Store, md5: str, check: Check | None = None) -> Configuration:
    """The configuration of a hash, verified. Pickled parts and `check` as in load_snapshot."""
    configuration: Configuration = _decoded(store, "configs", md5, check)
    return configuration


def _decoded(store: Store, kind: str, md5: str, check: Check | None) -> Any:
    found = store.read_manifest(kind, md5)
    if check is not None and formats.stands_for(found.value) is None:
        check(parts_in(found))
    return decode(found)


def load_run(store: Store, md5: str) -> RunRecord:
    """The run record of a hash, verified."""
    return decode_run(store.manifest("runs", md5), f"run {md5}")


def hash_of(thing: Snapshot | Configuration) -> str:
    """The hash that `thing` has, or would have, in any store (I1)."""
    if not isinstance(thing, Configuration):
        check_type(thing, Snapshot, "hash_of(snapshot), or hash_of(configuration)")
    return encode(thing, Memory())[1].md5
