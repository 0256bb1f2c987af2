"""Make an empty store.

Usage:
  wepy create orch [ORCH]

ORCH is a directory that does not exist yet, or an empty one; without it: ./.orch
"""

from __future__ import annotations

from typing import Any

from wepystore.cli.console import Console
from wepystore.store import Store
from wepystore.store.places import HIDDEN


def main(args: dict[str, Any], console: Console) -> int:
    """Create it; an existing store is refused."""
    store = Store.create(args["ORCH"] or HIDDEN)
    console.note(f"An empty store: {store.path}")
    return 0
