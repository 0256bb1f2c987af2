"""Files of a reporter of a user's own, brought back to what they were at a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wepystore.reporters.kept_files import KeptFiles, NotKeptError

LARGE = os.urandom(5 << 20)


def kept(folder: Path) -> KeptFiles:
    names = ("a.txt", "b.bin")
    return KeptFiles([str(folder / name) for name in names], str(folder / "a.txt"))


def nothing(memory: bytes) -> None:
    """Whoever made it."""


def restore(folder: Path, n_cycles: int) -> Any:
    return kept(folder).restore(n_cycles, nothing, bytes.decode)


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_files_and_memory_come_back(tmp_path: Path) -> None:
    """A file that was overwritten has its bytes again, one that was not there is gone again."""
    files = kept(tmp_path)
    (tmp_path / "a.txt").write_text("one")
    files.keep(3, b"memory of 3")
    (tmp_path / "a.txt").write_text("other")
    (tmp_path / "b.bin").write_bytes(b"new")
    assert restore(tmp_path, 3) == "memory of 3"
    assert (tmp_path / "a.txt").read_text() == "one"
    assert not (tmp_path / "b.bin").exists()


def test_two_are_there(tmp_path: Path) -> None:
    """A kill between keeping and the checkpoint goes back to the one before; older ones go."""
    files = kept(tmp_path)
    for n_cycles in (2, 4, 6):
        (tmp_path / "a.txt").write_text(f"{n_cycles}")
        files.keep(n_cycles, b"%d" % n_cycles)
    assert hidden(tmp_path) == [".a.txt.kept-4", ".a.txt.kept-6"]
    assert restore(tmp_path, 4) == "4"
    assert (tmp_path / "a.txt").read_text() == "4"
    # What came later is of a branch that is left.
    assert hidden(tmp_path) == [".a.txt.kept-4"]


def test_a_large_file_that_grows_is_not_copied(tmp_path: Path) -> None:
    """Once it is known to grow, its size and digest are enough; it is cut off again."""
    files = kept(tmp_path)
    with (tmp_path / "b.bin").open("wb") as stream:
        for n_cycles in (1, 2, 3):
            stream.write(LARGE)
            stream.flush()
            files.keep(n_cycles, b"m")
        stream.write(b"more")
    assert (tmp_path / ".a.txt.kept-3").stat().st_size < 1000
    assert restore(tmp_path, 3) == "m"
    assert (tmp_path / "b.bin").read_bytes() == LARGE * 3


def test_a_large_file_that_is_written_anew_is_copied(tmp_path: Path) -> None:
    """Also where it keeps its size, or grows."""
    files = kept(tmp_path)
    for n_cycles in (1, 2, 3):
        (tmp_path / "b.bin").write_bytes(LARGE[n_cycles:] + LARGE[: 2 * n_cycles])
        files.keep(n_cycles, b"m")
    (tmp_path / "b.bin").write_bytes(LARGE)
    assert restore(tmp_path, 3) == "m"
    assert (tmp_path / "b.bin").read_bytes() == LARGE[3:] + LARGE[:6]


def test_a_large_file_that_was_changed_within(tmp_path: Path) -> None:
    """What was not copied and was then changed cannot be had back: said so, nothing is touched."""
    files = kept(tmp_path)
    with (tmp_path / "b.bin").open("wb") as stream:
        for n_cycles in (1, 2):
            stream.write(LARGE)
            stream.flush()
            files.keep(n_cycles, b"m")
        stream.seek(3 << 20)
        stream.write(b"changed")
    (tmp_path / "a.txt").write_text("as it is")
    with pytest.raises(NotKeptError, match=r"b\.bin was not only added to"):
        restore(tmp_path, 2)
    assert (tmp_path / "a.txt").read_text() == "as it is"
    assert (tmp_path / "b.bin").stat().st_size == 2 * len(LARGE)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data.replace(b"one", b"two"),
        lambda data: data.replace(b"memory", b"Memory", 2),
        lambda data: b"{}\n",
        lambda data: b"",
        lambda data: b"[1]\n",
    ],
)
def test_what_is_damaged_is_not_used(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    """A changed byte or a cut off file: said so, and the reporter's file stays as it is."""
    (tmp_path / "a.txt").write_text("one")
    kept(tmp_path).keep(3, b"memory")
    (tmp_path / "a.txt").write_text("later")
    path = tmp_path / ".a.txt.kept-3"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(NotKeptError, match="damaged"):
        restore(tmp_path, 3)
    assert (tmp_path / "a.txt").read_text() == "later"


def test_what_is_not_admitted_touches_nothing(tmp_path: Path) -> None:
    """S9: before a file is changed."""
    (tmp_path / "a.txt").write_text("one")
    kept(tmp_path).keep(3, b"memory")
    (tmp_path / "a.txt").write_text("later")

    def refuse(memory: bytes) -> None:
        raise ValueError("not yours")

    with pytest.raises(ValueError, match="not yours"):
        kept(tmp_path).restore(3, refuse, bytes.decode)
    assert (tmp_path / "a.txt").read_text() == "later"


def test_nothing_was_kept(tmp_path: Path) -> None:
    """Of that cycle."""
    kept(tmp_path).keep(3, b"m")
    assert kept(tmp_path).has(3) and not kept(tmp_path).has(4)
    with pytest.raises(NotKeptError, match="nothing was kept of it at cycle 4"):
        restore(tmp_path, 4)


def test_forgotten(tmp_path: Path) -> None:
    """A reporter that begins anew finds neither its files nor what was kept; others' stay."""
    for name in ("a.txt", "b.bin", "c.txt", ".c.txt.kept-3"):
        (tmp_path / name).write_text("x")
    kept(tmp_path).keep(3, b"m")
    kept(tmp_path).forget()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".c.txt.kept-3", "c.txt"]
