"""The memory of a reporter that somebody wrote, between two cycles, as bytes.

Not an entry of a store: it is kept beside a job's files, by value like all code of a user's own,
and only for the time that the job can be gone on with.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Mapping
from typing import Any

import dill

from wepystore.records import pickles
from wepystore.records.trust import Trust, made_here

#: The process's own, by their names in sys.
_STREAMS = ("stdin", "stdout", "stderr")

_FILE = "file:"
_NONE: Mapping[str, str] = {}

#: What opens files for writing, as Python's own `open` gives them.
_HANDLES = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom, io.FileIO)


def dumps(reporter: Any, known: Mapping[str, Any]) -> bytes:
    """`reporter` with all that it remembers.

    Files that it holds open are flushed, and are open at the same place in what `loads` gives.

    Parameters
    ----------
    known : mapping of str to object
        What is not to be copied: `loads` is given what stands in its place.

    Raises whatever the objects' own hooks raise, if they cannot be pickled.
    """
    names = {id(thing): name for name, thing in known.items() if thing is not None}
    return pickles.dumps_with(reporter, lambda buffer, **how: _Pickler(names, buffer, **how))


def loads(data: bytes, known: Mapping[str, Any], moved: Mapping[str, str] = _NONE) -> Any:
    """The inverse; runs whatever the bytes say, so only for trusted data (S9).

    Parameters
    ----------
    known : mapping of str to object
        As for `dumps`.
    moved : mapping of str to str
        Where files are now that it held open, by their absolute paths.
    """
    return _Unpickler(known, moved, io.BytesIO(data), ignore=True).load()


class TrustedKeeper:
    """Turns a reporter into bytes and back, and lets nobody else's bytes in (S9).

    Parameters
    ----------
    trust : Trust or None
        What may be loaded; None leaves that to the caller.
    """

    dumps = staticmethod(dumps)
    made = staticmethod(made_here)

    def __init__(self, trust: Trust | None) -> None:
        self._trust = trust

    def admit(self, data: bytes) -> None:
        """Raise ValueError for bytes that were made elsewhere."""
        sha256 = hashlib.sha256(data).hexdigest()
        if self._trust is not None and sha256 not in self._trust.trusted():
            raise ValueError("it was not made by you, here")

    def loads(self, data: bytes, known: Mapping[str, Any], moved: Mapping[str, str] = _NONE) -> Any:
        """As the function, of bytes that are admitted."""
        self.admit(data)
        return loads(data, known, moved)


class _Pickler(dill.Pickler):  # type: ignore[misc]
    def __init__(self, names: Mapping[int, str], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._names = names

    def persistent_id(self, obj: Any) -> str | None:
        if isinstance(obj, _Path):
            return _FILE + obj
        if isinstance(obj, _HANDLES):
            for name in _STREAMS:
                if obj in (getattr(sys, name), getattr(sys, f"__{name}__")):
                    return name
        return self._names.get(id(obj))

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        known = id(obj) in self.memo or self.persistent_id(obj) is not None
        if isinstance(obj, _HANDLES) and not known:
            self.save_reduce(_reopened, _handle(obj), obj=obj)
            return
        # Who has none open need not load it.
        hdf5 = getattr(sys.modules.get("h5py"), "File", ())
        if isinstance(obj, hdf5) and not obj and not known:
            # wepy opens its file for each cycle, and holds it closed between them.
            self.save_reduce(_closed, (type(obj),), obj=obj)
            return
        super().save(obj, save_persistent_id)


class _Unpickler(dill.Unpickler):  # type: ignore[misc]
    def __init__(
        self, known: Mapping[str, Any], moved: Mapping[str, str], *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._known, self._moved = known, moved

    def persistent_load(self, name: str) -> Any:
        if name.startswith(_FILE):
            path = name.removeprefix(_FILE)
            return self._moved.get(path, path)
        return getattr(sys, name) if name in _STREAMS else self._known[name]


class _Path(str):
    """The path of a file that is held open: it may be another one when it is opened again."""


def _handle(stream: Any) -> tuple[Any, ...]:
    text = isinstance(stream, io.TextIOWrapper)
    how = (stream.encoding, stream.errors, stream.line_buffering) if text else None
    if stream.closed:
        return None, stream.mode, 0, how
    if stream.writable():
        stream.flush()
    try:
        path = os.path.abspath(stream.name)
        if os.path.samestat(os.fstat(stream.fileno()), os.stat(path)):
            return _Path(path), stream.mode, stream.tell(), how
    except (OSError, TypeError):
        pass
    raise TypeError(f"it holds open what is no file with a name: {stream!r}")


def _closed(cls: Any) -> Any:
    """An HDF5 file that is closed; of which one can no longer be told."""
    made = cls("closed", "w", driver="core", backing_store=False)
    made.close()
    return made


def _reopened(path: str | None, mode: str, place: int, how: tuple[Any, ...] | None) -> Any:
    """A file as it was held open, without the beginning anew that its mode asks for."""
    kept = ~(os.O_TRUNC | os.O_EXCL)
    encoding, errors, by_line = how or (None, None, False)
    stream = open(  # noqa: SIM115 (its owner closes it)
        path or os.devnull,
        mode,
        encoding=encoding,
        errors=errors,
        opener=lambda name, flags: os.open(name, flags & kept, 0o666),
    )
    if path is None:
        stream.close()
        return stream
    if by_line and isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(line_buffering=True)
    stream.seek(place)
    return stream
