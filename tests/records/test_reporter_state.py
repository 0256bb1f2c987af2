"""A reporter of a user's own as bytes, with the files that it holds open."""

from __future__ import annotations

import csv
import gc
import hashlib
import io
import os
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from wepystore.records import reporter_state
from wepystore.records.reporter_state import TrustedKeeper
from wepystore.records.trust import Trust
from wepystore.reporters.others import flush_what_is_open


class Holder:
    """A reporter of somebody's."""

    def __init__(self, **things: Any) -> None:
        self.__dict__.update(things)


def through(thing: Any, **known: Any) -> Any:
    return reporter_state.loads(reporter_state.dumps(thing, known), known)


@pytest.mark.parametrize("mode", ["w", "x", "a", "w+", "a+", "r+", "wb", "xb", "ab", "wb+"])
@pytest.mark.parametrize("buffering", [-1, 1])
def test_an_open_file_goes_on(tmp_path: Path, mode: str, buffering: int) -> None:
    """What was written and not yet on the disk is there; the next word follows it, once."""
    if buffering == 1 and "b" in mode:
        buffering = 0
    path = tmp_path / "file"
    if mode == "r+":
        path.write_text("")
    one, two = ("éins ", "zwei") if "b" not in mode else (b"eins ", b"zwei")
    encoding = None if "b" in mode else "utf-16-le"
    stream = open(path, mode, buffering, encoding=encoding)  # noqa: SIM115
    stream.write(one)
    data = reporter_state.dumps(Holder(file=stream, again=stream), {})
    before = path.read_bytes()
    assert before
    stream.close()
    made = reporter_state.loads(data, {})
    assert path.read_bytes() == before
    assert made.file is made.again
    assert made.file.mode == stream.mode
    made.file.write(two)
    made.file.close()
    expected = one + two
    text = path.read_bytes() if "b" in mode else path.read_bytes().decode("utf-16-le")
    assert text == expected


def test_a_closed_file_is_closed(tmp_path: Path) -> None:
    """And is not made again."""
    with open(tmp_path / "file", "w") as stream:
        pass
    (tmp_path / "file").unlink()
    assert through(Holder(file=stream)).file.closed
    assert not (tmp_path / "file").exists()


def test_what_is_known_is_not_copied() -> None:
    """The runner, say: the very object that the new session has, in the place of the old one."""
    runner = Holder(large=np.zeros(100_000))
    data = reporter_state.dumps(Holder(runner=runner, own=[runner]), {"runner": runner})
    assert len(data) < 10_000
    other = Holder()
    made = reporter_state.loads(data, {"runner": other})
    assert made.runner is other and made.own[0] is other


@pytest.mark.parametrize(
    "held",
    [
        lambda folder: csv.writer(open(folder / "a", "w")),  # noqa: SIM115
        lambda folder: h5py.File(folder / "a", "w"),
        lambda folder: os.fdopen(os.pipe()[1], "w"),
        lambda folder: renamed(folder),
        lambda folder: open(1, "w", closefd=False),  # noqa: SIM115
        lambda folder: (n for n in range(3)),
    ],
)
def test_what_cannot_be_had_says_so(tmp_path: Path, held: Any) -> None:
    """An error, and no bytes that would go on with something else."""
    with pytest.raises(TypeError):
        reporter_state.dumps(Holder(held=held(tmp_path)), {})


def renamed(folder: Path) -> Any:
    """A file that is open under a name that it no longer has."""
    stream = open(folder / "a", "w")  # noqa: SIM115
    (folder / "a").rename(folder / "b")
    (folder / "a").write_text("another")
    return stream


def test_the_processs_own_streams() -> None:
    """Stay the process's own: that of the session that goes on."""
    assert through(Holder(out=sys.stdout, err=sys.__stderr__)).out is sys.stdout


def test_only_what_was_made_here_is_loaded(tmp_path: Path) -> None:
    """S9: bytes that this user's programs have not kept are refused before they are read."""
    trust = Trust(tmp_path / "trusted")
    keeper = TrustedKeeper(trust)
    data = keeper.dumps(Holder(n=3), {})
    with pytest.raises(ValueError, match="not made by you"):
        keeper.loads(data, {})
    trust.add([hashlib.sha256(data).hexdigest()])
    assert keeper.loads(data, {}).n == 3
    assert TrustedKeeper(None).loads(data, {}).n == 3


def test_what_cannot_be_pickled_is_flushed(tmp_path: Path) -> None:
    """Whatever is open somewhere within it is on the disk, though a csv.writer hides its file;
    not what is reached by way of others."""
    names = ("table", "plain", "bytes", "foreign")
    files: dict[str, Any] = {
        name: open(tmp_path / name, "wb" if name == "bytes" else "w")  # noqa: SIM115
        for name in names
    }
    table = csv.writer(files.pop("table"))
    table.writerow([1, 2])
    for name, stream in files.items():
        stream.write(b"x" if name == "bytes" else "x")
    hdf5 = h5py.File(tmp_path / "h5", "w")
    hdf5["x"] = np.arange(3)
    closed = io.StringIO()
    closed.close()
    other = Holder(file=files["foreign"])
    thing = Holder(
        table=table,
        deep=[{"a": (files["plain"],)}],
        write=files["bytes"].write,
        hdf5=hdf5,
        closed=closed,
        other=other,
    )
    gc.collect()
    flush_what_is_open(thing, [other])
    assert (tmp_path / "table").read_text() == "1,2\n"
    assert (tmp_path / "plain").read_text() == "x"
    assert (tmp_path / "bytes").read_bytes() == b"x"
    assert (tmp_path / "foreign").read_text() == ""
    hdf5.close()
    for stream in files.values():
        stream.close()
