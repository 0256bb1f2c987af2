"""What may be wrong with a coordinate that is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from wepystore.errors import FailedError, UsageError

#: So many of what there is are named.
_LISTED = 12


class CoordinateTextError(UsageError):
    """{text!r} is no coordinate: {why} (at character {place})"""


class SelectionTextError(UsageError):
    """{text!r} selects no atoms: {why} (at character {place})"""


class UnknownSystemError(FailedError):
    """{what} cannot be told: {why}"""


class UnfitCoordinateError(FailedError):
    """{coordinate} does not fit these frames: {why}"""


def nearest(word: str, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?", or what there is; nothing where there is nothing."""
    there = list(dict.fromkeys(known))
    near = difflib.get_close_matches(word, there, 1, 0.5)
    # What differs in upper and lower case alone is nearer than difflib thinks.
    near = [each for each in there if each.lower() == word.lower()][:1] or near
    if near:
        return f"; did you mean {near[0]!r}?"
    if not there:
        return ""
    more = f" and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
    return f"; there are {', '.join(there[:_LISTED])}{more}"
