"""Make a store that somebody can run from."""

from __future__ import annotations

import os
from dataclasses import dataclass

from wepystore.records.configuration import Configuration
from wepystore.records.library import save_configuration, save_snapshot
from wepystore.records.snapshot import Snapshot
from wepystore.store.errors import StoreExistsError
from wepystore.store.store import Store


@dataclass(frozen=True)
class Prepared:
    """A store and the hashes of what was put into it."""

    store: Store
    snapshot_hash: str
    config_hash: str


def prepare_store(
    path: str | os.PathLike[str], snapshot: Snapshot, configuration: Configuration
) -> Prepared:
    """Put a start snapshot and a configuration into the store at `path`, made if need be.

    They become its defaults if it has none. Doing it twice changes nothing (I1).
    """
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        store = Store.create(path)
    except StoreExistsError:
        store = Store.open(path)
    snapshot_hash = save_snapshot(store, snapshot)
    config_hash = save_configuration(store, configuration)
    for name, md5 in (("default-snapshot", snapshot_hash), ("default-config", config_hash)):
        if store.ref(name) is None:
            store.set_ref(name, md5)
    return Prepared(store, snapshot_hash, config_hash)
