"""The times that a record names, whoever has written it: read, or damage in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.systems import run_job
from wepystore.api import DamagedError, Prepared, Store, load_run, load_times
from wepystore.orchestrator.run.timer import Timer
from wepystore.records import npy
from wepystore.records.run import encode_run
from wepystore.records.sinks import Remembering
from wepystore.records.times import BY_SEGMENT, COLUMNS, Times


@pytest.fixture
def store(pair_store: Prepared, tmp_path: Path) -> Store:
    run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "job", n_cycles=2)
    return Store.open(tmp_path / "job" / "checkpoint.orch")


def told_by(store: Store, change: Callable[[dict[str, Any]], None]) -> str:
    """A record of the run whose times somebody has changed."""
    record = load_run(store, store.hashes("runs")[0])
    assert record.execution.times is not None
    told = {**record.execution.times}
    change(told)
    changed = replace(record, execution=record.execution._replace(times=told))
    with store.batch() as batch:
        return encode_run(changed, Remembering(batch, {})).md5


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("columns", ["bc_s"]),
        ("block_cycles", 0),
        ("block_cycles", True),
        ("block_cycles", "2"),
        ("seconds", {"bc_s": 1.0}),
        ("seconds", None),
        ("parts", None),
        ("parts", [{"n_cycles": -1}]),
        ("parts", [1]),
        ("n_cycles", 3),
        ("n_cycles", "2"),
        ("more", 1),
    ],
)
def test_what_could_not_be_meant(store: Store, key: str, value: Any) -> None:
    """S9: damage that names the run."""
    md5 = told_by(store, lambda told: told.update({key: value}))
    with pytest.raises(DamagedError, match=md5) as caught:
        load_times(store, md5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ended": np.zeros(3)}, "ended has 3 rows for 2"),
        ({"worker": np.zeros(3, np.int64)}, "worker has 3 rows for 4"),
        ({"segment_s": np.zeros(5)}, "not as many"),
        ({"n_segments": np.array([-1, 5])}, "not as many"),
        ({"n_segments": np.array([2**62, 4 - 2**62])}, "not as many"),
        ({"ended": np.zeros(2, np.int64)}, "types and shapes"),
        ({"ended": np.zeros((2, 1))}, "types and shapes"),
        ({"worker": None}, "types and shapes"),
    ],
)
def test_arrays_that_do_not_go_together(store: Store, change: dict[str, Any], said: str) -> None:
    """S9: they are refused before anything is made of them."""
    arrays = {
        name: np.full(4 if name in BY_SEGMENT else 2, 2, dtype) for name, dtype in COLUMNS.items()
    }
    held = [array for array in (arrays | change).values() if array is not None]
    data = b"".join(bytes(piece) for array in held for piece in npy.buffers(array))
    part = {"n_cycles": 2, "object": store.put("objects", data).to_json()}
    md5 = told_by(store, lambda told: told.update(parts=[part]))
    with pytest.raises(DamagedError, match=said):
        load_times(store, md5)


@pytest.mark.parametrize(
    ("times", "walkers", "found"),
    [
        ({0: [1.0, 2.0], 1: [3.0]}, {0: [2, 0], 1: [1]}, ([2.0, 3.0, 1.0], [0, 1, 0], [0, 1, 2])),
        ({0: [1.0, 2.0], 1: [3.0]}, {}, ([1.0, 2.0, 3.0], [0, 0, 1], [-1, -1, -1])),
        ({0: [1.0]}, {0: [1, 2]}, ([1.0], [0], [-1])),
        ({"a": [1.0]}, {}, ([], [], [])),
        ({0: ["x"]}, {}, ([], [], [])),
        ([1.0], {}, ([], [], [])),
        ({2**70: [1.0]}, {}, ([], [], [])),
        (None, None, ([], [], [])),
    ],
)
def test_what_mappers_tell(store: Store, times: Any, walkers: Any, found: Any) -> None:
    """As far as it is numbers; what is not ends no run."""
    timer = Timer(Times(8))
    timer.add(
        {
            "cycle_idx": 0,
            "cycle_runner_time": 1.0,
            "cycle_bc_time": 0.0,
            "cycle_resampling_time": 0.0,
            "worker_segment_times": times,
            "worker_segment_walkers": walkers,
        }
    )
    timer.keep()
    with store.batch() as batch:
        told = timer.so_far(last=True)(Remembering(batch, {})).to_json()
    read = load_times(store, told_by(store, lambda old: old.update(told)))
    of_segments = tuple(read[name].tolist() for name in ("segment_s", "worker", "walker_idx"))
    assert of_segments == found
    assert read["n_segments"].tolist() == [len(found[0])]
