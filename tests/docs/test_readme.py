"""The README is run as a stranger would run it: every block, top to bottom, in one shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.warm import write_program

ROOT = Path(__file__).resolve().parents[2]

#: These two set up the environment and run this very suite; they are what got us here.
_NOT_AGAIN = ("bin/quickstart\n", "bin/test\n")


def blocks() -> list[str]:
    text = (ROOT / "README.md").read_text()
    return [b for b in re.findall(r"```sh\n(.*?)```", text, re.S) if b not in _NOT_AGAIN]


def test_every_block_of_the_readme_runs_top_to_bottom(nacl: Path, tmp_path: Path) -> None:
    """With the time budgets cut to 2 seconds and the ions' cycles to 2 of 20 steps; no word else is
    changed. What the ions' script makes was made before and is put where it would be."""
    shutil.copytree(ROOT / "fixtures", tmp_path / "fixtures")
    bin_ = tmp_path / ".venv" / "bin"
    bin_.mkdir(parents=True)
    (bin_ / "activate").write_text(f'PATH="{bin_}:{Path(sys.executable).parent}:$PATH"\n')
    write_program(bin_ / "wepy", "-m", "wepystore")
    write_program(bin_ / "any_python")
    python = bin_ / "python"
    python.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = fixtures/nacl/make_orchestrator.py ] && [ -f "$1" ] && [ $# = 2 ]; then\n'
        f'    exec cp -R "{nacl}" "$2"\n'
        'fi\nexec any_python "$@"\n'
    )
    python.chmod(0o755)
    script = "set -eu\n" + "\n".join(blocks())
    script = script.replace('"$start_hash" 10 10\n', '"$start_hash" 2 10\n')
    script = script.replace("run_again 10 100\n", "run_again 2 100\n")
    script = script.replace(
        "--n-cycles=5 --job-dir=tutorial/nacl", "--n-cycles=2 --job-dir=tutorial/nacl"
    )
    script = script.replace("NaCl.orch default 600 100\n", "NaCl.orch default 600 20\n")
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ends = re.findall(r"Run start and end hashes: (\w+), (\w+)", done.stdout)
    assert len(ends) == 6
    assert ends[2] == ends[3], "the same seed must end the same on one worker and on two"


def test_both_commands_of_the_readme_exist() -> None:
    """What a fresh machine is told to type is there and executable."""
    text = (ROOT / "README.md").read_text()
    for command in _NOT_AGAIN:
        assert f"```sh\n{command}```" in text
        assert os.access(ROOT / command.strip(), os.X_OK)
