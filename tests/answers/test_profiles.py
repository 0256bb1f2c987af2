"""Profiles: weights in bins, their intervals, and what is said where there is none (A4)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.answers import made
from tests.answers.studies import Place, walk_snapshot
from wepystore.answers.binning import Axis, axis_of
from wepystore.answers.errors import NoProfileError, NotANumberError, UnfitBinsError, WindowError
from wepystore.answers.halves import Held, halves_of
from wepystore.answers.measured import measure_of, measured
from wepystore.answers.profiles import Profile, load_profile, profile_of
from wepystore.answers.study import load_study
from wepystore.answers.windows import Window

X = "position(index 0, x)"
N_CYCLES = 60


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four independent walks, that are taken back nowhere."""
    place = Place(tmp_path_factory.mktemp("walks"), walk_snapshot(None, n_walkers=40, per_bin=8))
    place.runs(range(1, 5), N_CYCLES)
    return Path(place.store.path)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Three runs that continue each other."""
    return made.chain(tmp_path_factory.mktemp("chain"))


def expected_of(path: Path, edges: Any, first: int, stop: int) -> list[Any]:
    """For each unit the mean weight in bins, by numpy."""
    study = load_study(path)
    found = []
    for unit in study.units:
        (held,) = unit.chains
        each = measured(held, measure_of(study, X))
        inside = np.repeat((each.cycles >= first) & (each.cycles < stop), each.n_walkers)
        sums, _ = np.histogram(each.values[inside], edges, weights=each.weights[inside])
        found.append(sums / (stop - first))
    return found


EDGES = np.arange(-0.5, 9.0)


def test_the_weight_in_bins(walks: Path) -> None:
    """Of the last half, if nothing else is said; together with what is in no bin it is 1; and
    the interval is that of independent runs, on the logarithm."""
    profile = load_profile(walks, along=X, bins=EDGES)
    units = np.array(expected_of(walks, EDGES, N_CYCLES // 2, N_CYCLES))
    mean, error = units.mean(axis=0), units.std(axis=0, ddof=1) / math.sqrt(len(units))
    assert np.allclose(profile.probability, mean, rtol=1e-12)
    assert profile.probability.sum() + profile.outside == pytest.approx(1, abs=1e-12)
    seen = mean > 0
    factor = np.exp(stats.t.ppf(0.975, len(units) - 1) * error[seen] / mean[seen])
    assert np.allclose(profile.low[seen], mean[seen] / factor, rtol=1e-9)
    assert np.allclose(profile.high[seen], np.minimum(1, mean[seen] * factor), rtol=1e-9)
    assert (profile.n_units, profile.n_cycles, profile.within) == (4, 4 * N_CYCLES // 2, False)
    assert profile.window == (N_CYCLES // 2, N_CYCLES - 1)


def test_the_free_energy(walks: Path) -> None:
    """-ln of the density from its lowest on, with each bin's own interval; none of no walker."""
    edges = [-0.5, 0.5, 1.5, 3.5, 30.5, 40.5]
    profile = load_profile(walks, along=X, bins=edges)
    expected = -np.log(profile.probability[:4] / np.diff(edges)[:4])
    assert np.allclose(profile.free_energy[:4], expected - expected.min())
    low = expected - expected.min() - np.log(profile.high[:4] / profile.probability[:4])
    assert np.allclose(profile.free_energy_low[:4], low)
    assert np.isnan([profile.free_energy[4], profile.low[4], profile.free_energy_high[4]]).all()
    assert profile.n_walkers[4] == 0 and profile.probability[4] == 0
    assert profile.n_walkers.sum() == 40 * profile.n_cycles


def test_the_exact_law(walks: Path) -> None:
    """In the steady state of the walk P(x) = 2/3 (1/3)^x, and so it is where plain walks never
    come."""
    profile = load_profile(walks, along=X, bins=EDGES, burn_in=10)
    exact = 2 / 3 * (1 / 3) ** np.arange(len(EDGES) - 1)
    seen = profile.n_walkers > 200
    assert seen.sum() >= 6
    assert ((profile.low < exact) & (exact < profile.high))[seen].mean() > 0.8
    assert np.allclose(profile.free_energy[seen], np.log(exact[0] / exact[seen]), atol=0.5)


def test_which_cycles_count(walks: Path) -> None:
    """A window, or a burn-in, of each chain; of one run or two the interval is from four parts of
    each, which is said."""
    for chosen, first, stop in (
        ({"window": (10, 20)}, 10, 20),
        ({"burn_in": 25}, 25, N_CYCLES),
        ({"window": (-8, None)}, N_CYCLES - 8, N_CYCLES),
    ):
        profile = load_profile(walks, along=X, bins=EDGES, **chosen)  # type: ignore[arg-type]
        mean = np.mean(expected_of(walks, EDGES, first, stop), axis=0)
        assert np.allclose(profile.probability, mean, rtol=1e-12)
        assert profile.window == (first, stop - 1)
    runs = [next(iter(unit.chains)).run for unit in load_study(walks).units]
    one = load_profile(walks, runs[:1], along=X, bins=EDGES, burn_in=20)
    parts = np.array(
        [
            next(iter(expected))
            for expected in (_of_run(walks, runs[0], k) for k in range(20, 60, 10))
        ]
    )
    error = parts.std(axis=0, ddof=1) / 2
    factor = math.exp(stats.t.ppf(0.975, 3) * error[0] / parts.mean(axis=0)[0])
    assert one.within and one.high[0] == pytest.approx(one.probability[0] * factor)
    with pytest.raises(WindowError, match="a burn-in of 99 cycles leaves nothing of run"):
        load_profile(walks, along=X, burn_in=99)
    with pytest.raises(ValueError, match="do not go together"):
        load_profile(walks, along=X, burn_in=1, window=(0, 2))


def test_too_little_to_tell(walks: Path) -> None:
    """Of two cycles an interval may go as far as all of the weight, and no farther; of one there is
    none, and nobody says that it is steady."""
    runs = [next(iter(unit.chains)).run for unit in load_study(walks).units]
    two = load_profile(walks, runs[:1], along=X, bins=[-0.5, 1.5, 3.5], window=(0, 2))
    assert np.nanmax(two.high) == 1 and (two.low[two.probability > 0] > 0).all()
    one = load_profile(walks, runs[:1], along=X, bins=[-0.5, 1.5, 3.5], window=(0, 1))
    assert np.isnan(one.low).all() and np.isnan(one.high).all() and one.probability[0] > 0
    assert two.stationary is one.stationary is None and "too few" in one.reason


def _of_run(path: Path, run: str, first: int) -> list[Any]:
    profile = load_profile(path, [run], along=X, bins=EDGES, window=(first, first + 10))
    return [profile.probability]


def test_stretches_of_time(walks: Path) -> None:
    """They follow each other, are of all cycles unless a window is named, and make it together."""
    profile = load_profile(walks, along=X, bins=EDGES, n_windows=3)
    assert [each.window for each in profile.windows] == [(0, 19), (20, 39), (40, 59)]
    for each, first in zip(profile.windows, (0, 20, 40), strict=True):
        mean = np.mean(expected_of(walks, EDGES, first, first + 20), axis=0)
        assert np.allclose(each.probability, mean, rtol=1e-12)
        assert each.n_units == 4 and not each.within
    inside = load_profile(walks, along=X, bins=EDGES, burn_in=20, n_windows=2)
    assert [each.window for each in inside.windows] == [(20, 39), (40, 59)]
    assert np.allclose(
        np.mean([each.probability for each in inside.windows], axis=0), inside.probability
    )


def test_two_coordinates(chain: tuple[Path, list[str]]) -> None:
    """Along both; its sums along one are the profile along the other."""
    path, _ = chain
    along = [X, "position(index 2, x)"]
    both = load_profile(path, along=along, bins=[7, 5], burn_in=2)
    assert both.probability.shape == both.free_energy.shape == (7, 5)
    for k, number in enumerate((7, 5)):
        alone = load_profile(path, along=along[k], bins=number, burn_in=2)
        assert np.allclose(both.probability.sum(axis=1 - k), alone.probability)
        assert np.array_equal(both.axes[k].edges, alone.axes[0].edges)
    found = load_profile(path, along=lambda p, b: p[:, [0, 2], 0], bins=[7, 5], burn_in=2)
    assert np.array_equal(found.probability, both.probability)
    assert [axis.label for axis in found.axes] == ["<lambda> 0", "<lambda> 1"]
    mixed = load_profile(path, along=["progress", X], bins=4)
    assert mixed.probability.sum() == pytest.approx(1)


def test_frames_of_some_cycles(tmp_path: Path) -> None:
    """Those without are left out and counted; with progress, of which there is all, only common
    cycles are looked at."""
    path, _ = made.chain(tmp_path, every=3)
    n_cycles = sum(made.LENGTHS)
    alone = load_profile(path, along=X, burn_in=0)
    # Each run keeps those of which the number in it is a multiple of three.
    assert alone.n_cycles == sum(-(-n // 3) for n in made.LENGTHS)
    assert alone.n_left_out == n_cycles - alone.n_cycles
    both = load_profile(path, along=[X, "progress"], bins=5, burn_in=0)
    assert (both.n_cycles, both.n_left_out) == (alone.n_cycles, alone.n_left_out)
    with pytest.raises(NoProfileError, match="of no cycle that counts there are frames"):
        load_profile(path, along=X, window=(1, 3))


def test_each_cycle_once(chain: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Runs that continue each other are one unit, and all of its cycles are in it once."""
    path, runs = chain
    profile = load_profile(path, along="progress", burn_in=0)
    assert (profile.n_units, profile.n_cycles) == (1, sum(made.LENGTHS))
    assert load_profile(path, runs, along="progress", burn_in=0).n_cycles == sum(made.LENGTHS)


def test_angles_come_round() -> None:
    """Values are folded into the bins, wherever these begin."""
    values = np.array([-179.0, 179.0, 181.0, 0.0, 359.0, -540.0, 90.0])
    axis = axis_of("torsion", "degree", 360.0, 4, [values])
    assert axis.edges.tolist() == [-180, -90, 0, 90, 180]
    assert axis.bins(values).tolist() == [0, 3, 0, 2, 1, 0, 3]
    shifted = axis_of("torsion", "degree", 360.0, [0, 90, 180, 270, 360], [values])
    assert shifted.bins(values).tolist() == [2, 1, 2, 0, 3, 2, 1]
    some = axis_of("torsion", "degree", 360.0, [170, 190], [values])
    assert some.bins(values).tolist() == [0, 0, 0, -1, -1, 0, -1]


def test_edges() -> None:
    """A bin holds its lower edge, the last its upper one too; a single value is in a bin."""
    axis = Axis("x", "nm", np.array([0.0, 1.0, 2.0]))
    assert axis.bins(np.array([-0.1, 0.0, 0.5, 1.0, 2.0, 2.1])).tolist() == [-1, 0, 0, 1, 1, -1]
    assert axis.title == "x (nm)" and axis.centres.tolist() == [0.5, 1.5]
    for only in (0.0, 3.0, -2.0):
        axis = axis_of("x", "", None, 4, [np.full(3, only), np.empty(0)])
        assert (axis.bins(np.array([only])) >= 0).all() and (axis.sizes > 0).all()


@pytest.mark.parametrize(
    ("bins", "said"),
    [
        (0, "no number from 1 to"),
        (10**9, "no number from 1 to"),
        ([1.0], "2 to 10001 edges"),
        ([0.0, 1.0, 1.0], "edges rise"),
        ([0.0, math.nan], "edges rise"),
        ("many", "are no bins"),
        ([[0.0, 1.0]], "edges"),
        ([0.0, 400.0], "a period of 360 bins cover no more"),
    ],
)
def test_bins_that_are_none(bins: Any, said: str) -> None:
    """Refused, with what they are to be."""
    with pytest.raises(UnfitBinsError, match=said):
        axis_of("x", "degree", 360.0, bins, [np.zeros(3)])


def test_where_there_is_no_profile(walks: Path) -> None:
    """Never a number that is not one."""
    with pytest.raises(NoProfileError, match=r"in any bin: position.* goes from 0 to"):
        load_profile(walks, along=X, bins=[50, 60])
    with pytest.raises(UnfitBinsError, match="together they are 100,000,000, and may be 250,000"):
        load_profile(walks, along=[X, X], bins=10_000)
    with pytest.raises(NoProfileError, match="one number a walker or two, not 3"):
        load_profile(walks, along=lambda p, b: np.repeat(p[:, 0], 3, axis=1))
    with pytest.raises(NotANumberError, match=r"<lambda> is not a number for walker \d+ in cycle"):
        load_profile(walks, along=lambda p, b: np.where(p[:, 0, 0] > 2, np.nan, 1.0))


def test_it_shows_itself(walks: Path) -> None:
    """In a notebook, whatever a coordinate is called, and however many bins there are."""
    study = load_study(walks)
    profile = profile_of(study, X, bins=EDGES, window=Window(10))
    assert repr(profile).startswith(f"<Profile along {X}: ")
    page = profile._repr_html_()
    assert page.count("<tr>") == 1 + int((profile.probability > 0).sum())

    def strange(positions: Any, boxes: Any) -> Any:
        return positions[:, 0, 0]

    strange.__name__ = "<b>x"
    page = load_profile(walks, along=strange, bins=np.linspace(0, 10, 200))._repr_html_()
    assert "<b>" not in page and "&lt;b&gt;" in page
    many: Profile = load_profile(walks, along=lambda p, b: p[:, 0, 0] + np.arange(len(p)) % 40)
    assert many._repr_html_().count("<tr>") < 30


def series(rng: np.random.Generator, drift: float, n_units: int) -> list[list[Held]]:
    """Units of made-up walkers, each of which is in one of 16 bins; with a drift the weight moves
    from the last ones to the first."""
    n_cycles, n_walkers = 400, 10
    units = []
    for _ in range(n_units):
        common = np.exp(0.1 * rng.standard_normal(16) - 0.5 * np.arange(16))
        shift = np.exp(drift * np.linspace(-1, 1, n_cycles)[:, None] * np.linspace(-1, 1, 16))
        law = common * shift
        cumulated = np.cumsum(law / law.sum(axis=1, keepdims=True), axis=1)
        drawn = rng.random((n_cycles, n_walkers))
        bins = (drawn[:, :, None] > cumulated[:, None]).sum(axis=2).clip(0, 15)
        counts = np.full(n_cycles, n_walkers)
        weights = np.full(n_cycles * n_walkers, 1 / n_walkers)
        units.append([Held(np.arange(n_cycles), counts, bins.ravel(), weights)])
    return units


@pytest.mark.parametrize("n_units", [1, 2, 5])
def test_whether_it_is_steady(n_units: int) -> None:
    """A drift is seen, and where; what is steady is seldom said not to be."""
    axis = Axis("x", "", np.arange(17.0))
    rng = np.random.default_rng(n_units)

    def verdict(drift: float) -> Any:
        units = series(rng, drift, n_units)
        held = np.concatenate([each.bins for unit in units for each in unit])
        return halves_of([axis], units, np.bincount(held, minlength=16) / len(held))

    drifting = [verdict(2.5) for _ in range(10)]
    assert [each.stationary for each in drifting].count(False) >= 8
    assert all("times that of the first" in each.reason for each in drifting)
    steady = [verdict(0.0) for _ in range(40)]
    assert [each.stationary for each in steady].count(False) <= 5
