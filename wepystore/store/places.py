"""Which store a path of this machine stands for; a directory may stand for the one in it."""

from __future__ import annotations

import os
from pathlib import Path

from wepystore.store.names import MARK

#: A project's own store.
HIDDEN = ".orch"
#: The store of a job, in the job's folder.
CHECKPOINT = "checkpoint.orch"
#: A directory that is no store stands for the first of these that is in it.
INSIDE = (HIDDEN, CHECKPOINT)


def root_of(path: str | os.PathLike[str]) -> Path:
    """The store that a path stands for, if it is none itself: the `.orch`, or the `checkpoint.orch`
    of a job folder, that is in it; else the path as it is.

    A `checkpoint.orch` that is a link is not taken: jobs make none, and it may lead anywhere.
    """
    root = Path(path)
    if not os.path.exists(root / MARK):
        for name in INSIDE:
            inside = root / name
            if os.path.exists(inside / MARK) and not (name == CHECKPOINT and inside.is_symlink()):
                return inside
    return root


def is_place(path: str) -> bool:
    """Whether there is a store at this path, or in it."""
    return os.path.exists(root_of(path) / MARK)
