"""A copy of an HDF5 file that holds itself what in the file stands in others."""

from __future__ import annotations

import os
import re
import stat
from typing import Any

import h5py

from wepystore.reporters.base import named_errors
from wepystore.trajectories.drafts import Drafts
from wepystore.trajectories.errors import NotCopiedError, NotHDF5Error
from wepystore.trajectories.files import understood
from wepystore.trajectories.hdf5_file import new_hdf5

#: So many bytes of a dataset are in memory at a time.
_STRETCH_BYTES = 1 << 25
#: A file of strangers may name any file as one of its numbers: those that are copied out of other
#: files are objects of stores.
_OBJECT = re.compile(r".*/objects/([0-9a-f]{2})/\1[0-9a-f]{30}", re.DOTALL)


def copy_hdf5(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    expand: bool = True,
    replace: bool = False,
) -> None:
    """Copy an HDF5 file.

    Parameters
    ----------
    source, target : str or path
    expand : bool
        Whether what in it stands in other files, runs that wepy has linked and frames in a
        store, is copied into it; else the links are.
    replace : bool
        Whether a target that is there is replaced.

    Raises
    ------
    WepystoreError : NotHDF5Error; NotCopiedError for what it links to and is not there, or no
        HDF5 file or object of a store.
    FileExistsError
    OSError : the source cannot be read.
    """
    source, target = os.fspath(source), os.fspath(target)
    # A pipe is not waited for.
    if not stat.S_ISREG(os.stat(source).st_mode):
        raise NotHDF5Error(file=source, why="it is no plain file")
    if not h5py.is_hdf5(source):
        raise NotHDF5Error(file=source, why="it is not one")
    with named_errors(source):
        held = h5py.File(source, "r")
    with (
        held,
        Drafts(replace) as drafts,
        understood(target),
        new_hdf5(drafts.new(target), target) as new,
    ):
        _Copy(source, expand).group(held, new.file)


class _Copy:
    """One copy on its way.

    Parameters
    ----------
    source : str
        For messages.
    expand : bool
    """

    def __init__(self, source: str, expand: bool) -> None:
        self._source, self._expand = source, expand
        #: What has been copied, by file and place in it; what is being copied, to meet circles.
        self._done: dict[Any, h5py.HLObject] = {}

    def group(self, held: h5py.Group, made: h5py.Group) -> None:
        """Copy all that is in a group, and its attributes."""
        self._done[_place(held)] = made
        _copy_attributes(held, made)
        for name in held:
            link = held.get(name, getlink=True)
            if isinstance(link, h5py.HardLink):
                self._thing(held[name], made, name)
            elif isinstance(link, h5py.SoftLink) or not self._expand:
                made[name] = link
            else:
                self._linked(held, name, link, made)

    def _linked(
        self, held: h5py.Group, name: str, link: h5py.ExternalLink, made: h5py.Group
    ) -> None:
        try:
            thing = held[name]
        except (KeyError, OSError):
            what = f"{link.path} of {link.filename}"
            why = "it is not there, or no HDF5 file"
            raise NotCopiedError(file=self._source, what=what, why=why) from None
        self._thing(thing, made, name)

    def _thing(self, held: Any, made: h5py.Group, name: str) -> None:
        known = self._done.get(_place(held))
        if known is not None:
            made[name] = known
        elif isinstance(held, h5py.Group):
            self.group(held, made.create_group(name))
        elif isinstance(held, h5py.Dataset) and held.external and self._expand:
            self._done[_place(held)] = self._filled(held, made, name)
        else:
            if isinstance(held, h5py.Dataset) and held.is_virtual and self._expand:
                self._check_virtual(held)
            held.file.copy(held, made, name)
            self._done[_place(held)] = made[name]

    def _check_virtual(self, held: h5py.Dataset) -> None:
        """Raise NotCopiedError unless what a dataset is put together of comes along."""
        for source in held.virtual_sources():
            if source.file_name != "." or held.file.filename != self._source:
                what = f"{source.dset_name} of {source.file_name}"
                why = f"{held.name} is put together out of it, which is not copied"
                raise NotCopiedError(file=self._source, what=what, why=why)

    def _filled(self, held: h5py.Dataset, made: h5py.Group, name: str) -> h5py.Dataset:
        """A dataset whose numbers are in other files, with its numbers."""
        n_bytes = held.dtype.itemsize * held.size
        for file, begin, size in held.external:
            path = os.fsdecode(file)
            why = None
            if not _OBJECT.fullmatch(path) or not os.path.isfile(path):
                why = "it is no object of a store, or not there"
            elif begin + size > os.path.getsize(path):
                # What is behind its end would be zeros, of any number.
                why = "it is shorter than it is said to be"
            n_bytes -= size
            if why is not None:
                raise NotCopiedError(file=self._source, what=path, why=why)
        if n_bytes > 0:
            why = "it has more numbers than it names bytes for"
            raise NotCopiedError(file=self._source, what=held.name, why=why)
        found = made.create_dataset(name, held.shape, held.dtype)
        row = max(1, held.dtype.itemsize * held.size // max(1, len(held)))
        step = max(1, _STRETCH_BYTES // row)
        for begin in range(0, len(held), step):
            found[begin : begin + step] = held[begin : begin + step]
        _copy_attributes(held, found)
        return found


def _copy_attributes(held: h5py.HLObject, made: h5py.HLObject) -> None:
    for name, value in held.attrs.items():
        made.attrs[name] = value


def _place(held: h5py.HLObject) -> Any:
    info = h5py.h5o.get_info(held.id)
    return info.fileno, info.addr
