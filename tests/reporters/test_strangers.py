"""A job folder may be a stranger's: what the reporters open there is a plain file of its own."""

from __future__ import annotations

import os
import signal
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import pytest

from tests.reporters.recorded import ALL_REPORTERS, Recording, open_reporter, replay
from wepystore.reporters.family_tree import FamilyTreeReporter
from wepystore.reporters.files import check_own, create_own, open_own, read_own, replacing
from wepystore.reporters.hdf5 import HDF5Reporter
from wepystore.reporters.hdf5.journal import JournaledFile, journal_name

VICTIM = b"precious\n" * 1000


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Whoever opens a pipe and waits is woken, and fails."""

    def wake(*_: Any) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, wake)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def make_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # The name of a socket is short.
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def kinds(victim: Path) -> dict[str, Callable[[Path], object]]:
    return {
        "link": lambda path: path.symlink_to(victim),
        "dangling": lambda path: path.symlink_to(victim.parent / "new"),
        "hard link": lambda path: path.hardlink_to(victim),
        "pipe": lambda path: os.mkfifo(path),
        "folder": lambda path: path.mkdir(),
        "socket": make_socket,
        "device": lambda path: path.symlink_to("/dev/zero"),
    }


def hidden(reporter: Any) -> list[str]:
    """What a reporter writes beside its file."""
    folder, name = os.path.split(reporter.path)
    names = [f".{name}.tmp"]
    if isinstance(reporter, HDF5Reporter):
        names += [f".{name}.journal", f".{name}.journal.tmp"]
    if isinstance(reporter, FamilyTreeReporter):
        names += [f".{name}.spool", f"..{name}.spool.tmp"]
    return [reporter.path, *(os.path.join(folder, each) for each in names)]


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
@pytest.mark.parametrize("cls", ALL_REPORTERS)
def test_a_resumed_reporter_follows_nothing(
    cls: Any, kind: str, recording: Recording, tmp_path: Path
) -> None:
    """Each file that a reporter writes, and each hidden one beside it, in turn a link, a hard link,
    a pipe: an error that names it, or a file of its own in its place; never a wait, and not a
    byte of what the link leads to is changed."""
    for number in range(len(hidden(open_reporter(cls(), tmp_path / "x", recording)))):
        folder = tmp_path / str(number)
        folder.mkdir()
        victim = folder / "victim"
        victim.write_bytes(VICTIM)
        replay(cls(), folder / "j", recording, recording.reports[:2])
        reporter = cls()
        reporter.bind(folder / "j")
        place = Path(hidden(reporter)[number])
        place.unlink(missing_ok=True)
        kinds(victim)[kind](place)
        try:
            open_reporter(reporter, folder / "j", recording, resume_at=2)
            reporter.report(**recording.reports[2])
            reporter.flush()
            reporter.cleanup()
        except OSError as problem:
            assert str(problem.filename).rpartition("/")[2].strip(".").startswith("j."), problem
        finally:
            with suppress(Exception):
                reporter.cleanup()
        assert victim.read_bytes() == VICTIM, place.name
        assert not (folder / "new").exists(), place.name


@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "pipe", "socket"])
def test_the_helpers(kind: str, tmp_path: Path) -> None:
    """Opened, read, created, replaced: what is no plain file is refused by name or replaced, and
    what else has a name elsewhere is not written to."""
    victim = tmp_path / "victim"
    victim.write_bytes(VICTIM)
    place = tmp_path / "place"
    kinds(victim)[kind](place)
    readable = kind == "hard link"
    for use in (
        lambda: os.close(open_own(place, os.O_RDWR)),
        lambda: os.close(open_own(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)),
        lambda: read_own(place),
        lambda: check_own(place, writing=True),
    ):
        with suppress(OSError):
            use()
            assert readable
        assert victim.read_bytes() == VICTIM
    with pytest.raises(OSError, match="place"):
        check_own(place, writing=True)
    with pytest.raises(OSError, match="far too many"):
        read_own(victim, 10)
    os.close(create_own(place))
    place.unlink()
    kinds(victim)[kind](tmp_path / ".draft")
    kinds(victim)[kind](place)
    with replacing(str(place), str(tmp_path / ".draft")) as file:
        file.write(b"mine")
    assert place.read_bytes() == b"mine" and not place.is_symlink()
    assert victim.read_bytes() == VICTIM and not (tmp_path / "new").exists()


def forged(path: Path, pages: list[tuple[int, bytes]], size: int = 4096) -> None:
    """A journal as a stranger makes it, with its checksum."""
    body = b"".join(struct.pack("<QI", offset, len(data)) + data for offset, data in pages)
    counts = struct.pack("<QQ", size, len(pages))
    checksum = struct.pack("<I", zlib.crc32(body, zlib.crc32(counts)))
    Path(journal_name(str(path))).write_bytes(b"wepystore journal 2\n" + counts + checksum + body)


def test_a_journal_is_put_into_no_other_file(recording: Recording, tmp_path: Path) -> None:
    """What does not begin as an HDF5 file stays as it is, whatever the journal beside it says."""
    replay(HDF5Reporter(), tmp_path / "j", recording, recording.reports[:4])
    path = tmp_path / "j.wepy.h5"
    path.write_bytes(VICTIM)
    forged(path, [(0, b"alias ls=evil\n")])
    with pytest.raises(OSError, match="does not begin as such a file") as caught:
        open_reporter(HDF5Reporter(), tmp_path / "j", recording, resume_at=4)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == VICTIM


def test_a_journal_that_lies_is_none(tmp_path: Path) -> None:
    """Its checksum is right, and it has fewer pages than it says, places outside of the file, or a
    file of exabytes: not put in place, and no crash."""
    path = tmp_path / "f"
    for pages, size in (
        ([(0, b"x"), (2**63, b"x")], 4096),
        ([(4096, b"x")], 4096),
        ([], 2**63),
        ([(0, b"x")], 2**60),
    ):
        path.write_bytes(b"whole")
        forged(path, pages, size)
        JournaledFile(str(path), create=False).close()
        assert path.read_bytes() == b"whole"
    forged(path, [(0, b"x")])
    journal = Path(journal_name(str(path)))
    counts = struct.pack("<QQ", 4096, 2**62)
    body = journal.read_bytes()[40:]
    checksum = struct.pack("<I", zlib.crc32(body, zlib.crc32(counts)))
    journal.write_bytes(b"wepystore journal 2\n" + counts + checksum + body)
    JournaledFile(str(path), create=False).close()
    assert path.read_bytes() == b"whole"


def test_each_bit_of_a_journal_counts(tmp_path: Path) -> None:
    """One flipped bit anywhere in a journal, in its counts too, and it is not put in place."""
    path = tmp_path / "f"
    path.write_bytes(b"whole" * 3)
    forged(path, [(0, b"other"), (6, b"thing")], 15)
    journal = Path(journal_name(str(path)))
    good = journal.read_bytes()
    for bit in range(len(good) * 8):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        journal.write_bytes(bad)
        JournaledFile(str(path), create=False).close()
        assert path.read_bytes() == b"whole" * 3, bit
    journal.write_bytes(good)
    JournaledFile(str(path), create=False).close()
    assert path.read_bytes() != b"whole" * 3, "this test proves nothing"


def external(file: h5py.File, victim: Path) -> None:
    old = file["runs/0/trajectories/0/weights"]
    data, shape = old[:], (None, *old.shape[1:])
    del file["runs/0/trajectories/0/weights"]
    where = [(str(victim), 0, h5py.h5f.UNLIMITED)]
    made = file.create_dataset(
        "runs/0/trajectories/0/weights",
        shape=data.shape,
        maxshape=shape,
        dtype=data.dtype,
        external=where,
    )
    assert made.external


def linked(file: h5py.File, victim: Path) -> None:
    del file["runs/0/trajectories/0"]
    file["runs/0/trajectories/0"] = h5py.ExternalLink(str(victim), "/")


def softly(file: h5py.File, victim: Path) -> None:
    del file["runs/0/trajectories/0"]
    file["runs/0/trajectories/0"] = h5py.SoftLink("/nowhere")


def virtual(file: h5py.File, victim: Path) -> None:
    layout = h5py.VirtualLayout((1,), "f8")
    layout[:] = h5py.VirtualSource(str(victim), "x", (1,))
    file.create_virtual_dataset("runs/0/more", layout)


def circle(file: h5py.File, victim: Path) -> None:
    file["runs/0/again"] = file["runs"]


@pytest.mark.parametrize("change", [external, linked, softly, virtual])
def test_an_hdf5_file_reaches_into_no_other(
    change: Callable[[h5py.File, Path], None], recording: Recording, tmp_path: Path
) -> None:
    """Datasets whose bytes are in another file, which would be written there, links to other files,
    and views of them: refused, by name, before anything is written."""
    victim = tmp_path / "victim"
    victim.write_bytes(VICTIM)
    replay(HDF5Reporter(), tmp_path / "j", recording, recording.reports[:4])
    with h5py.File(tmp_path / "j.wepy.h5", "r+") as file:
        change(file, victim)
    assert victim.read_bytes() == VICTIM
    with pytest.raises(OSError, match="is kept in another file, or nowhere"):
        open_reporter(HDF5Reporter(), tmp_path / "j", recording, resume_at=4)
    assert victim.read_bytes() == VICTIM


def test_a_group_that_holds_itself(recording: Recording, tmp_path: Path) -> None:
    """Is looked at once."""
    replay(HDF5Reporter(), tmp_path / "j", recording, recording.reports[:4])
    with h5py.File(tmp_path / "j.wepy.h5", "r+") as file:
        circle(file, tmp_path)
    open_reporter(HDF5Reporter(), tmp_path / "j", recording, resume_at=4).cleanup()


def test_each_bit_of_a_spool_counts(recording: Recording, tmp_path: Path) -> None:
    """One flipped bit anywhere in the spool of a killed job's family tree: the resume says which
    cycle is damaged, and makes no tree that is silently another one."""
    reporter = open_reporter(FamilyTreeReporter(), tmp_path / "j", recording)
    for report in recording.reports[:3]:
        reporter.report(**report)
    reporter.flush()
    spool = tmp_path / ".j.restree.gexf.spool"
    good = spool.read_bytes()
    assert len(good) > 2000
    text = len(good[:1024].rstrip()) * 8
    bits = [*range(0, text, 11), *range(1024 * 8, len(good) * 8, 97), len(good) * 8 - 1]
    for bit in bits:
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        spool.write_bytes(bad)
        with pytest.raises(OSError, match=r"cannot be continued: .*(damaged|cycles)") as caught:
            open_reporter(FamilyTreeReporter(), tmp_path / "j", recording, resume_at=3)
        assert caught.value.filename == str(spool)
        assert spool.read_bytes() == bytes(bad)
    spool.write_bytes(good)
    again = open_reporter(FamilyTreeReporter(), tmp_path / "j", recording, resume_at=3)
    for report in recording.reports[3:6]:
        again.report(**report)
    again.cleanup()
    replay(FamilyTreeReporter(), tmp_path / "k", recording, recording.reports[:6])
    one, other = (tmp_path / f"{name}.restree.gexf" for name in "jk")
    assert one.read_bytes() == other.read_bytes()
