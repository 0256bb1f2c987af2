"""Run records: what was run from where to where, and all that a repetition needs."""

from __future__ import annotations

import functools
import reprlib
from dataclasses import dataclass, field
from typing import Any

from wepystore.records.circumstances import MOST_CYCLES, Circumstances, circumstances_of
from wepystore.records.snapshot import FORMAT, check_type
from wepystore.records.values import Sink, reading
from wepystore.store import canonical
from wepystore.store.errors import MissingError
from wepystore.store.names import EntryRef, Ref
from wepystore.store.runs import RECORDED, recording_of
from wepystore.store.store import Store


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes
    ----------
    start, end, config : EntryRef
    n_cycles : int
    n_steps : int or None
        Steps in each segment. None, like the seed, for runs of wepy 1.x, which noted neither.
    seed : int or None
        Where every random number came from, with the start snapshot's hash.
    reproducible : bool
        Whether another execution gives the same end to the bit (R1).
    environment : dict
        Platform and properties, versions of OpenMM, numpy, Python and wepystore, and what
        of the machine bears on the bits: orchestrator/run/environment.py.
    execution : Circumstances
        How it came about. What of this bears on the result (the platform) stands in
        `environment` as well.
    recording : EntryRef or None
        What happened in it; None for one that was run without.
    """

    start: EntryRef
    end: EntryRef
    config: EntryRef
    n_cycles: int
    n_steps: int | None
    seed: int | None
    reproducible: bool
    environment: dict[str, Any] = field(default_factory=dict)
    execution: Circumstances = field(default_factory=Circumstances)
    recording: EntryRef | None = None

    def __repr__(self) -> str:
        made = f"{self.n_cycles} cycles of {self.n_steps} steps, seed {self.seed}"
        return f"RunRecord({self.start.md5} -> {self.end.md5}: {made})"


#: A record of which the end, the recording and more of the execution are to come.
Unfinished = functools.partial[RunRecord]


def place_in(record: RunRecord, n_cycles: int) -> dict[str, Any]:
    """What tells the moment after so many cycles of a run; `begun`, of a run that is not
    reproducible, of this execution alone."""
    return {
        "start": record.start.md5,
        "config": record.config.md5,
        "seed": record.seed,
        "n_steps": record.n_steps,
        "platform": record.environment.get("platform"),
        "platform_properties": record.environment.get("platform_properties") or {},
        "n_cycles": n_cycles,
        "begun": record.execution.begun,
    }


_ENTRIES = ("start", "end", "config")
#: What else than references a record must hold.
_TYPES: dict[str, tuple[type, ...]] = {
    "n_cycles": (int,),
    "n_steps": (int, type(None)),
    "seed": (int, type(None)),
    "reproducible": (bool,),
    "environment": (dict,),
    "execution": (dict,),
}


_MOST = {"n_cycles": MOST_CYCLES, "n_steps": MOST_CYCLES, "seed": 2**63 - 1}


def encode_run(record: RunRecord, sink: Sink) -> Ref:
    """Put a run record into `sink`; its Ref."""
    value = {
        **vars(record),
        "type": "run",
        "format": FORMAT,
        **{name: getattr(record, name).to_json() for name in _ENTRIES},
        "execution": record.execution._asdict(),
    }
    del value["recording"]
    if record.recording is not None:
        value |= {"format": RECORDED, "recording": record.recording.to_json()}
    return sink.put("runs", canonical.dumps(value))


def decode_run(manifest: Any, where: str) -> RunRecord:
    """The run record of a manifest."""
    check_type(manifest, "run", where)
    with reading("run record", where):
        for name, kinds in _TYPES.items():
            # type(), not isinstance: True is an int.
            if type(manifest[name]) not in kinds:
                raise TypeError(f"{name} is {manifest[name]!r}")
        for name, most in _MOST.items():
            if manifest[name] is not None and not 0 <= manifest[name] <= most:
                raise ValueError(f"{name} is {reprlib.repr(manifest[name])}")
        _check_platform(manifest["environment"])
        values: dict[str, Any] = {name: manifest[name] for name in _TYPES}
        values |= {name: EntryRef.from_json(manifest[name], where) for name in _ENTRIES}
        values["execution"] = circumstances_of(manifest["execution"])
        return RunRecord(**values, recording=recording_of(manifest, where))


def read_record(store: Store, md5: str) -> RunRecord:
    """The record of this hash, verified. Raises MissingError, DamagedError."""
    return decode_run(store.manifest("runs", md5), f"run {md5}")


def read_records(store: Store) -> dict[str, RunRecord]:
    """All records of a store, by their hashes; without those that a job supersedes just now.
    Raises MissingError for one that is elsewhere, DamagedError."""
    found = {}
    for md5 in store.hashes("runs"):
        try:
            found[md5] = read_record(store, md5)
        except MissingError:
            if store.is_there("runs", md5):
                raise
    return found


def _check_platform(environment: dict[str, Any]) -> None:
    """What of the environment a repetition acts by; the rest is for people to read."""
    platform = environment.get("platform")
    if not isinstance(platform, str | None):
        raise TypeError(f"its platform is {platform!r}")
    properties = environment.get("platform_properties") or {}
    if not isinstance(properties, dict) or not all(isinstance(v, str) for v in properties.values()):
        raise TypeError(f"its platform_properties are {properties!r}")
