"""An environment with the real wepy, built once and kept in the repository's root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import installed
from tests import warm as forks
from tests.warm import Warm

REPOSITORY = Path(__file__).parents[2]
_FOLDER = REPOSITORY / ".venv-wepy"
# What wepy needs and does not say so (mdtraj, matplotlib), and what this package needs.
_PACKAGES = (
    *("wepy==1.2", "mdtraj", "matplotlib"),
    *("openmm>=8.2", "dill>=0.4", "docopt-ng>=0.9", "h5py>=3.8", "networkx>=3", "rich>=13"),
)
_IMPORTS = "import wepy.hdf5, mdtraj, matplotlib, openmm, dill, docopt, h5py, networkx, rich"


@pytest.fixture(scope="session")
def wepy_python() -> str:
    """The interpreter of a virtual environment in which wepy 1.2 is installed.

    Built with pip where it is not there yet; only where pip cannot get the
    packages are the tests skipped.
    """
    return str(installed.environment(_FOLDER, _PACKAGES, _imports_all) / "python")


def _imports_all(programs: Path) -> bool:
    python = programs / "python"
    if not python.exists():
        return False
    command = [str(python), "-W", "ignore", "-c", _IMPORTS]
    return subprocess.run(command, capture_output=True).returncode == 0


#: With what takes wepy longest to import.
MODULES = (*forks.MODULES, "pandas", "mdtraj", "pint", "geomm.grouping", "geomm.distance")

InWepy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def in_wepy(wepy_python: str, tmp_path_factory: pytest.TempPathFactory) -> InWepy:
    """Runs the interpreter that has wepy, with this package and the fixtures' own module."""
    trusted = tmp_path_factory.mktemp("trust") / "trusted"
    environment = {key: value for key, value in os.environ.items() if key != "WEPY_ORCH"}
    environment.update(
        PYTHONPATH=os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "fixtures" / "wepy1")]),
        WEPY_TRUST=str(trusted),
        OPENMM_CPU_THREADS="1",
    )

    warm = Warm(wepy_python, environment, ("-W", "ignore"), MODULES)

    def run(*words: object, **more: str) -> subprocess.CompletedProcess[str]:
        return warm.run([str(word) for word in words], {**environment, **more})

    return run
