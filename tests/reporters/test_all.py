"""What every reporter keeps true."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.reporters.hdf5.test_hdf5 import contents
from tests.reporters.recorded import (
    ALL_REPORTERS,
    Recording,
    lj_pair,
    open_reporter,
    record,
    replay,
)
from wepystore.engine.manager import CycleManager
from wepystore.engine.mappers.serial import SerialMapper
from wepystore.engine.record_fields import RecordColumns
from wepystore.engine.resamplers.noop import NoResampler
from wepystore.engine.rng import Streams
from wepystore.engine.runners.openmm import OpenMMRunner
from wepystore.reporters.hdf5 import HDF5Reporter


def run(base: Path, recording: Recording, kinds: tuple[Any, ...], n_cycles: int) -> Any:
    """Walkers after some cycles under these reporters."""
    reporters = [kind() for kind in kinds]
    for reporter in reporters:
        reporter.bind(base)
    # The recording's own resampler has long gone on: each run needs its beginning.
    resampler = type(recording.resampler).from_params(
        recording.resampler.params(), type(recording.resampler).version
    )
    manager = CycleManager(
        init_walkers=recording.init_walkers,
        runner=recording.runner,
        boundary_conditions=recording.boundary_conditions,
        resampler=resampler,
        work_mapper=SerialMapper(),
        streams=Streams(11),
        reporters=reporters,
    )
    manager.init()
    walkers = recording.init_walkers
    for cycle in range(n_cycles):
        walkers = manager.run_cycle(walkers, 20, cycle).walkers
        for reporter in reporters:
            reporter.flush()
    manager.cleanup()
    return walkers


def test_reporters_do_not_change_the_result(recording: Recording, tmp_path: Path) -> None:
    """R1: the same walkers come out, bit for bit, with all reporters and with none."""
    bare = run(tmp_path / "bare", recording, (), 12)
    watched = run(tmp_path / "watched", recording, ALL_REPORTERS, 12)
    for one, other in zip(bare, watched, strict=True):
        assert one.weight == other.weight
        assert one.state.equals(other.state)
    assert sorted(os.listdir(tmp_path)) == [
        ".watched.dash.org.state",
        ".watched.restree.gexf.spool",
        "watched.dash.org",
        "watched.init_top.pdb",
        "watched.restree.gexf",
        "watched.walkers.csv",
        "watched.walkers.dcd",
        "watched.wepy.h5",
    ]


def test_no_reporter_changes_what_it_is_shown(recording: Recording, tmp_path: Path) -> None:
    """A report is the same after all have seen it as it was before."""
    report = recording.reports[7]

    def shown() -> dict[str, Any]:
        # Records may be columns, which give their dicts when they are asked for.
        return {
            key: list(value) if isinstance(value, RecordColumns) else value
            for key, value in report.items()
            if not key.endswith("walkers")
        }

    before = copy.deepcopy(shown())
    for kind in ALL_REPORTERS:
        replay(kind(), tmp_path / "job", recording, recording.reports[:8])
    np.testing.assert_equal(shown(), before)


@pytest.mark.parametrize("kind", ALL_REPORTERS)
def test_its_parameters_build_an_equal_reporter_and_hold_no_path(
    kind: Any, recording: Recording, tmp_path: Path
) -> None:
    """A configuration holds no path, host or time, not even after a run."""
    reporter = kind()
    before = reporter.params()
    replay(reporter, tmp_path / "job", recording, recording.reports[:2])
    assert reporter.params() == before
    assert reporter.state() == {}
    assert kind.from_params(before, kind.version).params() == before
    assert str(tmp_path) not in repr(before)


@pytest.mark.parametrize("kind", ALL_REPORTERS)
def test_a_reporter_that_never_began_can_be_cleaned_up(kind: Any, tmp_path: Path) -> None:
    """When one reporter cannot begin, the others are still told to clean up."""
    reporter = kind()
    reporter.bind(tmp_path / "job")
    reporter.flush()
    reporter.cleanup()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ALL_REPORTERS)
def test_a_missing_folder_is_an_oserror_with_the_files_name(
    kind: Any, recording: Recording, tmp_path: Path
) -> None:
    """A user is told which file could not be written."""
    with pytest.raises(OSError) as caught:
        replay(kind(), tmp_path / "no" / "job", recording, recording.reports[:1])
    assert os.path.dirname(caught.value.filename) == str(tmp_path / "no")
    assert kind.suffix in caught.value.filename


@pytest.mark.parametrize("kind", ALL_REPORTERS)
def test_a_run_that_is_not_resumed_begins_its_files_anew(
    kind: Any, recording: Recording, tmp_path: Path
) -> None:
    """What an earlier attempt left under the same name does not leak into the new file."""
    open_reporter(kind(), tmp_path / "job", recording).report(**recording.reports[0])
    again = replay(kind(), tmp_path / "job", recording, recording.reports[:3])
    fresh = replay(kind(), tmp_path / "fresh", recording, recording.reports[:3])
    if kind is not HDF5Reporter and not again.endswith(".dash.org"):
        assert Path(again).read_bytes() == Path(fresh).read_bytes()


def test_no_resampling_and_no_boundary_conditions_make_whole_files(tmp_path: Path) -> None:
    """Plain molecular dynamics of many walkers is a run like any other."""
    recording = record(1)
    system, topology, integrator = lj_pair()
    plain = Recording(
        recording.init_walkers,
        OpenMMRunner(system, topology, integrator, platform="Reference"),
        NoResampler(),
        None,
        [],
    )
    run(tmp_path / "job", plain, ALL_REPORTERS, 3)
    assert len(list(tmp_path.glob("job.*"))) == 6


class ForeignState:
    """A state as a component written for wepy may make it: two ways to read, no more."""

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def dict(self) -> dict[str, Any]:
        return self._fields


class ForeignWalker:
    def __init__(self, walker: Any) -> None:
        self.state = ForeignState(**walker.state.dict(), forces=None)
        self.weight = walker.weight


@pytest.mark.parametrize("kind", ALL_REPORTERS)
def test_walkers_of_another_make_are_reported_alike(
    kind: Any, recording: Recording, tmp_path: Path
) -> None:
    """Components written for wepy run here unchanged, and so do their walkers."""
    foreign = Recording(
        [ForeignWalker(walker) for walker in recording.init_walkers],  # type: ignore[misc]
        recording.runner,
        recording.resampler,
        recording.boundary_conditions,
        [
            report
            | {
                key: [ForeignWalker(walker) for walker in report[key]]
                for key in ("new_walkers", "resampled_walkers")
            }
            for report in recording.reports[:4]
        ],
    )
    ours = replay(kind(), tmp_path / "ours", recording, recording.reports[:4])
    theirs = replay(kind(), tmp_path / "theirs", foreign)
    if kind is HDF5Reporter:
        assert contents(ours) == contents(theirs)
    elif not ours.endswith(".dash.org"):
        assert Path(ours).read_bytes() == Path(theirs).read_bytes()


def test_naming_the_reporters_imports_nothing_heavy() -> None:
    """Listing a store must not pay for HDF5 and numpy."""
    code = (
        "import sys, wepystore.reporters; from wepystore.records.registry import PLACES;"
        "assert 'HDF5Reporter' in PLACES;"
        "assert not {'h5py', 'numpy', 'openmm', 'networkx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
