"""Make an empty store here, if there is none yet.

Usage:
  wepy init [ORCH]

The same as 'wepy create orch', but harmless where there is a store already.
ORCH is ./.orch when it is left out.
"""

from __future__ import annotations

from typing import Any

from wepystore.cli.console import Console
from wepystore.store import Store
from wepystore.store.errors import StoreExistsError
from wepystore.store.places import HIDDEN


def main(args: dict[str, Any], console: Console) -> int:
    """Create it, or say that it is there."""
    path = args["ORCH"] or HIDDEN
    try:
        store = Store.create(path)
    except StoreExistsError:
        store = Store.open(path)
        console.note(f"Already a store, left as it is: {store.path}")
    else:
        console.note(f"An empty store: {store.path}")
    return 0
