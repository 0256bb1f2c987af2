"""How far the process that works in a job folder has come, for whoever looks on.

    JOB/.progress        JSON, a few kB, replaced as a whole at most once a second

It is there while a process works, and after it was killed. Nothing depends on it: what cannot be
written is left out, and who resumes the job removes it.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wepystore.reporters import files

PROGRESS = ".progress"
PROGRESS_DRAFT = f"{PROGRESS}.tmp"
FORMAT = 1
#: Bytes; some hundred workers are told of, and no more.
_LARGEST = 1 << 18
#: No number that is meant is larger.
_MOST = 2.0**63


def write_progress(folder: Path, facts: Mapping[str, Any]) -> None:
    """Replace it; a full disk, or a folder that has gone, is no reason for a run to end."""
    data = json.dumps({**facts, "format": FORMAT}, separators=(",", ":")).encode()
    names = folder / PROGRESS, folder / PROGRESS_DRAFT
    with contextlib.suppress(OSError), files.replacing(*names) as file:
        file.write(data)


def read_progress(folder: Path) -> dict[str, Any] | None:
    """What is told; None if there is nothing, or nothing that this version of ours has written."""
    try:
        found = json.loads(files.read_own(folder / PROGRESS, _LARGEST))
    except (OSError, ValueError, RecursionError):
        return None
    is_ours = isinstance(found, dict) and found.get("format") == FORMAT
    return found if is_ours else None


def remove_progress(folder: Path) -> None:
    """Of a process that has ended."""
    for name in (PROGRESS, PROGRESS_DRAFT):
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)


def number(value: Any, least: float = 0.0) -> float:
    """A number that somebody has told, from `least` on. Raises ValueError."""
    if type(value) not in (int, float) or not least <= value < _MOST or not math.isfinite(value):
        raise ValueError("that is no such number")
    return float(value)
