"""Make a native snapshot or configuration out of one of wepy 1.x.

Usage:
  wepy convert [options] HASH
  wepy convert [options] ORCH HASH

Puts what it makes into the store and prints its hash; the old entry stays. HASH is a hash, its
first digits, a tag or 'default', of what 'wepy reconcile' or 'wepy add' took over from wepy 1.x,
or of a snapshot that a run of wepy's components ended in. wepy must be installed, and the entry
trusted ('wepy trust'), since this opens its pickle. What has no counterpart here stays a pickled
object; each part is told of on stderr. If wepy is still needed to use what was made, the status
is 3, and the last line on stderr says for the sake of which parts, and why.

Options:
  -n --dry-run  Tell what would become what; write nothing.
  --json        Print JSON: the hash, the notes, and which parts still need wepy and why.
"""

from __future__ import annotations

from typing import Any

from wepystore.cli.common import INCOMPLETE, store_of
from wepystore.cli.console import Console
from wepystore.store.names import ONE
from wepystore.store.resolving import resolve
from wepystore.store.store import DEFAULTS


def main(args: dict[str, Any], console: Console) -> int:
    """Check the trust, convert, store, and tell."""
    store = store_of(args, "HASH")
    kind, md5 = resolve(store, args["HASH"], ("snapshots", "configs"))

    from wepystore.compat.wepy.convert import convert_entry
    from wepystore.records.trust import noting, tell, users_own

    # What the new entry holds of the user's pickled objects was trusted in the old one.
    tell(noting(users_own, console.warn))
    converted, new = convert_entry(store, kind, md5, users_own(), write=not args["--dry-run"])
    for note in converted.notes:
        console.note(note)
    if new is not None and new != md5 and store.ref(DEFAULTS[kind]) == md5:
        word = DEFAULTS[kind].removeprefix("default-")
        command = f"wepy default {word} {store.path} {new}"
        console.note(f"the default {ONE[kind]} stays {md5}: '{command}' moves it")
    if converted.needing:
        parts = "; ".join(f"{where}: {why}" for where, why in converted.needing.items())
        console.note(f"wepy must be installed wherever this is used, for the sake of {parts}")
    if args["--json"]:
        console.json(
            {
                "from": md5,
                "hash": new,
                "notes": converted.notes,
                "needs_wepy": converted.needs_wepy,
                "needing": converted.needing,
            }
        )
    elif new is not None:
        console.out(new)
    return INCOMPLETE if converted.needing else 0
