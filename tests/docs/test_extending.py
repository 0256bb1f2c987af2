"""docs/extending.md is run as a reader would run it."""

from __future__ import annotations

import csv
import os
import re
import subprocess
from pathlib import Path

from tests.systems import REPOSITORY, environment
from tests.warm import write_program

PAGE = REPOSITORY / "docs" / "extending.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.S)


def test_the_parts_of_extending_run_and_repeat(tmp_path: Path) -> None:
    """All Python blocks are one script; its own parts, loaded from the store, end in one hash
    on one worker and on two, and the reporter of the page has written a line for each cycle."""
    (tmp_path / "my_walk.py").write_text("\n\n".join(blocks("python")))
    folder = tmp_path / "bin"
    write_program(folder / "python")
    write_program(folder / "wepy", "-m", "wepystore")
    done = subprocess.run(
        ["sh", "-c", "set -eu\n" + "\n".join(blocks("sh"))],
        cwd=tmp_path,
        env=environment(PATH=f"{folder}:{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ends = re.findall(r"Run start and end hashes: (\w+), (\w+)", done.stdout)
    assert len(ends) == 2
    assert ends[0] == ends[1] and ends[0][0] != ends[0][1]
    with open(tmp_path / "one" / "walk.farthest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["cycle"]) for row in rows] == list(range(60))
    # Plain walks hardly get beyond 1 in 600 steps; that some do shows that cloning works.
    assert max(float(row["farthest"]) for row in rows) > 1.0
