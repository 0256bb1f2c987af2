"""What docs/from-wepy.md shows is what happens."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.compat.conftest import MODULES, REPOSITORY, InWepy
from tests.warm import write_program
from wepystore.store import Store

PAGE = (REPOSITORY / "docs" / "from-wepy.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_commands(wepy_python: str, tmp_path: Path) -> None:
    """All command lines of the page, one after the other in one shell, with wepy installed: each
    ends with 0; the converted snapshot and its run are there, and every store is whole; wepy reads
    two runs, one of which goes on from the other, as one trajectory."""
    _, spans = blocks("python")
    assert spans.startswith("# spans.py\n")
    (tmp_path / "spans.py").write_text(spans)
    (tmp_path / "fixtures").symlink_to(REPOSITORY / "fixtures")
    programs = tmp_path / "bin"
    for name, words in (("python", ()), ("wepystore", ("-m", "wepystore"))):
        write_program(
            programs / name,
            *words,
            python=wepy_python,
            options=("-W", "ignore"),
            modules=MODULES,
            PYTHONPATH=str(REPOSITORY),
            OPENMM_CPU_THREADS="1",
        )
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "WEPY_TRUST": str(tmp_path / "trusted"),
        "OPENMM_CPU_THREADS": "1",
    }
    done = subprocess.run(
        [
            "sh",
            "-eu",
            "-c",
            'PYTHONPATH=""\n' + "\n".join(blocks("sh")) + "\nwepystore fsck LJ.orch\n",
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Run start and end hashes: ") == 3
    assert "0 7 cycles, 0 warps" in done.stdout
    assert "0 7 cycles, 0 warps" in PAGE
    for job in ("again", "native", "further"):
        assert len(Store.open(tmp_path / job / "checkpoint.orch").hashes("runs")) == 1


def test_the_script(in_wepy: InWepy, tmp_path: Path) -> None:
    """The page's Python makes a store that `wepystore run` takes."""
    script = tmp_path / "script.py"
    script.write_text(f"import os\nos.chdir({str(tmp_path)!r})\n" + blocks("python")[0])
    made = in_wepy(script)
    assert made.returncode == 0, made.stderr
    run = in_wepy(
        *("-m", "wepystore", "run", "orch", "--n-cycles=3", "--job-dir", tmp_path / "job"),
        *(tmp_path / "walk.orch", "default", 60, 10),
    )
    assert run.returncode == 0, run.stderr
