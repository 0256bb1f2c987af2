"""Fixtures that several rooms share."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import openmm
import pytest
from hypothesis import HealthCheck, settings

from tests import installed
from tests.systems import (
    REPOSITORY,
    pair_snapshot,
    plain_configuration,
    python,
    salt_system,
    tree_of,
)
from wepystore.api import Prepared, prepare_store

# Hundreds of interpreters are started here, one after another. Where this is set, each of them
# compiles the whole package anew, a quarter of all that it does.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Where a script starts this in the background it ignores Ctrl-C, and so would all that is started
# here to be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something of the machine, nothing of the program.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# Tests pickle and trust; none of that is to end up in the developer's own list.
os.environ["WEPY_TRUST"] = os.path.join(tempfile.mkdtemp(prefix="wepystore-test-"), "trusted")


#: Files all of whose tests start programs and wait for what they do. (Not a mark in the files: it
#: would be pickled with the runners that some of them define.)
WAITING = (
    "carriers/test_rsync.py",
    "cli/test_resume_dask.py",
    "cli/test_terminal.py",
    "docs/test_dask.py",
    "docs/test_slurm.py",
    "engine/mappers/test_dask.py",
    "engine/mappers/test_worker_faults.py",
    "hazard/test_kill_runs.py",
    "hazard/test_workers.py",
    "orchestrator/run/test_signals.py",
    "store/test_kill.py",
)


#: Files that take longest, begun first: one that began last would be waited for by idle cores.
LONG = (
    *("engine/mappers/test_worker_faults.py", "remotes/test_url.py", "property/test_unbiased.py"),
    *(
        "engine/mappers/test_dask.py",
        "compat/test_wepy_mixtures.py",
        "compat/test_wepy1_entries.py",
    ),
    *("orchestrator/run/test_resume.py", "test_tutorial.py", "science/test_lj_pair.py"),
    *("engine/mappers/test_mappers.py", "docs/test_dask.py", "docs/test_reproducibility.py"),
    *("science/test_random_walk.py", "compat/test_wepy_components.py", "docs/test_slurm.py"),
    *("hazard/test_kill_runs.py", "docs/test_data_repos.py", "docs/test_readme.py"),
    *("compat/test_from_wepy.py", "property/test_mutated.py", "cli/test_resume.py"),
    *("orchestrator/run/test_reproducible.py", "orchestrator/verify/test_verify.py"),
    *("orchestrator/run/test_checkpoint.py", "hazard/test_crash.py", "science/test_reference.py"),
    *("hazard/test_workers.py", "cli/test_terminal.py", "cli/test_run.py"),
)


def pytest_sessionstart(session: pytest.Session) -> None:
    """OpenMM reads once a process how many threads its PME on the CPU takes: that shall be 1, and
    not what the first test to come by happens to ask for (docs/reproducibility.md)."""
    system, state = salt_system()
    before = os.environ.get("OPENMM_CPU_THREADS")
    os.environ["OPENMM_CPU_THREADS"] = "1"
    cpu = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), cpu, {"Threads": "1"})
    context.setPositions(state["positions"])
    context.getState(energy=True)
    del os.environ["OPENMM_CPU_THREADS"]
    if before is not None:
        os.environ["OPENMM_CPU_THREADS"] = before


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that wait; put first what takes long."""
    here = Path(__file__).parent
    place = {here / name: idx for idx, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path, len(place)))
    for item in items:
        if item.path.is_relative_to(here) and str(item.path.relative_to(here)) in WAITING:
            item.add_marker(pytest.mark.waits)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was left out for want of a program that nobody has allowed to install."""
    skipped = terminalreporter.stats.get("skipped", [])
    said = installed.left_out(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in skipped
        if isinstance(report.longrepr, tuple)
    )
    if said:
        terminalreporter.section("left out")
        for line in said:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def nacl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the ions' example makes, after fewer steps than there, which take half a minute; done
    once, whichever process of the suite comes first. Copy it."""
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    made = shared / "NaCl.orch"
    with open(shared / "NaCl.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            text = (REPOSITORY / "fixtures" / "nacl" / "make_orchestrator.py").read_text()
            assert text.count(".step(2500)") == 1
            script, unready = shared / "nacl.py", shared / "unready.orch"
            script.write_text(text.replace(".step(2500)", ".step(100)"))
            python(script, unready)
            unready.rename(made)
    return made


@pytest.fixture(scope="session")
def pair_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """A store with six Lennard-Jones pairs and a silent serial configuration. Only read it."""
    path: Path = tmp_path_factory.mktemp("pair") / "pair.orch"
    made = prepare_store(path, pair_snapshot(), plain_configuration())
    before = tree_of(path)
    yield made
    assert tree_of(path) == before, "a test has written into the store that all share"
