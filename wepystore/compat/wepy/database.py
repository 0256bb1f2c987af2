"""Databases of wepy 1.x (`*.orch.sqlite`) as a source: read without unpickling anything (I3).

Four tables: snapshots and configurations (hash, text), runs (start, end, configuration, index of
the last cycle), meta (the hashes of the two defaults). A text is an entry as it is; a run becomes
a run record, always the same for the same row.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import cached_property
from pathlib import Path
from typing import Any

from wepystore.compat.wepy.opening import DatabaseError, Opened
from wepystore.store import Store, canonical, formats
from wepystore.store.errors import DamagedEntryError, MissingError
from wepystore.store.merge.source import Listed
from wepystore.store.names import KINDS, ONE, EntryRef, Name, Ref, is_hash
from wepystore.store.store import DEFAULTS

_TABLES = {
    "snapshots": ("snapshots", "snaphash", "snapshot"),
    "configs": ("configurations", "config_hash", "config"),
}
_META = {
    "default_snapshot_hash": "default-snapshot",
    "default_configuration_hash": "default-config",
}


class Database(Listed):
    """What a database holds, as a source (see merge/source.py). `faults` says which rows are
    damaged. A row becomes a file, in the folder that `folder` gives, when its file is asked for.
    Raises DatabaseError."""

    def __init__(self, file: str, folder: Callable[[], Path]) -> None:
        super().__init__(file, {kind: {} for kind in KINDS})
        self._folder = folder
        self._rows: dict[Name, tuple[Ref, int]] = {}
        self._runs: dict[str, bytes] = {}
        self._refs: dict[str, str] = {}
        with ExitStack() as stack:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="wepystore-"))
            try:
                self._opened = stack.enter_context(closing(Opened(file, Path(scratch))))
                self._scan()
            except (sqlite3.Error, OSError) as error:
                raise DatabaseError(path=file, why=" ".join(str(error).split())) from None
            self._opened.trust()
            #: Lets go of the file.
            self.close = stack.pop_all().close

    # ---- as a source: all is here

    is_there = is_near = Listed.has

    def fetch(self, names: Sequence[Name], progress: Any = None) -> None:
        """Nothing has to be."""

    def where(self, kind: str, md5: str) -> str:
        return f"{kind}/{md5} in {self.label}"

    def read(self, kind: str, md5: str, ref: Ref | None = None) -> bytes:
        if kind == "runs" and md5 in self._runs:
            return self._runs[md5]
        if (kind, md5) not in self._rows:
            raise MissingError(file=self.where(kind, md5), needed="")
        table, _, column = _TABLES[kind]
        try:
            return self._text(table, column, self._rows[kind, md5][1])
        except (sqlite3.Error, TypeError, ValueError) as error:
            raise DamagedEntryError(file=self.where(kind, md5), why=str(error)) from None

    @cached_property
    def _files(self) -> Store:
        return Store(self._folder())

    def locate(self, kind: str, md5: str) -> str:
        file = self._files.file(kind, md5)
        if self._files.size(kind, md5) != self.size(kind, md5):
            try:
                data = self.read(kind, md5)
            except DamagedEntryError as error:
                # There is no such file then, and this is why.
                self.faults[kind, md5] = str(error)
                return os.fspath(file)
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_name(f".{md5}.part")
            part.write_bytes(data)
            os.replace(part, file)
        return os.fspath(file)

    def ref(self, name: str) -> str | None:
        return self._refs.get(name)

    def has_ref(self, name: str) -> bool:
        return name in self._refs

    def tag_names(self) -> list[str]:
        return []

    # ---- the tables

    def _scan(self) -> None:
        tables = {row[0] for row in self._opened.rows("SELECT name FROM sqlite_master")}
        lacking = [t for t in (b"snapshots", b"configurations", b"runs") if t not in tables]
        if lacking:
            raise sqlite3.DatabaseError(f"it has no table {lacking[0].decode()}")
        for kind in _TABLES:
            self._scan_texts(kind)
        self._scan_runs()
        if b"meta" in tables:
            self._scan_meta()

    def _scan_texts(self, kind: str) -> None:
        table, key, column = _TABLES[kind]
        for md5, row in self._guarded(kind, f"SELECT {key}, rowid FROM {table}"):
            name = _word(md5)
            try:
                data = self._text(table, column, row)
            except (sqlite3.Error, TypeError) as error:
                self.faults[kind, name] = f"it cannot be read: {error}"
                continue
            ref = Ref.of(data)
            if name != ref.md5:
                self.faults[kind, name] = "its bytes do not have the MD5 it is named by"
            elif (form := formats.format_of(data)) is None:
                self.faults[kind, name] = "it is not what wepy 1.x writes"
            elif form.kind_of(data) not in (kind, None):
                self.faults[kind, name] = f"it is a {ONE[str(form.kind_of(data))]}"
            else:
                self._rows[kind, name] = (ref, row)
                self._sizes[kind][name] = ref.size

    def _scan_runs(self) -> None:
        columns = "start_hash, end_hash, config_hash, last_cycle_idx"
        for start, end, config, last in self._guarded("runs", f"SELECT {columns} FROM runs"):
            parts = {
                "start": ("snapshots", _word(start)),
                "end": ("snapshots", _word(end)),
                "config": ("configs", _word(config)),
            }
            name = f"{_word(start)}, {_word(end)}"
            missing = [key for key, part in parts.items() if part not in self._rows]
            if missing:
                why = f"its {missing[0]}, {parts[missing[0]][1]}, is not there, or is damaged"
                self.faults["runs", name] = why
            elif not isinstance(last, int) or last < -1:
                self.faults["runs", name] = f"its last cycle is {_word(last)}"
            else:
                record = self._record(parts, last + 1)
                ref = Ref.of(record)
                self._runs[ref.md5] = record
                self._sizes["runs"][ref.md5] = ref.size

    def _record(self, parts: dict[str, Name], n_cycles: int) -> bytes:
        # Nothing here may change: the record's hash, and so whether a second reconcile brings it
        # again, follows from it.
        refs = {
            key: EntryRef(part[0], self._rows[part][0]).to_json() for key, part in parts.items()
        }
        return canonical.dumps(
            {
                "type": "run",
                "format": 1,
                **refs,
                "n_cycles": n_cycles,
                "n_steps": None,
                "seed": None,
                "reproducible": False,
                "environment": {"wepy": "1.x"},
                "execution": {},
            }
        )

    def _scan_meta(self) -> None:
        for key, value in self._guarded("refs", "SELECT key, value FROM meta"):
            name = _META.get(_word(key))
            md5 = _word(value)
            if name is None:
                continue
            kind = next(kind for kind, ref in DEFAULTS.items() if ref == name)
            if (kind, md5) in self._rows:
                self._refs[name] = md5
            else:
                self.faults["refs", name] = f"{md5}, which it names, is not there whole"

    # ---- rows

    def _guarded(self, kind: str, statement: str) -> Iterator[tuple[Any, ...]]:
        """Rows up to where the table is damaged, if it is."""
        try:
            yield from self._opened.rows(statement)
        except sqlite3.Error as error:
            self.faults[kind, "(the rest of the table)"] = f"it cannot be read: {error}"

    def _text(self, table: str, column: str, row: int) -> bytes:
        ((value,),) = self._opened.rows(f"SELECT {column} FROM {table} WHERE rowid = ?", row)
        if not isinstance(value, bytes):
            raise TypeError(f"it is a {type(value).__name__}")
        return value


def _word(value: object) -> str:
    """A hash in a database, or something else in its place, as text."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return text if is_hash(text) else text[:60]
