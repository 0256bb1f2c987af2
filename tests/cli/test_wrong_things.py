"""Whatever is named where a store, a hash or a file is meant: an answer or a line of ours, never "a
bug in wepystore", and an end."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import Wepy, World

#: Commands that list and show, and others, with one place for what is wrong.
LINES = (
    *("ls snapshots {}", "ls runs --long {}", "ls configs --json {}", "log {}", "log --graph {}"),
    *("log --json {}", "status {}", "status --json {}", "show {}", "show {} default"),
    *("show --pickles {}", "show w.orch {}", "show --json w.orch {}", "diff {} {}"),
    *("diff w.orch default {}", "tag {}", "tag w.orch {} default", "tag -d w.orch {}"),
    *("default {}", "default snapshot {}", "default config w.orch {}", "verify {}"),
    *("verify w.orch {}", "get snapshot w.orch {}", "get run w.orch {} {}", "convert {}"),
    *("get snapshot --force w.orch default --output {}", "get run-cycles {} default default"),
    *("trust {}", "trust --list {}", "fsck {}", "fsck --repair --from {} w.orch", "gc {}"),
    *("create orch {}", "init {}", "push w.orch {}", "push {} w.orch", "resume {}"),
    *("reconcile orch {} w.orch", "reconcile orch w.orch {}"),
)


def file(path: str, data: bytes) -> str:
    Path(path).write_bytes(data)
    return path


def device(path: str) -> str:
    """One that takes and gives nothing; where only root may make one, a pipe."""
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        os.mkfifo(path)
    return path


def store(name: str, inside: str, odd: str) -> str:
    """A copy of w.orch with something odd in the place of one of its files or directories."""
    shutil.copytree("w.orch", name)
    path = Path(name, inside)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if odd == "fifo":
        os.mkfifo(path)
    elif odd == "directory":
        path.mkdir()
    else:
        path.write_bytes(b"\x00\xff rubbish")
    return name


#: What stands in the place, made in the folder that w.orch is in.
WRONG = {
    "an empty file": lambda: file("empty", b""),
    "a binary file": lambda: file("binary", bytes(range(256)) * 9),
    "an HDF5 file": lambda: file("x.h5", b"\x89HDF\r\n\x1a\n" + bytes(99)),
    "an empty directory": lambda: os.mkdir("directory") or "directory",  # type: ignore[func-returns-value]
    "a link to nowhere": lambda: os.symlink("nowhere", "dangling") or "dangling",  # type: ignore[func-returns-value]
    "a link to itself": lambda: os.symlink("loop", "loop") or "loop",  # type: ignore[func-returns-value]
    # Not one of the system's: root's commands could take it away.
    "a device": lambda: device("device"),
    "an empty word": lambda: "''",
    "too long a name": lambda: "x" * 5000,
    "no letters": lambda: "'\n\t'",
    "a store whose mark is a directory": lambda: store("a.orch", "wepystore.json", "directory"),
    "a store whose mark is a pipe": lambda: store("b.orch", "wepystore.json", "fifo"),
    "a store whose mark is rubbish": lambda: store("c.orch", "wepystore.json", "file"),
    "a store whose runs are a file": lambda: store("d.orch", "runs", "file"),
    "a store whose refs are a file": lambda: store("e.orch", "refs", "file"),
    "a store whose default is a directory": lambda: store(
        "f.orch", "refs/default-snapshot", "directory"
    ),
    "a store whose default is a pipe": lambda: store("g.orch", "refs/default-snapshot", "fifo"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_named_by_mistake(wepy: Wepy, world: World, what: str) -> None:
    """Each command, with it in each place: a status of ours, one line that is no bug's."""
    world.store.set_ref("default-snapshot", world.start)
    word = WRONG[what]()
    for line in LINES:
        result = wepy(line.replace("{}", word))
        assert result.status in (0, 1, 2, 3, 4, 5), (line, result)
        assert "bug in wepystore" not in result.err and "Traceback" not in result.err, (
            line,
            result,
        )
        if result.status in (1, 2):
            assert result.err.startswith("wepy: error: "), (line, result)
