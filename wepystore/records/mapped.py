"""Arrays in the objects of a store, of which only what is asked for is read (D6).

An object's name and size are looked at, and the headers of its arrays; its bytes are not verified
(docs/design/0042-mapped-reading.md).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.records import npy
from wepystore.store.names import Ref
from wepystore.store.store import Store

#: The right to write of anybody but the owner.
_OTHERS = 0o022


def arrays_of(
    store: Store, ref: Ref, wanted: Container[int], where: str, to_map: bool = False
) -> list[NDArray[Any] | npy.Placed]:
    """The arrays of an object: .npy files one after the other.

    Parameters
    ----------
    store : Store
    ref : Ref
        Of the object.
    wanted : container of int
        Numbers of the arrays that are to be read. Of the others type and shape are told, and where
        they are.
    where : str
        Names it in errors.
    to_map : bool
        Whether all of them are memory-mapped instead, where that can be done: read-only, in a map
        of the object that is undone with the last of them, and may hold a file descriptor until
        then. An object that somebody else could shorten is not mapped: a process that reaches
        beyond the end of a mapped file is ended.

    Raises
    ------
    DamagedError : it is missing, not of its size, or not such arrays.
    """
    with _opened(store, ref) as descriptor:
        mapped = _map(descriptor, ref.size) if to_map else None
        if mapped is not None:
            return [*npy.load_several(mapped, where)]
        return [
            each.read(descriptor, where) if number in wanted else each
            for number, each in enumerate(npy.find_several(_Open(descriptor, ref.size), where))
        ]


def rows_of(
    store: Store, ref: Ref, array: npy.Placed, rows: NDArray[np.int64], where: str
) -> NDArray[Any]:
    """The rows of these numbers of an array that arrays_of has found and not read, and that has as
    many. Raises DamagedError."""
    with _opened(store, ref) as descriptor:
        return array.read_rows(descriptor, rows, where)


@contextmanager
def _opened(store: Store, ref: Ref) -> Iterator[int]:
    descriptor = store.open_object(ref)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _map(descriptor: int, size: int) -> mmap.mmap | None:
    """A map of an open file; None where there is none."""
    facts = os.fstat(descriptor)
    if facts.st_uid in (0, os.geteuid()) and not facts.st_mode & _OTHERS:
        # Nothing can be mapped of an empty file, one that has become shorter since, or where the
        # file system maps none.
        with suppress(ValueError, OSError):
            return mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
    return None


class _Open:
    """The bytes of an open file: slices of it are read."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: slice) -> bytes:
        return os.pread(self._descriptor, place.stop - place.start, place.start)
