"""Bring what this store has, and another lacks, into the other.

Usage:
  wepy push [options] DEST
  wepy push [options] ORCH DEST

DEST is a store, or where one is to be: a directory; HOST:PATH or USER@HOST:PATH (only ssh and
rsync are needed there); or a URL as s3://BUCKET/PATH, sftp://USER@HOST/PATH, file:///PATH (with
the extra 'remote' installed). Only what is missing is sent, and nothing there is overwritten. What
went is told on stderr. Doing it again is harmless, and goes on where it was cut off. What is
damaged or incomplete stays here (exit status 3); a tag that differs is left as it is in DEST
(exit status 4).

With --without frames all else is sent, and DEST is whole without them. The same command without the
option sends them.

Options:
  -n --dry-run    Only tell what would be sent.
  --without WHAT  Keep the 'frames' of runs here.
  --json          Print what was sent as JSON.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import MisplacedStoreError, NoStoreHereError, open_store
from wepystore.cli.console import Console
from wepystore.store.places import is_place, root_of

if TYPE_CHECKING:
    from wepystore.store import Store
    from wepystore.store.merge import Plan, Source
    from wepystore.store.merge.applying import Mover


def main(args: dict[str, Any], console: Console) -> int:
    """Look what is there, plan, send, tell."""
    from wepystore.cli import merging
    from wepystore.remotes import destination
    from wepystore.remotes.address import parse
    from wepystore.remotes.errors import NoDestinationError
    from wepystore.store import Store, merge, whereabouts

    try:
        store = open_store(args["ORCH"])
    except NoStoreHereError:
        if is_place(args["DEST"]):
            raise MisplacedStoreError(problem="DEST is missing", word=args["DEST"]) from None
        raise
    frames = merging.with_frames(args)
    address = parse(args["DEST"])
    if address.kind == "sqlite":
        raise NoDestinationError(address=address.text)
    if address.kind == "store":
        target = root_of(address.path)
        sent = _send(merge.plan(target, [store], frames=frames), None, args, console)
        if not args["--dry-run"]:
            reached = Store.open(target)
            _remember(store, os.path.realpath(target), reached, sent)
            whereabouts.note(reached, os.path.realpath(store.path), sent.frames_kept_at(store))
        return _told(sent, args, console)
    away = destination(store, address.text, shell=merging.shell())
    with merging.resumable(console), away as there:
        sent = _send(merge.plan(there, [store], frames=frames), there, args, console)
        if not args["--dry-run"]:
            _remember(store, whereabouts.without_credentials(address.text), there, sent)
        return _told(sent, args, console)


def _send(plan: Plan, mover: Mover | None, args: dict[str, Any], console: Console) -> Plan:
    from wepystore.cli import merging
    from wepystore.store import merge

    if args["--dry-run"]:
        return plan
    with merging.bar(console, "sending", plan) as update:
        return merge.apply(plan, update, mover)


def _told(sent: Plan, args: dict[str, Any], console: Console) -> int:
    from wepystore.cli import merging

    moved = merging.moved(f"{len(sent.copies)} files sent", sent)
    if args["--dry-run"]:
        moved = merging.would("send", sent)
    return merging.tell(console, sent, f"To {args['DEST']}", moved, args["--json"])


def _remember(store: Store, address: str | None, there: Source, sent: Plan) -> None:
    """Which of our frames are there, should they be removed here (see 'wepy gc --frames')."""
    from wepystore.store import whereabouts

    new = {copy.name for copy in sent.copies}
    both = [m for m in store.hashes("frames") if ("frames", m) in new or there.has("frames", m)]
    whereabouts.note(store, address, both)
