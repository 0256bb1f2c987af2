"""A database of wepy 1.x that a stranger made cannot make SQLite do anything but be read."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
from pathlib import Path

import pytest

from tests.remotes.conftest import Wepy
from tests.remotes.test_wepy1 import JOB, START
from wepystore.store import Store

MAGIC = bytes.fromhex("d9d505f920a163d7")


def super_journal(name: bytes, pages: int = 1, page_size: int = 4096, sector: int = 512) -> bytes:
    """A rollback journal with no page in it that names a super-journal."""
    header = MAGIC + struct.pack(">IIIII", 0, 1, pages, sector, page_size)
    pointer = struct.pack(">I", 0x40000000 // page_size + 1) + name
    checksum = sum(name) & 0xFFFFFFFF
    tail = struct.pack(">II", len(name), checksum) + MAGIC
    return header.ljust(sector, b"\0") + pointer + tail


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database of wepy 1.x with a run."""
    file = tmp_path / "x.orch.sqlite"
    shutil.copyfile(JOB, file)
    return file


def change(database: Path, *statements: str) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def refused(wepy: Wepy, database: Path, said: str) -> None:
    """With and without --dry-run the database is refused by name, and no target is made."""
    for line in ("reconcile orch -n t.orch", "reconcile orch t.orch"):
        result = wepy(line, database)
        assert (result.status, result.out) == (1, ""), result
        assert str(database) in result.err and said in result.err, result.err
        assert len(result.err.splitlines()) == 1 and "bug" not in result.err
    assert not Path("t.orch").exists()


def test_the_forged_journal_works_on_sqlite_itself(database: Path, tmp_path: Path) -> None:
    """What the generator makes deletes a file when SQLite itself opens the database: else the next
    test proves nothing."""
    victim = tmp_path / "thesis.tex"
    victim.write_text("much work")
    pages = database.stat().st_size // 4096
    Path(f"{database}-journal").write_bytes(super_journal(os.fsencode(victim), pages))
    connection = sqlite3.connect(database)
    connection.execute("SELECT * FROM sqlite_master").fetchall()
    connection.close()
    assert not victim.exists()


@pytest.mark.parametrize("sector", [512, 4096])
def test_no_journal_deletes_a_file(wepy: Wepy, database: Path, tmp_path: Path, sector: int) -> None:
    """A journal that names a super-journal is refused, also beside the file that a link to the
    database leads to; nothing is deleted, changed or left."""
    victim = tmp_path / "thesis.tex"
    victim.write_text("much work")
    pages = database.stat().st_size // 4096
    journal = Path(f"{database}-journal")
    journal.write_bytes(super_journal(os.fsencode(victim), pages, sector=sector))
    link = tmp_path / "link.orch.sqlite"
    link.symlink_to(database)
    before = journal.read_bytes(), database.read_bytes()
    for path in (database, link):
        refused(wepy, path, "names another file")
    assert victim.read_text() == "much work"
    assert (journal.read_bytes(), database.read_bytes()) == before
    journal.unlink()
    assert wepy("reconcile orch t.orch", link).status == 0


def test_what_is_beside_a_database_is_not_followed(
    wepy: Wepy, database: Path, tmp_path: Path
) -> None:
    """A journal or log that is a link, a pipe, a folder or of absurd size is refused by name, and
    none is waited for; nor is a database that is a pipe."""
    secret = tmp_path / "secret"
    secret.write_bytes(super_journal(b"x"))
    for suffix in ("-journal", "-wal"):
        beside = Path(f"{database}{suffix}")
        beside.symlink_to(secret)
        refused(wepy, database, f"{suffix} is a link")
        beside.unlink()
        os.mkfifo(beside)
        refused(wepy, database, f"{suffix} is no file")
        beside.unlink()
        beside.mkdir()
        refused(wepy, database, f"{suffix} is no file")
        beside.rmdir()
        beside.touch()
        os.truncate(beside, 1 << 40)
        refused(wepy, database, "far more than it")
        beside.unlink()
    pipe = tmp_path / "pipe.orch.sqlite"
    os.mkfifo(pipe)
    result = wepy("reconcile orch t.orch", pipe)
    assert result.status == 1 and str(pipe) in result.err and "bug" not in result.err


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x, x, x, x FROM c"

SCHEMAS = {
    "a view in place of a table": (
        ["ALTER TABLE snapshots RENAME TO other", f"CREATE VIEW snapshots AS {ENDLESS}"],
        "it has a view",
    ),
    "a view beside": ([f"CREATE VIEW more AS {ENDLESS}"], "it has a view"),
    "a trigger": (
        ["CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM meta; END"],
        "it has a trigger",
    ),
    "a virtual table": (
        ["CREATE VIRTUAL TABLE v USING fts3(a)"],
        "no ordinary table",
    ),
    "a virtual table that is written in": (
        [
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_master SET rootpage = 0, sql ="
            " 'CREATE VIRTUAL TABLE runs USING none(x)' WHERE name = 'runs'",
        ],
        "",
    ),
    "a computed column": (
        [
            "ALTER TABLE snapshots RENAME COLUMN snapshot TO old",
            "ALTER TABLE snapshots ADD COLUMN snapshot AS (zeroblob(900000000))",
        ],
        "is computed",
    ),
    "a table without rows' numbers": (
        [
            "DROP TABLE meta",
            "CREATE TABLE meta (key PRIMARY KEY, value AS (hex(key))) WITHOUT ROWID",
        ],
        "is computed",
    ),
}


@pytest.mark.parametrize("what", SCHEMAS)
def test_schemas_that_compute(wepy: Wepy, database: Path, what: str) -> None:
    """Views, triggers, virtual tables and columns that are computed are refused, by name."""
    statements, said = SCHEMAS[what]
    try:
        change(database, *statements)
    except sqlite3.OperationalError as error:
        if "no such module" in str(error):
            pytest.skip(str(error))
        raise
    refused(wepy, database, said)


def root_of(database: Path, name: str) -> int:
    connection = sqlite3.connect(database)
    ((root,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,))
    connection.close()
    return int(root)


def endless_tree(database: Path, levels: int = 7, children: int = 200) -> None:
    """The tree of `runs` gets so many levels of pages, each of which leads so many times to the
    same page below: more rows than anybody can read, in a few kilobytes."""
    data = bytearray(database.read_bytes())
    (size,) = struct.unpack(">H", data[16:18])
    n_pages = len(data) // size
    root = root_of(database, "runs")
    leaf = bytes(data[(root - 1) * size : root * size])
    pages = []
    for level in range(levels):
        below = n_pages + level + 1
        cells = b"".join(struct.pack(">IB", below, 1) for _ in range(children))
        start = size - len(cells)
        head = struct.pack(">BHHHBI", 5, 0, children, start, 0, below)
        places = b"".join(struct.pack(">H", start + 5 * n) for n in range(children))
        pages.append((head + places).ljust(start, b"\0") + cells)
    data[(root - 1) * size : root * size] = pages[0]
    data += b"".join(pages[1:]) + leaf
    data[28:32] = struct.pack(">I", len(data) // size)
    database.write_bytes(data)


def test_an_endless_tree(wepy: Wepy, database: Path) -> None:
    """A tree of pages that leads to the same rows again and again, without any view, ends."""
    endless_tree(database)
    for line in ("reconcile orch -n t.orch", "reconcile orch t.orch"):
        result = wepy(line, database)
        assert result.status == 1 and str(database) in result.err
        assert "endless" in result.err or "used twice" in result.err


def varint(number: int) -> bytes:
    """As SQLite writes it."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))


def test_a_text_that_is_larger_than_its_file(wepy: Wepy, database: Path, tmp_path: Path) -> None:
    """A text that claims 100 MB, whose pages go round in a circle, is left out by name, and the
    rest comes."""
    text = b"R" * 2_100_000
    connection = sqlite3.connect(database)
    connection.execute("INSERT INTO snapshots VALUES (?, ?)", ("0" * 32, text))
    connection.commit()
    connection.close()
    data = bytearray(database.read_bytes())
    (size,) = struct.unpack(">H", data[16:18])
    large = 100_000_000
    # Payload, then the record's header: its size, the type of the name, the type of the text.
    before, after = varint(len(text) + 32 + 1 + 4 + 1 + 1), varint(large + 32 + 1 + 4 + 1 + 1)
    types = [varint(2 * n + 12) for n in (len(text), large)]
    if (place := data.find(types[0])) < 0:
        types = [varint(2 * n + 13) for n in (len(text), large)]
        place = data.find(types[0])
    assert place > 0 and len(types[0]) == len(types[1])
    data[place : place + len(types[1])] = types[1]
    header = data.rfind(varint(len(text))[:2], place - 24, place)
    assert header > 0 and len(before) == len(after)
    (claimed,) = [
        n for n in range(len(text), len(text) + 80) if data[header : header + 4] == varint(n)
    ]
    data[header : header + 4] = varint(large + claimed - len(text))
    pages = [n for n in range(len(data) // size) if data[n * size + 4 : n * size + 40] == text[:36]]
    (last,) = [n for n in pages if data[n * size : n * size + 4] == bytes(4)] or [pages[-1]]
    data[last * size : last * size + 4] = struct.pack(">I", pages[0] + 1)
    database.write_bytes(data)
    # SQLite itself believes it.
    connection = sqlite3.connect(database)
    ((found,),) = connection.execute(
        "SELECT length(snapshot) FROM snapshots WHERE snaphash = ?", ("0" * 32,)
    )
    connection.close()
    assert found == large
    result = wepy("reconcile orch t.orch", database)
    assert result.status == 3, result.err
    assert "0" * 32 in result.err or "0" * 8 in result.err
    assert "too big" in result.err or "malformed" in result.err
    assert Store.open(tmp_path / "t.orch").has("snapshots", START)


def test_no_other_file_is_reached(wepy: Wepy, tmp_path: Path, database: Path) -> None:
    """A name of a table or a file that looks like SQL or an option of SQLite's is only a name."""
    odd = tmp_path / "file:a?mode=rwc&vfs=unix#'%20.orch.sqlite"
    shutil.copyfile(database, odd)
    change(odd, """CREATE TABLE "x""); ATTACH 'pwned' AS p; --" (a)""")
    assert wepy("reconcile orch t.orch", odd).status == 0
    assert not (tmp_path / "pwned").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [odd.name, database.name, "t.orch"]
    )
