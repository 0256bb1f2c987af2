"""The journaled file: every commit is all or nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wepystore.reporters.hdf5.journal import JournaledFile, JournaledHDF5, journal_name

EDITS = st.lists(
    st.tuples(st.integers(0, 20_000), st.binary(min_size=1, max_size=9000)), max_size=8
)


@settings(max_examples=60, deadline=None)
@given(first=EDITS, second=EDITS, size=st.integers(0, 30_000))
def test_it_reads_back_as_a_plain_file_would_and_commits_all_or_nothing(
    tmp_path_factory: pytest.TempPathFactory, first: list, second: list, size: int
) -> None:
    """Before commit the file is the old one byte for byte, afterwards the new one."""
    path = str(tmp_path_factory.mktemp("j") / "f")
    model = bytearray()
    file = JournaledFile(path, create=True)

    def edit(edits: list) -> None:
        for offset, data in edits:
            file.seek(offset)
            file.write(data)
            if len(model) < offset + len(data):
                model.extend(bytes(offset + len(data) - len(model)))
            model[offset : offset + len(data)] = data
            file.seek(0)
            assert file.read() == bytes(model)

    edit(first)
    file.commit()
    committed = bytes(model)
    assert Path(path).read_bytes() == committed
    edit(second)
    assert Path(path).read_bytes()[: len(committed)] == committed
    if size >= len(model):
        file.truncate(size)
        model.extend(bytes(size - len(model)))
    file.commit()
    file.close()
    assert Path(path).read_bytes() == bytes(model)
    assert os.listdir(os.path.dirname(path)) == ["f"]


def test_what_was_not_committed_is_gone(tmp_path: Path) -> None:
    """A file let go of without commit is the one of the last commit."""
    path = tmp_path / "f"
    file = JournaledFile(str(path), create=True)
    file.write(b"old" * 2000)
    file.commit()
    file.seek(10)
    file.write(b"new" * 3000)
    file.close()
    assert path.read_bytes() == b"old" * 2000


def test_a_commit_cut_short_is_finished_when_the_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between journal and file loses nothing: the journal is put in place."""
    path = tmp_path / "f"
    file = JournaledFile(str(path), create=True)
    file.write(b"a" * 10_000)
    file.commit()
    old = path.read_bytes()
    file.seek(5_000)
    file.write(b"b" * 10_000)
    # The journal of this commit is kept by a second name, then the kill is played:
    # the old bytes are back and the journal is there.
    journal = Path(journal_name(str(path)))
    spare = tmp_path / "spare"
    original = os.replace

    def keep(source: str, target: str) -> None:
        original(source, target)
        os.link(target, spare)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", keep)
        file.commit()
    new = path.read_bytes()
    file.close()
    path.write_bytes(old + new[len(old) :])
    os.link(spare, journal)
    JournaledFile(str(path), create=False).close()
    assert path.read_bytes() == new
    assert not journal.exists()


def test_a_commit_that_fails_anywhere_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever call of the system fails in a commit, and the file is let go of then: opened
    again it is whole, with or without that commit, and there is nothing beside it."""
    calls = ("pwrite", "fsync", "replace", "ftruncate", "unlink")
    found = set()
    for failing in range(100):
        folder = tmp_path / str(failing)
        folder.mkdir()
        path = folder / "f"
        file = JournaledFile(str(path), create=True)
        file.write(b"a" * 10_000)
        file.commit()
        file.seek(5_000)
        file.write(b"b" * 20_000)
        left = failing

        def broken(name: str) -> Callable[..., Any]:
            whole = getattr(os, name)

            def call(*arguments: Any) -> Any:
                nonlocal left
                left -= 1
                if left == -1:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                return whole(*arguments)

            return call

        with monkeypatch.context() as patch:
            for name in calls:
                patch.setattr(os, name, broken(name))
            try:
                file.commit()
            except OSError:
                pass
            else:
                break
        file.close()
        JournaledFile(str(path), create=False).close()
        found.add(path.read_bytes())
        assert os.listdir(folder) == ["f"]
    assert failing > 8
    assert found == {b"a" * 10_000, b"a" * 5_000 + b"b" * 20_000}


def test_a_damaged_journal_is_not_put_in_place(tmp_path: Path) -> None:
    """Only a journal whose checksum is right changes the file."""
    path = tmp_path / "f"
    path.write_bytes(b"whole")
    journal = Path(journal_name(str(path)))
    journal.write_bytes(b"wepystore journal 1\n" + bytes(40))
    JournaledFile(str(path), create=False).close()
    assert path.read_bytes() == b"whole"
    assert not journal.exists()


def test_an_hdf5_file_dropped_without_closing_is_the_last_committed_one(tmp_path: Path) -> None:
    """Forgetting the object, as an error elsewhere may, neither crashes nor writes."""
    path = str(tmp_path / "f.h5")
    hdf5 = JournaledHDF5(path, create=True)
    data = hdf5.file.create_dataset("x", data=np.arange(5), maxshape=(None,), chunks=(4,))
    hdf5.commit()
    data.resize((50,))
    hdf5.file["y"] = 1
    del hdf5, data
    with h5py.File(path, "r") as file:
        assert file["x"][:].tolist() == [0, 1, 2, 3, 4]
        assert "y" not in file
