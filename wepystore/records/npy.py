"""Arrays as .npy bytes that depend on the array alone.

numpy's own writer pads its header differently from release to release, which
would give one array several hashes (I1). The header is therefore written here,
as version 1.0 of the format (NumPy Enhancement Proposal 1) without slack.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.records.errors import MalformedRecordError

#: What may be stored: everything else is turned into one of these or refused.
DTYPES = ("<f8", "<i8", "|b1")

#: What may be in a recording besides: text, as the bytes of its UTF-8.
TEXT = "|u1"


def header(shape: Sequence[int], descr: str) -> bytes:
    """The bytes before the data of a C-ordered array."""
    dims = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}"
    # Magic, version and length take 10 bytes; data begins at a multiple of 64.
    padding = -(10 + len(text) + 1) % 64
    body = text.encode("latin1") + b" " * padding + b"\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


def storable(array: NDArray[Any], where: str) -> NDArray[Any]:
    """`array`, C-ordered, as one of `DTYPES`."""
    kind = array.dtype.kind
    wanted = {"f": "<f8", "i": "<i8", "u": "<i8", "b": "|b1"}.get(kind)
    if wanted is None or (kind == "u" and array.size and int(array.max()) > 2**63 - 1):
        raise MalformedRecordError(
            where=where, what="storable array", problem=f"its dtype is {array.dtype}"
        )
    # ascontiguousarray would make a 0-d array 1-d.
    return np.asarray(array, dtype=wanted, order="C")


def array_buffers(array: NDArray[Any], where: str) -> list[Any]:
    """The .npy file of one array, as buffers to be written one after the other."""
    return buffers(storable(array, where))


def buffers(array: NDArray[Any]) -> list[Any]:
    """The .npy file of an array that is as it is to be stored."""
    return [header(array.shape, array.dtype.str), _bytes_of(array)]


def stack_buffers(arrays: Sequence[NDArray[Any]], where: str) -> list[Any]:
    """The .npy file of equally shaped arrays stacked on a new first axis, without stacking them."""
    held = [storable(array, where) for array in arrays]
    shape, descr = held[0].shape, held[0].dtype.str
    for array in held:
        if array.shape != shape or array.dtype.str != descr:
            raise MalformedRecordError(
                where=where,
                what="stack of arrays",
                problem=f"shapes {shape} and {array.shape} do not go together",
            )
    return [header((len(held), *shape), descr), *map(_bytes_of, held)]


def _bytes_of(array: NDArray[Any]) -> Any:
    # memoryview.cast refuses empty and 0-d arrays.
    return array.data.cast("B") if array.ndim and array.size else array.tobytes()


#: The whole of a header that is read: what `header` writes, and numpy for such arrays.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '(<f8|<i8|\|b1|\|u1)', 'fortran_order': False, "
    rb"'shape': \((|\d+,|\d+(?:, \d+)+)\), \} *\n",
    re.DOTALL,
)


def load(data: bytes, where: str) -> NDArray[Any]:
    """The array of a .npy file; never unpickles, and takes no memory that the data do not fill."""
    descr, shape, begin, end = _described(data, 0, where)
    if end != len(data) or descr not in DTYPES:
        raise MalformedRecordError(
            where=where,
            what=".npy array",
            problem=f"shape {shape} takes {end - begin} bytes, not {len(data) - begin}, or it is of"
            f" type {descr}",
        )
    return _array(data, descr, shape, begin, where).copy()


def load_several(data: bytes, where: str) -> list[NDArray[Any]]:
    """The arrays of several .npy files, one after the other: views of these bytes."""
    found, place = [], 0
    while place < len(data):
        descr, shape, begin, place = _described(data, place, where)
        if place > len(data):
            problem = f"shape {shape} takes {place - begin} bytes, not {len(data) - begin}"
            raise MalformedRecordError(where=where, what=".npy array", problem=problem)
        found.append(_array(data, descr, shape, begin, where))
    return found


def _described(data: bytes, place: int, where: str) -> tuple[str, tuple[int, ...], int, int]:
    """Type and shape of the array whose header is at `place`, and where its data begin and end."""
    found = _HEADER.match(data, place)
    if found is None or int.from_bytes(found[1], "little") != found.end() - place - 10:
        problem = f"its header is {data[place : place + 80]!r}"
        raise MalformedRecordError(where=where, what=".npy array", problem=problem)
    shape = tuple(int(number) for number in found[3].split(b",") if number)
    descr = found[2].decode()
    n_bytes = math.prod(shape) * np.dtype(descr).itemsize
    return descr, shape, found.end(), found.end() + n_bytes


def _array(data: bytes, descr: str, shape: tuple[int, ...], begin: int, where: str) -> NDArray[Any]:
    try:
        return np.frombuffer(data, descr, math.prod(shape), begin).reshape(shape)
    except ValueError as problem:
        raise MalformedRecordError(where=where, what=".npy array", problem=str(problem)) from None
