"""One entry in one file: deterministic, checkable by unzip, and never opened unless whole (I2)."""

from __future__ import annotations

import io
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import installed
from tests.store.helpers import add_config, add_snapshot, check, contents
from wepystore.errors import DamagedError
from wepystore.store import Store, exports
from wepystore.store.errors import (
    DamagedExportError,
    IncompleteError,
    MissingError,
    NotAnExportError,
    WrongKindError,
)


@pytest.fixture
def exported(store: Store, tmp_path: Path) -> Path:
    """A snapshot in a file."""
    exports.write(
        store, "snapshots", add_snapshot(store, "a", parts=3), tmp_path / "a.snap.dill.pkl"
    )
    return tmp_path / "a.snap.dill.pkl"


@pytest.mark.parametrize("kind", ["snapshots", "configs"])
def test_get_then_add_gives_the_same_hash(store: Store, tmp_path: Path, kind: str) -> None:
    """I2: what comes out of one store goes into another under the same name, to the byte; and
    getting it from there gives the same file again."""
    md5 = add_snapshot(store, "a") if kind == "snapshots" else add_config(store, "a")
    one, two = tmp_path / "one", tmp_path / "two"
    exports.write(store, kind, md5, one)
    other = Store.create(tmp_path / "b.orch")
    assert exports.add(other, one, kind) == md5 == exports.add(other, one)
    exports.write(other, kind, md5, two)
    assert one.read_bytes() == two.read_bytes()
    assert contents(other) == contents(store)
    check(other.path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.orch", "b.orch", "one", "two"]


def test_unzip_reads_it(exported: Path) -> None:
    """The file is an ordinary ZIP archive: unzip finds no fault in it."""
    installed.need("unzip")
    subprocess.run(["unzip", "-tqq", exported], check=True, capture_output=True)


def test_python_reads_it(exported: Path) -> None:
    """The file is an ordinary ZIP archive, of an export's entries."""
    with zipfile.ZipFile(exported) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
    assert names[0] == "wepystore.json" and names[1].startswith("snapshots/")
    assert all(name.startswith("objects/") for name in names[2:]) and len(names) == 6


def test_a_pickle_machine_calls_load_with_the_archive(exported: Path) -> None:
    """I2: the same file is a pickle of one call, and what is handed over unpacks to the same."""
    import pickle

    class Machine(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            assert (module, name) == ("wepystore.records.bundle", "load")
            return lambda data: ("loaded", data)

    with open(exported, "rb") as file:
        word, data = Machine(file).load()
        assert word == "loaded" and file.read() == b""
    assert exports.unpack(data, "x") == exports.read(exported)


def test_something_else_is_said_to_be(tmp_path: Path) -> None:
    """Empty files and other formats are refused for what they are, exit status 1."""
    for data, match in [
        (b"", "empty"),
        (b"hello", "other bytes"),
        (b"eJzsvQ1wG9d5NgpI", r"wepy 1\.x"),
        (b"\x80\x03cposix\nsystem\n.", "other pickle"),
        (b"SQLite format 3\0", "SQLite"),
        (b"PK\x03\x04", "ZIP"),
        (b"\x89HDF\r\n", "HDF5"),
    ]:
        file = tmp_path / "x"
        file.write_bytes(data)
        with pytest.raises(NotAnExportError, match=match) as caught:
            exports.read(file)
        assert caught.value.exit_status == 1


def test_the_wrong_kind_is_refused(store: Store, exported: Path, tmp_path: Path) -> None:
    """A configuration where a snapshot is expected, and the reverse."""
    with pytest.raises(WrongKindError, match="is a snapshot, and a configuration"):
        exports.add(store, exported, "configs")
    exports.write(store, "configs", add_config(store, "c"), tmp_path / "c")
    with pytest.raises(WrongKindError, match="is a configuration, and a snapshot"):
        exports.read(tmp_path / "c", "snapshots")


def parsed(data: bytes, beside: Path) -> tuple[str, str, dict[tuple[str, str], bytes]]:
    """What a file of these bytes holds."""
    file = beside.with_name("x")
    file.write_bytes(data)
    return exports.read(file)


def test_truncated_files_are_refused(exported: Path) -> None:
    """A file cut at any place is recognised, and said to be truncated."""
    data = exported.read_bytes()
    for length in [
        *range(1, 120),
        *range(120, len(data) - 120, 41),
        *range(len(data) - 120, len(data)),
    ]:
        with pytest.raises(NotAnExportError, match="truncated"):
            parsed(data[:length], exported)
    with pytest.raises(DamagedExportError, match="1 bytes follow"):
        parsed(data + b"x", exported)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(data=st.data())
def test_a_flipped_bit_is_seen(exported: Path, data: st.DataObject) -> None:
    """S10: any changed byte is an error of ours, or changed nothing that means anything: the
    contents that come out are the same."""
    good = exported.read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        assert parsed(bytes(bad), exported) == parsed(good, exported)
    except (NotAnExportError, DamagedError) as error:
        assert "\n" not in str(error)


def test_smuggled_members_are_refused(store: Store, exported: Path) -> None:
    """The names in the archive are just those the manifest names: no extras, no paths."""
    for extra in ("objects/../../evil", "evil", "objects/00/" + "0" * 32):
        stream = io.BytesIO(exported.read_bytes())
        with zipfile.ZipFile(stream, "a") as archive:
            archive.writestr(extra, b"x")
        raw = stream.getvalue()
        start = len(exports.HEAD) + 8
        length = (len(raw) - start - 3).to_bytes(8, "little")
        with pytest.raises(DamagedExportError, match="nothing names"):
            parsed(exports.HEAD + length + raw[start:], exported)


def test_an_incomplete_entry_is_not_written(store: Store, tmp_path: Path) -> None:
    """S5: half a snapshot leaves no file behind."""
    md5 = add_snapshot(store, "a")
    store.remove("objects", store.references("snapshots", md5)[0][1].md5)
    with pytest.raises(IncompleteError, match="1 missing"):
        exports.write(store, "snapshots", md5, tmp_path / "x")
    with pytest.raises(MissingError):
        exports.write(store, "snapshots", "0" * 32, tmp_path / "x")
    assert [p.name for p in tmp_path.iterdir()] == ["a.orch"]
