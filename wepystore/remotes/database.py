"""Databases of wepy 1.x (`*.orch.sqlite`) as a source: read without unpickling anything (I3).

Four tables: snapshots and configurations (hash, text), runs (start, end, configuration, index of
the last cycle), meta (the hashes of the two defaults). A text is an entry as it is; a run becomes
a run record, always the same for the same row.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wepystore.remotes.errors import DatabaseError
from wepystore.remotes.mirror import Listing, Mirror, Progress
from wepystore.remotes.opening import Opened
from wepystore.store import canonical, formats
from wepystore.store.errors import MissingError
from wepystore.store.merge.reconcile import Left
from wepystore.store.names import ONE, EntryRef, Ref, is_hash
from wepystore.store.store import DEFAULTS

_TABLES = {
    "snapshots": ("snapshots", "snaphash", "snapshot"),
    "configs": ("configurations", "config_hash", "config"),
}
_META = {
    "default_snapshot_hash": "default-snapshot",
    "default_configuration_hash": "default-config",
}


class Database(Mirror):
    """What a database holds, as a store. What is wanted of it is written to the folder `path` by
    `fetch`. `left` says which rows are damaged. `scratch` is an empty folder for a copy, should
    one be needed. Raises DatabaseError."""

    def __init__(self, file: str, scratch: Path) -> None:
        super().__init__(scratch, Listing(True))
        self.left: list[Left] = []
        self._origin = file
        self._rows: dict[tuple[str, str], tuple[Ref, int]] = {}
        self._runs: dict[str, bytes] = {}
        self._refs: dict[str, str] = {}
        self._opened: Opened | None = None
        try:
            self._opened = Opened(file, scratch)
            self._scan()
            self._opened.trust()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise DatabaseError(path=file, why=" ".join(str(error).split())) from None
        except DatabaseError:
            self.close()
            raise
        self._sizes = {kind: {} for kind in (*_TABLES, "runs")}
        for (kind, md5), (ref, _) in self._rows.items():
            self._sizes[kind][md5] = ref.size
        for md5, record in self._runs.items():
            self._sizes["runs"][md5] = len(record)

    def close(self) -> None:
        """Let go of the file."""
        if self._opened is not None:
            self._opened.close()

    # ---- as a store

    def read(self, kind: str, md5: str, ref: Ref | None = None) -> bytes:
        if kind == "runs" and md5 in self._runs:
            return self._runs[md5]
        if (kind, md5) not in self._rows:
            raise MissingError(file=f"{kind}/{md5} in {self._origin}", needed="")
        table, _, column = _TABLES[kind]
        return self._text(table, column, self._rows[kind, md5][1])

    def ref(self, name: str) -> str | None:
        return self._refs.get(name)

    def tag_names(self) -> list[str]:
        return []

    def fetch(
        self,
        names: Sequence[tuple[str, str]],
        progress: Progress | None = None,
        total: int = 0,
    ) -> None:
        """Write entries to files; they are verified once more when they get their names."""
        done = 0
        for kind, md5 in names:
            file = self.file(kind, md5)
            file.parent.mkdir(parents=True, exist_ok=True)
            data = self.read(kind, md5)
            part = file.with_name(f".{md5}.part")
            part.write_bytes(data)
            os.replace(part, file)
            done += len(data)
            if progress is not None:
                progress(min(done, total), total)

    # ---- the tables

    def _scan(self) -> None:
        tables = {row[0] for row in self._select("SELECT name FROM sqlite_master")}
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
                self._leave(kind, name, f"it cannot be read: {error}")
                continue
            ref = Ref.of(data)
            if name != ref.md5:
                self._leave(kind, name, "its bytes do not have the MD5 it is named by")
            elif (form := formats.format_of(data)) is None:
                self._leave(kind, name, "it is not what wepy 1.x writes")
            elif form.kind_of(data) not in (kind, None):
                self._leave(kind, name, f"it is a {ONE[str(form.kind_of(data))]}")
            else:
                self._rows[kind, name] = (ref, row)

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
                self._leave("runs", name, why)
            elif not isinstance(last, int) or last < -1:
                self._leave("runs", name, f"its last cycle is {_word(last)}")
            else:
                record = self._record(parts, last + 1)
                self._runs[Ref.of(record).md5] = record

    def _record(self, parts: dict[str, tuple[str, str]], n_cycles: int) -> bytes:
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
                self._leave("refs", name, f"{md5}, which it names, is not there whole")

    # ---- rows

    def _select(self, statement: str, *values: object) -> Iterator[tuple[Any, ...]]:
        assert self._opened is not None
        yield from self._opened.rows(statement, *values)

    def _guarded(self, kind: str, statement: str) -> Iterator[tuple[Any, ...]]:
        """Rows up to where the table is damaged, if it is."""
        try:
            yield from self._select(statement)
        except sqlite3.Error as error:
            self._leave(kind, "(the rest of the table)", f"it cannot be read: {error}")

    def _text(self, table: str, column: str, row: int) -> bytes:
        ((value,),) = self._select(f"SELECT {column} FROM {table} WHERE rowid = ?", row)
        if not isinstance(value, bytes):
            raise TypeError(f"it is a {type(value).__name__}")
        return value

    def _leave(self, kind: str, name: str, why: str) -> None:
        self.left.append(Left(kind, name, Path(self._origin), why))


def _word(value: object) -> str:
    """A hash in a database, or something else in its place, as text."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return text if is_hash(text) else text[:60]
