"""Pulse: what a run tells of itself costs it little, and can never end it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wepystore.api import NoResampler, Walker, WalkerState
from wepystore.engine.manager import CycleResult
from wepystore.engine.record_fields import RecordColumns
from wepystore.engine.record_tables import weights_warped
from wepystore.orchestrator.job.progress_file import PROGRESS, read_progress, write_progress
from wepystore.orchestrator.run.pulse import Pulse, wait_after
from wepystore.orchestrator.run.watching import Progress
from wepystore.records.circumstances import NOTHING_YET

WALKERS = [Walker(WalkerState(positions=np.zeros((1, 3))), 0.25) for _ in range(4)]


class Told:
    """What a pulse asks of the account of a run."""

    kept = (1, 2.0)

    def wall_s(self, elapsed: float) -> float:
        return elapsed + 1.0


class Talker:
    """A component of somebody's own."""

    def __init__(self, says: Any) -> None:
        self._says = says

    def summary(self) -> Any:
        if isinstance(self._says, Exception):
            raise self._says
        return self._says


def result(**facts: Any) -> CycleResult:
    given = {"seconds": 1.0, "n_warped": 0, "n_cloned": 0, "n_merged": 0, "resampling_data": []}
    return CycleResult(walkers=WALKERS, **{**given, **facts})


def progress(of: CycleResult, n_done: int) -> Progress:
    spent = {"sampled_ps": 1.0, "cycling": 1.0, "elapsed": 1.0, "seconds": 9.0}
    return Progress.after(of, NOTHING_YET, n_cycles_done=n_done, n_cycles=9, remaining=8.0, **spent)


def told(folder: Path) -> dict[str, Any]:
    found = read_progress(folder)
    assert found is not None
    return found


def test_it_is_told_once_a_second(tmp_path: Path) -> None:
    """The first cycle at once, then nothing before a second is over, but for a checkpoint."""
    pulse = Pulse(tmp_path, Told(), {})  # type: ignore[arg-type]
    for n_done in (1, 2, 3):
        pulse.after(result(), progress(result(), n_done))
        assert told(tmp_path)["n_cycles"] == 1
    pulse.write()
    assert told(tmp_path)["n_cycles"] == 3 and told(tmp_path)["wall_s"] == 2.0


def test_where_it_is_slow_it_comes_seldom() -> None:
    """No more than one part in 2000 of the time goes to it; but it comes twice a minute."""
    assert [wait_after(took) for took in (1e-5, 1e-3, 10.0)] == pytest.approx([1.0, 2.0, 30.0])


@pytest.mark.parametrize("what", ["full", "gone", "taken"])
def test_what_cannot_be_written_is_left_out(tmp_path: Path, what: str) -> None:
    """A folder that is gone, and a name that is taken: the run goes on."""
    folder = tmp_path / "job"
    folder.mkdir()
    if what == "taken":
        (folder / PROGRESS).mkdir()
    elif what == "gone":
        shutil.rmtree(folder)
    else:
        (folder / f"{PROGRESS}.tmp").mkdir()
    write_progress(folder, {"at": 1})
    assert read_progress(folder) is None


@pytest.mark.parametrize(
    "says",
    [None, 3, [], ValueError("no"), {"a": object()}, {1: 2}, {"x": "y" * 10**6}, {"n": "\ud800"}],
)
def test_what_a_component_says_is_told_as_far_as_it_goes(tmp_path: Path, says: Any) -> None:
    """Anybody's component: nothing of it ends a run, or fills the file."""
    pulse = Pulse(tmp_path, Told(), {"resampler": Talker(says), "bc": NoResampler()})  # type: ignore[arg-type]
    pulse.after(result(), progress(result(), 1))
    assert told(tmp_path)["components"].keys() == {"resampler", "bc"}
    assert (tmp_path / PROGRESS).stat().st_size < 10_000


@pytest.mark.parametrize("times", [{}, {0: [1.0]}, {0: "x"}, {"w": [np.float64(1.0)]}, 3, {0: 7}])
def test_times_of_anybodys_mapper(tmp_path: Path, times: Any) -> None:
    """What are no times is nothing; numbers of numpy's are numbers."""
    of = result(segment_times=times)
    pulse = Pulse(tmp_path, Told(), {})  # type: ignore[arg-type]
    pulse.after(of, progress(of, 1))
    assert json.dumps(told(tmp_path)["workers"])


def test_the_weights_of_anybodys_warps() -> None:
    """As a scalar or an array of one, in columns or records; without those that do not tell."""
    columns = RecordColumns(weight=np.array([[0.25], [np.nan], [0.5]]), walker_idx=np.arange(3))
    assert weights_warped(columns) == (0.25, 0.5)
    assert columns.columns is not None  # They are still columns.
    records = [{"weight": np.array([0.25])}, {"weight": 0.5}, {"weight": "?"}, {}, None]
    assert weights_warped(records) == (0.25, 0.5)
    assert weights_warped(RecordColumns(weight=np.empty((0, 1)))) == weights_warped([]) == ()
