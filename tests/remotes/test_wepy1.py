"""What wepy 1.x left behind: databases and exported files (I3)."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.remotes.conftest import Wepy
from tests.store.helpers import check, contents
from wepystore.compat.wepy import entries
from wepystore.records.library import load_run
from wepystore.remotes import sources
from wepystore.store import Store, formats, merge

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "wepy1"
INITIAL = FIXTURES / "LJ-pair.initial.orch.sqlite"
JOB = FIXTURES / "first_job.checkpoint.orch.sqlite"
EXPORTED = FIXTURES / "a553a890d72e2c89e5013cce73b8ae02.snap.dill.pkl"
START, END = "a553a890d72e2c89e5013cce73b8ae02", "80611cb15a878cbb4390b1e814a0af04"
CONFIG, JOB_CONFIG = "b7bf35d5620c2524a76272e71423fbfe", "57769c014f55a02dd8c48157da0080fa"


def made_up(label: str, what: str = "wepy.orchestration.snapshot\nSimSnapshot") -> bytes:
    """A text in wepy 1.x's form whose pickle would run a command if anybody loaded it."""
    pickle = f"\x80\x03c{what}\nq\x00cposix\nsystem\n(Vtouch pwned {label}\ntR.".encode()
    return base64.b64encode(zlib.compress(pickle))


def test_databases_come_in_with_their_hashes(wepy: Wepy, tmp_path: Path) -> None:
    """I3: both databases into one store: snapshots, configurations, the run of 53 cycles, the
    defaults; each entry is byte for byte the text in the database; again nothing comes."""
    result = wepy("reconcile orch new.orch", INITIAL, JOB)
    assert result.status == 0, result.err
    assert f" * [new run] {START[:7]}..{END[:7]} (53 cycles)" in result.err.splitlines()
    new = Store.open(tmp_path / "new.orch")
    assert new.hashes("snapshots") == sorted([START, END])
    assert new.hashes("configs") == sorted([CONFIG, JOB_CONFIG])
    assert new.ref("default-snapshot") == START and new.ref("default-config") == CONFIG
    assert new.file("snapshots", START).read_bytes() == EXPORTED.read_bytes()
    check(new.path)
    assert wepy("reconcile orch new.orch", JOB, INITIAL) == (0, "", "Already up to date.\n")
    (record,) = (new.manifest("runs", md5) for md5 in new.hashes("runs"))
    assert record["n_cycles"] == 53 and record["seed"] is None
    assert record["reproducible"] is False and record["environment"] == {"wepy": "1.x"}
    assert all(new.missing("runs", md5) == [] for md5 in new.hashes("runs"))
    run = load_run(new, new.hashes("runs")[0])
    assert (run.n_cycles, run.seed, run.n_steps) == (53, None, None)


def test_the_same_row_gives_the_same_record(wepy: Wepy, tmp_path: Path) -> None:
    """Two people who take in the same database have the same run records: a literal hash."""
    for name in ("one.orch", "two.orch"):
        assert wepy(f"reconcile orch {name}", JOB).status == 0
    one, two = (Store.open(tmp_path / name) for name in ("one.orch", "two.orch"))
    assert contents(one) == contents(two)
    assert one.hashes("runs") == ["6539e7c0503ffd6ac9762feb5fc706ae"]


def test_a_dry_run_and_json(wepy: Wepy, tmp_path: Path) -> None:
    """--dry-run tells the same as the real thing, and makes no target."""
    dry = wepy("reconcile orch -n --json new.orch", JOB)
    assert dry.status == 0 and "Would bring 4 files" in dry.err
    assert not (tmp_path / "new.orch").exists()
    real = wepy("reconcile orch --json new.orch", JOB)
    assert json.loads(dry.out) == json.loads(real.out)
    assert [e["hash"] for e in json.loads(real.out)["entries"]][:3] == [JOB_CONFIG, END, START]


def test_set_defaults_stay(wepy: Wepy, tmp_path: Path) -> None:
    """S7: defaults come only where there are none."""
    wepy("reconcile orch new.orch", JOB)
    wepy("tag new.orch mine", END)
    store = Store.open(tmp_path / "new.orch")
    store.set_ref("default-snapshot", END)
    assert wepy("reconcile orch new.orch", INITIAL).status == 0
    assert store.ref("default-snapshot") == END and store.ref("default-config") == CONFIG


def test_the_end_of_a_run_is_no_default(wepy: Wepy, tmp_path: Path) -> None:
    """A database whose default is the end of its run gives the start, as any other source."""
    database = tmp_path / "job.orch.sqlite"
    shutil.copyfile(JOB, database)
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM meta WHERE key = 'default_snapshot_hash'")
        connection.execute("INSERT INTO meta VALUES ('default_snapshot_hash', ?)", (END,))
    connection.close()
    assert wepy("reconcile orch new.orch", database).status == 0
    assert Store.open(tmp_path / "new.orch").ref("default-snapshot") == START


def snapshot_of(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Names, modes, times and bytes of a folder."""
    return {
        str(file.relative_to(folder)): (
            file.stat().st_mode,
            file.stat().st_mtime_ns,
            file.read_bytes() if file.is_file() else b"",
        )
        for file in [folder, *folder.rglob("*")]
    }


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_hot_journal_is_undone_in_a_copy(wepy: Wepy, tmp_path: Path, mode: str) -> None:
    """A writer was killed in the middle of a transaction: the database is read as it was before
    (or, of a write-ahead log, with what was committed), and its folder is not touched at all."""
    folder = tmp_path / "source's #1?"
    folder.mkdir()
    database = folder / "x.orch.sqlite"
    shutil.copy(JOB, database)
    script = f"""
import os, sqlite3
c = sqlite3.connect({str(database)!r}, isolation_level=None)
c.execute("PRAGMA journal_mode={mode}")
c.execute("PRAGMA cache_size=1")
if {mode!r} == "wal":
    c.execute("DELETE FROM runs")
else:
    c.execute("BEGIN")
    c.execute("UPDATE snapshots SET snapshot = zeroblob(90000)")
    c.execute("UPDATE configurations SET config = zeroblob(90000)")
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    journal = {"delete": "-journal", "wal": "-wal"}[mode]
    assert (folder / (database.name + journal)).stat().st_size > 0
    os.chmod(folder, 0o555)
    before = snapshot_of(folder)
    result = wepy("reconcile orch new.orch", database)
    assert result.status == 0, result.err
    new = Store.open(tmp_path / "new.orch")
    assert new.hashes("snapshots") == sorted([START, END])
    assert len(new.hashes("runs")) == (1 if mode == "delete" else 0)
    assert snapshot_of(folder) == before
    os.chmod(folder, 0o755)


def test_damaged_rows_are_told_and_skipped(wepy: Wepy, tmp_path: Path) -> None:
    """Wrong bytes, a wrong key, something else in place of a text, a run without its end, a default
    that is not there: each is named, all else comes, exit status 3."""
    database = tmp_path / "x.orch.sqlite"
    shutil.copy(JOB, database)
    other = made_up("whole")
    whole = hashlib.md5(other).hexdigest()
    json_text = b'{"type":"snapshot"}\n'
    swapped = made_up("config", "wepy.orchestration.configuration\nConfiguration")
    with sqlite3.connect(database) as connection:
        write = connection.execute
        write("UPDATE snapshots SET snapshot = substr(snapshot, 5) WHERE snaphash = ?", (END,))
        for key, value in (
            (whole, other),
            ("../../evil", other),
            ("0" * 32, other),
            (hashlib.md5(json_text).hexdigest(), json_text),
            (hashlib.md5(swapped).hexdigest(), swapped),
            ("1" * 32, 17),
        ):
            write("INSERT INTO snapshots VALUES (?, ?)", (key, value))
        write("INSERT INTO runs VALUES (?, ?, ?, ?)", (START, whole, JOB_CONFIG, 4))
        write("INSERT INTO runs VALUES (?, ?, ?, ?)", (whole, START, JOB_CONFIG, "many"))
        write("INSERT INTO meta VALUES ('default_snapshot_hash', ?)", (END,))
    connection.close()
    result = wepy("reconcile orch new.orch", database)
    assert result.status == 3
    new = Store.open(tmp_path / "new.orch")
    assert new.hashes("snapshots") == sorted([START, whole])
    assert wepy("ls runs new.orch").lines == [f"{START}, {whole}"]
    assert result.err.count("[left out] snapshot") == 6
    assert (
        result.err.count("[left out] run") == 2 and "[left out] ref default-snapshot" in result.err
    )
    assert str(database) in result.err
    assert not list(tmp_path.rglob("pwned*")) and not list(tmp_path.rglob("evil*"))
    check(new.path)


def test_a_row_that_goes_meanwhile_is_told(tmp_path: Path) -> None:
    """What can be read no more when it is to come stays out, with the reason; the rest comes."""
    database = shutil.copy(JOB, tmp_path / "job.orch.sqlite")
    # More than SQLite remembers.
    text = made_up(os.urandom(3 << 20).hex())
    md5 = hashlib.md5(text).hexdigest()
    with sqlite3.connect(database) as connection:
        connection.execute("INSERT INTO snapshots VALUES (?, ?)", (md5, text.decode()))
    connection.close()
    with sources(tmp_path / "new.orch", [str(database)]) as found:
        plan = merge.plan(tmp_path / "new.orch", found)
        os.truncate(database, os.path.getsize(database) // 2)
        outcome = merge.apply(plan)
    (left,) = outcome.left
    assert (left.kind, left.md5) == ("snapshots", md5)
    assert f"snapshots/{md5} in {database} is damaged" in left.why, left.why
    new = Store.open(tmp_path / "new.orch")
    assert new.hashes("snapshots") == sorted([START, END]) and len(new.hashes("runs")) == 1
    check(new.path)


def test_what_is_no_such_database(wepy: Wepy, tmp_path: Path) -> None:
    """Another database, one cut short, a text file with that name: one line, no target."""
    with sqlite3.connect(tmp_path / "other.sqlite") as connection:
        connection.execute("CREATE TABLE birds (name)")
    connection.close()
    (tmp_path / "cut.orch.sqlite").write_bytes(JOB.read_bytes()[:3000])
    (tmp_path / "text.orch.sqlite").write_text("SQLite is a library\n")
    for name in ("other.sqlite", "cut.orch.sqlite", "text.orch.sqlite"):
        result = wepy(f"reconcile orch new.orch {name}")
        assert result.status == 1 and result.err.count("\n") == 1, result
    assert wepy("push", Store.create(tmp_path / "s").path, "other.sqlite").status == 1
    assert not (tmp_path / "new.orch").exists()


def test_a_page_that_has_rotten_costs_what_is_on_it(wepy: Wepy, tmp_path: Path) -> None:
    """Every page of the database in turn is filled with nonsense: what comes is right, and what
    does not is told or the database is refused; never a traceback, never a wrong byte."""
    data = JOB.read_bytes()
    page = 4096
    statuses = set()
    for first in range(0, len(data), page):
        database = tmp_path / f"{first}.orch.sqlite"
        database.write_bytes(data[:first] + b"\xa5" * page + data[first + page :])
        result = wepy(f"reconcile orch {first}.orch", database)
        statuses.add(result.status)
        assert result.status in (0, 1, 3) and "bug" not in result.err, result.err
        if result.status != 1:
            store = Store.open(tmp_path / f"{first}.orch")
            assert set(store.hashes("snapshots")) <= {START, END}
            check(store.path)
    assert 3 in statuses


# ---- in a store, such an entry is one like any other


def test_every_command_takes_them(wepy: Wepy, tmp_path: Path) -> None:
    """ls, log, show, tag, get, add: hashes, sizes and bytes are those of wepy 1.x."""
    wepy("reconcile orch new.orch", INITIAL, JOB)
    assert wepy("ls snapshots new.orch") == (0, f"{END}\n{START}\n", "")
    row = next(line for line in wepy("ls snapshots --long new.orch").lines if START in line)
    assert "4.1 kB" in row and "complete" in row and "None" not in row
    listed = json.loads(wepy("ls configs --json new.orch").out)
    assert {item["format"] for item in listed} == {"wepy 1.x"}
    log = wepy("log new.orch")
    assert log.status == 0 and "53 cycles" in log.out and "None" not in log.out
    for words, match in (
        (START[:8], "wepy 1.x snapshot, 4136 bytes, pickled; shown without opening"),
        (CONFIG[:8], "wepy 1.x configuration, 15024 bytes, pickled"),
        (f"{START},{END}", "n_cycles: 53"),
    ):
        shown = wepy("show new.orch", words)
        assert shown.status == 0 and match in shown.out, shown
    assert json.loads(wepy("show --json new.orch", START).out)["manifest"]["type"] == entries.TYPE
    assert wepy("tag new.orch first", START).status == 0
    assert wepy("get snapshot new.orch first").lines == [f"{START}.snap.dill.pkl"]
    assert (tmp_path / EXPORTED.name).read_bytes() == EXPORTED.read_bytes()
    assert wepy("get config new.orch", CONFIG).status == 0
    assert wepy("create orch other.orch").status == 0
    assert wepy("add snapshot other.orch", EXPORTED).out == START + "\n"
    assert wepy("add config other.orch", f"{CONFIG}.config.dill.pkl").out == CONFIG + "\n"
    assert wepy("get run new.orch -O alone.orch", START, END).status == 0
    assert wepy("ls snapshots alone.orch").lines == [END, START]
    assert wepy("reconcile orch other.orch new.orch").status == 0
    assert contents(Store.open(tmp_path / "other.orch")) == contents(
        Store.open(tmp_path / "new.orch")
    )


def test_running_one_is_refused(wepy: Wepy, tmp_path: Path) -> None:
    """`wepy run` says in one line that it is of wepy 1.x, whether from a store or from files."""
    wepy("reconcile orch new.orch", JOB)
    wepy("get snapshot new.orch -O s.pkl", START)
    wepy("get config new.orch -O c.pkl", JOB_CONFIG)
    for line in (f"run orch new.orch {START} 1 10", "run snapshot s.pkl c.pkl 1 10"):
        result = wepy(line)
        assert result.status in (1, 5) and result.err.count("\n") == 1, result
        assert "wepy 1.x" in result.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.pkl", "new.orch", "s.pkl"]


def test_files_that_are_cut_or_swapped_are_refused(wepy: Wepy, tmp_path: Path) -> None:
    """`wepy add` of an exported file that is cut anywhere, or of the other kind, adds nothing."""
    wepy("create orch new.orch")
    data = EXPORTED.read_bytes()
    file = tmp_path / "cut.snap.dill.pkl"
    for length in (4, 5, 400, 2000, len(data) - 4, len(data) - 1):
        file.write_bytes(data[:length])
        assert wepy("add snapshot new.orch", file).status == 1, length
    file.write_bytes(data[:2000] + b"A" + data[2001:])
    assert wepy("add snapshot new.orch", file).status == 1
    result = wepy("add config new.orch", EXPORTED)
    assert result.status == 1 and "is a snapshot, and a configuration is needed" in result.err
    assert not any(contents(Store.open(tmp_path / "new.orch")).values())


def test_a_rotten_entry_is_damage(wepy: Wepy, tmp_path: Path) -> None:
    """S10: one changed character of such an entry is found wherever it is read."""
    wepy("reconcile orch new.orch", JOB)
    store = Store.open(tmp_path / "new.orch")
    file = store.file("snapshots", START)
    data = bytearray(file.read_bytes())
    data[1000] = ord("A") if data[1000] != ord("A") else ord("B")
    file.unlink()
    file.write_bytes(data)
    assert wepy("ls snapshots new.orch").status == 3
    assert wepy("get snapshot new.orch", START).status == 3
    result = wepy("reconcile orch clean.orch new.orch")
    assert result.status == 3 and Store.open(tmp_path / "clean.orch").hashes("snapshots") == [END]


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (EXPORTED.read_bytes(), True),
        (made_up("x"), True),
        (b"eJ", False),
        (b"eJzt\n", False),
        (b"eJzt=AAA", False),
        (b'{"type":"snapshot"}\n', False),
        (b"", False),
    ],
)
def test_they_are_told_from_json(data: bytes, answer: bool) -> None:
    """The one place that decides; JSON can never look like such a text."""
    assert (formats.format_of(data) is entries) is answer


def test_what_stands_in_names_nothing() -> None:
    """The stand-in for a manifest has no references, and is known again."""
    stand_in = formats.manifest_of("snapshots", EXPORTED.read_bytes(), "x")
    assert formats.stands_for(stand_in) is entries and stand_in["size"] == 4136
    assert entries.kind_of(EXPORTED.read_bytes()) == "snapshots"
    assert entries.fault(EXPORTED.read_bytes()) is None
