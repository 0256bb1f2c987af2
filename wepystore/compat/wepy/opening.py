"""Opening a database of wepy 1.x that a stranger may have made.

SQLite does what a database and the files beside it say: it rolls back a journal and deletes the
file that this names, runs the queries of views, computes columns. Here it gets no journal that
names a file, writes to nothing but a copy in a folder of its own, and is allowed to read the
columns of plain tables only, with an end to the steps and the bytes that it may take for it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wepystore import durable
from wepystore.errors import FailedError
from wepystore.store import files
from wepystore.store.errors import DamagedEntryError

# How a rollback journal begins; and how it ends if it names another one (a super-journal), which
# SQLite deletes after a rollback, whatever it is.
_JOURNAL = bytes.fromhex("d9d505f920a163d7")
# A journal has at most each page of the database once; a log may have one several times.
_LARGEST_JOURNAL = 64 << 20, 16

# Bytes: more than any text of wepy 1.x, and more than SQLite takes by default.
_LARGEST_TEXT = 1 << 30
_LIMITS = {
    "SQLITE_LIMIT_SQL_LENGTH": 100_000,
    "SQLITE_LIMIT_COLUMN": 100,
    "SQLITE_LIMIT_EXPR_DEPTH": 100,
    "SQLITE_LIMIT_COMPOUND_SELECT": 10,
    "SQLITE_LIMIT_ATTACHED": 0,
    "SQLITE_LIMIT_TRIGGER_DEPTH": 1,
    "SQLITE_LIMIT_WORKER_THREADS": 0,
}
_SETTINGS = (
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA query_only = ON",
    "PRAGMA mmap_size = 0",
)
# Of Connection.setconfig, which Python has from 3.12 on.
_CONFIG = {
    "SQLITE_DBCONFIG_DEFENSIVE": True,
    "SQLITE_DBCONFIG_ENABLE_TRIGGER": False,
    "SQLITE_DBCONFIG_ENABLE_VIEW": False,
    "SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION": False,
}
_PRAGMAS = frozenset(setting.split()[1] for setting in _SETTINGS) | {"table_xinfo"}

# Instructions of SQLite's machine between two looks at how many there were.
_STEPS = 1000
# A row of a sound database takes some ten, and has more bytes.
_STEPS_AT_LEAST, _STEPS_PER_BYTE = 1_000_000, 2
# A schema of wepy 1.x has eight entries.
_MOST_ENTRIES = 1000


class DatabaseError(FailedError):
    """{path} cannot be read as a database of wepy 1.x: {why}"""


class Opened:
    """A database that is open for reading. `rows` are those of a statement, until the database has
    given more bytes or taken more steps than it can have by its size: then DatabaseError."""

    def __init__(self, file: str, scratch: Path) -> None:
        self._file = file
        self._connection, self._size = _connect(file, scratch)
        self._steps = self._bytes = 0
        self._most_steps = _STEPS_AT_LEAST + _STEPS_PER_BYTE * self._size
        try:
            self._connection.set_progress_handler(self._count, _STEPS)
            _restrict(self._connection, self._size)
            self._check_schema()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def rows(self, statement: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """The rows of a statement; texts are bytes. Raises sqlite3.Error, DatabaseError."""
        try:
            for row in self._connection.execute(statement, values):
                self._bytes += sum(len(value) for value in row if isinstance(value, bytes))
                if self._bytes > self._size:
                    raise self._fault("its rows have more bytes than it has: pages are used twice")
                yield row
        except sqlite3.Error:
            if self._steps > self._most_steps:
                why = "it takes more steps than any of its size: it is endless"
                raise self._fault(why) from None
            raise

    def trust(self) -> None:
        """From here on only rows are read that have been read before: nothing is counted."""
        self._connection.set_progress_handler(None, 0)
        self._size = 1 << 62

    def _count(self) -> bool:
        self._steps += _STEPS
        return self._steps > self._most_steps

    def _fault(self, why: str) -> DatabaseError:
        return DatabaseError(path=self._file, why=why)

    def _check_schema(self) -> None:
        """Only tables and indices, and no column that is computed when it is read."""
        tables = []
        entries = self.rows("SELECT type, name, rootpage, sql FROM sqlite_master")
        for number, row in enumerate(entries):
            kind, name, root, sql = (_text(value) for value in row)
            if number >= _MOST_ENTRIES:
                raise self._fault(f"it has more than {_MOST_ENTRIES} tables and indices")
            if kind not in ("table", "index"):
                raise self._fault(f"it has a {kind[:20]}, {name[:60]!r}, and wepy 1.x makes none")
            words = sql.split(maxsplit=2)
            if kind == "table":
                if root in ("", "0") or [word.upper() for word in words[:2]] != ["CREATE", "TABLE"]:
                    raise self._fault(f"{name[:60]!r} is no ordinary table of it")
                tables.append(name)
        for table in tables:
            quoted = table.replace('"', '""')
            for column in self.rows(f'PRAGMA table_xinfo("{quoted}")'):
                if column[6] != 0:
                    what = f"{table[:60]}.{_text(column[1])[:60]}"
                    raise self._fault(f"its column {what!r} is computed, and wepy 1.x makes none")


def _connect(file: str, scratch: Path) -> tuple[sqlite3.Connection, int]:
    """Open a database without touching it or its directory; and its size in bytes.

    With a journal beside it, it may be in the middle of a transaction; SQLite would have to write
    to it to undo that. So it does it to a copy.
    """
    # Where SQLite would look for the journal.
    origin = os.path.realpath(file)
    size = _size_of(file, origin)
    beside = {}
    for suffix in ("-journal", "-wal"):
        try:
            facts = os.lstat(origin + suffix)
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(facts.st_mode):
            what = "a link" if stat.S_ISLNK(facts.st_mode) else "no file"
            raise DatabaseError(path=file, why=f"{origin}{suffix} is {what}")
        if facts.st_size:
            beside[suffix] = facts.st_size
    if not beside:
        path = urllib.parse.quote(os.fsencode(origin))
        connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    else:
        least, times = _LARGEST_JOURNAL
        for suffix, length in beside.items():
            if length > max(least, times * size):
                why = f"{origin}{suffix} has {length} bytes, far more than it"
                raise DatabaseError(path=file, why=why)
        needed, free = size + sum(beside.values()), shutil.disk_usage(scratch).free
        if needed > free:
            why = f"it and its journal have to be copied to {scratch}: {needed} bytes, {free} free"
            raise DatabaseError(path=file, why=why)
        copied = scratch / "copy.sqlite"
        for suffix in ("", *beside):
            _copy(file, origin + suffix, f"{copied}{suffix}")
        if "-journal" in beside and _names_a_file(f"{copied}-journal"):
            why = f"{origin}-journal names another file, which SQLite would delete: it was not made"
            raise DatabaseError(path=file, why=f"{why} by wepy; remove it if you do not know it")
        connection = sqlite3.connect(copied)
        size += sum(beside.values())
    # Texts as the bytes they are.
    connection.text_factory = bytes
    return connection, size


def _size_of(file: str, origin: str) -> int:
    try:
        descriptor = files.open_plain(origin)
    except DamagedEntryError as error:
        raise DatabaseError(path=file, why=str(error.fields["why"])) from None
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _copy(file: str, source: str, path: str) -> None:
    try:
        reader = files.open_plain(source, links=False)
    except DamagedEntryError as error:
        raise DatabaseError(path=file, why=f"{source}: {error.fields['why']}") from None
    with open(reader, "rb") as stream, open(path, "xb") as copied:
        try:
            shutil.copyfileobj(stream, copied, 1 << 20)
        except OSError as error:
            durable.name(error, path)
            raise


def _names_a_file(journal: str) -> bool:
    """Whether a journal ends as one does that names a super-journal: name, its length, a checksum,
    the magic number."""
    with open(journal, "rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - len(_JOURNAL)))
        return size >= 16 and stream.read() == _JOURNAL


def _restrict(connection: sqlite3.Connection, size: int) -> None:
    for name, most in _LIMITS.items():
        connection.setlimit(getattr(sqlite3, name), most)
    # A text is not larger than the file that it is in, unless its pages are used twice.
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(_LARGEST_TEXT, max(size, 1 << 16)))
    if sys.version_info >= (3, 12):
        for name, value in _CONFIG.items():
            # Not every SQLite that Python is built with knows all of them.
            if name in vars(sqlite3):
                connection.setconfig(vars(sqlite3)[name], value)
    for setting in _SETTINGS:
        connection.execute(setting).fetchall()
    connection.set_authorizer(_may)


def _may(action: int, first: str | None, *others: str | None) -> int:
    """Reading of columns, and nothing else: no function, no recursion, no other file."""
    if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and first in _PRAGMAS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)
