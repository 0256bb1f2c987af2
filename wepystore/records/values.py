"""Parameter values <-> JSON and objects.

JSON scalars and lists stand for themselves; everything else is an object with
one telling key:

    {"array": REF} or {"array": {"dtype", "shape", "data"}}    numpy array, large or small
    {"text": REF}                                              Text
    {"states": {"index": […], "groups": [{"n_states", "fields": {name: REF}}]}}
    {"component": {"class", "version", "params", "state"}}
    {"dict": {…}}    {"float": "nan" | "inf" | "-inf"}
    {"pairs": [[KEY, VALUE], …]}      dict with the keys of a reference
    {"pickle": REF, "of": NAME}                                anything else, by value
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.component import Component, Text
from wepystore.engine.walker import WalkerState
from wepystore.errors import WepystoreError
from wepystore.records import npy, origins, pickles, registry, trust
from wepystore.records.errors import CannotRecordError, MalformedRecordError, PickleLoadError
from wepystore.store.names import REFERENCE, Ref

Integers = NDArray[np.int64]

#: Arrays of at most this many numbers stand in the manifest itself: an inode costs more.
_INLINE_SIZE = 256


class Bytes(Protocol):
    """Where bytes go: a store's batch."""

    def put(self, kind: str, data: Any) -> Ref: ...

    def put_many(self, kind: str, many: Sequence[Any]) -> list[Ref]: ...


class Sink(Bytes, Protocol):
    """Where encoded objects go."""

    def put_text(self, text: Text) -> Ref: ...


#: The keys of a component; "state" is there where it has one.
_COMPONENT = {"class", "version", "params", "state"}

#: What reading JSON of another shape than expected raises.
MISSHAPEN = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError)


@contextmanager
def reading(what: str, where: str) -> Iterator[None]:
    """Within the block, JSON of another shape than expected is a MalformedRecordError."""
    try:
        yield
    except MISSHAPEN as problem:
        raise MalformedRecordError(
            where=where, what=what, problem=f"{type(problem).__name__}: {problem}"
        ) from problem


#: How decoding gets an object's bytes back.
Fetch = Callable[[Ref], bytes]


def encode(value: Any, sink: Sink, where: str) -> Any:
    """JSON for `value`; its large parts go to `sink`. `where` names it in errors."""
    if value is None or type(value) is str:
        return value
    if isinstance(value, _NUMBERS):
        return _encode_number(value)
    if isinstance(value, Text):
        return {"text": sink.put_text(value).to_json()}
    if type(value) in (list, tuple):
        return _encode_items(value, sink, where)
    if isinstance(value, WalkerState):
        return {"state": encode_states([value], sink, where)}
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return _encode_dict(_encode_values(value, sink, where))
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return {"array": _encode_array(value, sink, where)}
    name = registry.builtin_name(value) if isinstance(value, Component) else None
    if name is not None:
        return {"component": encode_component(value, name, sink, where)}
    return _encode_pickle(value, sink, where)


_NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)


def _encode_number(value: Any) -> Any:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else {"float": str(number)}


def _encode_items(items: Sequence[Any], sink: Sink, where: str) -> Any:
    if items and all(isinstance(item, WalkerState) for item in items):
        return {"states": encode_states(items, sink, where)}
    return [encode(item, sink, f"{where}[{k}]") for k, item in enumerate(items)]


def _encode_dict(held: dict[str, Any]) -> Any:
    # Whoever walks a manifest would take it for a reference to an object.
    is_like_one = held.keys() >= REFERENCE
    return {"pairs": [list(pair) for pair in held.items()]} if is_like_one else {"dict": held}


def _encode_values(values: Mapping[str, Any], sink: Sink, where: str) -> dict[str, Any]:
    return {key: encode(value, sink, f"{where}.{key}") for key, value in values.items()}


def encode_component(component: Component, name: str, sink: Sink, where: str) -> Any:
    """Class name, version, parameters and (if it has one) state of a built-in."""
    record: dict[str, Any] = {
        "class": name,
        "version": component.version,
        "params": _encode_values(component.params(), sink, where),
    }
    state = component.state()
    if state:
        record["state"] = _encode_values(state, sink, where)
    return record


def _encode_array(array: np.ndarray[Any, Any], sink: Sink, where: str) -> Any:
    held = npy.storable(array, where)
    if held.size > _INLINE_SIZE or (held.dtype.kind == "f" and not np.isfinite(held).all()):
        return sink.put("objects", npy.array_buffers(held, where)).to_json()
    return {"dtype": held.dtype.str, "shape": list(held.shape), "data": held.reshape(-1).tolist()}


def _encode_pickle(value: Any, sink: Sink, where: str) -> Any:
    try:
        data = pickles.dumps(value)
    except Exception as problem:
        # dill raises whatever the object's own hooks raise.
        raise CannotRecordError(
            where=where,
            problem=f"{type(value).__name__} cannot be pickled: "
            f"{str(problem).splitlines()[0] if str(problem) else type(problem).__name__}",
        ) from problem
    kept = origins.unchanged(value, data)
    if kept is data:
        # Told before it is put: a crash must not leave one that its maker would be asked about.
        trust.made_here(data)
    return {"pickle": sink.put("objects", kept).to_json(), "of": pickles.label(value)}


def encode_states(states: Sequence[Mapping[str, Any]], sink: Sink, where: str) -> dict[str, Any]:
    """Unique states stacked by the fields they have, and an index into them (I4)."""
    index, uniques = unique_states(states)
    # A warped walker may lack a field that the others have: states of like form go together.
    forms: dict[tuple[Any, ...], list[int]] = {}
    for number, state in enumerate(uniques):
        form = tuple((name, np.shape(state[name])) for name in sorted(state))
        forms.setdefault(form, []).append(number)
    place: dict[int, int] = {}
    groups = []
    for form, members in forms.items():
        for number in members:
            place[number] = len(place)
        names = [name for name, _ in form]
        stacks = [
            npy.stack_buffers(
                [_stored(uniques[number][name]) for number in members],
                f"{where}.{name}",
            )
            for name in names
        ]
        # Together: the sink hashes large ones in parallel.
        refs = sink.put_many("objects", stacks)
        fields = {name: ref.to_json() for name, ref in zip(names, refs, strict=True)}
        groups.append({"n_states": len(members), "fields": fields})
    return {"index": [place[number] for number in index], "groups": groups}


def encode_rows(fields: Mapping[str, np.ndarray[Any, Any]], sink: Sink, where: str) -> Any:
    """As `encode_states` for states that are rows of arrays: the same objects, made of the arrays.

    Parameters
    ----------
    fields : {name: float64 array, shape (n, ...)}
    """
    names = sorted(fields)
    index, firsts = unique_rows([fields[name] for name in names])
    every = len(firsts) == len(index)
    stacks = [
        npy.array_buffers(fields[name] if every else fields[name][firsts], f"{where}.{name}")
        for name in names
    ]
    refs = sink.put_many("objects", stacks)
    group = {name: ref.to_json() for name, ref in zip(names, refs, strict=True)}
    return {"index": index.tolist(), "groups": [{"n_states": len(firsts), "fields": group}]}


#: Rows are compared in pieces of at most so many numbers, so that no copy gets large.
_PIECE = 1 << 20


def unique_rows(fields: Sequence[np.ndarray[Any, Any]]) -> tuple[Integers, Integers]:
    """For every row the number of the first one with the same bits, and those first rows.

    Parameters
    ----------
    fields : float64 arrays, each of shape (n, ...)

    Returns
    -------
    index : ndarray of int, shape (n,)
        Into `firsts`.
    firsts : ndarray of int, ascending
        Rows of which none has the bits of another.
    """
    n_rows = len(fields[0])
    columns = [
        np.ascontiguousarray(field, dtype=np.float64)
        .reshape(n_rows, field.size // n_rows)
        .view(np.uint64)
        for field in fields
    ]
    # A sum of products modulo 2^64 tells different rows apart, but for one pair in 2^64.
    draw = np.random.Generator(np.random.PCG64(0))
    hashes = np.zeros(n_rows, dtype=np.uint64)
    for column in columns:
        factors = draw.integers(1, 2**64 - 1, size=column.shape[1], dtype=np.uint64)
        hashes += column @ (factors | np.uint64(1))
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    same_as = first[inverse]
    others = np.flatnonzero(same_as != np.arange(n_rows))
    for column in columns:
        piece = max(1, _PIECE // max(1, column.shape[1]))
        for start in range(0, len(others), piece):
            rows = others[start : start + piece]
            if not np.array_equal(column[rows], column[same_as[rows]]):
                return _unique_rows_by_bytes(columns)
    firsts, index = np.unique(same_as, return_inverse=True)
    return index, firsts


def _unique_rows_by_bytes(columns: Sequence[np.ndarray[Any, Any]]) -> tuple[Integers, Integers]:
    """`unique_rows` where two different rows have one sum."""
    known: dict[bytes, int] = {}
    firsts: list[int] = []
    index: list[int] = []
    for row in range(len(columns[0])):
        number = known.setdefault(b"".join(column[row].tobytes() for column in columns), len(known))
        if number == len(firsts):
            firsts.append(row)
        index.append(number)
    return np.array(index, dtype=np.int64), np.array(firsts, dtype=np.int64)


def unique_states(
    states: Sequence[Mapping[str, Any]],
) -> tuple[list[int], list[Mapping[str, Any]]]:
    """For every state the index of the first one with the same bits, and those first ones."""
    by_identity: dict[int, int] = {}
    by_sketch: dict[tuple[Any, ...], list[int]] = {}
    uniques: list[Mapping[str, Any]] = []
    index = []
    for state in states:
        found = by_identity.get(id(state))
        if found is None:
            # A few numbers of each field tell almost all states apart without reading them.
            sketch = tuple(
                (name, np.shape(state[name]), _stored(state[name]).reshape(-1)[:4].tobytes())
                for name in sorted(state)
            )
            rivals = by_sketch.setdefault(sketch, [])
            found = next((k for k in rivals if _same_bits(uniques[k], state)), None)
            if found is None:
                found = len(uniques)
                uniques.append(state)
                rivals.append(found)
            by_identity[id(state)] = found
        index.append(found)
    return index, uniques


def _same_bits(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    # Bytes, not values: 0.0 == -0.0, but they are not the same state.
    return all(_stored(a[name]).tobytes() == _stored(b[name]).tobytes() for name in a)


def _stored(field: Any) -> np.ndarray[Any, Any]:
    """A field of a state as it will be stored; no copy of what is so already."""
    return np.asarray(field, np.float64)


def decode(value: Any, fetch: Fetch, where: str) -> Any:
    """The inverse of `encode`. Loads pickles: only for those who trust the store (S9)."""
    if not isinstance(value, dict):
        if isinstance(value, list):
            return [decode(item, fetch, f"{where}[{k}]") for k, item in enumerate(value)]
        return value
    try:
        form = _FORMS.get(frozenset(value))
        if form is None:
            raise ValueError(f"unknown form {reprlib.repr(sorted(value))}")
        return _DECODERS[form](value if form == "pickle" else value[form], fetch, where)
    except WepystoreError:
        raise
    except MISSHAPEN as problem:
        raise MalformedRecordError(
            where=where, what="value", problem=f"{type(problem).__name__}: {problem}"
        ) from problem


def _decode_items(items: Iterable[tuple[str, Any]], fetch: Fetch, where: str) -> dict[str, Any]:
    return {key: decode(item, fetch, f"{where}.{key}") for key, item in items}


def decode_component(record: Mapping[str, Any], fetch: Fetch, where: str) -> Any:
    """A built-in component from its record: of just the parameters that it writes itself."""
    if not {"class", "version", "params"} <= record.keys() <= _COMPONENT:
        raise ValueError(f"a component of {reprlib.repr(sorted(record))}")
    cls = registry.builtin_class(record["class"], where)
    # Before any of them is decoded: what is refused is not even looked at.
    cls.check_names(record["params"].keys(), record["version"])
    params = _decode_items(record["params"].items(), fetch, where)
    component = cls.from_params(params, record["version"])
    if "state" in record:
        component.restore(_decode_items(record["state"].items(), fetch, where))
    return component


def _decode_array(value: Mapping[str, Any], fetch: Fetch, where: str) -> Any:
    if "md5" in value:
        return npy.load(fetch(Ref.from_json(value, where)), where)
    if value["dtype"] not in npy.DTYPES:
        raise ValueError(f"dtype {value['dtype']!r}")
    return np.array(value["data"], dtype=value["dtype"]).reshape(value["shape"])


def _decode_pickle(value: Mapping[str, Any], fetch: Fetch, where: str) -> Any:
    data = fetch(Ref.from_json(value["pickle"], where))
    try:
        loaded = pickles.loads(data)
    except Exception as problem:
        # Anything can come out of a user's pickle, most often a missing module.
        raise PickleLoadError(
            where=where, of=value["of"], problem=f"{type(problem).__name__}: {problem}"
        ) from problem
    origins.note(loaded, data)
    return loaded


def only(value: Mapping[str, Any], *keys: str) -> None:
    """Raise ValueError, by name, if a value has other keys than these."""
    more = sorted(value.keys() - set(keys))
    if more:
        raise ValueError(f"no such key as {', '.join(repr(key[:40]) for key in more[:4])} is known")


def decode_states(value: Mapping[str, Any], fetch: Fetch, where: str) -> list[WalkerState]:
    """The states that `encode_states` wrote; equal ones are one object again."""
    uniques: list[WalkerState] = []
    only(value, "index", "groups")
    index = value["index"]
    for group in value["groups"]:
        only(group, "fields", "n_states")
        stacks = {
            name: npy.load(fetch(Ref.from_json(ref, where)), f"{where}.{name}")
            for name, ref in group["fields"].items()
        }
        n_states = group["n_states"]
        # Each is some walker's: rows of no numbers cost a stack nothing, and may be any number.
        if type(n_states) is not int or not 0 < n_states <= len(index) - len(uniques):
            raise MalformedRecordError(
                where=where,
                what="group of states",
                problem=f"{reprlib.repr(n_states)} states, and too few walkers for them",
            )
        if not stacks:
            raise MalformedRecordError(where=where, what="group of states", problem="has no fields")
        for name, stack in stacks.items():
            if stack.shape[:1] != (n_states,) or stack.dtype != np.float64:
                raise MalformedRecordError(
                    where=f"{where}.{name}",
                    what="stack of states",
                    problem=f"shape {stack.shape}, {stack.dtype} for {n_states!r} states",
                )
        for k in range(n_states):
            # np.asarray: one element of a stack of scalars is a scalar, not an array.
            uniques.append(
                WalkerState.adopt({name: np.asarray(stack[k]) for name, stack in stacks.items()})
            )
    if not all(type(k) is int and 0 <= k < len(uniques) for k in index):
        raise MalformedRecordError(
            where=where, what="index of states", problem=f"it goes beyond {len(uniques)} states"
        )
    return [uniques[k] for k in index]


#: How each form that `encode` writes is read: by what stands under its key.
_DECODERS: dict[str, Callable[[Any, Fetch, str], Any]] = {
    "array": _decode_array,
    "text": lambda value, fetch, where: Text(fetch(Ref.from_json(value, where)).decode()),
    "float": lambda value, fetch, where: float(value),
    "dict": lambda value, fetch, where: _decode_items(value.items(), fetch, where),
    "pairs": _decode_items,
    "states": decode_states,
    "state": lambda value, fetch, where: decode_states(value, fetch, where)[0],
    "component": decode_component,
    "pickle": _decode_pickle,
}

#: The forms by all their keys.
_FORMS = {frozenset((key,)): key for key in _DECODERS if key != "pickle"}
_FORMS[frozenset(("pickle", "of"))] = "pickle"
