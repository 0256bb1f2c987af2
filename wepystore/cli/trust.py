"""Say that the pickled parts of a snapshot, a configuration or a store may be run.

Usage:
  wepy trust [options] HASH
  wepy trust [options] ORCH HASH
  wepy trust [options] --store ORCH
  wepy trust [options] --list

HASH is a hash, its first digits, a tag, 'default', START,END for a run, or a file of 'wepy get'.
What is trusted is the SHA-256 of each pickle, wherever it is found. What you pickle yourself on
this machine is trusted without being asked. Look first: wepy show --pickles HASH

Options:
  -s --store   Trust all that is in a store now.
  -r --revoke  Trust it no longer; HASH may be a SHA-256 of the list.
  -l --list    Print the SHA-256 of all that is trusted.
  --json       Print JSON.
"""

from __future__ import annotations

import os
from typing import Any

from wepystore.cli import pickles
from wepystore.cli.common import INCOMPLETE, count, open_store
from wepystore.cli.console import Console
from wepystore.records.trust import Trust, users_own
from wepystore.store.names import is_sha256


def main(args: dict[str, Any], console: Console) -> int:
    """Trust, revoke or list."""
    trust = users_own()
    if args["--list"]:
        known = sorted(trust.trusted())
        (console.json if args["--json"] else console.hashes)(known)
        return 0
    if args["--revoke"] and is_sha256(args["HASH"] or ""):
        return _done(args, console, "revoked", trust.revoke([args["HASH"]]), 1)
    damaged: list[str] = []
    if args["--store"] or (args["ORCH"] is None and os.path.isdir(args["HASH"])):
        store = open_store(args["ORCH"] or args["HASH"])
        found = pickles.all_subjects(store, damaged.append)
    else:
        found = pickles.subjects_of(args)
    hashes = list(dict.fromkeys(part.ref.sha256 for each in found for part in each.parts))
    if args["--revoke"]:
        _done(args, console, "revoked", trust.revoke(hashes), len(hashes))
    else:
        _warn_of(found, trust, console)
        _done(args, console, "trusted", trust.add(hashes), len(hashes))
    for text in damaged:
        console.warn(text)
    return INCOMPLETE if damaged else 0


def _warn_of(found: list[pickles.Subject], trust: Trust, console: Console) -> None:
    """What stands out in what is about to be trusted; the decision is the user's."""
    known = trust.trusted()
    for subject in found:
        for part in subject.parts:
            if part.ref.sha256 in known:
                continue
            for reading in pickles.readings(part, subject.fetch(part.ref)):
                odd = [*reading.suspicious, *reading.problems]
                if odd:
                    more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
                    console.warn(f"{part.where} ({part.of}): {'; '.join(odd[:3])}{more}")


def _done(
    args: dict[str, Any], console: Console, what: str, changed: list[str], n_found: int
) -> int:
    if args["--json"]:
        console.json({what: changed, "unchanged": n_found - len(changed)})
        return 0
    console.hashes(changed)
    rest = n_found - len(changed)
    before = "" if not rest else f", {rest} were already" if what == "trusted" else f", {rest} not"
    if not n_found:
        console.note("there are no pickled parts: nothing to trust")
    else:
        console.note(f"{what} {count(len(changed), 'pickled part')}{before}")
    return 0
