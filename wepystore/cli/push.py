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
    from wepystore.store import Store
    from wepystore.store.merge.reconcile import Outcome, Plan


def main(args: dict[str, Any], console: Console) -> int:
    """Look what is there, plan, send, tell."""
    from wepystore.remotes.address import parse
    from wepystore.remotes.errors import NoDestinationError

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
        return _push_here(store, address.path, args, console)
    return _push_away(store, address.text, args, console)


def _push_here(store: Store, path: str, args: dict[str, Any], console: Console) -> int:
    from wepystore.cli import merging
    from wepystore.store.merge import reconcile

    plan = reconcile.plan(root_of(path), [store])
    outcome = None
    if not args["--dry-run"]:
        with merging.Bar(console, "sending", plan.size, len(plan.copies)) as bar:
            outcome = reconcile.apply(plan, bar.by_files(plan.copies))
    return _tell(console, plan, outcome, merging.Words(), args)


def _push_away(store: Store, address: str, args: dict[str, Any], console: Console) -> int:
    from wepystore.cli import merging
    from wepystore.remotes import Outgoing

    try:
        with Outgoing(store, address, shell=merging.shell()) as outgoing:
            plan = outgoing.plan()
            outcome = None
            if not args["--dry-run"]:
                with merging.Bar(console, "sending", plan.size, len(plan.copies)) as bar:
                    outcome = outgoing.apply(plan, bar.by_bytes)
            return _tell(console, plan, outcome, outgoing, args)
    except KeyboardInterrupt:
        console.note("What has crossed is kept: run the same command again to go on from there.")
        raise


def _tell(
    console: Console, plan: Plan, outcome: Outcome | None, words: Any, args: dict[str, Any]
) -> int:
    from wepystore.cli import merging

    done = outcome or plan
    if args["--json"]:
        console.json(merging.as_json(done, words))
    merging.tell(console, done, f"To {args['DEST']}", words)
    if outcome is None:
        console.note(merging.would("send", plan))
    elif outcome.linked or outcome.copied:
        files = outcome.linked + outcome.copied
        console.note(f"{files} files sent, {size_text(outcome.size)}.")
    elif not (done.entries or done.refs or done.left or done.conflicts):
        console.note("Already up to date.")
    return merging.status_of(done)
