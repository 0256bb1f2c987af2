"""Put a file of 'wepy get' into a store.

Usage:
  wepy add (snapshot|config) FILE
  wepy add (snapshot|config) ORCH FILE

Prints the hash. The file is verified and never unpickled.
"""

from __future__ import annotations

from typing import Any

from wepystore.cli.common import store_of
from wepystore.cli.console import Console


def main(args: dict[str, Any], console: Console) -> int:
    """Add the entry and print its hash."""
    from wepystore.store import exports

    store = store_of(args, "FILE")
    console.out(exports.add(store, args["FILE"], "snapshots" if args["snapshot"] else "configs"))
    return 0
