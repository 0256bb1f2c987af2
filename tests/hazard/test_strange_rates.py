"""A rate is asked of recordings that a stranger has made up: a line and a status, or numbers."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.answers.studies import Place, walk_snapshot
from tests.systems import save_run
from wepystore.answers.study import load_study
from wepystore.api import load_run
from wepystore.cli.main import main
from wepystore.records import npy
from wepystore.records.recording import encode_recording
from wepystore.records.sinks import Remembering

STATES = ["--from", "progress<1", "--to", "progress>=2"]
#: What becomes of a column's values.
CHANGES: dict[str, Callable[[Any], Any]] = {
    "nan": lambda column: np.full_like(column, np.nan),
    "huge": lambda column: np.full_like(column, 2**62 if column.dtype.kind == "i" else 1e300),
    "lowest": lambda column: np.full_like(column, -(2**63) if column.dtype.kind == "i" else -1),
    "nothing": lambda column: column[:0],
    "reversed": lambda column: column[::-1].copy(),
    "ones": lambda column: np.ones_like(column),
    "floats": lambda column: column.astype(np.float64) + 0.5,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A run of a walk to 2; forged ones are added."""
    found = Place(tmp_path_factory.mktemp("strange"), walk_snapshot(2))
    found.run(1, 12, n_steps=1)
    return found


def forged(place: Place, name: str, change: Callable[[Any], Any]) -> str:
    """The run with one column changed; hash of its record."""
    store, run = place.store, place.store.hashes("runs")[0]
    (chain,) = load_study(store, [run]).chains
    columns = {each: chain.tables[each].copy() for each in chain.tables}
    columns[name] = change(columns[name])
    recording = chain.recorded[0].recording
    with store.batch() as batch:
        sink = Remembering(batch, {})
        buffers = [buffer for column in columns.values() for buffer in npy.buffers(column)]
        part = replace(recording.tables[0], ref=sink.put("objects", buffers))
        entry = encode_recording(replace(recording, tables=(part,)), sink)
    record = replace(load_run(store, run), recording=entry, seed=None)
    return save_run(store, record)


def numbers(value: Any) -> list[float]:
    """All in a value of JSON."""
    if isinstance(value, dict):
        return [each for held in value.values() for each in numbers(held)]
    if isinstance(value, list):
        return [each for held in value for each in numbers(held)]
    return [value] if isinstance(value, float) else []


@pytest.mark.parametrize(
    "change",
    [pytest.param(name, marks=[pytest.mark.slow] * (k > 1)) for k, name in enumerate(CHANGES)],
)
def test_no_number_that_is_none(
    place: Place, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever stands in any of the columns that rates read."""
    run = place.store.hashes("runs")[0]
    (chain,) = load_study(place.store, [run]).chains
    ends = []
    others = ("resampler/", "boundary_conditions/")
    for name in (name for name in chain.tables if not name.startswith(others)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            strange = forged(place, name, CHANGES[change])
        for words in ([], STATES):
            asked = ["rates", "--json", "--events", "--burn-in", "0"]
            status = main([*asked, *words, str(place.store.path), strange])
            out, err = capsys.readouterr()
            assert "bug in wepystore" not in err, f"{name}: {err}"
            assert status in (0, 1, 2, 3) and bool(out) == (status == 0), name
            if status == 0:
                found = json.loads(out)
                assert all(map(math.isfinite, numbers(found))), name
            else:
                assert err.count("\n") == 1 and err.startswith("wepy: error: "), name
            ends.append(status)
        Path(place.store.file("runs", strange)).unlink()
    assert 0 in ends and {1, 3} & {*ends}
