"""Taking groups and datasets out of an HDF5 file that may be anybody's.

A link to another place, data in other files, and a filter that would have to be loaded are refused;
and no memory is taken that the size of the file does not account for, whatever its headers say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from wepystore.engine.record_fields import Ragged
from wepystore.errors import DamagedError

#: What h5py raises for what is not as it should be.
_MISREAD = (
    *(OSError, KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError),
    *(RuntimeError, SystemError, MemoryError),
)

#: Filters that are part of HDF5 and h5py. All others are libraries, loaded from wherever.
_FILTERS = frozenset((*range(1, 7), 32000))
#: Compressed, data are at most so many times what they are in the file; or so little that it does
#: not matter.
_MOST_TIMES, _LITTLE = 64, 1 << 26


class UnreadableHDF5Error(DamagedError):
    """{file} cannot be read as a WepyHDF5 file: {why}"""


@contextmanager
def understood(file: str) -> Iterator[None]:
    """Within the block, what is not as it should be is an UnreadableHDF5Error."""
    try:
        yield
    except _MISREAD as problem:
        why = str(problem.args[0]) if isinstance(problem, KeyError) and problem.args else problem
        # What HDF5 says may have any number of lines.
        text = " ".join(str(why).split())[:200] or type(problem).__name__
        raise UnreadableHDF5Error(file=file, why=text) from problem


class Members:
    """Takes members out of groups of a file of so many bytes."""

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes
        self._n_ragged = 0

    def member(self, group: Any, name: str) -> Any:
        """What has that name in the file itself. Raises ValueError."""
        link = group.get(name, getlink=True)
        if link is None:
            raise ValueError(f"there is no {path_in(group, name)} in it")
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{path_in(group, name)} is a link to another place")
        return group[name]

    def group(self, group: Any, name: str) -> Any:
        """The group of that name. Raises ValueError."""
        found = self.member(group, name)
        if not isinstance(found, h5py.Group):
            raise ValueError(f"{path_in(group, name)} is no group")
        return found

    def has(self, group: Any, name: str) -> bool:
        """Whether there is anything of that name."""
        return group.get(name, getlink=True) is not None

    def dataset(self, group: Any, name: str) -> Any:
        """The dataset of that name, if what it is said to have can be in the file. Raises
        ValueError."""
        found = self.member(group, name)
        where = path_in(group, name)
        if not isinstance(found, h5py.Dataset) or found.shape is None:
            raise ValueError(f"{where} is no dataset")
        filters = _filters(found)
        if found.external or found.is_virtual:
            raise ValueError(f"the data of {where} are in other files")
        if not filters <= _FILTERS:
            raise ValueError(f"{where} is compressed in a way that HDF5 itself does not know")
        size = math.prod(found.shape) * found.dtype.itemsize
        chunk = math.prod(found.chunks or (0,)) * found.dtype.itemsize
        if size > self.most(bool(filters)) or chunk > max(_LITTLE, self.most(bool(filters))):
            raise ValueError(f"{where} would have {size} bytes, and the file has {self.n_bytes}")
        return found

    def most(self, packed: bool) -> int:
        """Bytes that data in it can have."""
        return max(_LITTLE, _MOST_TIMES * self.n_bytes) if packed else self.n_bytes + 4096

    def rows(self, dataset: Any, start: int, stop: int) -> NDArray[Any] | Ragged:
        """Rows of a column of records."""
        text = h5py.check_string_dtype(dataset.dtype)
        # Of a text of any length h5py says that it is one of str.
        base = h5py.check_vlen_dtype(dataset.dtype) if text is None else None
        if base is None and (text is None or text.length is not None):
            found: NDArray[Any] = dataset[start:stop]
            return found
        # Any number of rows may be said to be the longest one in the file.
        step = max(1, min(1 << 14, (1 << 28) // max(1, self.n_bytes)))
        pieces: list[NDArray[Any]] = []
        for first in range(start, stop, step):
            read = dataset[first : min(stop, first + step)]
            self._n_ragged += sum(_n_bytes(row) for row in read)
            # What is looked at before all is read is read twice.
            if self._n_ragged > 2 * self.n_bytes:
                raise ValueError(f"{dataset.name} has more in its rows than there is in the file")
            pieces += list(read)
        if base is None:
            return np.array(pieces, object)
        lengths = np.array([len(each) for each in pieces], np.int64)
        return Ragged(np.concatenate([np.empty(0, base), *pieces]), lengths)

    def text(self, group: Any, name: str) -> str:
        """A dataset that is one text."""
        value = self.dataset(group, name)[()]
        return value.decode() if isinstance(value, bytes) else str(value)


def _filters(dataset: Any) -> set[int]:
    settings = dataset.id.get_create_plist()
    return {settings.get_filter(k)[0] for k in range(settings.get_nfilters())}


def is_packed(dataset: Any) -> bool:
    """Whether it may have more bytes than it takes."""
    return bool(_filters(dataset))


def _n_bytes(row: Any) -> int:
    """Of a row of any length, or of a text, perhaps as an array of one."""
    if isinstance(row, np.ndarray) and row.dtype.kind != "O":
        return row.nbytes
    return sum(len(text) for text in np.atleast_1d(np.asarray(row, object)))


def path_in(group: Any, name: str) -> str:
    """Where in the file, for messages."""
    return ascii(f"{group.name.rstrip('/')}/{name}")[1:-1][:120]


def plain_name(name: str) -> str:
    """A name of somebody's. Raises ValueError for one that is no text."""
    name.encode()
    if not name or len(name) > 200 or not name.isprintable():
        raise ValueError(f"{name!a:.40} is no name of a field")
    return name
