"""Arrays as .npy bytes that depend on the array alone.

numpy's own writer pads its header differently from release to release, which
would give one array several hashes (I1). The header is therefore written here,
as version 1.0 of the format (NumPy Enhancement Proposal 1) without slack.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.records.errors import MalformedRecordError
from wepystore.store.names import Buffer

#: What may be stored: everything else is turned into one of these or refused.
DTYPES = ("<f8", "<i8", "|b1")

#: What may be in a recording besides: text, as the bytes of its UTF-8, and frames.
_OF_RECORDINGS = ("|u1", "<f4")


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


def concatenation_buffers(arrays: Sequence[NDArray[Any]]) -> list[Any]:
    """The .npy file of arrays of one type, as they are to be stored, one after the other, without
    putting them together."""
    shape = (sum(len(array) for array in arrays), *arrays[0].shape[1:])
    return [header(shape, arrays[0].dtype.str), *map(_bytes_of, arrays)]


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


#: The whole of a header that is read: what `header` writes, and numpy for such arrays. No array has
#: more dimensions, or a longer one; of a stranger's numbers Python may refuse to make any.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(%s)', 'fortran_order': False, "
    rb"'shape': \((|\d{1,18},|\d{1,18}(?:, \d{1,18}){1,63})\), \} *\n"
    % b"|".join(re.escape(name).encode() for name in (*DTYPES, *_OF_RECORDINGS)),
    re.DOTALL,
)

#: Bytes before the text of a header; the last two of them give its length.
_BEFORE_TEXT = 10


@dataclass(frozen=True, slots=True)
class Placed:
    """An array in a file, not read.

    Attributes
    ----------
    dtype : dtype
    shape : tuple of int
    begin : int
        Where its data begin.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int = 0

    @property
    def end(self) -> int:
        """Where its data end."""
        return self.begin + math.prod(self.shape) * self.dtype.itemsize

    def of(self, data: Buffer, where: str) -> NDArray[Any]:
        """The array, as a view of the bytes of the file. Raises MalformedRecordError."""
        try:
            size = math.prod(self.shape)
            return np.frombuffer(data, self.dtype, size, self.begin).reshape(self.shape)
        except ValueError as problem:
            raise _malformed(where, problem) from None

    def read(self, descriptor: int, where: str) -> NDArray[Any]:
        """The array, read from the file. Raises MalformedRecordError."""
        try:
            found = np.empty(self.shape, self.dtype)
        except (ValueError, MemoryError) as problem:
            raise _malformed(where, problem) from None
        _fill(found, descriptor, self.begin, where)
        return found

    def read_rows(self, descriptor: int, rows: NDArray[np.int64], where: str) -> NDArray[Any]:
        """The rows of these numbers, which are there, read from the file. Raises as read."""
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        edges = np.flatnonzero(np.diff(rows, prepend=-2, append=-2) != 1).tolist()
        for first, stop in itertools.pairwise(edges):
            # What is one stretch of the file is read at once.
            place = self.begin + int(rows[first]) * row_bytes
            _fill(found[first:stop], descriptor, place, where)
        return found


def _fill(array: NDArray[Any], descriptor: int, place: int, where: str) -> None:
    """Read the bytes of a C-ordered array from this place of a file on."""
    room = array.reshape(-1).view(np.uint8).data
    while room:
        count = os.preadv(descriptor, [room], place)
        if not count:
            raise _malformed(where, "its file has become shorter")
        room, place = room[count:], place + count


def load(data: bytes, where: str) -> NDArray[Any]:
    """The array of a .npy file; never unpickles, and takes no memory that the data do not fill."""
    found = _placed(data, 0, where)
    if found.end != len(data) or found.dtype.str not in DTYPES:
        n_bytes, there = found.end - found.begin, len(data) - found.begin
        problem = (
            f"shape {found.shape} of type {found.dtype.str} takes {n_bytes} bytes, not {there}"
        )
        raise _malformed(where, problem)
    return found.of(data, where).copy()


def load_several(data: Buffer, where: str) -> list[NDArray[Any]]:
    """The arrays of several .npy files, one after the other: views of these bytes, which may be a
    memory map, and of which only the headers are looked at."""
    return [each.of(data, where) for each in find_several(data, where)]


def find_several(data: Buffer, where: str) -> list[Placed]:
    """Where the arrays of several .npy files are, one after the other."""
    found, place = [], 0
    while place < len(data):
        each = _placed(data, place, where)
        place = each.end
        if place > len(data):
            n_bytes, there = place - each.begin, len(data) - each.begin
            raise _malformed(where, f"shape {each.shape} takes {n_bytes} bytes, not {there}")
        found.append(each)
    return found


def _placed(data: Buffer, place: int, where: str) -> Placed:
    """The array whose header is at `place`."""
    before = data[place : place + _BEFORE_TEXT]
    text = data[place : place + _BEFORE_TEXT + int.from_bytes(before[8:], "little")]
    found = _HEADER.fullmatch(text)
    if found is None:
        raise _malformed(where, f"its header is {text[:80]!r}")
    shape = tuple(int(number) for number in found[2].split(b",") if number)
    return Placed(np.dtype(found[1].decode()), shape, place + len(text))


def _malformed(where: str, problem: object) -> MalformedRecordError:
    return MalformedRecordError(where=where, what=".npy array", problem=problem)
