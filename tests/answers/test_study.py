"""Which runs count, each cycle once, and which are independent of each other (A1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.answers.studies import Place, walk_snapshot
from tests.systems import save_run
from wepystore.answers.errors import NotAlikeError, NothingToCountError
from wepystore.answers.study import Study, load_study
from wepystore.api import (
    Configuration,
    SerialMapper,
    load_run,
    save_configuration,
    save_snapshot,
)
from wepystore.api import Recording as RecordingChoice

#: Of each segment, as run_job has it.
N_STEPS = 10


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def told(study: Study) -> list[list[tuple[list[str], int]]]:
    """Of each unit, of each chain: its runs, and how many of its cycles count."""
    return [
        [([span.run for span in chain.runs], int(chain.counted.sum())) for chain in unit.chains]
        for unit in study.units
    ]


def in_order(units: Sequence[Any]) -> list[Any]:
    """Units by the last run of their longest chain."""
    return sorted(units, key=lambda unit: unit[0][0][-1])


def test_seeds_of_their_own_are_units(place: Place) -> None:
    """Runs from one start with other seeds are independent; their times are known in steps."""
    runs = [place.run(seed).record for seed in (1, 2, 3)]
    study = load_study(place.store)
    assert told(study) == in_order([[([run], 5)] for run in runs])
    assert (study.unit, study.left_out, study.apart) == ("steps", (), ())
    chain = study.units[0].chains[0]
    assert chain.durations("steps").tolist() == [N_STEPS] * 5
    assert len(chain.frames().cycles) == 5
    with pytest.raises(ValueError, match="ps is not known"):
        chain.durations("ps")
    assert told(load_study(place.store, [runs[1][:10]])) == [[([runs[1]], 5)]]


def test_a_continuation_belongs_to_what_it_goes_on_from(place: Place) -> None:
    """A run and the one that goes on from its end are one chain, also where both are named."""
    first = place.run(1)
    second = place.run(7, 3, first.end)
    expected = [[([first.record, second.record], 8)]]
    for runs in (None, [first.record, second.record], [second.record]):
        study = load_study(place.store, runs)
        assert told(study) == expected and not study.left_out
    assert told(load_study(place.store, [first.record])) == [[([first.record], 5)]]


def test_two_branches_of_one_run_are_one_unit(place: Place) -> None:
    """What they have in common counts once, and a third run beside them is independent."""
    trunk, other = place.run(1), place.run(2)
    long, short = place.run(7, 4, trunk.end), place.run(8, 3, trunk.end)
    study = load_study(place.store)
    assert told(study) == in_order(
        [
            [([trunk.record, long.record], 9), ([trunk.record, short.record], 3)],
            [([other.record], 5)],
        ]
    )
    assert [unit.n_counted for unit in study.units if len(unit.chains) > 1] == [12]
    counted = next(unit for unit in study.units if len(unit.chains) > 1).chains[1].counted
    assert counted.tolist() == [False] * 5 + [True] * 3


def test_an_extension_after_a_continuation(place: Place) -> None:
    """A run that went on after another had left it: its first cycles count once."""
    first = place.run(1)
    second = place.run(7, 3, first.end)
    longer = place.extend(first, 9)
    study = load_study(place.store)
    assert (
        told(study) == [[([longer.record], 9), ([first.record, second.record], 3)]]
        and not study.left_out
    )
    # Without the branch the shorter record is only the beginning of the longer one.
    study = load_study(place.store, [first.record, longer.record])
    assert told(study) == [[([longer.record], 9)]]
    assert study.left_out == ((first.record, f"it is the beginning of run {longer.record}"),)


def test_repeats_count_once(place: Place) -> None:
    """Another execution of one run, also by a configuration that keeps other frames, and one that
    did not come as far."""
    first = place.run(1)
    shorter = place.run(1, 3)
    bare = save_configuration(
        place.store, Configuration(SerialMapper(), recording=RecordingChoice([]))
    )
    other = place.run(1, configuration=bare)
    record = load_run(place.store, first.record)
    again = save_run(place.store, replace(record, execution=record.execution._replace(wall_s=9.0)))
    study = load_study(place.store)
    ((((runs, counted),),),) = [tuple(tuple(unit) for unit in told(study))]
    assert counted == 5 and runs[0] in (first.record, again)
    every = {first.record, shorter.record, again, other.record}
    assert {run for run, _ in study.left_out} == every - {*runs}
    # It is one of which there are frames.
    assert study.units[0].chains[0].frames()


def test_a_run_that_drew_the_same_numbers_is_no_unit_of_its_own(place: Place) -> None:
    """Of one start and seed two runs that differ, as on a GPU, both count, in one unit."""
    runs = [place.run(1).record, place.run(1, n_steps=20).record]
    ((one, other),) = told(load_study(place.store))
    assert sorted([one[0][0], other[0][0]]) == sorted(runs) and one[1] == other[1] == 5


def test_a_run_whose_beginning_is_elsewhere_counts_alone(place: Place, tmp_path: Path) -> None:
    """It says so; and two that went on from one such run are one unit."""
    first = place.run(1)
    ends = [place.run(seed, 4, first.end).record for seed in (7, 8)]
    place.store.file("runs", first.record).unlink()
    study = load_study(place.store)
    assert sorted(run for run, _ in study.apart) == sorted(ends)
    assert sorted(told(study)[0]) == sorted([([run], 4) for run in ends])


def test_what_is_not_recorded_is_left_out(place: Place) -> None:
    """A run without a recording, and one of whose tables a part is not here, say why; who names one
    is refused."""
    whole, bare, half = (place.run(seed).record for seed in (1, 2, 3))
    without = save_run(place.store, replace(load_run(place.store, bare), recording=None))
    place.store.file("runs", bare).unlink()
    part = load_study(place.store, [half]).units[0].chains[0].recorded[0].recording.tables[0]
    place.store.file("objects", part.ref.md5).unlink()
    study = load_study(place.store)
    assert told(study) == [[([whole], 5)]]
    why = dict(study.left_out)
    assert "nothing is recorded" in why[without] and "is not there" in why[half]
    with pytest.raises(Exception, match="nothing is recorded"):
        load_study(place.store, [without])
    with pytest.raises(Exception, match="is not there"):
        load_study(place.store, [half])


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"target": 3}, "boundary conditions differ in threshold"),
        ({"probability": 0.3}, "runners differ in probability"),
    ],
)
def test_runs_of_different_kinds_are_refused(place: Place, other: Any, what: str) -> None:
    """Two of them are named, and what differs; each alone is fine."""
    one = place.run(1).record
    start = save_snapshot(place.store, walk_snapshot(**other))
    two = place.run(1, start=start).record
    with pytest.raises(NotAlikeError) as caught:
        load_study(place.store)
    text = str(caught.value)
    assert one in text and two in text and f"their {what} (" in text
    assert told(load_study(place.store, [two])) == [[([two], 5)]]


def test_an_empty_store(place: Place) -> None:
    """Nothing to count is said, not returned."""
    with pytest.raises(NothingToCountError, match="there are no runs"):
        load_study(place.store)
