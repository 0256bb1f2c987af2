"""Show what a snapshot, a configuration, a recording or a run consists of.

Usage:
  wepy show [options] HASH
  wepy show [options] ORCH HASH

HASH is a hash, its first digits, a tag, 'default', or 'START,END' for runs. Parts that are
pickled are marked so; they are never loaded here.

Options:
  -p --pickles  Show instead which names the pickled parts would look up and call, read from
                their bytes without loading them. HASH may also be a file of 'wepy get'.
  --json        Print the manifest, with what is known of each object, as JSON.
"""

from __future__ import annotations

from typing import Any

from wepystore.cli import describe
from wepystore.cli.common import INCOMPLETE, find_entries, names_of, store_of
from wepystore.cli.console import Console
from wepystore.store import carriers
from wepystore.store.names import ONE


def main(args: dict[str, Any], console: Console) -> int:
    """Show one entry, or the runs between two snapshots."""
    if args["--pickles"]:
        return _pickles(args, console)
    store = store_of(args, "HASH")
    found = find_entries(store, args["HASH"])
    if args["--json"]:
        shown = [describe.as_json(store, kind, md5) for kind, md5 in found]
        console.json(shown[0] if len(shown) == 1 else shown)
    names = names_of(store, console)
    status = 0
    for kind, md5 in found:
        if not args["--json"]:
            text = list(describe.lines(store, kind, md5))
            note = f" ({', '.join(names[md5])})" if md5 in names else ""
            console.out(f"{ONE[kind]} {md5}{note}")
            for line in text:
                console.out("  " + line)
        missing = store.missing(kind, md5)
        for part, ref in missing:
            console.warn(f"{ONE[part]} {ref.md5} is missing, or has the wrong size")
        if missing:
            console.warn(carriers.way([store.file(part, ref.md5) for part, ref in missing]))
            status = INCOMPLETE
    return status


def _pickles(args: dict[str, Any], console: Console) -> int:
    from wepystore.cli import pickles
    from wepystore.records.trust import users_own

    known = users_own().trusted()
    answer = []
    for subject in pickles.subjects_of(args):
        parts = [(p, subject.fetch(p.ref), p.ref.sha256 in known) for p in subject.parts]
        if args["--json"]:
            answer.append({"of": subject.title, "parts": [pickles.as_json(*p) for p in parts]})
            continue
        console.out(subject.title + ("" if parts else ": no pickled parts"))
        for part in parts:
            for line in pickles.lines(*part):
                console.out("  " + line)
    if args["--json"]:
        console.json(answer)
    else:
        console.note(pickles.NO_PROOF)
    return 0
