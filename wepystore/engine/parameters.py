"""Checks of what components are given, so that each says the same of the same mistake.

All raise ValueError, which names the parameter, what it must be and what it is.
"""

from __future__ import annotations

import math
import re
import reprlib
from typing import Any

from wepystore.engine.protocols import CoordinateCapabilities, DistanceCapabilities


def real(value: Any, name: str, wanted: str = "a number") -> float:
    """`value` as a float: a finite number, of Python's or numpy's. No text, no truth."""
    try:
        # An array of one number is an accident; text would be read by float().
        number = math.nan if isinstance(value, (str, bytes, bool)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(value, name, wanted)
    return number


def positive(value: Any, name: str, unit: str = "") -> float:
    """`value` as a float, finite and above 0."""
    wanted = f"a positive number{' of ' if unit else ''}{unit}"
    number = real(value, name, wanted)
    if number <= 0.0:
        raise _wrong(value, name, wanted)
    return number


def whole(value: Any, name: str, least: int = 1) -> int:
    """`value` as an int, not below `least`; 3.0 is whole, too, 2.5 is not."""
    wanted = f"a whole number of at least {least}"
    number = real(value, name, wanted)
    if number != math.floor(number) or number < least:
        raise _wrong(value, name, wanted)
    # Not by way of the float, which is exact to 2**53 only.
    return int(value)


def listed(value: Any, name: str, of: str = "numbers") -> list[Any]:
    """`value` as a list."""
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        return list(value)
    except TypeError:
        raise _wrong(value, name, f"a list of {of}") from None


#: More threads than any processor has: so many that starting them ends the process.
_MOST_THREADS = 1024
_COUNT = re.compile("[0-9]{1,9}")
_PROPERTY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
#: What names a program, a folder or a file (CudaCompiler, TempDirectory) would be run or written
#: to wherever the snapshot goes.
_PLACES = re.compile(r"compiler|directory|path|file|plugin|library", re.IGNORECASE)
_LONGEST = 200


def platform_properties(value: Any, name: str = "platform_properties") -> dict[str, str]:
    """`value` as properties of an OpenMM platform: {name: text}, none of which names a place."""
    try:
        properties = {str(key): str(text) for key, text in dict(value or {}).items()}
    except (TypeError, ValueError):
        raise _wrong(value, name, "a dict of words") from None
    for key, text in properties.items():
        if not _PROPERTY.fullmatch(key):
            raise _wrong(key, name, "a dict whose keys are names of properties")
        if _PLACES.search(key):
            raise ValueError(
                f"{name} holds {key!r}: programs and folders are no part of what is stored, which "
                "may be run anywhere; set them by OpenMM's environment variables"
            )
        if len(text) > _LONGEST or not text.isprintable() or set(text) & set("/\\"):
            raise _wrong(text, f"{name}[{key!r}]", "a word or numbers")
        if key == "Threads" and not (_COUNT.fullmatch(text) and int(text) <= _MOST_THREADS):
            raise _wrong(text, key, f"a whole number, at most {_MOST_THREADS}")
    return properties


def distance_like(value: Any, name: str = "distance") -> Any:
    """`value`, if it can be asked for images of states."""
    ways = DistanceCapabilities(value)
    if not (callable(ways.image) or callable(ways.images)):
        raise _wrong(value, name, "a distance, with a method image(state)")
    return value


def coordinate_like(value: Any, name: str = "coordinate") -> Any:
    """`value`, if it can be asked how far states have come."""
    if not (callable(value) or callable(CoordinateCapabilities(value).many)):
        raise _wrong(value, name, "a function of a state or have a method many(states)")
    return value


def _wrong(value: Any, name: str, wanted: str) -> ValueError:
    return ValueError(f"{name} must be {wanted}, got {reprlib.repr(value)}")
