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

from typing import Any

from wepystore.cli.common import size_text
from wepystore.cli.console import Console


def main(args: dict[str, Any], console: Console) -> int:
    """Reach the sources, plan, fetch, apply, tell."""
    from wepystore.cli import merging
    from wepystore.remotes import Incoming
    from wepystore.store.merge import reconcile
    from wepystore.store.places import root_of

    dry = args["--dry-run"]
    sources, target = args["SOURCE"], root_of(args["TARGET"])
    try:
        with Incoming(target, sources, shell=merging.shell(), dry=dry) as incoming:
            plan = incoming.plan()
            done: reconcile.Plan | reconcile.Outcome = plan
            linked = copied = 0
            if not dry:
                with merging.Bar(console, "fetching", plan.size, len(plan.copies)) as bar:
                    incoming.fetch(plan, bar.by_bytes)
                with merging.Bar(console, "verifying", plan.size, len(plan.copies)) as bar:
                    outcome = reconcile.apply(plan, bar.by_files(plan.copies))
                done, linked, copied = outcome, outcome.linked, outcome.copied
            if args["--json"]:
                console.json(merging.as_json(done, incoming))
            merging.tell(console, done, f"From {', '.join(sources)}", incoming)
    except KeyboardInterrupt:
        console.note("What has crossed is kept: run the same command again to go on from there.")
        raise
    if dry:
        console.note(merging.would("bring", plan))
    elif linked or copied:
        console.note(f"{linked} files linked, {copied} copied, {size_text(done.size)}.")
    elif not (done.entries or done.refs or done.left or done.conflicts):
        console.note("Already up to date.")
    return merging.status_of(done)
