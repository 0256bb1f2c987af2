"""Who changes into a folder that somebody sent, and runs there, runs nothing that lies in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.clusters import cluster
from tests.systems import REPOSITORY, environment, pair_snapshot, plain_configuration, python
from wepystore.api import prepare_store

#: What the program, its workers and their parts import sooner or later.
_NAMES = """
    signal numpy dill pickle openmm wepystore distributed dask h5py networkx rich docopt json
    socket struct tempfile hashlib sitecustomize usercustomize asyncio logging multiprocessing
    resource fcntl select secrets
"""
NAMES = _NAMES.split()


def plant(folder: Path, marks: Path) -> None:
    """A module of each name that leaves a mark when it is imported."""
    marks.mkdir(exist_ok=True)
    for name in NAMES:
        text = f"open({str(marks / name)!r}, 'w').close()\nraise ImportError('planted')\n"
        (folder / f"{name}.py").write_text(text)


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[Path, Path]:
    """A folder full of modules, and where they leave their marks."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    plant(folder, tmp_path / "marks")
    return folder, tmp_path / "marks"


def as_installed(tmp_path: Path) -> list[str]:
    """`wepy` as an installation makes it: a script in a folder of its own."""
    script = tmp_path / "bin" / "wepy"
    script.parent.mkdir(exist_ok=True)
    script.write_text("from wepystore.cli.main import entry_point\nentry_point()\n")
    return [sys.executable, str(script)]


def run(command: list[str], store: Path, cwd: Path, *words: str) -> None:
    words = ("run", "orch", "--n-cycles=1", "--job-dir=job", *words, str(store), "default", "60")
    done = subprocess.run(
        [*command, *words, "5"],
        cwd=cwd,
        env=environment(WEPY_TRUST=str(store.parent / "trusted"), WEPY_PYTHON=sys.executable),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


SCRIPT = """
import sys
from tests.systems import pair_apparatus, pair_runner, pair_snapshot, plain_configuration
from wepystore.api import prepare_store

class Forking:
    def __init__(self):
        self.inner = pair_runner()
        self.periodic = False

    def pre_cycle(self, **keywords): pass
    def post_cycle(self, **keywords): pass

    def run_segment(self, walker, segment_length, **keywords):
        import multiprocessing, os
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(os.getpid) != os.getpid()
        return self.inner.run_segment(walker, segment_length, seed=1)

apparatus = pair_apparatus(runner=Forking())
prepare_store(sys.argv[1], pair_snapshot(2, apparatus), plain_configuration())
"""


def test_workers_and_their_processes_import_nothing_from_the_current_directory(
    tmp_path: Path, hostile: tuple[Path, Path]
) -> None:
    """Two workers whose runner starts processes of its own (Python's multiprocessing), of the
    program of a checkout, in a folder with a signal.py, a wepystore.py and more: not one of
    these files is executed, and the run is as ever."""
    folder, marks = hostile
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    store = tmp_path / "s.orch"
    python(script, store, WEPY_TRUST=str(tmp_path / "trusted"))
    run([str(REPOSITORY / "bin" / "wepy")], store, folder, "--n-workers=2")
    assert list(marks.iterdir()) == []


def test_workers_of_dask_import_nothing_from_there(
    tmp_path: Path, hostile: tuple[Path, Path]
) -> None:
    """Nor does the program as it is installed, where it gives segments to workers of dask, nor do
    these."""
    pytest.importorskip("distributed")
    folder, marks = hostile
    prepare_store(tmp_path / "s.orch", pair_snapshot(2), plain_configuration())
    with cluster(tmp_path, 1) as (scheduler, _):
        run(as_installed(tmp_path), tmp_path / "s.orch", folder, "--scheduler", scheduler)
    assert list(marks.iterdir()) == []


def test_as_a_module_of_python_too(tmp_path: Path, hostile: tuple[Path, Path]) -> None:
    """`python -m wepystore` takes the current directory away before it imports anything more. (What
    Python has looked for until then is its own affair: `python -P -m wepystore`.)"""
    folder, marks = hostile
    (folder / "wepystore.py").unlink()
    prepare_store(tmp_path / "s.orch", pair_snapshot(2), plain_configuration())
    run([sys.executable, "-m", "wepystore"], tmp_path / "s.orch", folder)
    assert list(marks.iterdir()) == []


def test_the_modules_are_really_hostile(tmp_path: Path, hostile: tuple[Path, Path]) -> None:
    """An interpreter without -P executes them."""
    folder, marks = hostile
    subprocess.run([sys.executable, "-c", "import signal"], cwd=folder, stderr=subprocess.DEVNULL)
    assert [mark.name for mark in marks.iterdir()] == ["signal"], "this test proves nothing"


def test_every_interpreter_is_started_so() -> None:
    """No line of the package starts Python without -P."""
    found = [
        (file.name, line.strip())
        for file in (REPOSITORY / "wepystore").rglob("*.py")
        for line in file.read_text().splitlines()
        if "[sys.executable" in line
    ]
    assert found and all('[sys.executable, "-P"' in line for _, line in found), found
