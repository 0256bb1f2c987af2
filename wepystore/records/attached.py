"""Attachments: recordings that were given to runs after them, since their records never change."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace

from wepystore.errors import FailedError
from wepystore.records.run import RunRecord, read_records
from wepystore.records.values import Sink
from wepystore.store import canonical
from wepystore.store.attachments import FORMAT, Attachment, read_attachments
from wepystore.store.names import EntryRef, Ref
from wepystore.store.store import Store


class AttachmentsDifferError(FailedError):
    """different recordings are attached to run {run}: look at them ({shown}), and remove the files
    of all but one from {path}"""


def encode_attachment(run: EntryRef, recording: EntryRef, sink: Sink) -> Ref:
    """Put an attachment into `sink`; what it names is there."""
    manifest = {
        "type": "attachment",
        "format": FORMAT,
        "run": run.to_json(),
        "recording": recording.to_json(),
    }
    return sink.put("attachments", canonical.dumps(manifest))


class Attached:
    """The recordings that are attached to the runs of a store, as of when they are first asked for:
    where all records have their own, nothing is read."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @functools.cached_property
    def by_run(self) -> Mapping[str, list[Attachment]]:
        """All attachments, by the hash of the run's record. Raises DamagedError."""
        return read_attachments(self._store)

    def to(self, md5: str, record: RunRecord) -> RunRecord:
        """The record of a run, with the recording that is attached to it if it names none itself.

        Raises AttachmentsDifferError, DamagedError.
        """
        if record.recording is not None:
            return record
        found = self.by_run.get(md5, [])
        if len({each.recording for each in found}) > 1:
            shown = ", ".join(each.md5 for each in found[:3]) + (", …" if len(found) > 3 else "")
            path = self._store.path / "attachments"
            raise AttachmentsDifferError(run=md5, shown=shown, path=path)
        return replace(record, recording=found[0].recording) if found else record

    def one_to(self, md5: str, record: RunRecord) -> RunRecord:
        """As `to`; the record as it is where recordings that differ are attached."""
        try:
            return self.to(md5, record)
        except AttachmentsDifferError:
            return record


def recorded_runs(store: Store) -> dict[str, RunRecord]:
    """All runs of a store; to records that have none their recordings are attached, unless several
    are that differ."""
    attached = Attached(store)
    return {md5: attached.one_to(md5, record) for md5, record in read_records(store).items()}
