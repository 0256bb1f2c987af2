"""Make a store that somebody can run from."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

from wepystore.engine.fit import check_together, check_type
from wepystore.errors import way_out
from wepystore.records.configuration import Configuration
from wepystore.records.library import save_configuration, save_snapshot
from wepystore.records.snapshot import Snapshot
from wepystore.records.trust import arguments
from wepystore.store.store import Store

_WORDS = {"snapshot": "snapshot", "config": "configuration"}


class DefaultStaysWarning(UserWarning):
    """What was put into a store is not what its `default` stands for."""


@dataclass(frozen=True)
class Prepared:
    """A store and the hashes of what was put into it.

    `other_defaults` are the defaults that stayed though something else was made: "snapshot" or
    "config" and the hash. Where it is empty, a run from `default` runs what was made.
    """

    store: Store
    snapshot_hash: str
    config_hash: str
    other_defaults: Mapping[str, str] = field(default_factory=dict)

    @property
    def remark(self) -> str:
        """Which defaults stayed, and how to move them; empty if none did."""
        made = {"snapshot": self.snapshot_hash, "config": self.config_hash}
        path = self.store.path
        lines = [
            f"the default {_WORDS[kind]} of {path} stays {other}, and not {made[kind]}, which was "
            f"made: '{to_set}' moves it"
            for kind, other in self.other_defaults.items()
            for to_set in [way_out("to_set_default", kind=kind, what=arguments(path, made[kind]))]
        ]
        more = ["prepare_store(..., make_default=True) moves all"] if lines else []
        return "; ".join(lines + more)


def prepare_store(
    path: str | os.PathLike[str],
    snapshot: Snapshot,
    configuration: Configuration,
    make_default: bool = False,
) -> Prepared:
    """Put a start snapshot and a configuration into the store at `path`, made if need be.

    They become its defaults if it has none, or if `make_default` asks for it (S7). If others
    stay, a DefaultStaysWarning says so. Doing it twice changes nothing (I1).

    Raises
    ------
    WrongPartError, UnfitError : one of the two is something else, or a reporter is to save atoms
        that are not there; nothing is made then.
    """
    call = "prepare_store(path, snapshot, configuration)"
    check_type(snapshot, Snapshot, call)
    check_type(configuration, Configuration, call)
    check_together(snapshot.walkers, configuration.reporters)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    store = Store.ensure(path)
    made = {
        "snapshot": save_snapshot(store, snapshot),
        "config": save_configuration(store, configuration),
    }
    others = {}
    for kind, md5 in made.items():
        if make_default:
            store.set_ref(f"default-{kind}", md5)
            continue
        found = store.claim_ref(f"default-{kind}", md5)
        if found != md5:
            others[kind] = found
    prepared = Prepared(store, made["snapshot"], made["config"], others)
    if others:
        warnings.warn(prepared.remark, DefaultStaysWarning, stacklevel=2)
    return prepared
