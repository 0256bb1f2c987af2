"""Bring what other stores have, and this one lacks, into this one.

Usage:
  wepy reconcile orch [options] TARGET SOURCE...

TARGET is made if it does not exist. SOURCE is a store; a database of wepy 1.x (.orch.sqlite); a
store on another host as HOST:PATH or USER@HOST:PATH (only ssh and rsync are needed there); or a
URL as s3://BUCKET/PATH, sftp://USER@HOST/PATH, file:///PATH (with the extra 'remote' installed).
Only what is missing is brought, and each file is verified before it gets its name. What came is
told on stderr. Doing it again is harmless, and goes on where it was cut off. What is damaged or
incomplete in SOURCE stays out (exit status 3); a tag that differs is left as it is in TARGET
(exit status 4).

Options:
  -n --dry-run  Only tell what would come.
  --json        Print what came as JSON.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from wepystore.cli.common import size_text
from wepystore.cli.console import Console


def main(args: dict[str, Any], console: Console) -> int:
    """Reach the sources, plan, fetch, apply, tell."""
    from wepystore.cli import merging
    from wepystore.remotes import plan_reconcile, reconcile

    target, addresses, shell = args["TARGET"], args["SOURCE"], merging.shell()
    heading, as_json = f"From {', '.join(addresses)}", args["--json"]
    if args["--dry-run"]:
        plan = plan_reconcile(target, addresses, shell)
        return merging.tell(console, plan, heading, merging.would("bring", plan), as_json)
    with merging.resumable(console):
        came = reconcile(target, addresses, shell, partial(merging.bar, console))
    moved = f"{came.linked} files linked, {came.copied} copied, {size_text(came.size)}."
    return merging.tell(console, came, heading, moved if came.copies else "", as_json)
