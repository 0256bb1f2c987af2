"""Coordinates of all walkers of a chain, from tables and from frames."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.answers import made
from tests.systems import pair_snapshot, plain_configuration, run_job
from wepystore.answers.errors import (
    AtomsNotKeptError,
    NoSuchProgressError,
    NotANumberError,
    NotFromFileError,
)
from wepystore.answers.measured import Measured, measure_of, measured, system_of
from wepystore.answers.study import Chain, Study, load_study
from wepystore.api import (
    Configuration,
    FramesElsewhereError,
    NoFramesError,
    Recording,
    RunFrames,
    Store,
    load_frames,
    prepare_store,
)
from wepystore.coordinates.errors import SelectionTextError, UnfitCoordinateError
from wepystore.coordinates.geometry import Position
from wepystore.records.library import frames_of_run


class Made(NamedTuple):
    path: Path
    runs: list[str]

    @property
    def study(self) -> Study:
        return load_study(self.path, [self.runs[-1]])

    @property
    def chain(self) -> Chain:
        return next(self.study.chains)

    def of(self, along: Any, wanted: Any = None) -> Measured:
        study = self.study
        return measured(next(study.chains), measure_of(study, along), wanted)


@pytest.fixture(scope="module", params=[1, 3], ids=["every cycle", "every third"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Three runs that continue each other, of which the frames of some cycles are kept."""
    return Made(*made.chain(tmp_path_factory.mktemp("kept"), request.param))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A Lennard-Jones pair in a box, recorded with its topology and masses."""
    folder = tmp_path_factory.mktemp("pair")
    store = prepare_store(folder / "a.orch", pair_snapshot(), plain_configuration())
    done = run_job(store.store, store.snapshot_hash, folder / "job", n_cycles=6, n_steps=20)
    return Made(folder / "job" / "checkpoint.orch", [done.record or ""])


def test_from_frames(kept: Made) -> None:
    """Of each walker of each cycle of which there are frames, in the order of the columns, what is
    there in its frame; through runs that continue each other."""
    found = kept.of("position(index 2, x)")
    frames = load_frames(kept.path, kept.runs[-1], joined=True)
    n_cycles = sum(made.LENGTHS)
    assert np.array_equal(found.cycles, frames.cycles)
    assert found.n_left_out == n_cycles - len(frames.cycles)
    expected = np.concatenate([frames.cycle(c)[:, 2, 0] for c in frames.cycles])
    assert np.array_equal(found.values, expected)
    weights = kept.chain.tables["weights"].reshape(n_cycles, -1)[frames.cycles]
    assert np.array_equal(found.weights, weights.ravel())
    assert np.array_equal(found.starts, np.arange(len(frames.cycles) + 1) * made.N_WALKERS)


def test_only_what_is_wanted(kept: Made) -> None:
    """Some of the cycles: those rows, and no others."""
    every, wanted = kept.of("position(index 0, x)"), np.zeros(sum(made.LENGTHS), bool)
    wanted[[3, 9, 15, 16]] = True
    found = kept.of("position(index 0, x)", wanted)
    assert set(found.cycles) == {3, 9, 15, 16} & set(every.cycles)
    inside = np.isin(np.repeat(every.cycles, made.N_WALKERS), found.cycles)
    assert np.array_equal(found.values, every.values[inside])
    assert np.array_equal(found.weights, every.weights[inside])


def test_progress(kept: Made) -> None:
    """From tables, of all cycles, whether frames are kept or not; the only field need not be
    named."""
    name = next(each for each in kept.chain.tables if each.startswith("progress/"))
    name = name.removesuffix("/lengths")
    found, named = kept.of("progress"), kept.of(name)
    assert found.n_left_out == 0 and len(found.cycles) == sum(made.LENGTHS)
    assert np.array_equal(found.values, kept.chain.tables[name])
    assert np.array_equal(found.values, named.values)
    assert measure_of(kept.study, "progress").label == name
    with pytest.raises(NoSuchProgressError, match="no 'value' is recorded; "):
        kept.of("progress/value")


def test_a_function_of_ones_own(kept: Made) -> None:
    """It is given positions of all atoms; several numbers a walker are several columns."""

    def ends(positions: Any, boxes: Any) -> Any:
        assert boxes is None and positions.shape[1:] == (made.N_ATOMS, 3)
        return positions[:, [0, -1], 0]

    found, measure = kept.of(ends), measure_of(kept.study, ends)
    assert measure.label == "ends"
    first, last = (kept.of(Position((atom,))).values for atom in (0, made.N_ATOMS - 1))
    assert np.array_equal(found.values, np.stack([first, last], axis=1))


def test_in_small_pieces(kept: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many frames are looked at in one go."""
    whole = kept.of("distance(index 0, index 3)").values
    for n_bytes in (1, 100, 3000):
        monkeypatch.setattr("wepystore.answers.measured._STRETCH_BYTES", n_bytes)
        assert np.array_equal(kept.of("distance(index 0, index 3)").values, whole)


def test_frames_in_order(kept: Made) -> None:
    """Each frame once, as it lies in its object."""
    frames = load_frames(kept.path, kept.runs[-1], joined=True)
    pairs = [pair for each in frames.in_order() for pair in zip(*map(list, each), strict=True)]
    assert len(pairs) == len(frames.cycles) * made.N_WALKERS
    assert set(pairs) == {(c, w) for c in frames.cycles for w in range(made.N_WALKERS)}
    for cycles, walkers in frames.in_order():
        assert (np.diff(walkers) >= 0).all() and len(cycles) == len(walkers)


def test_a_chain_that_is_cut(kept: Made) -> None:
    """Of a run that was left before its end, only the cycles up to there."""
    chain = kept.chain
    part = chain.recorded[0]
    of_run = frames_of_run(chain.store, part.run, part.recording, 7)
    cycles = np.concatenate([each for each, _ in RunFrames(chain.store, [of_run]).in_order()])
    assert set(cycles) == {c for c in chain.frames().cycles if c < 7}


def test_of_molecules(pair: Made) -> None:
    """In the box, by masses, from names; a deviation is measured from where the run began."""
    frames = load_frames(pair.path, pair.runs[0])
    system = system_of(pair.study)
    assert system.n_atoms == 2 and system.masses is not None and system.reference is not None
    names = system.named.name.tolist()
    found = pair.of(f"distance(name {names[0]} and index 0, index 1)")
    positions = np.stack([frames.cycle(c) for c in frames.cycles]).astype(np.float64)
    expected = np.linalg.norm(positions[:, :, 0] - positions[:, :, 1], axis=-1).ravel()
    assert np.allclose(found.values, expected, atol=1e-6)
    assert np.allclose(pair.of("rg(all)").values, expected / 2, atol=1e-6)
    assert measure_of(pair.study, "rg(all)").unit == "nm"
    with pytest.raises(SelectionTextError, match="did you mean"):
        pair.of(f"distance(name {names[0]}x, index 1)")


def test_only_some_atoms_are_kept(tmp_path: Path) -> None:
    """Atoms have the numbers that they have in the system; one that is not kept is named."""
    configuration = plain_configuration()
    mapper = configuration.work_mapper
    some = Configuration(mapper, recording=Recording(["positions"], atoms=[1]))
    store = prepare_store(tmp_path / "a.orch", pair_snapshot(), some)
    done = run_job(store.store, store.snapshot_hash, tmp_path / "job", n_cycles=2)
    found = Made(tmp_path / "job" / "checkpoint.orch", [done.record or ""])
    frames = load_frames(found.path, found.runs[0])
    expected = np.concatenate([frames.cycle(c)[:, 0, 1] for c in frames.cycles])
    assert np.array_equal(found.of("position(index 1, y)").values, expected)
    with pytest.raises(AtomsNotKeptError, match=r"at atom 0, and frames .* hold 1 of them, 1 to 1"):
        found.of("distance(index 0, index 1)")
    # A function counts atoms of the system, too; what is not kept it does not know.
    assert np.array_equal(found.of(lambda p, b: p[:, 1, 1]).values, expected)
    with pytest.raises(NotANumberError, match="not a number for walker 0 in cycle 0 of run"):
        found.of(lambda p, b: p[:, 0, 1])


def test_what_is_no_number_is_told_with_whose_it_is(kept: Made) -> None:
    """Run, cycle of that run, and walker; nothing is left out in silence."""
    frames = load_frames(kept.path, kept.runs[-1], joined=True)
    cycle = int(frames.cycles[-2])
    place = frames.cycle(cycle)[4, 0, 0]

    def holes(positions: Any, boxes: Any) -> Any:
        values = positions[:, 0, 0].astype(float)
        return np.where(values == place, np.nan, values)

    with pytest.raises(NotANumberError) as caught:
        kept.of(holes)
    first = sum(made.LENGTHS[:-1])
    assert f"walker 4 in cycle {cycle - first} of run {kept.runs[-1]}" in str(caught.value)
    with pytest.raises(NotANumberError, match="infinite"):
        kept.of(lambda p, b: p[:, 0, 0] + np.inf)


def test_what_cannot_be_measured(kept: Made, tmp_path: Path) -> None:
    """A line that says what to do: frames that are elsewhere, that were never kept, atoms that
    there are none of, code that is not loaded."""
    with pytest.raises(UnfitCoordinateError, match="of shape"):
        kept.of(lambda positions, boxes: positions)
    with pytest.raises(SelectionTextError, match="no atom 99"):
        kept.of("position(index 99, x)")
    with pytest.raises(AtomsNotKeptError, match="atom 99"):
        kept.of(Position((99,)))
    with pytest.raises(NotFromFileError, match=r"mine\.py:bend is code"):
        kept.of("mine.py:bend")
    shutil.copytree(kept.path, tmp_path / "b.orch")
    shutil.rmtree(tmp_path / "b.orch" / "frames")
    bare = Made(tmp_path / "b.orch", kept.runs)
    assert len(bare.of("progress").values)
    with pytest.raises(FramesElsewhereError):
        bare.of("position(index 0, x)")


def test_without_frames(tmp_path: Path) -> None:
    """A run that was told to keep none."""
    mapper = plain_configuration().work_mapper
    none = Configuration(mapper, recording=Recording(fields=()))
    store = prepare_store(tmp_path / "a.orch", pair_snapshot(), none)
    done = run_job(store.store, store.snapshot_hash, tmp_path / "job", n_cycles=2)
    with pytest.raises(NoFramesError):
        Made(tmp_path / "job" / "checkpoint.orch", [done.record or ""]).of("rg(all)")


def test_a_start_that_is_not_here(pair: Made, tmp_path: Path) -> None:
    """Then there is no reference, and all else can be measured."""
    shutil.copytree(pair.path, tmp_path / "b.orch")
    recorded = next(load_study(tmp_path / "b.orch").chains).recorded[0]
    start = Store.open(tmp_path / "b.orch").file("snapshots", recorded.record.start.md5)
    Path(start).unlink()
    assert system_of(load_study(tmp_path / "b.orch")).reference is None
    bare = Made(tmp_path / "b.orch", pair.runs)
    assert np.array_equal(bare.of("rg(all)").values, pair.of("rg(all)").values)
