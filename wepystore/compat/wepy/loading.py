"""What is in an entry of wepy 1.x (I3): its pickle, opened. Only for those who trust it (S9)."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any

from wepystore.compat.wepy.repairs import WepyMissingError, have_wepy, prepare_wepy
from wepystore.engine.adapt import native_walkers
from wepystore.records import pickles
from wepystore.records.errors import MalformedRecordError, PickleLoadError
from wepystore.records.snapshot import Apparatus, Snapshot
from wepystore.store.names import ONE

#: What the objects in them must have.
_MEMBERS = {"snapshots": ("walkers", "apparatus"), "configs": ("reporter_classes", "work_mapper")}


def load(kind: str, data: bytes, where: str) -> Any:
    """wepy's own object in the bytes of an entry: a SimSnapshot or a Configuration of wepy's.

    Runs what is in the pickle. wepy is made usable first (repairs.py).

    Raises
    ------
    WepyMissingError : wepy is not installed.
    PickleLoadError : the pickle needs something else that is not here, or is of no such object.
    MalformedRecordError : it is not what wepy 1.x writes.
    """
    if not have_wepy():
        raise WepyMissingError(what=where)
    prepare_wepy(drawing=False)
    try:
        pickled = zlib.decompress(base64.b64decode(data, validate=True))
    except (binascii.Error, zlib.error) as problem:
        raise MalformedRecordError(where=where, what="wepy 1.x", problem=problem) from problem
    try:
        found = pickles.loads(pickled)
    except Exception as problem:
        # Anything can come out of a user's pickle, most often a missing module of the user's own.
        hint = " (a module of your own must be on PYTHONPATH)"
        raise PickleLoadError(
            where=where,
            of=f"{ONE[kind]} of wepy 1.x",
            problem=f"{type(problem).__name__}: {problem}"
            + (hint if isinstance(problem, ModuleNotFoundError) else ""),
        ) from problem
    # Unpickling has loaded modules that were not there to be repaired before.
    prepare_wepy(drawing=False)
    lacking = [name for name in _MEMBERS[kind] if not hasattr(found, name)]
    if lacking:
        raise MalformedRecordError(
            where=where,
            what=f"{ONE[kind]} of wepy 1.x",
            problem=f"{type(found).__name__} has no {lacking[0]}",
        )
    return found


def snapshot_of(found: Any, where: str) -> Snapshot:
    """A SimSnapshot of wepy's as a Snapshot: our walkers, of the same bits; wepy's components.

    Raises MalformedRecordError where the apparatus is not of three parts.
    """
    try:
        # In the order in which a cycle goes through them.
        runner, boundary_conditions, resampler = found.apparatus.filters
    except (AttributeError, TypeError, ValueError) as problem:
        raise MalformedRecordError(
            where=where, what="apparatus of wepy 1.x", problem=problem
        ) from problem
    return Snapshot.as_found(
        list(native_walkers(found.walkers)),
        Apparatus.as_found(runner, boundary_conditions, resampler),
    )
