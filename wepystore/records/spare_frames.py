"""Which frames may be removed from a store: a recording does not need them here (D4)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from wepystore.errors import FailedError
from wepystore.records.run import RunRecord, read_records
from wepystore.store.attachments import read_attachments
from wepystore.store.completeness import may_be_elsewhere
from wepystore.store.errors import MissingError
from wepystore.store.store import DEFAULTS, Store


class GoesOnError(FailedError):
    """run {run} is a checkpoint of a job that has not ended, which needs its frames to go on"""


def frames_to_spare(
    store: Store, runs: Collection[str] = (), begun_before: datetime | None = None
) -> list[str]:
    """The frames that are here of these runs, and of all that began before some moment.

    Of the latter not those that a tag or the default names, or whose end is. In any case not what
    is a checkpoint of a job that goes on, or was killed, nor what the recording of another run
    names too.

    Parameters
    ----------
    runs : collection of str
        Hashes of records.
    begun_before : datetime or None

    Raises GoesOnError for one of `runs`, DamagedError.
    """
    records = read_records(store)
    for run in runs:
        if run in records and _goes_on(records[run]):
            raise GoesOnError(run=run)
    going = {*runs} | _old(store, records, begun_before)
    frames: dict[str, set[str]] = {}
    for md5 in store.hashes("recordings"):
        with suppress(MissingError):  # A job that is running has superseded it.
            for kind, ref in store.references("recordings", md5):
                if may_be_elsewhere("recordings", kind) and store.has(kind, ref.md5):
                    frames.setdefault(ref.md5, set()).add(md5)
    theirs = _recordings(store, records, going) - _recordings(
        store, records, records.keys() - going
    )
    return sorted(md5 for md5, by in frames.items() if by <= theirs)


def _recordings(store: Store, records: Mapping[str, RunRecord], runs: Collection[str]) -> set[str]:
    """The recordings of these runs: their own, and those attached to them."""
    own = {records[run].recording for run in runs if run in records}
    attached = read_attachments(store)
    return {entry.md5 for entry in own if entry is not None} | {
        each.recording.md5 for run in runs for each in attached.get(run, ())
    }


def _old(store: Store, records: Mapping[str, RunRecord], before: datetime | None) -> set[str]:
    """Those of the runs that have ended, began before a moment, and that nobody asked to stay."""
    held = {*store.tags().values(), store.ref(DEFAULTS["snapshots"])}
    found = set()
    for md5, record in records.items():
        begun = _moment(record.execution.begun)
        is_old = before is not None and begun is not None and begun < before
        if is_old and not _goes_on(record) and not {md5, record.end.md5} & held:
            found.add(md5)
    return found


def _goes_on(record: RunRecord) -> bool:
    """Whether a job may need the frames of a run to go on: not those that were given to it later,
    as to one of wepy's, whose record tells of no end."""
    return record.recording is not None and not record.execution.was_told


def _moment(text: str | None) -> datetime | None:
    """A moment that a record tells, which a stranger may have written."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
