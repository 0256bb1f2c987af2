"""What of an object is read without verifying all of it: what is asked for, as it is there."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wepystore.errors import DamagedError
from wepystore.records import npy
from wepystore.records.mapped import arrays_of, rows_of
from wepystore.store.errors import DamagedEntryError, ElsewhereError, MissingError
from wepystore.store.names import Ref
from wepystore.store.store import Store

ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.arange(4, dtype=np.float32),
    np.empty((0, 2), np.int64),
    np.array([True, False]),
    np.frombuffer(b"text", np.uint8),
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "a.orch")


def put(store: Store, data: Any = None) -> tuple[Ref, Path]:
    """An object, of these bytes or of ARRAYS, and its file."""
    ref = store.put("objects", data or [part for each in ARRAYS for part in npy.buffers(each)])
    return ref, store.file("objects", ref.md5)


def base_of(array: Any) -> Any:
    """What owns the bytes of an array."""
    while isinstance(array, (np.ndarray, memoryview)):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    return array


def mapped(store: Store, ref: Ref) -> list[Any]:
    """Its arrays, mapped where that can be done, and otherwise the first of them read."""
    return arrays_of(store, ref, {0}, "it", to_map=True)


def is_as_stored(found: Any, array: Any) -> bool:
    return found.dtype == array.dtype and np.array_equal(found, array)


def test_arrays_are_memory_maps(store: Store) -> None:
    """Of every type that is stored, read-only, of one map; and they outlive the file's name."""
    ref, file = put(store)
    found = mapped(store, ref)
    file.unlink()
    assert all(map(is_as_stored, found, ARRAYS)) and len(found) == len(ARRAYS)
    assert not any(each.flags.writeable for each in found)
    assert {type(base_of(each)) for each in found} == {mmap.mmap}
    assert mapped(store, store.put("objects", b"")) == []


def test_what_is_wanted_is_read(store: Store) -> None:
    """Of the others it is told what they are, and any of their rows can be read."""
    ref, file = put(store)
    found = arrays_of(store, ref, {1, 3}, "it")
    assert [isinstance(each, np.ndarray) for each in found] == [False, True, False, True, False]
    assert is_as_stored(found[1], ARRAYS[1]) and is_as_stored(found[3], ARRAYS[3])
    for number in (0, 2, 4):
        array = ARRAYS[number]
        assert (found[number].dtype, found[number].shape) == (array.dtype, array.shape)
        for rows in ([], [0], [1, 0, 0, 1], [1]):
            if not rows or max(rows) < len(array):
                read = rows_of(store, ref, found[number], np.array(rows, np.int64), "it")
                assert is_as_stored(read, array[rows])
    os.truncate(file, ref.size - 1)
    with pytest.raises(DamagedEntryError):
        rows_of(store, ref, found[4], np.array([0]), "it")


@pytest.mark.parametrize("change", ["mode", "owner"])
def test_what_others_could_shorten_is_not_mapped(store: Store, change: str) -> None:
    """A process that reaches beyond the end of a mapped file is ended; this one is not."""
    ref, file = put(store)
    if change == "mode":
        file.chmod(0o664)
    elif os.geteuid():
        pytest.skip("only root gives files away")
    else:
        os.chown(file, 12345, -1)
    first, *others = mapped(store, ref)
    assert base_of(first) is None and not any(isinstance(each, np.ndarray) for each in others)
    os.truncate(file, 0)
    assert is_as_stored(first, ARRAYS[0])


def test_bytes_are_not_verified(store: Store) -> None:
    """The one exception to S10: a bit that has turned is read as it is, and seen by whoever reads
    the object to verify it."""
    ref, file = put(store)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert bytes(mapped(store, ref)[-1]) == b"texu"
    with pytest.raises(DamagedEntryError):
        store.object(ref)


def test_what_is_not_there_is_told(store: Store) -> None:
    """Missing, elsewhere, of another size, no file: as when it is read, each in one line."""
    ref, file = put(store)
    size = file.stat().st_size
    os.truncate(file, size + 1)
    with pytest.raises(DamagedEntryError, match=f"{size + 1} bytes and should have {size}"):
        mapped(store, ref)
    file.write_bytes(b"/annex/objects/MD5E-s1--x\n")
    with pytest.raises(ElsewhereError, match="git annex get"):
        mapped(store, ref)
    file.unlink()
    with pytest.raises(MissingError):
        mapped(store, ref)
    os.mkfifo(file)
    with pytest.raises(DamagedEntryError, match="not a file"):
        mapped(store, ref)


def test_content_of_git_annex_is_mapped(store: Store, tmp_path: Path) -> None:
    """A link to where a carrier keeps it."""
    ref, file = put(store)
    file.rename(tmp_path / "content")
    file.symlink_to(tmp_path / "content")
    assert np.array_equal(mapped(store, ref)[0], ARRAYS[0])


GOOD = npy.header((2,), "<f8")


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"\x93NUMPY",
        GOOD,
        GOOD + bytes(15),
        GOOD + bytes(17),
        GOOD.replace(b"(2,)", b"(9" + b"0" * 17 + b",)") + bytes(16),
        npy.header((10**17, 10**17), "<f8"),
        npy.header((0, 10**18, 10**18), "<f8"),
        npy.header((0,) * 65, "<f8"),
        b"\x93NUMPY\x01\x00\xff\xff" + GOOD[10:].replace(b"2", b"9" * 6000) + bytes(1 << 17),
        GOOD.replace(b"<f8", b"|O8") + bytes(16),
        GOOD.replace(b"False", b" True") + bytes(16),
        GOOD.replace(b"\x01\x00", b"\x02\x00", 1) + bytes(16),
    ],
)
def test_headers_that_lie(store: Store, data: bytes) -> None:
    """No error of numpy's or Python's, and no memory that the file does not fill."""
    ref, _ = put(store, data)
    with pytest.raises(DamagedError, match="\\.npy array") as told:
        mapped(store, ref)
    assert "\n" not in str(told.value) and len(str(told.value)) < 400
    with pytest.raises(DamagedError, match="\\.npy array"):
        npy.load_several(data, "it")
