"""Make an empty store here, if there is none yet.

Usage:
  wepy init [ORCH]

The same as 'wepy create orch', but harmless where there is a store already.
ORCH is ./.orch when it is left out.
"""

from __future__ import annotations

from typing import Any

from wepystore.cli import create
from wepystore.cli.console import Console
from wepystore.store import Store
from wepystore.store.errors import StoreExistsError
from wepystore.store.places import HIDDEN


def main(args: dict[str, Any], console: Console) -> int:
    """Create it, or say that it is there."""
    try:
        return create.main(args, console)
    except StoreExistsError:
        store = Store.open(args["ORCH"] or HIDDEN)
        console.note(f"Already a store, left as it is: {store.path}")
        return 0
