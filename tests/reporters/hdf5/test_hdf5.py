"""HDF5Reporter: the file has the layout readers know, and exactly the run's data."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.reporters.recorded import Recording, open_reporter, replay
from wepystore.engine.walker import Walker, WalkerState
from wepystore.reporters.base import named_errors
from wepystore.reporters.hdf5 import FieldError, HDF5Reporter
from wepystore.reporters.hdf5.layout import GapError

#: Fields that have a unit, a shape and a type in a file that wepy 1.x wrote.
UNITED = (
    *("box_vectors", "box_volume", "forces", "kinetic_energy", "positions", "potential_energy"),
    *("time", "velocities"),
)
#: What a file that wepy 1.x wrote holds: {path: (rank, kind, is the first length unlimited)}.
#: "run" stands for runs/0; kinds: i int64, f float64, s text, vi and vf ragged rows of these.
WEPY_LAYOUT = {
    "topology": (0, "s", False),
    "_settings/continuations": (2, "i", True),
    "_settings/main_rep_idxs": (1, "i", False),
    "_settings/n_atoms": (0, "i", False),
    "_settings/n_dims": (0, "i", False),
    "_settings/sparse_fields": (1, "s", True),
    **{f"_settings/field_feature_dtypes/{name}": (0, "s", False) for name in UNITED},
    **{f"_settings/field_feature_shapes/{name}": (1, "i", False) for name in UNITED},
    **{
        f"_settings/record_fields/{name}": (1, "s", True)
        for name in ("boundary_conditions", "progress", "resampler", "resampling", "warping")
    },
    "runs/0/boundary_conditions/_cycle_idxs": (1, "i", True),
    "runs/0/boundary_conditions/boundary_distance": (2, "f", True),
    **{
        f"runs/0/decision/{name}": (0, "i", False)
        for name in ("CLONE", "KEEP_MERGE", "NOTHING", "SQUASH")
    },
    "runs/0/init_walkers/0/box_vectors": (3, "f", False),
    "runs/0/init_walkers/0/positions": (3, "f", False),
    "runs/0/init_walkers/0/velocities": (3, "f", False),
    "runs/0/init_walkers/0/weights": (2, "f", False),
    "runs/0/progress/min_distances": (1, "vf", True),
    "runs/0/resampler/_cycle_idxs": (1, "i", True),
    "runs/0/resampler/branching_level": (2, "i", True),
    "runs/0/resampler/distance": (2, "f", True),
    "runs/0/resampler/new_leaf_id": (1, "vi", True),
    "runs/0/resampling/_cycle_idxs": (1, "i", True),
    "runs/0/resampling/decision_id": (2, "i", True),
    "runs/0/resampling/region_assignment": (1, "vi", True),
    "runs/0/resampling/step_idx": (2, "i", True),
    "runs/0/resampling/target_idxs": (1, "vi", True),
    "runs/0/resampling/walker_idx": (2, "i", True),
    "runs/0/trajectories/0/box_vectors": (3, "f", True),
    "runs/0/trajectories/0/positions": (3, "f", True),
    "runs/0/trajectories/0/velocities": (3, "f", True),
    "runs/0/trajectories/0/weights": (2, "f", True),
    "runs/0/warping/_cycle_idxs": (1, "i", True),
    "runs/0/warping/target_idx": (2, "i", True),
    "runs/0/warping/walker_idx": (2, "i", True),
    "runs/0/warping/weight": (2, "f", True),
    **{f"units/units/{name}_unit": (0, "s", False) for name in UNITED},
}


def described(dataset: h5py.Dataset) -> tuple[int, str, bool]:
    ragged = h5py.check_vlen_dtype(dataset.dtype)
    if h5py.check_string_dtype(dataset.dtype):
        kind = "s"
    elif ragged is not None:
        kind = f"v{ragged.kind}"
    else:
        assert dataset.dtype.itemsize == 8
        kind = dataset.dtype.kind
    return dataset.ndim, kind, bool(dataset.ndim) and dataset.maxshape[0] is None


def contents(path: str | Path) -> dict[str, Any]:
    """Everything in the file, comparable with ==."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        attributes = {key: np.asarray(value).tolist() for key, value in item.attrs.items()}
        if isinstance(item, h5py.Dataset):
            rows = item[()]
            if described(item)[1].startswith("v"):
                rows = [row.tolist() for row in rows]
            else:
                rows = np.asarray(rows).tolist()
            found[name] = (described(item), rows, attributes)
        else:
            found[name] = attributes

    def walk(group: h5py.Group) -> None:
        # visititems would show an array that walkers share under one name only.
        for item in group.values():
            visit(item.name, item)
            if isinstance(item, h5py.Group):
                walk(item)

    with h5py.File(path, "r") as file:
        walk(file)
    return found


@pytest.fixture(scope="module")
def whole(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> str:
    return replay(HDF5Reporter(), tmp_path_factory.mktemp("whole") / "job", recording)


def test_every_dataset_of_a_real_wepy_file_is_there_with_its_rank_and_type(whole: str) -> None:
    """The layout is that of a file which wepy 1.x wrote for the same kind of job."""
    with h5py.File(whole, "r") as file:
        assert {name: described(file[name]) for name in WEPY_LAYOUT} == WEPY_LAYOUT
        assert isinstance(file["_settings/alt_reps_idxs"], h5py.Group)
        assert list(file["_settings/record_fields/warping"].asstr()[:]) == [
            "walker_idx",
            "target_idx",
            "weight",
        ]
        assert file["_settings/field_feature_dtypes/positions"].asstr()[()] == '[["", "<f8"]]'
        assert file["_settings/field_feature_shapes/positions"][:].tolist() == [2, 3]


def test_attributes_name_the_run_its_trajectories_and_its_hashes(whole: str) -> None:
    """A reader learns from the attributes which snapshots a run went between."""
    with h5py.File(whole, "r") as file:
        run = file["runs/0"]
        assert run.attrs["run_idx"] == 0
        assert run.attrs["start_snapshot_hash"] == "0" * 32
        assert run.attrs["end_snapshot_hash"] == "f" * 32
        assert dict(run["trajectories/3"].attrs) == {"run_idx": 0, "traj_idx": 3, "cycle_idx": 0}


def test_frames_are_the_states_after_dynamics_bit_for_bit(whole: str, recording: Recording) -> None:
    """Frame c of trajectory w is walker w of cycle c before warping and resampling."""
    with h5py.File(whole, "r") as file:
        for walker in range(len(recording.init_walkers)):
            group = file[f"runs/0/trajectories/{walker}"]
            told = [report["new_walkers"][walker] for report in recording.reports]
            assert set(group) == {"positions", "velocities", "box_vectors", "weights"}
            for name in ("positions", "velocities", "box_vectors"):
                expected = np.stack([each.state[name] for each in told])
                assert group[name][:].tobytes() == expected.tobytes()
            assert group["weights"][:, 0].tolist() == [each.weight for each in told]
            start = file[f"runs/0/init_walkers/{walker}"]
            assert (
                start["positions"][0] == recording.init_walkers[walker].state["positions"]
            ).all()
            assert start["weights"][:].tolist() == [[recording.init_walkers[walker].weight]]


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("resampling", "resampling_data"),
        ("resampler", "resampler_data"),
        ("warping", "warp_data"),
        ("boundary_conditions", "bc_data"),
    ],
)
def test_records_are_in_the_tables_in_order(
    whole: str, recording: Recording, table: str, key: str
) -> None:
    """Each record of each cycle is a row, under the index of its cycle."""
    rows = [(report["cycle_idx"], row) for report in recording.reports for row in report[key]]
    with h5py.File(whole, "r") as file:
        group = file[f"runs/0/{table}"]
        assert group["_cycle_idxs"][:].tolist() == [cycle for cycle, _ in rows]
        for name in set(group) - {"_cycle_idxs"}:
            stored = [np.ravel(value).tolist() for value in group[name][:]]
            assert stored == [np.ravel(row[name]).tolist() for _, row in rows], name


def test_progress_has_one_row_a_cycle(whole: str, recording: Recording) -> None:
    """Progress rows hold one number for each walker."""
    with h5py.File(whole, "r") as file:
        stored = [row.tolist() for row in file["runs/0/progress/min_distances"][:]]
    assert stored == [report["progress_data"]["min_distances"] for report in recording.reports]


def test_blocks_make_the_same_file_contents_however_they_are_cut(
    whole: str, recording: Recording, tmp_path: Path
) -> None:
    """Flushing after every cycle changes nothing but when the data arrive."""
    reporter = open_reporter(HDF5Reporter(), tmp_path / "job", recording)
    for report in recording.reports:
        reporter.report(**report)
        reporter.flush()
        with h5py.File(reporter.path, "r") as file:
            frames = file["runs/0/trajectories/0/positions"]
            assert len(frames) == report["cycle_idx"] + 1
    reporter.annotate(end_snapshot_hash="f" * 32)
    reporter.cleanup()
    assert contents(reporter.path) == contents(whole)
    assert sorted(os.listdir(tmp_path)) == ["job.wepy.h5"]


@pytest.mark.parametrize("cut", [0, 1, 17, 40])
def test_a_resumed_file_equals_one_never_interrupted(
    whole: str, recording: Recording, tmp_path: Path, cut: int
) -> None:
    """R2: the file is ahead of the checkpoint, is cut back to it, and ends the same."""
    killed = open_reporter(HDF5Reporter(), tmp_path / "job", recording)
    for report in recording.reports[: cut + 5]:
        killed.report(**report)
    killed.flush()
    del killed
    resumed = open_reporter(HDF5Reporter(), tmp_path / "job", recording, resume_at=cut)
    for report in recording.reports[cut:]:
        resumed.report(**report)
    resumed.annotate(end_snapshot_hash="f" * 32)
    resumed.cleanup()
    assert contents(resumed.path) == contents(whole)


def test_a_file_that_ended_in_order_can_be_resumed(
    whole: str, recording: Recording, tmp_path: Path
) -> None:
    """A job stopped by a signal closes its file; going on appends to it (R2)."""
    replay(HDF5Reporter(), tmp_path / "job", recording, recording.reports[:11])
    resumed = open_reporter(HDF5Reporter(), tmp_path / "job", recording, resume_at=11)
    with h5py.File(resumed.path, "r") as file:
        assert "end_snapshot_hash" not in file["runs/0"].attrs
    for report in recording.reports[11:]:
        resumed.report(**report)
    resumed.annotate(end_snapshot_hash="f" * 32)
    resumed.cleanup()
    assert contents(resumed.path) == contents(whole)


def test_a_file_with_too_few_cycles_is_not_continued(recording: Recording, tmp_path: Path) -> None:
    """Going on with less than the checkpoint vouches for would leave a hole."""
    path = replay(HDF5Reporter(), tmp_path / "job", recording, recording.reports[:4])
    with pytest.raises(OSError, match="cannot be continued: it holds 4 cycles") as caught:
        open_reporter(HDF5Reporter(), tmp_path / "job", recording, resume_at=9)
    assert caught.value.filename == path


def test_another_kind_of_file_is_not_continued(recording: Recording, tmp_path: Path) -> None:
    """Whatever lies under the job's name is not written into unless it is ours."""
    path = tmp_path / "job.wepy.h5"
    with h5py.File(path, "w") as file:
        file["x"] = 1
    before = path.read_bytes()
    with pytest.raises(OSError, match="it is not one of these files"):
        open_reporter(HDF5Reporter(), tmp_path / "job", recording, resume_at=1)
    path.write_bytes(b"no HDF5 at all")
    with pytest.raises(OSError) as caught:
        open_reporter(HDF5Reporter(), tmp_path / "job", recording, resume_at=1)
    assert caught.value.filename == str(path)
    assert before.startswith(b"\x89HDF")


def test_a_cycle_without_progress_has_an_empty_row(recording: Recording, tmp_path: Path) -> None:
    """Rows of progress are found by their cycle, so none may be missing."""
    reports = [dict(report) for report in recording.reports[:3]]
    reports[1]["progress_data"] = {}
    path = replay(HDF5Reporter(), tmp_path / "job", recording, reports)
    with h5py.File(path, "r") as file:
        assert [len(row) for row in file["runs/0/progress/min_distances"][:]] == [8, 0, 8]


@pytest.mark.parametrize("lacking", [[3], [0], range(8)])
@pytest.mark.parametrize("resumed", [False, True])
def test_states_with_unequal_fields_are_named(
    recording: Recording, tmp_path: Path, lacking: Sequence[int], resumed: bool
) -> None:
    """A runner that leaves a field out now and then is told which walker lacks it, be it the
    first or all of them: frames without it would be taken for those of other cycles."""
    bare = dict(recording.reports[1])
    walkers = list(bare["new_walkers"])
    for k in lacking:
        walkers[k] = Walker(WalkerState(positions=walkers[k].state["positions"]), walkers[k].weight)
    bare["new_walkers"] = walkers
    reporter = open_reporter(HDF5Reporter(), tmp_path / "job", recording)
    reporter.report(**recording.reports[0])
    if resumed:
        reporter.cleanup()
        reporter = open_reporter(HDF5Reporter(), tmp_path / "job", recording, resume_at=1)
    reporter.report(**bare)
    with pytest.raises(FieldError, match=f"walker {lacking[0]} in cycle 1 has no 'box_vectors'"):
        reporter.flush()
    with h5py.File(reporter.path, "r") as file:
        assert len(file["runs/0/trajectories/0/positions"]) == 1


def test_main_rep_idxs_saves_only_those_atoms(recording: Recording, tmp_path: Path) -> None:
    """Atom fields are cut to the atoms asked for; the topology stays whole."""
    path = replay(HDF5Reporter(main_rep_idxs=[1]), tmp_path / "job", recording)
    with h5py.File(path, "r") as file:
        assert file["_settings/n_atoms"][()] == 1
        assert file["_settings/main_rep_idxs"][:].tolist() == [1]
        for name in ("positions", "velocities"):
            stored = file[f"runs/0/trajectories/2/{name}"][5]
            expected = recording.reports[5]["new_walkers"][2].state[name][[1]]
            assert (stored == expected).all()
        topology = json.loads(file["topology"].asstr()[()])
        assert sum(len(res["atoms"]) for res in topology["chains"][0]["residues"]) == 2


def test_fields_of_rank_0_become_columns_and_absent_ones_are_left_out(
    recording: Recording, tmp_path: Path
) -> None:
    """Readers expect (n_cycles, 1) for the time; forces nobody computed are no error."""
    reporter = HDF5Reporter(save_fields=("positions", "time", "forces"))
    path = replay(reporter, tmp_path / "job", recording)
    with h5py.File(path, "r") as file:
        group = file["runs/0/trajectories/1"]
        assert set(group) == {"positions", "time", "weights"}
        told = [[float(r["new_walkers"][1].state["time"])] for r in recording.reports]
        assert group["time"][:].tolist() == told
        assert file["runs/0/init_walkers/1/time"].shape == (1, 1)


class Bare:
    """A component that declares nothing and says nothing."""


def bare_reports(n_cycles: int, n_walkers: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    made = []
    for cycle in range(n_cycles):
        walkers = [
            Walker(WalkerState(positions=rng.random((1, 2))), 1 / n_walkers)
            for _ in range(n_walkers)
        ]
        made.append({"cycle_idx": cycle, "new_walkers": walkers, "resampled_walkers": walkers})
    return made


def test_components_that_know_nothing_of_records_leave_empty_tables(tmp_path: Path) -> None:
    """A runner without topology and a resampler without records still make a whole file."""
    reports = bare_reports(3, 2)
    plain = Recording(reports[0]["new_walkers"], Bare(), Bare(), None, reports)
    path = replay(HDF5Reporter(), tmp_path / "job", plain)
    with h5py.File(path, "r") as file:
        assert file["runs/0/trajectories/1/positions"].shape == (3, 1, 2)
        assert file["_settings/n_dims"][()] == 2
        assert len(file["runs/0/resampling/target_idxs"]) == 0
        assert len(file["runs/0/warping/weight"]) == 0
        assert list(file["runs/0/progress"]) == []
        atoms = json.loads(file["topology"].asstr()[()])["chains"][0]["residues"][0]["atoms"]
        assert len(atoms) == 1


def test_a_number_of_walkers_that_changes_is_written(tmp_path: Path) -> None:
    """A walker slot that appears later says in which cycle it did."""
    reports = bare_reports(3, 2)
    reports += [{**report, "cycle_idx": 3 + i} for i, report in enumerate(bare_reports(2, 4))]
    plain = Recording(reports[0]["new_walkers"], Bare(), Bare(), None, reports)
    path = replay(HDF5Reporter(), tmp_path / "job", plain)
    with h5py.File(path, "r") as file:
        lengths = [len(file[f"runs/0/trajectories/{w}/weights"]) for w in range(4)]
        assert lengths == [5, 5, 2, 2]
        assert file["runs/0/trajectories/3"].attrs["cycle_idx"] == 3


def test_a_walker_that_was_away_is_refused(tmp_path: Path) -> None:
    """Its frames would be taken for those of the cycles in which it was not there."""
    reports = [*bare_reports(2, 4), *bare_reports(2, 2), *bare_reports(2, 4)]
    reports = [{**report, "cycle_idx": cycle} for cycle, report in enumerate(reports)]
    plain = Recording(reports[0]["new_walkers"], Bare(), Bare(), None, reports)
    reporter = open_reporter(HDF5Reporter(), tmp_path / "job", plain)
    for report in reports[:4]:
        reporter.report(**report)
    reporter.flush()
    reporter.report(**reports[4])
    with pytest.raises(GapError, match="walker 2 is there in cycle 4"):
        reporter.flush()


def test_a_walker_that_came_after_the_checkpoint_comes_when_it_comes(tmp_path: Path) -> None:
    """R2: what a killed session wrote of a walker slot that is not there yet is gone."""
    reports = [*bare_reports(3, 2), *bare_reports(2, 4)]
    reports = [{**report, "cycle_idx": cycle} for cycle, report in enumerate(reports)]
    plain = Recording(reports[0]["new_walkers"], Bare(), Bare(), None, reports)
    path = replay(HDF5Reporter(), tmp_path / "job", plain)
    reporter = open_reporter(HDF5Reporter(), tmp_path / "job", plain, resume_at=3)
    with h5py.File(path, "r") as file:
        assert set(file["runs/0/trajectories"]) == {"0", "1"}
    again = [reports[1], reports[4]]
    for cycle, report in enumerate(again, start=3):
        reporter.report(**{**report, "cycle_idx": cycle})
    reporter.cleanup()
    with h5py.File(path, "r") as file:
        assert len(file["runs/0/trajectories/0/weights"]) == 5
        assert len(file["runs/0/trajectories/3/weights"]) == 1
        assert file["runs/0/trajectories/3"].attrs["cycle_idx"] == 4


def test_a_foreign_state_that_is_changed_later_is_kept_as_it_was(tmp_path: Path) -> None:
    """Only states known to be immutable are held without a copy."""

    class Mutable(dict[str, Any]):
        def dict(self) -> dict[str, Any]:
            return dict(self)

    array = np.zeros((1, 3))
    walkers = [Walker(Mutable(positions=array), 1.0)]
    reports = [
        {"cycle_idx": c, "new_walkers": walkers, "resampled_walkers": walkers} for c in (0, 1)
    ]
    plain = Recording(walkers, Bare(), Bare(), None, reports)
    reporter = open_reporter(HDF5Reporter(), tmp_path / "job", plain)
    for report in reports:
        reporter.report(**report)
        array += 1.0
    reporter.cleanup()
    with h5py.File(reporter.path, "r") as file:
        assert file["runs/0/trajectories/0/positions"][:, 0, 0].tolist() == [0.0, 1.0]


def test_a_record_without_a_declared_field_is_named(recording: Recording, tmp_path: Path) -> None:
    """A component's mistake is reported as such, with the field and the table."""
    broken = dict(recording.reports[0], resampling_data=[{"decision_id": 1}])
    reporter = open_reporter(HDF5Reporter(), tmp_path / "job", recording)
    with pytest.raises(Exception, match="a resampling record lacks the field 'target_idxs'"):
        reporter.report(**broken)


def test_a_folder_that_is_not_there_is_named(recording: Recording, tmp_path: Path) -> None:
    """Failures to write are OSErrors that carry the name of the file."""
    with pytest.raises(OSError) as caught:
        open_reporter(HDF5Reporter(), tmp_path / "no" / "job", recording)
    assert caught.value.filename == str(tmp_path / "no" / "job.wepy.h5")


CHILD = textwrap.dedent(
    """
    import os, sys
    from tests.reporters.recorded import open_reporter, record
    from wepystore.reporters.hdf5 import HDF5Reporter

    recording = record(12)
    reporter = open_reporter(HDF5Reporter(), sys.argv[1], recording)
    cycle = 0
    print("ready", flush=True)
    while True:
        report = dict(recording.reports[cycle % 12], cycle_idx=cycle)
        reporter.report(**report)
        reporter.flush()
        cycle += 1
        print(cycle, flush=True)
    """
)


@pytest.mark.parametrize("wait", [3, 20, pytest.param(57, marks=pytest.mark.slow)])
def test_a_file_survives_kill_9_at_any_moment_with_every_flushed_cycle(
    recording: Recording, tmp_path: Path, wait: int
) -> None:
    """R2: killed while it writes without pause, the file opens, is whole, and can go on."""
    root = Path(__file__).parents[3]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "job")],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    flushed = 0
    for line in child.stdout:
        flushed = int(line) if line.strip().isdigit() else 0
        if flushed >= wait:
            break
    child.send_signal(signal.SIGKILL)
    for line in child.stdout:
        flushed = int(line)
    child.wait()
    resumed = open_reporter(HDF5Reporter(), tmp_path / "job", recording, resume_at=flushed)
    with h5py.File(resumed.path, "r") as file:
        for walker in range(8):
            frames = file[f"runs/0/trajectories/{walker}/positions"][:]
            assert len(frames) == flushed
            assert np.isfinite(frames).all()
        assert len(file["runs/0/resampling/target_idxs"][:]) == 8 * flushed
    resumed.report(**dict(recording.reports[0], cycle_idx=flushed))
    resumed.cleanup()
    with h5py.File(resumed.path, "r") as file:
        assert len(file["runs/0/trajectories/0/positions"]) == flushed + 1


def test_a_full_disk_is_an_oserror_and_leaves_the_last_whole_state(
    recording: Recording, tmp_path: Path
) -> None:
    """What was flushed before the disk filled up stays readable."""
    reporter = open_reporter(HDF5Reporter(), tmp_path / "job", recording)
    for report in recording.reports[:5]:
        reporter.report(**report)
    reporter.flush()
    size = os.path.getsize(reporter.path)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1000, old[1]))
        with pytest.raises(OSError) as caught:
            for cycle in range(5, 2000):
                reporter.report(**dict(recording.reports[cycle % 40], cycle_idx=cycle))
                if cycle % 100 == 0:
                    reporter.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.filename == reporter.path
    with h5py.File(reporter.path, "r") as file:
        assert len(file["runs/0/trajectories/7/positions"][:]) == 5


def test_much_data_is_written_before_anybody_asks(tmp_path: Path) -> None:
    """Memory is bounded: after the first cycle, a block goes out once 64 MiB are held."""
    state = WalkerState(positions=np.zeros((350_000, 3)))
    walkers = [Walker(state, 0.5) for _ in range(2)]
    reports = [
        {"cycle_idx": c, "new_walkers": walkers, "resampled_walkers": walkers} for c in range(7)
    ]
    plain = Recording(walkers, Bare(), Bare(), None, reports)
    reporter = open_reporter(HDF5Reporter(), tmp_path / "job", plain)
    for report in reports:
        reporter.report(**report)
    with h5py.File(reporter.path, "r") as file:
        assert len(file["runs/0/trajectories/0/positions"]) == 5
    reporter.cleanup()


def test_what_hdf5_says_of_the_disk_is_told_as_the_system_does(tmp_path: Path) -> None:
    """With the file's own name, and none of a draft."""
    draft = tmp_path / "none" / ".draft.h5"
    with pytest.raises(FileNotFoundError) as caught, named_errors("a.h5"):
        h5py.File(draft, "w")
    assert str(caught.value) == "[Errno 2] No such file or directory: 'a.h5'"
