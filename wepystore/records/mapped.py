"""Arrays in the objects of a store, of which only what is asked for is read (D6).

An object's name and size are looked at, and the headers of its arrays; its bytes are not verified
(docs/design/0042-mapped-reading.md).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Container
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from wepystore.records import npy
from wepystore.records.errors import MalformedRecordError
from wepystore.store.names import Buffer, Ref
from wepystore.store.store import Store

#: The right to write of anybody but the owner.
_OTHERS = 0o022


def arrays_of(store: Store, ref: Ref, where: str) -> list[NDArray[Any]]:
    """The arrays of an object: .npy files one after the other.

    Parameters
    ----------
    store : Store
    ref : Ref
        Of the object.
    where : str
        Names it in errors.

    Returns
    -------
    list of ndarray
        Read-only, in a memory map of the object, which is unmapped with the last of them. Until
        then it may hold a file descriptor. An object that somebody else could shorten is read
        whole instead: a process that reaches beyond the end of a mapped file is ended.

    Raises
    ------
    DamagedError : it is missing, not of its size, or not such arrays.
    """
    descriptor = store.open_object(ref)
    try:
        return npy.load_several(_content(descriptor, ref.size, where), where)
    finally:
        os.close(descriptor)


def read_arrays(
    store: Store, ref: Ref, wanted: Container[int], where: str
) -> list[NDArray[Any] | npy.Placed]:
    """The arrays of an object, as arrays_of finds them: those with these numbers are read, of the
    others type and shape are told."""
    descriptor = store.open_object(ref)
    try:
        found = npy.find_several(_Open(descriptor, ref.size), where)
        return [
            each.read(descriptor, where) if number in wanted else each
            for number, each in enumerate(found)
        ]
    finally:
        os.close(descriptor)


class _Open:
    """The bytes of an open file: slices of it are read."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: slice) -> bytes:
        return os.pread(self._descriptor, place.stop - place.start, place.start)


def _content(descriptor: int, size: int, where: str) -> Buffer:
    facts = os.fstat(descriptor)
    if facts.st_uid in (0, os.geteuid()) and not facts.st_mode & _OTHERS:
        # Nothing can be mapped of an empty file, one that has become shorter since, or where the
        # file system maps none.
        with suppress(ValueError, OSError):
            return mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
    try:
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(size)
    except MemoryError:
        problem = f"its {size} bytes do not fit into memory"
        raise MalformedRecordError(where=where, what="object", problem=problem) from None
