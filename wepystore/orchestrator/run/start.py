"""What a run begins from: entries of a store, two files, or objects."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from wepystore.engine.fit import check_decoded, check_type
from wepystore.errors import DamagedError, UsageError
from wepystore.orchestrator.errors import NoConfigurationError
from wepystore.orchestrator.run.recorder import SoFar
from wepystore.records.bundle import decode, encoded
from wepystore.records.circumstances import NOTHING_YET, Circumstances
from wepystore.records.configuration import Configuration
from wepystore.records.library import load_run
from wepystore.records.run import place_in
from wepystore.records.snapshot import Snapshot
from wepystore.records.trust import Asked, Trust, arguments
from wepystore.reporters.flux import Flux
from wepystore.store import carriers, exports, formats
from wepystore.store.manifests import Manifest
from wepystore.store.names import ONE, EntryRef
from wepystore.store.pickles.pickled import parts_in
from wepystore.store.resolving import resolve
from wepystore.store.store import Store

_CALL = "run(snapshot, configuration)"


@dataclass(frozen=True)
class Start:
    """What a run begins from: objects in memory, and the way to copy them into the job's store.

    For one run only: it takes the walkers away, and changes the resampler.
    Of a resumed run, `snapshot` is its last checkpoint; `snapshot_ref` is where the run began.
    """

    snapshot: Snapshot
    configuration: Configuration
    snapshot_ref: EntryRef
    config_ref: EntryRef
    bring_into: Callable[[Store], None]
    trust: Trust | None = None
    """What may be unpickled; None leaves that to the caller."""
    place: dict[str, Any] | None = None
    """Where in another run that is (see records/run.py), as far as its store tells."""

    def take_walkers(self) -> Sequence[Any]:
        """The walkers; the snapshot is left without them.

        Of a large system they are not to stay in memory for as long as a run takes.
        """
        walkers = self.snapshot.walkers
        object.__setattr__(self, "snapshot", Snapshot.as_found((), self.snapshot.apparatus))
        return walkers


@dataclass(frozen=True)
class Past:
    """What earlier sessions of a run have left; of a run that begins now, nothing.

    Attributes
    ----------
    resumed : bool
        Whether there was one.
    end, record : str or None
        The checkpoint to go on from, and its record; None if that is the start.
    n_cycles : int
        Done so far.
    how : Circumstances
    environment : dict or None
        Of the last session.
    reproducible : bool
    recorded : SoFar or None
        Up to that checkpoint; None for a run that was begun without a recording.
    flux : Flux
        What was warped in these cycles.
    """

    resumed: bool = False
    end: str | None = None
    record: str | None = None
    n_cycles: int = 0
    how: Circumstances = NOTHING_YET
    environment: dict[str, Any] | None = None
    reproducible: bool = True
    recorded: SoFar | None = None
    flux: Flux = field(default_factory=Flux)

    @property
    def wall_s(self) -> float:
        """Time spent on these cycles, in all sessions, in s."""
        return self.how.wall_s or 0.0


@dataclass(frozen=True)
class _Found:
    """An entry that was found, verified and not yet decoded."""

    manifest: Manifest
    asked: Asked
    """Its pickled parts, and how the user would name it."""
    bring: Callable[[Store], None]
    """Copies it with all it names."""
    place: dict[str, Any] | None = None
    """As that of Start."""

    @property
    def entry(self) -> EntryRef:
        return EntryRef(self.manifest.kind, self.manifest.ref)

    def decode(self) -> Any:
        found, other = self.manifest, formats.stands_for(self.manifest.value)
        return other.decode(found.kind, found.data, self.asked.what) if other else decode(found)


def start_from(
    store: Store | None,
    snapshot: Snapshot | str | os.PathLike[str],
    configuration: Configuration | str | os.PathLike[str] | None,
    trust: Trust | None = None,
) -> Start:
    """Begin from a snapshot under a configuration.

    Parameters
    ----------
    store : Store or None
        None where both are objects or files.
    snapshot : Snapshot, str or path
        The object, which stays as it is however many runs begin from it; or in `store` a hash, a
        prefix of one, a tag, or "default"; or without a store the path of an exported file.
    configuration : Configuration, str, path or None
        Likewise, or in any case an exported file; None takes the store's default, or its only one.
    trust : Trust or None
        What may be unpickled. UntrustedPickleError, before anything is decoded, if
        there is more; None leaves that to the caller.
    """
    if store is None and configuration is None and isinstance(snapshot, str | os.PathLike):
        raise UsageError(f"{_CALL} without a store takes two files")
    found = _find(store, "snapshots", snapshot)
    return _join(found, _find(store, "configs", configuration), trust)


def _find(store: Store | None, kind: str, named: Any) -> _Found:
    if named is None and kind == "configs" and store is not None:
        return _from_store(store, kind, _only_configuration(store))
    if not isinstance(named, str | os.PathLike):
        check_type(named, Snapshot if kind == "snapshots" else Configuration, _CALL)
        return _from_object(named)
    text = os.fspath(named)
    if store is None or (kind == "configs" and os.path.isfile(text)):
        return _from_file(kind, text)
    return _from_store(store, kind, resolve(store, text, (kind,))[1])


def _only_configuration(store: Store) -> str:
    if store.ref("default-config") is not None:
        return resolve(store, "default", ("configs",))[1]
    known = store.hashes("configs")
    if len(known) != 1:
        problem = f"{len(known)} configurations and no default" if known else "no configuration"
        raise NoConfigurationError(store=store.path, problem=problem)
    return known[0]


def _join(snapshot: _Found, configuration: _Found, trust: Trust | None) -> Start:
    if trust is not None:
        # Of both, before either is decoded: decoding runs what is pickled.
        trust.require([snapshot.asked, configuration.asked])

    def bring(store: Store) -> None:
        snapshot.bring(store)
        configuration.bring(store)
        store.set_ref("default-config", configuration.entry.md5)
        store.set_ref("default-snapshot", snapshot.entry.md5)

    what, how = snapshot.decode(), configuration.decode()
    check_decoded(what.apparatus, how.work_mapper)
    return Start(
        snapshot=what,
        configuration=how,
        snapshot_ref=snapshot.entry,
        config_ref=configuration.entry,
        bring_into=bring,
        trust=trust,
        place=snapshot.place,
    )


def _from_store(store: Store, kind: str, md5: str) -> _Found:
    # Read once: what is checked is what is decoded, and every object by its SHA-256.
    found = store.read_manifest(kind, md5)
    parts = found.parts()
    missing = store.lacking(parts)
    if missing:
        raise carriers.incomplete(store.path, kind, md5, missing)

    def bring(target: Store) -> None:
        with target.batch() as batch:
            for part, ref in parts:
                batch.bring(part, ref.md5, store.file(part, ref.md5), ref)
            batch.put(kind, found.data)

    asked = Asked(f"{ONE[kind]} {md5}", arguments(store.path, md5), parts_in(found))
    return _Found(found, asked, bring, _place_of(store, md5) if kind == "snapshots" else None)


def _place_of(store: Store, snapshot: str) -> dict[str, Any] | None:
    """Where in a run of a store a snapshot is: at its end. The record may be that of a checkpoint,
    which its job will supersede."""
    places = []
    for md5 in store.hashes("runs"):
        with suppress(DamagedError):
            if snapshot.encode() in store.read("runs", md5):
                record = load_run(store, md5)
                if record.start.md5 != record.end.md5 == snapshot:
                    places.append(place_in(record, record.n_cycles))
    return places[0] if places and all(place == places[0] for place in places) else None


def _from_file(kind: str, file: str) -> _Found:
    _, md5, entries = exports.read(file, kind)
    found = Manifest.among(entries, kind, md5, file)
    return _in_memory(found, Asked(file, arguments(file), parts_in(found)))


def _from_object(thing: Snapshot | Configuration) -> _Found:
    found = encoded(thing)
    # This process has pickled its parts itself: there is nothing to ask.
    return _in_memory(found, Asked(f"this {ONE[found.kind]}", "", ()))


def _in_memory(found: Manifest, asked: Asked) -> _Found:
    def bring(target: Store) -> None:
        with target.batch() as batch:
            for part, ref in found.parts():
                batch.put(part, found.fetch(ref))
            batch.put(found.kind, found.data)

    return _Found(found, asked, bring)
