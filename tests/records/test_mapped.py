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
from wepystore.records.mapped import arrays_of
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


def test_arrays_are_memory_maps(store: Store) -> None:
    """Of every type that is stored, read-only, of one map; and they outlive the file's name."""
    ref, file = put(store)
    found = arrays_of(store, ref, "it")
    file.unlink()
    assert [each.dtype for each in found] == [each.dtype for each in ARRAYS]
    assert all(
        np.array_equal(a, b) and a.shape == b.shape for a, b in zip(found, ARRAYS, strict=True)
    )
    assert not any(each.flags.writeable for each in found)
    assert {type(base_of(each)) for each in found} == {mmap.mmap}
    assert arrays_of(store, store.put("objects", b""), "it") == []


def test_what_others_could_shorten_is_not_mapped(store: Store) -> None:
    """A process that reaches beyond the end of a mapped file is ended; this one is not."""
    ref, file = put(store)
    file.chmod(0o664)
    found = arrays_of(store, ref, "it")
    assert {type(base_of(each)) for each in found} == {bytes}
    os.truncate(file, 0)
    assert all(np.array_equal(a, b) for a, b in zip(found, ARRAYS, strict=True))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_another_owns_is_not_mapped(store: Store) -> None:
    """Nor what somebody else may write to as its owner."""
    ref, file = put(store)
    os.chown(file, 12345, -1)
    assert type(base_of(arrays_of(store, ref, "it")[0])) is bytes


def test_bytes_are_not_verified(store: Store) -> None:
    """The one exception to S10: a bit that has turned is read as it is, and seen by whoever reads
    the object to verify it."""
    ref, file = put(store)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert bytes(arrays_of(store, ref, "it")[-1]) == b"texu"
    with pytest.raises(DamagedEntryError):
        store.object(ref)


def test_what_is_not_there_is_told(store: Store) -> None:
    """Missing, elsewhere, of another size, no file: as when it is read, each in one line."""
    ref, file = put(store)
    size = file.stat().st_size
    os.truncate(file, size + 1)
    with pytest.raises(DamagedEntryError, match=f"{size + 1} bytes and should have {size}"):
        arrays_of(store, ref, "it")
    file.write_bytes(b"/annex/objects/MD5E-s1--x\n")
    with pytest.raises(ElsewhereError, match="git annex get"):
        arrays_of(store, ref, "it")
    file.unlink()
    with pytest.raises(MissingError):
        arrays_of(store, ref, "it")
    os.mkfifo(file)
    with pytest.raises(DamagedEntryError, match="not a file"):
        arrays_of(store, ref, "it")


def test_content_of_git_annex_is_mapped(store: Store, tmp_path: Path) -> None:
    """A link to where a carrier keeps it."""
    ref, file = put(store)
    file.rename(tmp_path / "content")
    file.symlink_to(tmp_path / "content")
    assert np.array_equal(arrays_of(store, ref, "it")[0], ARRAYS[0])


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
        arrays_of(store, ref, "it")
    assert "\n" not in str(told.value) and len(str(told.value)) < 400
    with pytest.raises(DamagedError, match="\\.npy array"):
        npy.load_several(data, "it")
