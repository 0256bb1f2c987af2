"""The net flux along a coordinate (A3)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.answers.studies import Place, walk_snapshot
from wepystore.answers.errors import NoRateError
from wepystore.answers.rates import load_rates
from wepystore.answers.study import load_study
from wepystore.answers.through import _Steps, flux_profile
from wepystore.answers.windows import Window
from wepystore.api import load_lineages, load_tables


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Three runs of a walk to 3. Only read it."""
    found = Place(tmp_path_factory.mktemp("walks"), walk_snapshot(3, n_walkers=16, per_bin=4))
    found.runs((1, 2, 3), 30)
    return found


def by_hand(place: Place, run: str, value: float, first: int) -> float:
    """Net weight a step through a value, walker by walker."""
    lineages, tables = load_lineages(place.store, run), load_tables(place.store, run)
    values, weights = tables.by_walker("progress/distance"), tables.by_walker("weights")
    parents = lineages.parents.reshape(weights.shape)
    warped = lineages.warped.reshape(weights.shape)
    net = 0.0
    for cycle in range(first, len(values)):
        for walker, now in enumerate(values[cycle]):
            parent = parents[cycle, walker]
            before = 0.0 if warped[cycle - 1, parent] else values[cycle - 1, parent]
            net += weights[cycle, walker] * (int(before < value <= now) - (now < value <= before))
    return net / (len(values) - first)


def test_it_is_what_goes_through(place: Place) -> None:
    """Up less down, of each walker from where its parent was; through the target goes the rate."""
    study = load_study(place.store)
    found = flux_profile(study, at=[0.5, 1.5, 2.5, 3.0])
    runs = [unit.chains[0].run for unit in study.units]
    for value, flux in zip(found.at, found.flux, strict=True):
        assert flux == pytest.approx(np.mean([by_hand(place, run, value, 15) for run in runs]))
    rate = load_rates(place.store).pool
    assert found.flux[-1] == pytest.approx(rate.flux)
    assert rate.interval == pytest.approx((found.low[-1], found.high[-1]))
    assert not found.within and found.unit == "steps"


def test_while_the_flux_rises_more_goes_in_than_arrives(place: Place) -> None:
    """In the first cycles; by values that nobody has named the last is the nearest arrival."""
    study = load_study(place.store)
    found = flux_profile(study, window=Window(0, 8))
    assert found.at[-1] == 3.0 and len(found.at) == 8 and (np.diff(found.at) > 0).all()
    middle, end = flux_profile(study, at=[1.5, 3.0], window=Window(0, 3)).flux
    assert middle > 2 * end
    assert repr(found).startswith("<FluxProfile along progress/distance: ")


def test_where_nothing_arrives(tmp_path: Path) -> None:
    """There is no way to look along."""
    place = Place(tmp_path, walk_snapshot(30))
    place.run(1, 4, n_steps=1)
    with pytest.raises(NoRateError, match="no walker was warped"):
        flux_profile(load_study(place.store))


@pytest.mark.parametrize("upwards", [True, False])
def test_through_the_place_of_an_arrival_goes_what_arrives(upwards: bool) -> None:
    """Whichever side it comes from: a walker from 1 to 3, and its mirror image."""
    sign = 1 if upwards else -1
    steps = SimpleNamespace(
        after=sign * np.array([1.0, 2.0, 3.0]),
        before=sign * np.array([0.0, 1.0, 2.0]),
        begins=np.zeros(3, bool),
        known=np.array([False, True, True]),
        weights=np.ones(3),
        cycles=np.arange(3),
        warps=SimpleNamespace(first=np.arange(4)),
    )
    found = _Steps.through(steps, sign * np.array([1.5, 2.0, 3.0]), upwards)
    assert found.sum(axis=0).tolist() == [1, 1, 1]
