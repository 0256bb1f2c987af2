"""What a run begins from: entries of a store, or two files."""

from __future__ import annotations

import os
from collections.abc import Callable

from wepystore.orchestrator.errors import NoConfigurationError
from wepystore.orchestrator.run import Start
from wepystore.records import bundle as objects
from wepystore.records.library import load_configuration, load_snapshot
from wepystore.store import bundle
from wepystore.store.errors import IncompleteError
from wepystore.store.names import ONE, EntryRef, Ref
from wepystore.store.store import Store

#: One entry: its reference, the object, and the way to copy it with all it names.
_Found = tuple[EntryRef, object, Callable[[Store], None]]


def start_from_store(store: Store, snapshot: str, configuration: str | None) -> Start:
    """Begin from a snapshot of `store`.

    Parameters
    ----------
    snapshot : str
        A hash, a prefix of one, a tag, or "default".
    configuration : str or None
        The same, or the path of a file that `wepy get config` wrote; None takes
        the store's default, or its only one.
    """
    _, md5 = store.resolve(snapshot, ("snapshots",))
    start = _from_store(store, "snapshots", md5)
    if configuration is not None and os.path.isfile(configuration):
        return _join(start, _from_file("configs", configuration))
    return _join(start, _from_store(store, "configs", _configuration_of(store, configuration)))


def start_from_files(snapshot: str, configuration: str) -> Start:
    """Begin from two files that `wepy get` wrote."""
    return _join(_from_file("snapshots", snapshot), _from_file("configs", configuration))


def _configuration_of(store: Store, wanted: str | None) -> str:
    if wanted is not None:
        return store.resolve(wanted, ("configs",))[1]
    if store.ref("default-config") is not None:
        return store.resolve("default", ("configs",))[1]
    known = store.list("configs")
    if len(known) != 1:
        problem = f"{len(known)} configurations and no default" if known else "no configuration"
        raise NoConfigurationError(store=store.path, problem=problem)
    return known[0]


def _join(snapshot: _Found, configuration: _Found) -> Start:
    snapshot_ref, snapshot_object, bring_snapshot = snapshot
    config_ref, config_object, bring_configuration = configuration

    def bring(store: Store) -> None:
        bring_snapshot(store)
        bring_configuration(store)
        store.set_ref("default-config", config_ref.md5)
        store.set_ref("default-snapshot", snapshot_ref.md5)

    return Start(
        snapshot=snapshot_object,  # type: ignore[arg-type]
        configuration=config_object,  # type: ignore[arg-type]
        snapshot_ref=snapshot_ref,
        config_ref=config_ref,
        bring_into=bring,
    )


def _from_store(store: Store, kind: str, md5: str) -> _Found:
    missing = store.missing(kind, md5)
    if missing:
        raise IncompleteError(kind=ONE[kind], md5=md5, path=store.path, missing=len(missing))
    found = load_snapshot(store, md5) if kind == "snapshots" else load_configuration(store, md5)
    data = store.read(kind, md5)

    def bring(target: Store) -> None:
        with target.batch() as batch:
            for part, ref in store.references(kind, md5):
                batch.bring(part, ref.md5, store.file(part, ref.md5), ref)
            batch.put(kind, data)

    return EntryRef(kind, _ref(md5, data)), found, bring


def _from_file(kind: str, file: str) -> _Found:
    _, md5, entries = bundle.read(file, kind)

    def bring(target: Store) -> None:
        with target.batch() as batch:
            for (part, _), data in entries.items():
                batch.put(part, data)

    return (
        EntryRef(kind, _ref(md5, entries[kind, md5])),
        objects.decode(kind, md5, entries),
        bring,
    )


def _ref(md5: str, data: bytes) -> Ref:
    import hashlib

    return Ref(md5, hashlib.sha256(data).hexdigest(), len(data))
