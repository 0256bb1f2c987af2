"""Who is told of the pickles that this process makes.

What a user's own program pickles, that user may run again without being asked
(wepystore.orchestrator.trust). Pickling happens deep inside records, so the
listener is set once for the process, by whoever stands outermost: wepystore.api
for scripts, and the command line for its commands. Without one nothing is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

Listener = Callable[[str], None]

_listener: Listener | None = None


def tell(listener: Listener | None) -> Listener | None:
    """From now on call `listener(sha256)` for every pickle made; returns the one before.

    It is called before the pickle has its name in a store, so that no crash
    can leave a store behind whose maker is not trusted. It must not raise.
    """
    global _listener
    before, _listener = _listener, listener
    return before


def made(pickle: bytes) -> None:
    """This was made by this process out of its own objects."""
    if _listener is not None:
        _listener(hashlib.sha256(pickle).hexdigest())
