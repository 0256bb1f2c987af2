"""Runs to which several places have attached different recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from wepystore.errors import DamagedError
from wepystore.store.attachments import attachment_of
from wepystore.store.merge.plans import Conflict
from wepystore.store.merge.source import Source, bring_near, read_manifest
from wepystore.store.runs import recording_of


def differing(
    target: Source, sources: Sequence[Source], comes: Callable[[str, str], bool]
) -> list[Conflict]:
    """The runs without a recording of their own to which the target has another one attached, or
    gets another one, than it gets besides.

    `comes` tells whether the target has, or gets, an entry of a kind.
    """
    every = (target, *sources)
    conflicts = []
    for run, recordings in sorted(_attached(every).items()):
        # Of those that stay out it is told elsewhere.
        found = [
            (attachment, source)
            for attachment, source in recordings.values()
            if source is target or comes("attachments", attachment)
        ]
        if len(found) < 2 or _has_its_own(run, every):
            continue
        first, source = found[0]
        ours = first if source is target else None
        conflicts += [
            Conflict(f"runs/{run}", ours, theirs, source.label)
            for theirs, source in (found[1:] if ours else found)
        ]
    return conflicts


def _attached(places: Sequence[Source]) -> dict[str, dict[str, tuple[str, Source]]]:
    """For each run the recordings that are attached to it, by which attachment of which place, the
    first that has it."""
    found: dict[str, dict[str, tuple[str, Source]]] = {}
    seen: set[str] = set()
    for place in places:
        new = [md5 for md5 in place.hashes("attachments") if md5 not in seen]
        far = [("attachments", md5) for md5 in new if not place.is_near("attachments", md5)]
        if far:
            bring_near({place: far})
        for md5 in new:
            # What cannot be read is left out, and reported as that.
            with suppress(DamagedError, OSError):
                held = read_manifest(place, "attachments", md5)
                each = attachment_of(held.value, md5, held.what)
                found.setdefault(each.run.md5, {}).setdefault(each.recording.md5, (md5, place))
                seen.add(md5)
    return found


def _has_its_own(run: str, places: Sequence[Source]) -> bool:
    """Whether a run's record names a recording, as far as it can be read: then that counts."""
    for place in places:
        if place.is_near("runs", run):
            with suppress(DamagedError, OSError):
                record = read_manifest(place, "runs", run)
                return recording_of(record.value, record.what) is not None
    return False
