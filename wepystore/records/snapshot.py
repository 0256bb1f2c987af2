"""Snapshots: walkers and apparatus at a cycle boundary, enough to start a run."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from wepystore.engine import fit
from wepystore.engine.adapt import native_state
from wepystore.engine.ensemble import Ensemble
from wepystore.engine.walker import Walker, WalkerState
from wepystore.errors import BuildWarning
from wepystore.records.errors import CannotRecordError, MalformedRecordError
from wepystore.records.values import (
    Fetch,
    Sink,
    decode,
    decode_states,
    encode,
    encode_rows,
    encode_states,
    only,
    reading,
)
from wepystore.store import canonical, formats, graph
from wepystore.store.errors import BadJSONError
from wepystore.store.names import ONE, Ref

FORMAT = 1

#: Walkers whose fields are arrays already, or the weight and the fields of each.
Values = Ensemble | tuple[list[float], list[Mapping[str, Any]]]


class AsFound:
    """Base of frozen dataclasses that check their parts when they are built."""

    @classmethod
    def as_found(cls, *parts: Any, **named: Any) -> Self:
        """One that is read from somewhere, or that a run has come to: not checked, for whatever it
        is, it must stay readable."""
        made = object.__new__(cls)
        names = [each.name for each in dataclasses.fields(cls)]  # type: ignore[arg-type]
        for name, value in (dict(zip(names, parts, strict=False)) | named).items():
            object.__setattr__(made, name, value)
        return made


@dataclass(frozen=True)
class Apparatus(AsFound):
    """What is simulated.

    Attributes
    ----------
    runner, boundary_conditions, resampler
        Components (boundary_conditions may be None), or a user's objects with
        the same methods.

    Raises
    ------
    WepystoreError : what cannot run is not built (wepystore.engine.fit).
    """

    runner: Any
    boundary_conditions: Any
    resampler: Any

    def __post_init__(self) -> None:
        fit.check_apparatus(self.runner, self.boundary_conditions, self.resampler)


@dataclass(frozen=True)
class Snapshot(AsFound):
    """Walkers and apparatus at a cycle boundary.

    Attributes
    ----------
    walkers : sequence of Walker
        Weights > 0 that sum to 1 (W1, W2).
    apparatus : Apparatus

    Raises
    ------
    WepystoreError : what cannot run is not built (wepystore.engine.fit).
    """

    walkers: Sequence[Walker]
    apparatus: Apparatus

    def __repr__(self) -> str:
        parts = [type(part).__name__ for part in vars(self.apparatus).values()]
        return f"Snapshot({len(self.walkers)} walkers, {', '.join(parts)})"

    def __post_init__(self) -> None:
        walkers = fit.checked_walkers(self.walkers, self.apparatus)
        if walkers is not self.walkers:
            object.__setattr__(self, "walkers", walkers)
        for text in fit.doubts(walkers, self.apparatus.runner):
            # Said of the line that builds it: this, the constructor, the caller.
            warnings.warn(text, BuildWarning, 3)


def encode_snapshot(snapshot: Snapshot, sink: Sink) -> Ref:
    """Put a snapshot's objects and then its manifest into `sink`; the manifest's Ref."""
    walkers = as_values(snapshot.walkers)
    return put_snapshot(walkers, encode_apparatus(snapshot.apparatus, sink), sink)


def as_values(walkers: Sequence[Any]) -> Values:
    """Walkers as what stays as it is, whatever becomes of the walkers of somebody's own."""
    if not len(walkers):
        raise CannotRecordError(where="walkers", problem="there are none")
    if isinstance(walkers, Ensemble) and walkers.fields:
        return walkers
    return (
        [float(walker.weight) for walker in walkers],
        [_fields(walker.state, k) for k, walker in enumerate(walkers)],
    )


def encode_apparatus(apparatus: Apparatus, sink: Sink) -> dict[str, Any]:
    """Put an apparatus's objects into `sink`; what a snapshot's manifest says of it."""
    return {
        part: encode(getattr(apparatus, part), sink, part)
        for part in ("runner", "boundary_conditions", "resampler")
    }


def put_snapshot(walkers: Values, apparatus: Mapping[str, Any], sink: Sink) -> Ref:
    """Put the walkers, and the manifest of a snapshot of them and of an apparatus that is in
    `sink`; the manifest's Ref."""
    if isinstance(walkers, Ensemble):
        weights = walkers.weights.tolist()
        states = encode_rows(walkers.fields, sink, "walkers")
    else:
        weights, fields = walkers
        states = encode_states(fields, sink, "walkers")
    manifest = {
        "type": "snapshot",
        "format": FORMAT,
        "walkers": {
            "weights": weights,
            "states": states["index"],
            "groups": states["groups"],
        },
        "apparatus": apparatus,
    }
    return sink.put("snapshots", canonical.dumps(manifest))


def _fields(state: Any, index: int) -> Mapping[str, Any]:
    if isinstance(state, WalkerState):
        return state
    if isinstance(state, Mapping):
        # Of somebody's own: what runs on while it is written may change it in place.
        return copy.deepcopy(dict(state))
    if hasattr(state, "dict"):
        return native_state(state, f"walkers[{index}].state")
    raise CannotRecordError(
        where=f"walkers[{index}].state", problem=f"{type(state).__name__} has no dict() of arrays"
    )


def decode_snapshot(manifest: Any, fetch: Fetch, where: str) -> Snapshot:
    """The snapshot of a manifest. Loads its pickled parts, if it has any (S9)."""
    walkers = decode_walkers(manifest, fetch, where)
    with reading("snapshot", where):
        only(manifest["apparatus"], "runner", "boundary_conditions", "resampler")
        parts = {
            part: decode(manifest["apparatus"][part], fetch, f"{where}: {part}")
            for part in ("runner", "boundary_conditions", "resampler")
        }
        return Snapshot.as_found(walkers, Apparatus.as_found(**parts))


def decode_walkers(manifest: Any, fetch: Fetch, where: str) -> list[Walker]:
    """The walkers of a snapshot's manifest; loads no pickle (S9)."""
    check_type(manifest, "snapshot", where)
    with reading("snapshot", where):
        held = manifest["walkers"]
        only(held, "weights", "states", "groups")
        states = decode_states(
            {"index": held["states"], "groups": held["groups"]}, fetch, f"{where}: walkers"
        )
        pairs = list(zip(states, held["weights"], strict=True))
        if not pairs or not all(type(weight) in (int, float) for _, weight in pairs):
            raise ValueError("there are no walkers, or a weight is not a number")
        return [Walker(state, float(w)) for state, w in pairs]


def check_type(manifest: Any, wanted: str, where: str) -> None:
    """Raise unless `manifest` is of type `wanted` in a format this version reads."""
    other = formats.stands_for(manifest)
    if other is not None:
        raise other.refusal(where)
    if not isinstance(manifest, dict) or manifest.get("type") != wanted:
        found = manifest.get("type") if isinstance(manifest, dict) else type(manifest).__name__
        raise MalformedRecordError(where=where, what=wanted, problem=f"its type is {found!r}")
    version = manifest.get("format")
    kind = next(kind for kind, word in ONE.items() if word == wanted)
    newest = graph.NEWEST[kind]
    if type(version) is not int or not 1 <= version <= newest:
        known = f"format {newest}" if newest == 1 else f"formats 1 to {newest}"
        raise MalformedRecordError(
            where=where, what=wanted, problem=f"format {version!r}; this wepystore reads {known}"
        )
    try:
        graph.check_keys(kind, manifest, where)
    except BadJSONError as error:
        raise MalformedRecordError(where=where, what=wanted, problem=error.fields["why"]) from None
