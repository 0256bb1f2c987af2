"""Canonical JSON: one value, one sequence of bytes.

Keys sorted by code point, no spaces, UTF-8 without escapes, no NaN or infinity, one newline at
the end. A manifest's name is the MD5 of these bytes, so nothing here may ever change (S1, I1).
"""

from __future__ import annotations

import json
from typing import Any

from wepystore.store.errors import BadJSONError, NotCanonicalError
from wepystore.store.files import MAX_JSON

# Deeper than any manifest, far from the interpreter's recursion limit.
MAX_DEPTH = 100
# A million walkers take 27 MB. Read, JSON takes some ten times its size, and one empty object in it
# 24 times its own.
MAX_CONTAINERS = 500_000
MAX_STRINGS = 2_000_000


def dumps(value: Any, what: str = "the value") -> bytes:
    """The canonical bytes of a JSON value (dict with str keys, list, tuple, str, int, float, …).

    Raises NotCanonicalError for what JSON cannot hold (NaN, bytes, keys that are not strings).
    """
    try:
        _check(value, 0)
        text = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        return text.encode("utf-8") + b"\n"
    except (TypeError, ValueError) as error:
        raise NotCanonicalError(what=what, why=_one_line(error)) from None


def loads(data: bytes, what: str) -> Any:
    """The value of JSON bytes that may come from anywhere; BadJSONError (exit 3) names `what`.

    Refused beyond bad syntax: two equal keys in one object, NaN, infinity, numbers out of range,
    unpaired surrogates, nesting deeper than MAX_DEPTH; and, before it is parsed, more than any
    manifest has.
    """
    too_much = _too_much(data)
    if too_much:
        raise BadJSONError(what=what, why=too_much)
    try:
        value = _DECODER.decode(data.decode("utf-8"))
        # What has fewer brackets cannot be nested deeper.
        if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
            _check(value, 0)
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise BadJSONError(what=what, why="it is nested too deep") from None
    except UnicodeDecodeError as error:
        raise BadJSONError(what=what, why=f"not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        why = "it is empty" if not data.strip() else _one_line(error)
        raise BadJSONError(what=what, why=why) from None
    return value


def _too_much(data: bytes) -> str:
    """Of what there is more than any manifest has, in words; else empty."""
    if len(data) <= MAX_CONTAINERS:
        return ""
    if len(data) > MAX_JSON:
        return f"it has {len(data)} bytes, and none of its kind has more than {MAX_JSON}"
    containers = data.count(b"{") + data.count(b"[")
    if containers > MAX_CONTAINERS:
        return f"it has {containers} lists and objects, and none of its kind has so many"
    strings = data.count(b'"') // 2
    if strings > MAX_STRINGS:
        return f"it has {strings} texts, and none of its kind has so many"
    return ""


def load_object(data: bytes, what: str) -> dict[str, Any]:
    """Like `loads`, for JSON that has to be an object (a manifest, a run record)."""
    value = loads(data, what)
    if not isinstance(value, dict):
        raise BadJSONError(what=what, why="it is JSON but not an object")
    return value


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError("it is nested too deep")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not a string")
            _check(item, depth + 1)
    elif isinstance(value, tuple) and type(value) is not tuple:
        # A Ref would silently become a list that no one recognises as a reference.
        raise TypeError(f"a {type(value).__name__} has to be turned into JSON first")
    elif isinstance(value, list | tuple):
        for item in value:
            # Long lists of numbers are common; a call for each of them is not needed.
            if isinstance(item, dict | list | tuple):
                _check(item, depth + 1)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} occurs twice")
    return value


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    # Of infinity it is NaN.
    if number - number != 0:
        raise ValueError(f"{text[:40]} is out of range")
    return number


# Made once: it takes as long as reading a small manifest.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
