"""What this layer knows of attachments: which recording somebody has given to which run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from wepystore.store.errors import BadJSONError, MissingError
from wepystore.store.names import EntryRef
from wepystore.store.runs import named

if TYPE_CHECKING:
    from wepystore.store.store import Store

FORMAT = 1


class Attachment(NamedTuple):
    """One attachment: its hash, the run and the recording.

    It is an entry of its own because the record of a run never changes.
    """

    md5: str
    run: EntryRef
    recording: EntryRef


def is_newer(manifest: dict[str, Any]) -> bool:
    """Whether it is of a format that is not known here: it is kept and carried, and says nothing
    (D8)."""
    number = manifest.get("format")
    # type(), not isinstance: True is an int.
    return type(number) is int and number > FORMAT


def attachment_of(manifest: dict[str, Any], md5: str, what: str) -> Attachment:
    """The Attachment in a manifest; BadJSONError, naming `what`, when it is none."""
    if (manifest.get("type"), manifest.get("format")) != ("attachment", FORMAT):
        raise BadJSONError(what=what, why=f"it is no attachment of format {FORMAT}")
    run = named(manifest, "run", "runs", what)
    return Attachment(md5, run, named(manifest, "recording", "recordings", what))


def read_attachments(store: Store) -> dict[str, list[Attachment]]:
    """All attachments of a store, by the hash of the run's record, sorted; without those that
    somebody removes just now. Raises MissingError for one that is elsewhere, DamagedError."""
    found: dict[str, list[Attachment]] = {}
    for md5 in store.hashes("attachments"):
        try:
            manifest = store.manifest("attachments", md5)
        except MissingError:
            if store.is_there("attachments", md5):
                raise
            continue
        if not is_newer(manifest):
            each = attachment_of(manifest, md5, store.locate("attachments", md5))
            found.setdefault(each.run.md5, []).append(each)
    return found
