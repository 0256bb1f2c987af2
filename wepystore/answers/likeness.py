"""Whether runs are of one system, under one set of boundary conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wepystore.answers.errors import NotAlikeError
from wepystore.records.recording import Recording
from wepystore.store.errors import MissingError
from wepystore.store.formats import stands_for
from wepystore.store.store import Store

#: More of a value than this is not quoted.
_SHOWN = 40
#: Parts of an apparatus that make a system, and what they are called.
_PARTS = {"runner": "runners", "boundary_conditions": "boundary conditions"}
#: What stands where there is no component.
_NONE = {"class": "NoBC", "params": {}, "version": 1}
#: Of a runner, how it is executed and what it keeps, which makes no other system.
_OF_EXECUTION = ("platform", "platform_properties", "state_fields", "enforce_box")


def check_alike(store: Store, chains: Sequence[tuple[str, str, Recording]]) -> None:
    """Raise NotAlikeError unless chains are of one system and under equal boundary conditions, as
    far as that is known; DamagedError.

    Parameters
    ----------
    store : Store
    chains : sequence of (run, start, recording)
        Hash of the last run's record, hash of the snapshot from which the first one began, what is
        recorded of the last.
    """
    starts: dict[str, Mapping[str, Any]] = {}
    known: dict[str, tuple[str, Any]] = {}
    for run, start, recording in chains:
        if start not in starts:
            starts[start] = _parts_of(store, start)
        facts = {**starts[start], "masses": recording.masses, "topology": recording.topology}
        for what, value in facts.items():
            if value is None:
                continue
            one, other = known.setdefault(what, (run, value))
            if value != other:
                raise NotAlikeError(one=one, other=run, what=_told(what, other, value))


def _parts_of(store: Store, snapshot: str) -> dict[str, Any]:
    """What a snapshot's manifest says of those parts of its apparatus that make a system; nothing
    if that is elsewhere, or of wepy 1.x. Raises DamagedError."""
    try:
        manifest = store.manifest("snapshots", snapshot)
    except MissingError:
        return {}
    apparatus = manifest.get("apparatus")
    if stands_for(manifest) or not isinstance(apparatus, Mapping):
        return {}
    return {part: _identity_of(apparatus.get(part)) for part in _PARTS}


def _identity_of(part: Any) -> Any:
    component = part.get("component") if isinstance(part, Mapping) else None
    if not isinstance(component, Mapping):
        return _NONE if part is None else part
    # What changes while a run goes on does not tell runs apart.
    found = {key: value for key, value in component.items() if key != "state"}
    if isinstance(found.get("params"), Mapping):
        found["params"] = {k: v for k, v in found["params"].items() if k not in _OF_EXECUTION}
    return found


def _told(what: str, one: Any, other: Any) -> str:
    """What differs between two values."""
    if what not in _PARTS:
        return f"they are of different systems, as their {what} tell"
    found = list(_differences(one, other))[:3]
    return f"their {_PARTS[what]} differ" + (f" in {', '.join(found)}" if found else "")


def _differences(one: Any, other: Any) -> Iterator[str]:
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return
    for key in sorted({*one, *other}):
        left, right = one.get(key), other.get(key)
        if left == right:
            continue
        if key == "params" and isinstance(left, Mapping) and isinstance(right, Mapping):
            yield from _differences(left, right)
        elif isinstance(left, Mapping | list) or isinstance(right, Mapping | list):
            yield str(key)
        else:
            yield f"{key} ({left!r:.{_SHOWN}} and {right!r:.{_SHOWN}})"
