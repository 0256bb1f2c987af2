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

Options:
  -n --dry-run  Only tell what would be sent.
  --json        Print what was sent as JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wepystore.cli.common import MisplacedStoreError, NoStoreHereError, open_store, size_text
from wepystore.cli.console import Console
from wepystore.store.places import is_place, root_of

if TYPE_CHECKING:
    from wepystore.store.merge import Plan
    from wepystore.store.merge.applying import Mover


def main(args: dict[str, Any], console: Console) -> int:
    """Look what is there, plan, send, tell."""
    from wepystore.cli import merging
    from wepystore.remotes import destination
    from wepystore.remotes.address import parse
    from wepystore.remotes.errors import NoDestinationError
    from wepystore.store import merge

    try:
        store = open_store(args["ORCH"])
    except NoStoreHereError:
        if is_place(args["DEST"]):
            raise MisplacedStoreError(problem="DEST is missing", word=args["DEST"]) from None
        raise
    address = parse(args["DEST"])
    if address.kind == "sqlite":
        raise NoDestinationError(address=address.text)
    if address.kind == "store":
        return _send(merge.plan(root_of(address.path), [store]), None, args, console)
    away = destination(store, address.text, shell=merging.shell())
    with merging.resumable(console), away as there:
        return _send(merge.plan(there, [store]), there, args, console)


def _send(plan: Plan, mover: Mover | None, args: dict[str, Any], console: Console) -> int:
    from wepystore.cli import merging
    from wepystore.store import merge

    moved = merging.would("send", plan)
    if not args["--dry-run"]:
        with merging.bar(console, "sending", plan) as update:
            plan = merge.apply(plan, update, mover)
        moved = f"{len(plan.copies)} files sent, {size_text(plan.size)}." if plan.copies else ""
    return merging.tell(console, plan, f"To {args['DEST']}", moved, args["--json"])
