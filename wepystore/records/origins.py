"""Which pickle an object was loaded from, so that what is unchanged keeps its hash (I2).

How a user's code is pickled follows dill and this program, whose next versions may write other
bytes for it. Whoever loads what an earlier version has written, and stores it as it is, finds it
there already: under its own hash, and not once more beside it (I4).
"""

from __future__ import annotations

import functools
import weakref
from typing import Any

from wepystore.records import pickles


class _Origin:
    """A pickle, and what would be written today of what it holds."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @functools.cached_property
    def today(self) -> bytes:
        # It was trusted when it was loaded.
        return pickles.dumps(pickles.loads(self.data))


#: By id, since a user's objects need not be hashable; taken out when the object goes.
_ORIGINS: dict[int, tuple[weakref.ref[Any], _Origin]] = {}


def note(value: Any, data: bytes) -> None:
    """`value` was just loaded from `data`."""
    key = id(value)
    try:
        there = weakref.ref(value, lambda _: _ORIGINS.pop(key, None))
    except TypeError:
        return  # A class with slots, say: it is pickled anew.
    _ORIGINS[key] = (there, _Origin(data))


def unchanged(value: Any, data: bytes) -> bytes:
    """The pickle that `value` was loaded from, if it is still what that holds; else `data`, which
    is what it is today."""
    there, origin = _ORIGINS.get(id(value), (None, None))
    if there is None or origin is None or there() is not value or origin.data == data:
        return data
    try:
        return origin.data if origin.today == data else data
    except Exception:
        # A user's object that can be loaded only once; it was pickled anew before, too.
        return data
