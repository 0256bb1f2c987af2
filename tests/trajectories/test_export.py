"""Files of trajectories: what they hold is what was recorded, whoever reads them."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import mdtraj
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.orchestrator.run.test_recorder import Wavering
from tests.systems import (
    environment,
    langevin,
    pair_apparatus,
    pair_snapshot,
    pair_state,
    pair_topology,
    plain_configuration,
    run_in_turn,
    run_job,
    salt_system,
)
from wepystore.api import (
    Apparatus,
    Configuration,
    HDF5Reporter,
    OpenMMRunner,
    PairDistance,
    Recording,
    SerialMapper,
    Snapshot,
    UnbindingBC,
    Walker,
    WExploreResampler,
    export_run,
    load_frames,
    load_tables,
    prepare_store,
)
from wepystore.engine.topology import topology_json
from wepystore.errors import WepystoreError
from wepystore.records import frames as blocks
from wepystore.trajectories.atoms import KeptAtoms
from wepystore.trajectories.drafts import Drafts
from wepystore.trajectories.moving import Moves

N_FIRST, N_LAST, N_WALKERS = 12, 5, 6


class Made(NamedTuple):
    """A store with a run, one that goes on from its end, and the file that the first has left."""

    store: Path
    first: str
    last: str
    reported: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("exports")
    configuration = plain_configuration(reporters=[HDF5Reporter(("positions",))])
    boundary = UnbindingBC(
        0.385, [pair_state()], ligand_idxs=[0], receptor_idxs=[1], periodic=False
    )
    snapshot = pair_snapshot(N_WALKERS, pair_apparatus(boundary_conditions=boundary))
    prepared = prepare_store(folder / "a.orch", snapshot, configuration)
    store, runs = run_in_turn(prepared, folder, (N_FIRST, N_LAST), n_steps=60)
    assert len(load_tables(store, runs[0])["warping/weight"])
    (reported,) = folder.glob("job0/*.h5")
    return Made(store.path, runs[0], runs[1], reported)


def tree(file: h5py.File) -> dict[str, Any]:
    """What is in a file: the values of all datasets."""
    found: dict[str, Any] = {}

    def look(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    file.visititems(look)
    return found


def test_a_run_is_what_its_reporter_wrote(made: Made, tmp_path: Path) -> None:
    """A WepyHDF5 file of a recording has the layout, the records and the weights of the one that
    the job has left, and its states to the precision of the frames."""
    (file,) = export_run(made.store, made.first, tmp_path / "a.h5")
    with h5py.File(file) as ours, h5py.File(made.reported) as theirs:
        exported, reported = tree(ours), tree(theirs)
        dtypes = {name for name in exported if "field_feature_dtypes" in name}
        assert exported.keys() == reported.keys()
        for name in exported.keys() - dtypes:
            one, other = exported[name], reported[name]
            if name.endswith("/positions"):
                assert_array_equal(one.astype(np.float32), other.astype(np.float32))
            elif getattr(one, "dtype", None) == np.dtype(object):
                assert [list(each) for each in one] == [list(each) for each in other]
            else:
                assert_array_equal(one, other)
        attributes = dict(theirs["runs/0"].attrs)
        assert attributes.items() <= dict(ours["runs/0"].attrs).items()
        assert ours["runs/0"].attrs["run_record"] == made.first


def test_joined_runs_are_one(made: Made, tmp_path: Path) -> None:
    """The cycles of the run that led to its start come before its own, and records count on."""
    (file,) = export_run(made.store, made.last, tmp_path / "a.h5", joined=True)
    tables = load_tables(made.store, made.last, joined=True)
    frames = load_frames(made.store, made.last, joined=True)
    with h5py.File(file) as found:
        run = found["runs/0"]
        for walker in range(N_WALKERS):
            held = run[f"trajectories/{walker}"]
            assert_array_equal(held["positions"], frames.walker(walker))
            assert_array_equal(held["weights"][:, 0], tables.by_walker("weights")[:, walker])
        cycles = run["resampling/_cycle_idxs"][:]
        assert_array_equal(cycles, np.repeat(np.arange(N_FIRST + N_LAST), N_WALKERS))
        assert_array_equal(run["warping/weight"][:], tables["warping/weight"])


def test_what_is_left_out_of_a_wepy_file_is_not_a_number(made: Made, tmp_path: Path) -> None:
    """Walkers, cycles between and atoms: records and weights stay whole, the numbers of walkers and
    cycles as well, and frames that nobody asked for take no room."""
    more = {"walkers": [1, 4], "every": 3, "atoms": [1], "cycles": slice(2, 11)}
    (file,) = export_run(made.store, made.first, tmp_path / "a.h5", **more)
    frames, tables = load_frames(made.store, made.first), load_tables(made.store, made.first)
    with h5py.File(file) as found:
        assert_array_equal(found["_settings/main_rep_idxs"], [1])
        assert found["runs/0"].attrs["first_cycle"] == 2
        for walker in range(N_WALKERS):
            held = found[f"runs/0/trajectories/{walker}"]
            true = np.full((9, 1, 3), np.nan)
            if walker in (1, 4):
                true[::3] = frames.walker(walker)[2:11:3, 1:]
            else:
                assert held["positions"].id.get_storage_size() == 0
            assert_array_equal(held["positions"], true)
            assert_array_equal(held["weights"][:, 0], tables.by_walker("weights")[2:11, walker])
        warps = (tables["warping/cycle_idx"] >= 2) & (tables["warping/cycle_idx"] < 11)
        assert_array_equal(found["runs/0/warping/weight"], tables["warping/weight"][warps])
        cycles = found["runs/0/resampling/_cycle_idxs"]
        assert_array_equal(cycles, np.repeat(np.arange(9), N_WALKERS))


@pytest.mark.parametrize("suffix", [".dcd", ".xtc", ".pdb"])
def test_mdtraj_reads_a_file_for_each_walker(made: Made, tmp_path: Path, suffix: str) -> None:
    """Positions as they are recorded, as far as the format holds them; no box of a system that has
    none; and which cycle and weight each frame has."""
    files = export_run(made.store, made.first, tmp_path / f"a{suffix}", cycles=slice(-4, None))
    names = [f"a-W{walker:03}{suffix}" for walker in range(N_WALKERS)]
    beside = ["a.csv"] if suffix == ".pdb" else ["a.pdb", "a.csv"]
    assert [Path(file).name for file in files] == names + beside
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names + beside)
    frames, tables = load_frames(made.store, made.first), load_tables(made.store, made.first)
    weights = tables.by_walker("weights")
    with open(tmp_path / "a.csv") as text:
        rows = list(csv.DictReader(text))
    for walker in range(N_WALKERS):
        more = {} if suffix == ".pdb" else {"top": str(tmp_path / "a.pdb")}
        read = mdtraj.load(files[walker], **more)
        assert read.unitcell_vectors is None
        # In XTC and PDB three decimals, of nm and of angstrom.
        np.testing.assert_allclose(read.xyz, frames.walker(walker)[-4:], atol=6e-4)
        mine = [row for row in rows if row["trajectory"] == f"W{walker:03}"]
        assert [int(row["cycle"]) for row in mine] == [8, 9, 10, 11]
        assert [float(row["weight"]) for row in mine] == weights[-4:, walker].tolist()
        assert {row["run"] for row in mine} == {made.first}


def test_one_walker_is_one_file(made: Made, tmp_path: Path) -> None:
    """Of the name that was given; its atoms are those that are asked for."""
    more = {"walkers": [3], "joined": True, "atoms": "1"}
    files = export_run(made.store, made.last, tmp_path / "a.dcd", **more)
    assert [Path(file).name for file in files] == ["a.dcd", "a.pdb", "a.csv"]
    read = mdtraj.load(files[0], top=files[1])
    true = load_frames(made.store, made.last, joined=True).walker(3)[:, 1:]
    np.testing.assert_allclose(read.xyz, true, atol=1e-6)


class Salt(NamedTuple):
    """A run in a box, of molecules of two atoms each, some of which the box cuts."""

    store: Path
    run: str


@pytest.fixture(scope="module")
def salt(tmp_path_factory: pytest.TempPathFactory) -> Salt:
    folder = tmp_path_factory.mktemp("salt")
    system, state = salt_system(spacing=0.4)
    topology = pair_topology(len(state["positions"]))
    atoms = list(topology.atoms())
    for first, second in zip(atoms[::2], atoms[1::2], strict=True):
        topology.addBond(first, second)
    # One of the second molecule is on the other side of the box.
    positions = np.array(state["positions"])
    positions[3, 2] -= 1.6
    runner = OpenMMRunner(system, topology, langevin(), platform="Reference")
    start = type(state)(**{**state, "positions": positions})
    apparatus = Apparatus(runner, None, WExploreResampler(PairDistance(0, 1), pmax=0.6))
    snapshot = Snapshot([Walker(start, 0.25) for _ in range(4)], apparatus)
    configuration = Configuration(SerialMapper(), recording=Recording(every=2, precision="float64"))
    prepared = prepare_store(folder / "s.orch", snapshot, configuration)
    done = run_job(prepared.store, prepared.snapshot_hash, folder / "job", n_steps=2, n_cycles=5)
    return Salt(folder / "job", done.record)


@pytest.mark.parametrize("suffix", [".dcd", ".xtc", ".pdb"])
def test_a_box_is_written_where_there_is_one(salt: Salt, tmp_path: Path, suffix: str) -> None:
    """And frames are those of each cycle of which they are kept."""
    files = export_run(salt.store, salt.run, tmp_path / f"a{suffix}", walkers=[2])
    read = mdtraj.load(files[0], **({} if suffix == ".pdb" else {"top": files[1]}))
    frames = load_frames(salt.store, salt.run)
    np.testing.assert_allclose(read.unitcell_vectors, frames.walker(2, "box_vectors"), atol=1e-3)
    np.testing.assert_allclose(read.xyz, frames.walker(2), atol=6e-4)
    with open(tmp_path / "a.csv") as text:
        assert [row["cycle"] for row in csv.DictReader(text)] == ["0", "2", "4"]


def test_cycles_without_frames_are_not_numbers_in_a_wepy_file(salt: Salt, tmp_path: Path) -> None:
    """So its frames are those of the cycles that its records tell of; in double precision."""
    (file,) = export_run(salt.store, salt.run, tmp_path / "a.h5")
    frames = load_frames(salt.store, salt.run)
    with h5py.File(file) as found:
        held = found["runs/0/trajectories/1/positions"]
        assert held.dtype == np.float64
        assert_array_equal(held[::2], frames.walker(1))
        assert np.isnan(held[1::2]).all()
        assert found["runs/0/trajectories/1/weights"].shape == (5, 1)


def test_molecules_are_made_whole_and_frames_aligned(salt: Salt, tmp_path: Path) -> None:
    """Atoms of a molecule are near each other, whatever the box has cut; frames lie over the first
    by the atoms that are named, also where those are not written."""
    more: dict[str, Any] = {"walkers": [0], "whole": True}
    cut = export_run(salt.store, salt.run, tmp_path / "cut.dcd", walkers=[0])
    whole = export_run(salt.store, salt.run, tmp_path / "whole.dcd", **more)
    read = [mdtraj.load(files[0], top=files[1]).xyz for files in (cut, whole)]
    lengths = [np.linalg.norm(xyz[:, ::2] - xyz[:, 1::2], axis=2).max() for xyz in read]
    assert lengths[0] > 1.0
    assert lengths[1] < 0.7
    more |= {"align": "0-5", "atoms": "2-9"}
    aligned = export_run(salt.store, salt.run, tmp_path / "aligned.dcd", **more)
    held = mdtraj.load(whole[0], top=whole[1])
    held.superpose(held[0], atom_indices=range(6))
    found = mdtraj.load(aligned[0], top=aligned[1])
    np.testing.assert_allclose(found.xyz, held.xyz[:, 2:10], atol=1e-5)
    assert np.abs(held.xyz[1:] - read[1][1:]).max() > 1e-4


def test_in_a_wepy_file_box_and_atoms_move_together(salt: Salt, tmp_path: Path) -> None:
    """Frames of all walkers lie over the first of all, as in other files, and where the run began
    as well; the box is turned with the atoms."""
    more: dict[str, Any] = {"whole": True, "align": "0-5"}
    (file,) = export_run(salt.store, salt.run, tmp_path / "a.h5", **more)
    (wholly,) = export_run(salt.store, salt.run, tmp_path / "b.h5", whole=True)
    files = export_run(salt.store, salt.run, tmp_path / "a.dcd", **more)
    with h5py.File(file) as found, h5py.File(wholly) as whole:
        for walker in range(4):
            held, other = (each[f"runs/0/trajectories/{walker}"] for each in (found, whole))
            positions = held["positions"][::2]
            read = mdtraj.load(files[walker], top=files[4])
            np.testing.assert_allclose(read.xyz, positions, atol=1e-5)
            # What is between two atoms, in parts of the box.
            parts = [
                (each["positions"][::2, 1:] - each["positions"][::2, :1])
                @ np.linalg.inv(each["box_vectors"][::2])
                for each in (held, other)
            ]
            np.testing.assert_allclose(*parts, atol=1e-9)
            assert np.abs(held["box_vectors"][2] - other["box_vectors"][2]).max() > 1e-4
            middles = positions[:, :6].mean(axis=1)
            np.testing.assert_allclose(middles, middles[:1].repeat(3, axis=0), atol=1e-9)
        first, begun = (
            found[f"runs/0/{n}/0/positions"][0] for n in ("trajectories", "init_walkers")
        )
        np.testing.assert_allclose(begun, first, atol=0.1)
        bonds = np.linalg.norm(begun[::2] - begun[1::2], axis=1)
        assert bonds.max() < 0.7


@pytest.mark.parametrize("suffix", [".h5", ".dcd"])
def test_atoms_on_a_line_are_aligned(made: Made, tmp_path: Path, suffix: str) -> None:
    """Two, of which any turn about their line is as good: the least is taken. One alone is laid
    over itself."""
    files = export_run(made.store, made.first, tmp_path / f"two{suffix}", align="0-1")
    alone = export_run(made.store, made.first, tmp_path / f"one{suffix}", align=[1])
    true, reference = load_frames(made.store, made.first), None
    for walker in range(N_WALKERS):
        found = []
        for names in (files, alone):
            if suffix == ".h5":
                with h5py.File(names[0]) as held:
                    found.append(held[f"runs/0/trajectories/{walker}/positions"][:])
            else:
                found.append(mdtraj.load(names[walker], top=names[-2]).xyz)
        kept = true.walker(walker)
        reference = kept[0] if reference is None else reference
        lines = [each[:, 1] - each[:, 0] for each in (found[0], reference[None])]
        lines = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in lines]
        np.testing.assert_allclose(lines[0], lines[1].repeat(N_FIRST, axis=0), atol=1e-5)
        np.testing.assert_allclose(found[1], kept - kept[:, 1:] + reference[1], rtol=0, atol=1e-6)
        if walker == 0:
            np.testing.assert_allclose(found[0][0], kept[0], rtol=0, atol=1e-7)


def test_velocities_are_turned_with_the_atoms(tmp_path: Path) -> None:
    """And not where frames stay as they are."""
    keeps = Configuration(SerialMapper(), recording=Recording(("positions", "velocities")))
    prepared = prepare_store(tmp_path / "a.orch", pair_snapshot(), keeps)
    done = run_job(prepared.store, prepared.snapshot_hash, tmp_path / "job", n_steps=200)
    run = done.record
    (file,) = export_run(tmp_path / "job", run, tmp_path / "a.h5", align="0-1", atoms="1")
    frames = load_frames(tmp_path / "job", run)
    lines = frames.walker(2)[:, 1] - frames.walker(2)[:, 0]
    with h5py.File(file) as found:
        velocities = found["runs/0/trajectories/2/velocities"][:, 0]
    true = frames.walker(2, "velocities")[:, 1]
    (first,) = frames.walker(0, stop=1)
    along = (first[1] - first[0]) / np.linalg.norm(first[1] - first[0])
    away = (true * lines).sum(axis=1) / np.linalg.norm(lines, axis=1)
    np.testing.assert_allclose(velocities @ along, away, atol=1e-4)
    np.testing.assert_allclose(
        np.linalg.norm(velocities, axis=1), np.linalg.norm(true, axis=1), rtol=1e-5
    )
    assert np.abs(velocities - true).max() > 1e-3


def test_molecules_of_any_bonds_are_made_whole(salt: Salt) -> None:
    """Rings and branches, whatever their atoms are numbered, in a box that is no cube and of which
    each frame has another; what was whole keeps its bits."""
    frames = load_frames(salt.store, salt.run)
    random = np.random.default_rng(1)
    n_atoms, n_frames = frames.field("positions").shape[0], 7
    # Two trees over all atoms in any order, one of them closed to a ring.
    order = random.permutation(n_atoms)
    bonds = [(int(order[k]), int(order[k - 1 - k % 3])) for k in range(1, n_atoms) if k != 20]
    bonds.append((int(order[0]), int(order[3])))
    topology = pair_topology(n_atoms)
    atoms = list(topology.atoms())
    for one, other in bonds:
        topology.addBond(atoms[one], atoms[other])
    kept = KeptAtoms(salt.run, frames, str(topology_json(topology)))
    moves = Moves(salt.run, frames, kept, None, True, (0, 0))
    boxes = np.array([[3.0, 0.0, 0.0], [0.9, 2.8, 0.0], [-0.8, 1.1, 2.7]])
    boxes = boxes * random.uniform(0.9, 1.1, (n_frames, 1, 1))
    whole = np.zeros((n_frames, n_atoms, 3))
    for one, other in bonds[:-1]:
        whole[:, one] = whole[:, other] + random.uniform(-0.1, 0.1, (n_frames, 3))
    images = random.integers(-2, 3, (n_frames, n_atoms, 3))
    cut = {"positions": whole + images @ boxes, "box_vectors": boxes}
    found = moves.moved(cut, "positions")
    for one, other in bonds:
        lengths = np.linalg.norm(found[:, one] - found[:, other], axis=1)
        assert lengths.max() < 1.0, (one, other)
    np.testing.assert_allclose(
        (found - cut["positions"]) @ np.linalg.inv(boxes),
        np.rint((found - cut["positions"]) @ np.linalg.inv(boxes)),
        atol=1e-9,
    )
    assert_array_equal(moves.moved({**cut, "positions": whole}, "positions"), whole)
    cut["positions"][3] = np.nan
    found = moves.moved(cut, "positions")
    assert np.isnan(found).any(axis=(1, 2)).tolist() == [k == 3 for k in range(n_frames)]
    with pytest.raises(WepystoreError, match="a box of its frames has no volume"):
        moves.moved({**cut, "box_vectors": boxes * 0}, "positions")


def test_atoms_are_selected_in_mdtrajs_language(salt: Salt, tmp_path: Path) -> None:
    """By what the topology says of them; the topology beside it has just these."""
    files = export_run(salt.store, salt.run, tmp_path / "a.xtc", atoms="resid 3 to 5")
    read = mdtraj.load(files[0], top=files[-2])
    true = load_frames(salt.store, salt.run).walker(0)[:, 3:6]
    np.testing.assert_allclose(read.xyz, true, atol=6e-4)
    assert [bond[0].index for bond in read.topology.bonds] == [1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"walkers": [0, 6]}, "no walker 6 in these cycles"),
        ({"cycles": slice(12, None)}, "has 12 cycles, and of none"),
        ({"atoms": [0, 2]}, "has atom 2: they have 2, the first 0, the last 1"),
        ({"atoms": "resname NOBODY"}, "there are none of that kind"),
        ({"atoms": "resname ("}, "MDTraj does not understand"),
        ({"atoms": ""}, "MDTraj does not understand it"),
        ({"atoms": "1-0"}, "1-0 ends before it begins"),
        ({"atoms": "0-99999999999"}, "has atom 99999999999: they have 2"),
        ({"walkers": []}, "walkers is empty and must be numbers of walkers"),
        ({"every": 0}, "every is 0 and must be 1 or more"),
        ({"cycles": slice(0, 9, 2)}, "must be without a step: every leaves out"),
        ({"whole": True}, "without a box no molecule is cut"),
        ({"align": "0,2", "file": "a.h5"}, "has atom 2"),
        ({"file": "a.trr"}, "ends as nothing that trajectories"),
    ],
)
def test_what_there_is_not_is_told(
    made: Made, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    """In one line, and no file is left."""
    file = tmp_path / options.pop("file", "a.dcd")
    with pytest.raises(WepystoreError, match=said.replace("(", r"\(")) as caught:
        export_run(made.store, made.first, file, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 240
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".h5", ".dcd"])
def test_a_directory_is_not_replaced(made: Made, tmp_path: Path, suffix: str) -> None:
    """And is called one."""
    file = tmp_path / f"a{suffix}"
    file.mkdir()
    with pytest.raises(IsADirectoryError, match=f"a{suffix}"):
        export_run(made.store, made.first, file, walkers=[0], replace=True)
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_is_there_stays(made: Made, tmp_path: Path) -> None:
    """Also one beside those that are asked for; unless it may be replaced."""
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(FileExistsError):
        export_run(made.store, made.first, tmp_path / "a.dcd")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "mine"
    export_run(made.store, made.first, tmp_path / "a.dcd", walkers=[0], replace=True)
    assert (tmp_path / "a.csv").read_text() != "mine"


def test_without_the_library_the_extra_is_named(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For what needs it; .h5 and .pdb do not."""
    monkeypatch.setitem(__import__("sys").modules, "mdtraj", None)
    for file, options in (("a.dcd", {}), ("a.xtc", {}), ("a.h5", {"atoms": "name Ar"})):
        with pytest.raises(WepystoreError, match=r"pip install 'wepystore\[trajectories\]'"):
            export_run(made.store, made.first, tmp_path / file, **options)
    assert list(tmp_path.iterdir()) == []
    export_run(made.store, made.first, tmp_path / "a.pdb", atoms="0")
    export_run(made.store, made.first, tmp_path / "a.h5", atoms="0")


#: Writes a file again and again, each time to a disk with so much more room.
_FILLS = """
import os, resource, sys
from wepystore.api import export_run
store, run, file = sys.argv[1:]
export_run(store, run, file, walkers=[0])
size, (_, most) = os.path.getsize(file), resource.getrlimit(resource.RLIMIT_FSIZE)
for room in [1, *range(size // 12, size, size // 6), size - 100, size - 3, size - 1]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    try:
        export_run(store, run, file, replace=True, walkers=[0])
    except OSError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
assert not [name for name in os.listdir(os.path.dirname(file)) if ".part." in name]
print(size == os.path.getsize(file))
"""


@pytest.mark.parametrize("suffix", [".h5", ".dcd", ".xtc"])
def test_a_full_disk_ends_an_export_and_not_the_program(
    made: Made, tmp_path: Path, suffix: str
) -> None:
    """Wherever in a file it is met: one line with the name of the file, which stays as it was, and
    the program ends as it should."""
    file = tmp_path / f"a{suffix}"
    words = [sys.executable, "-c", _FILLS, made.store, made.first, file]
    done = subprocess.run(words, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    said = {line.partition("] ")[2] for line in done.stdout.splitlines() if "Errno" in line}
    assert done.stdout.count("Errno") >= 5
    odd = f"not all of it could be written; is the disk full?: '{file}'"
    full = {f"File too large: '{file.with_suffix(each)}'" for each in (suffix, ".csv", ".pdb")}
    assert said and said <= ({*full, odd} if suffix != ".h5" else full)
    assert done.stdout.splitlines()[-1] == "True"


def test_files_get_their_names_together(tmp_path: Path) -> None:
    """Or none does, and nothing else is left."""
    with pytest.raises(ZeroDivisionError), Drafts(replace=False) as drafts:
        for name in ("a", "b"):
            Path(drafts.new(str(tmp_path / name))).write_text(name)
        assert not (tmp_path / "a").exists()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_walkers_may_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trajectory in a .h5 file has each cycle from the first with such a walker on; while it is
    away it is at no place and of no weight. Also where frames stay in the store, or some are left
    out."""
    monkeypatch.setattr(blocks, "block_cycles_for", lambda n_walkers, n_bytes, every: 2 * every)
    apparatus = Apparatus.as_found(pair_snapshot().apparatus.runner, None, Wavering())
    snapshot = Snapshot.as_found(pair_snapshot(4).walkers, apparatus)
    prepared = prepare_store(tmp_path / "a.orch", snapshot, plain_configuration())
    run = run_job(prepared.store, prepared.snapshot_hash, tmp_path / "job", n_cycles=9).record
    frames = load_frames(tmp_path / "job", run)
    assert frames.n_walkers.tolist() == [4, 5, 6, 7, 3, 4, 5, 6, 7]
    weights = np.nan_to_num(load_tables(tmp_path / "job", run).by_walker("weights"))
    for options in ({}, {"link": True}, {"cycles": slice(1, None)}):
        file = tmp_path / "a.h5"
        export_run(tmp_path / "job", run, file, replace=True, **options)
        start = 1 if "cycles" in options else 0
        with h5py.File(file) as found:
            for walker in range(7):
                held = found[f"runs/0/trajectories/{walker}"]
                there = np.flatnonzero(frames.n_walkers[start:] > walker)
                born, n_rows = there[0], there[-1] - there[0] + 1
                assert held.attrs["cycle_idx"] == born
                true = np.full((n_rows, 2, 3), np.nan)
                true[there - born] = frames.walker(walker, start=start)
                assert_array_equal(held["positions"], true)
                rows = slice(born + start, born + start + n_rows)
                assert_array_equal(held["weights"][:, 0], weights[rows, walker])
    files = export_run(tmp_path / "job", run, tmp_path / "a.dcd", walkers=[6])
    np.testing.assert_allclose(mdtraj.load(files[0], top=files[1]).xyz, frames.walker(6), atol=1e-6)
    with open(files[2]) as text:
        assert [row["cycle"] for row in csv.DictReader(text)] == ["3", "8"]
