"""What differs between two manifests of one kind, down to a parameter.

Both are taken apart into leaves: a path, and a value, a class name, an array, a text or a pickle
at it. Arrays and texts are compared by their content, which is verified; pickles by their hash
alone (S9). Walkers are compared as walkers: which states, which weights.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from wepystore.errors import DamagedError
from wepystore.store.arrays import Array, read_array
from wepystore.store.manifests import Manifest, plain, walkers_of
from wepystore.store.names import REFERENCE, Ref, is_ref


@dataclass(frozen=True)
class Difference:
    """One thing that differs.

    Attributes
    ----------
    path : str
        Where, such as "resampler.distance.periodic".
    a, b : str or None
        The two values in words; None where that side has nothing there.
    how : str
        More about it, such as "3 of 12 numbers differ, by 0.5 at most"; may be empty.
    """

    path: str
    a: str | None
    b: str | None
    how: str = ""


class _Leaf(NamedTuple):
    """What is at a path: what kind of thing, and the JSON that says it."""

    kind: str
    value: Any


def differences(a: Manifest, b: Manifest) -> list[Difference]:
    """All that differs, in the order of the paths; nothing for equal manifests.

    What is damaged or missing is said in `how`, and is no error.
    """
    found: list[Difference] = []
    if "walkers" in a.value or "walkers" in b.value:
        found.extend(_walkers(a, b))
    ours, theirs = dict(_leaves(a.value)), dict(_leaves(b.value))
    for path in sorted(ours.keys() | theirs.keys(), key=_natural):
        first, second = ours.get(path), theirs.get(path)
        if first != second:
            how = "" if first is None or second is None else _how(first, second, a, b)
            found.append(Difference(path, _words(first), _words(second), how))
    return found


def _natural(path: str) -> tuple[tuple[int, str], ...]:
    """So that item 10 comes after item 9."""
    pieces = path.replace("[", ".").replace("]", "").split(".")
    return tuple(
        (int(p), "") if p.isascii() and p.isdigit() and len(p) < 9 else (-1, p) for p in pieces
    )


# ---- leaves


def _leaves(manifest: dict[str, Any]) -> Iterator[tuple[str, _Leaf]]:
    for key, value in manifest.items():
        if key == "apparatus" and isinstance(value, dict):
            for part, inner in value.items():
                yield from _leaf(part, inner)
        elif key != "walkers":
            yield from _leaf(key, value)


def _leaf(path: str, value: Any) -> Iterator[tuple[str, _Leaf]]:
    # Manifests have at most canonical.MAX_DEPTH levels, so recursion is safe.
    if isinstance(value, dict):
        yield from _object(path, value)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        yield path, _Leaf("list", len(value))
        for number, item in enumerate(value):
            yield from _leaf(f"{path}[{number}]", item)
    else:
        yield path, _Leaf("value", value)


def _object(path: str, value: dict[str, Any]) -> Iterator[tuple[str, _Leaf]]:
    ref = value.get("pickle")
    if is_ref(ref):
        yield path, _Leaf("pickle", (ref, value.get("of")))
        return
    if is_ref(value):
        yield path, _Leaf("array", value)
        return
    if value.keys() == REFERENCE | {"kind"}:
        yield path, _Leaf("entry", value)
        return
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key == "component" and isinstance(inner, dict):
            yield from _component(path, inner)
            return
        if key in ("array", "text") and isinstance(inner, dict):
            yield path, _Leaf(key, inner)
            return
        if key == "float":
            yield path, _Leaf("value", inner)
            return
        if key in ("dict", "states", "state") and isinstance(inner, dict):
            value = inner
    yield path, _Leaf("group", None)
    for name, item in value.items():
        yield from _leaf(f"{path}.{name}", item)


def _component(path: str, inner: dict[str, Any]) -> Iterator[tuple[str, _Leaf]]:
    yield path, _Leaf("class", (inner.get("class"), inner.get("version")))
    for part, prefix in (("params", ""), ("state", "(state).")):
        members = inner.get(part)
        for name, item in members.items() if isinstance(members, dict) else ():
            yield from _leaf(f"{path}.{prefix}{name}", item)


# ---- in words


def _words(leaf: _Leaf | None) -> str | None:
    if leaf is None:
        return None
    kind, value = leaf
    if kind == "value":
        return plain(value)
    if kind == "list":
        return f"{value} items"
    if kind == "group":
        return "{…}"
    if kind == "class":
        name, version = value
        return str(name) if version in (1, None) else f"{name} version {version}"
    if kind == "pickle":
        ref, of = value
        return f"pickled {of}, {_object_words(ref)}"
    if kind == "entry":
        return str(value.get("md5"))
    if kind == "array" and not is_ref(value):
        return f"array {_shape(value.get('shape'))} {value.get('dtype')} {plain(value.get('data'))}"
    return f"{kind}, {_object_words(value)}"


def _object_words(ref: dict[str, Any]) -> str:
    return f"object {str(ref.get('md5'))[:8]}…, {ref.get('size')} bytes"


def _shape(shape: Any) -> str:
    return "×".join(map(str, shape)) or "scalar" if isinstance(shape, list | tuple) else "?"


# ---- how


def _how(first: _Leaf, second: _Leaf, a: Manifest, b: Manifest) -> str:
    if first.kind != second.kind:
        return ""
    try:
        if first.kind == "array":
            return _array_how(_array(first.value, a), _array(second.value, b))
        if first.kind == "text" and is_ref(first.value) and is_ref(second.value):
            return _text_how(_bytes(first.value, a), _bytes(second.value, b))
    except DamagedError as error:
        return str(error)
    if first.kind == "value" and isinstance(first.value, list) and isinstance(second.value, list):
        return _list_how(first.value, second.value)
    return ""


def _bytes(ref: Any, side: Manifest) -> bytes:
    return side.fetch(Ref.from_json(ref, "a manifest"))


def _array(value: Any, side: Manifest) -> Array | None:
    if is_ref(value):
        return read_array(_bytes(value, side))
    return None


def _array_how(a: Array | None, b: Array | None) -> str:
    if a is None or b is None:
        return ""
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return f"{_shape(a.shape)} {a.dtype} and {_shape(b.shape)} {b.dtype}"
    total = len(a.bits)
    count = sum(map(operator.ne, a.bits, b.bits))
    largest = max(
        (abs(x - y) for x, y in zip(a.numbers, b.numbers, strict=True) if x != y), default=0
    )
    numbers = "1 number" if total == 1 else f"{total} numbers"
    return f"{_shape(a.shape)}: {count} of {numbers} differ, by {largest:.4g} at most"


def _text_how(a: bytes, b: bytes) -> str:
    ours, theirs = a.split(b"\n"), b.split(b"\n")
    for number, (x, y) in enumerate(zip(ours, theirs, strict=False), start=1):
        if x != y:
            return f"the first of the lines that differ is line {number}"
    return f"{len(ours)} lines and {len(theirs)} lines, equal as far as both go"


def _list_how(a: list[Any], b: list[Any]) -> str:
    if len(a) != len(b):
        return f"{len(a)} and {len(b)} items"
    count = sum(map(operator.ne, a, b))
    return f"{count} of {len(a)} items differ" if len(a) > 1 else ""


# ---- walkers


class _Walkers(NamedTuple):
    weights: list[float]
    states: list[str]
    """For each walker a digest of its state, or "" if the states cannot be read."""
    fields: dict[str, Any]
    """Path to the reference of each stack of states."""
    damage: str


def _walkers(a: Manifest, b: Manifest) -> Iterator[Difference]:
    ours, theirs = _walkers_of(a), _walkers_of(b)
    n_ours, n_theirs = len(ours.weights), len(theirs.weights)
    if n_ours != n_theirs:
        yield Difference("walkers", f"{n_ours} walkers", f"{n_theirs} walkers")
    if ours.weights != theirs.weights:
        how = ""
        if n_ours == n_theirs:
            moved = [abs(x - y) for x, y in zip(ours.weights, theirs.weights, strict=True)]
            count = sum(map(operator.ne, ours.weights, theirs.weights))
            how = f"{count} of {n_ours} differ, by {max(moved):.4g} at most"
        yield Difference("walkers.weights", _range(ours.weights), _range(theirs.weights), how)
    damage = ours.damage or theirs.damage
    if damage:
        yield Difference("walkers.states", "?", "?", damage)
    elif ours.states != theirs.states:
        yield Difference("walkers.states", *_states(ours.states, theirs.states))
    for path in sorted(ours.fields.keys() | theirs.fields.keys()):
        first, second = ours.fields.get(path), theirs.fields.get(path)
        if first != second:
            one, two = (None if ref is None else _Leaf("array", ref) for ref in (first, second))
            how = "" if one is None or two is None else _how(one, two, a, b)
            yield Difference(path, _words(one), _words(two), how)


def _states(ours: list[str], theirs: list[str]) -> tuple[str, str, str]:
    a, b = set(ours), set(theirs)
    how = f"{len(a & b)} states in both"
    if len(ours) == len(theirs):
        changed = [str(k) for k, (x, y) in enumerate(zip(ours, theirs, strict=True)) if x != y]
        shown = ", ".join(changed[:20]) + (", …" if len(changed) > 20 else "")
        how += f"; {len(changed)} of {len(ours)} walkers in another one: {shown}"
    return _counted(a), _counted(b), how


def _counted(states: set[str]) -> str:
    return f"{len(states)} state" + "s" * (len(states) != 1)


def _range(weights: list[float]) -> str:
    if not weights:
        return "none"
    return f"{min(weights):.4g} to {max(weights):.4g}"


def _walkers_of(side: Manifest) -> _Walkers:
    found = walkers_of(side.value)
    fields = {}
    digests: list[str] = []
    damage = ""
    for number, refs in enumerate(found.fields):
        prefix = "walkers." if len(found.fields) == 1 else f"walkers.groups[{number}]."
        fields.update({prefix + name: ref for name, ref in refs.items()})
        try:
            digests.extend(_digests(refs, side))
        except (DamagedError, ValueError) as error:
            damage = str(error)
    index = found.states or []
    if not damage and not all(0 <= k < len(digests) for k in index):
        damage = "a walker's state is not among the states"
    states = [] if damage else [digests[k] for k in index]
    return _Walkers(found.weights or [], states, fields, damage)


def _digests(refs: dict[str, Any], side: Manifest) -> list[str]:
    """A digest of each state of a group: of all its fields, with their names and shapes."""
    hashes: list[Any] | None = None
    for name in sorted(refs):
        array = read_array(_bytes(refs[name], side))
        if array is None or not array.shape:
            raise ValueError(f"{name} is no stack of numbers")
        if hashes is None:
            # Each state has a field's worth of bytes in every array, so the first one's length
            # bounds how many there can be, whatever its shape says.
            if array.shape[0] > max(len(array.bits), 1):
                raise ValueError(f"{name} is a stack of nothing")
            hashes = [hashlib.sha256() for _ in range(array.shape[0])]
        if len(hashes) != array.shape[0]:
            raise ValueError(f"{name} has {array.shape[0]} states, another field {len(hashes)}")
        size = len(array.bits) // max(len(hashes), 1)
        for k, digest in enumerate(hashes):
            digest.update(f"{name} {array.dtype} {array.shape[1:]} ".encode())
            digest.update(array.bits[k * size : (k + 1) * size])
    return [digest.hexdigest() for digest in hashes or []]
