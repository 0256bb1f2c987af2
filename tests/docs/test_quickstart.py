"""bin/quickstart is run as a stranger would run it, and its last lines say what was seen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wepystore.api import Store, load_run

ROOT = Path(__file__).resolve().parents[2]

#: The ten seconds of each run, as cycles from a seed: the machine has no say in what comes out.
RUNS = {
    '"$orch" "$start_hash" 10 10\n': '--seed=1 --n-cycles=150 "$orch" "$start_hash" 600 10\n',
    'lj.config.dill.pkl" 10 100\n': 'lj.config.dill.pkl" --seed=9 --n-cycles=250 600 100\n',
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that it was run in, and what it said."""
    home = tmp_path_factory.mktemp("quickstart")
    shutil.copytree(ROOT / "fixtures", home / "fixtures")
    programs = home / "programs"
    for name, words in (("python", ""), ("wepy", " -m wepystore")):
        program = programs / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
        program.chmod(0o755)
    (home / "bin").mkdir()
    # The environment is there already: it is the one that runs this test.
    setup = home / "bin" / "setup-environment"
    setup.write_text(f'#!/bin/sh\necho "{programs}/python"\n')
    setup.chmod(0o755)
    script = (ROOT / "bin" / "quickstart").read_text()
    for seconds, cycles in RUNS.items():
        assert script.count(seconds) == 1
        script = script.replace(seconds, cycles)
    (home / "bin" / "quickstart").write_text(script)
    done = subprocess.run(
        ["sh", home / "bin" / "quickstart"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return home / "_output", done.stdout


def execution(job: Path) -> dict[str, int]:
    store = Store.open(job / "checkpoint.orch")
    (md5,) = store.hashes("runs")
    return load_run(store, md5).execution._asdict()


def test_its_last_lines_say_what_the_two_runs_did(told: tuple[Path, str]) -> None:
    """Clones, merges and warps as the records of the runs just made have them: the first one
    resamples, the second one warps, of which a rate with its interval is made, and a report."""
    output, said = told
    last = said.partition("What they did:\n")[2]
    for name, n_cycles, n_steps in (("first_job", 150, 10), ("run_again", 250, 100)):
        done = execution(output / "quickstart-1" / name)
        assert done["n_cloned"] == done["n_merged"] > 50
        line = f"{n_cycles} cycles of {n_steps} steps, {done['n_cloned']} clones, "
        assert f"{line}{done['n_merged']} merges, {done['n_warped']} warps\n" in last
    assert done["n_warped"] > 0
    regions = re.findall(r"([\d, ]+) regions per level; weights (\S+) to (\S+) at the end\n", last)
    assert len(regions) == 2
    assert all(int(levels.split(", ")[-1]) > 1 for levels, _, _ in regions)
    assert all(float(low) < float(high) for _, low, high in regions)
    rate = re.search(r"^rate +(\S+) \(.* 1/ps$", said, re.M)
    assert rate is not None
    assert 0 < float(rate[1]) < 1e-3
    report = output / "quickstart-1" / "report.html"
    assert f"  {report.relative_to(output.parent)}   figures" in said
    assert report.stat().st_size > 1e6


def test_it_simulates_the_example_that_is_there_now(told: tuple[Path, str]) -> None:
    """Its start is the one just made, and not the default of a store from an earlier release."""
    output, said = told
    start = re.search(r"\$ wepy run orch --job-dir=\S+ --seed=1 --n-cycles=150 \S+ (\w{32})", said)
    assert start is not None
    assert start[1] in Store.open(output / "LJ-pair.orch").hashes("snapshots")
    source = (ROOT / "bin" / "quickstart").read_text()
    assert "default-snapshot" not in source
