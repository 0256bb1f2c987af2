"""An environment with the real wepy, built once and kept in the repository's root."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[2] / ".venv-wepy"
_PACKAGES = ("wepy==1.2", "mdtraj")


@pytest.fixture(scope="session")
def wepy_python() -> str:
    """The interpreter of a virtual environment in which wepy 1.2 is installed.

    Built with pip where it is not there yet; only where pip cannot get the
    packages are the tests skipped.
    """
    python = _FOLDER / "bin" / "python"
    if _imports_wepy(python):
        return str(python)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(_FOLDER)],
        [str(python), "-m", "pip", "install", "--quiet", *_PACKAGES],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        except subprocess.TimeoutExpired:
            pytest.skip(f"no wepy to compare with: {command[-1]} took more than 15 minutes")
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            pytest.skip(f"no wepy to compare with: {' '.join(command)}: {reason}")
    return str(python)


def _imports_wepy(python: Path) -> bool:
    if not python.exists():
        return False
    command = [str(python), "-W", "ignore", "-c", "import wepy.hdf5, mdtraj"]
    return subprocess.run(command, capture_output=True).returncode == 0
