"""Tables of a run: the same arrays however they are read, and nothing is read for nothing."""

from __future__ import annotations

import os
import resource
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.records.test_recording import LAYOUT, columns
from wepystore.errors import DamagedError
from wepystore.records import npy
from wepystore.records.parts import cut
from wepystore.records.recording import Columns, Part, Recording, buffers_of, joined
from wepystore.records.tables import RunTables
from wepystore.store.errors import DamagedEntryError
from wepystore.store.store import Store

NAMES = LAYOUT.names()
#: A record that lacks fields, so that something is missing.
BARE = [{"decision_id": 1, "target_idxs": [0]}, {"why": "x"}]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "a.orch")


def recorded(store: Store, *stretches: Columns) -> Recording:
    """A recording whose parts are these."""
    parts = [Part(len(c["n_walkers"]), store.put("objects", buffers_of(c))) for c in stretches]
    return Recording(10, 4, tuple(NAMES), tuple(parts), {"NOTHING": 1})


def bytes_read() -> int:
    """So far, by this process, as the kernel counts it."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


def assert_equal(tables: RunTables, expected: Columns) -> None:
    """Each column, asked for alone, bit for bit."""
    for name in NAMES:
        found = tables[name]
        assert found.dtype == expected[name].dtype and found.shape == expected[name].shape, name
        assert found.tobytes() == expected[name].tobytes(), name


def test_each_column_alone_is_what_it_is_among_all(store: Store) -> None:
    """Verified or not, whole or cut in any cycle, also one of a block, with what is missing."""
    parts = [columns(0, 4), columns(4, 8, resampling=BARE), columns(8, 11)]
    recording = recorded(store, *parts)
    whole = joined(parts)
    assert len(whole["missing"])
    for n_cycles in (0, 1, 3, 4, 6, 11):
        expected = cut(whole, 0, 0, n_cycles)
        for source in (store, store.object):
            tables = RunTables([("it", recording, n_cycles)], source)
            if n_cycles:
                assert_equal(tables, expected)
                assert_equal(tables, tables.cycles(0, 11))
            else:
                assert all(len(tables[name]) == 0 for name in NAMES)


def test_records_in_no_order_cannot_be_cut(store: Store) -> None:
    """Which of them are of which cycles nobody can tell; whole, they are shown as they are."""
    part = dict(columns(0, 4))
    part["resampling/cycle_idx"] = part["resampling/cycle_idx"][::-1].copy()
    recording = recorded(store, part)
    for source in (store, store.object):
        assert len(RunTables([("it", recording, 4)], source)["resampling/decision_id"]) == 15
        tables = RunTables([("it", recording, 3)], source)
        with pytest.raises(DamagedError, match="records of resampling are not one cycle after"):
            tables["resampling/decision_id"]
        assert len(tables["warping/place"]) == 1 and len(tables["weights"]) == 12


def test_several_columns_at_once(store: Store) -> None:
    """The same as one after the other, and none of a name that there is not."""
    tables = RunTables([("it", recorded(store, columns(0, 4), columns(4, 8)), 8)], store)
    found = tables.read(["weights", "missing", "warping/place"])
    assert list(found) == ["weights", "missing", "warping/place"]
    assert all(np.array_equal(tables[name], column) for name, column in found.items())
    with pytest.raises(KeyError, match="nothing"):
        tables.read(["weights", "nothing"])


def test_a_table_that_there_is_none_of(store: Store) -> None:
    """Is named, with those that there are."""
    tables = RunTables([("it", recorded(store, columns(0, 4)), 4)], store)
    with pytest.raises(KeyError, match="'warpin' is no table; there are resampling"):
        tables.table("warpin")


def test_columns_of_runs_that_follow_each_other(store: Store) -> None:
    """The cycles of the second count on from where the first was left."""
    first, second = columns(0, 4), columns(0, 3, warping=[])
    runs = [(name, recorded(store, part), 3) for name, part in (("a", first), ("b", second))]
    shifted = dict(second)
    for name in NAMES:
        if name.endswith("/cycle_idx"):
            shifted[name] = shifted[name] + 3
    for source in (store, store.object):
        assert_equal(RunTables(runs, source), joined([cut(first, 0, 0, 3), shifted]))


def test_what_is_returned_is_the_callers(store: Store) -> None:
    """To change it changes nothing else."""
    recording = recorded(store, columns(0, 4))
    for source in (store, store.object):
        tables = RunTables([("it", recording, 4)], source)
        weights = tables["weights"]
        weights[:] = 0
        assert tables["weights"].all() and tables.cycles(0, 4)["weights"].all()


def test_only_what_is_asked_for_is_read(store: Store) -> None:
    """Of one column in two megabytes some kilobytes."""
    wide = dict(columns(0, 4))
    wide["warping/place"] = np.random.default_rng(1).random((2, 50_000, 3))
    tables = RunTables([("it", recorded(store, wide), 4)], store)
    before = bytes_read()
    assert len(tables["weights"]) == len(wide["weights"])
    assert "warping/place" in tables and "warping/plaice" not in tables
    assert bytes_read() - before < 50_000
    assert tables["warping/place"].nbytes == 2_400_000
    assert bytes_read() - before > 2_400_000


def test_bytes_are_verified_on_request(store: Store) -> None:
    """Only then a number that has changed is noticed: the one exception to S10."""
    recording = recorded(store, columns(0, 4))
    file = store.file("objects", recording.tables[0].ref.md5)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert len(RunTables([("it", recording, 4)], store)["weights"]) == 15
    for name in NAMES:
        with pytest.raises(DamagedEntryError):
            RunTables([("it", recording, 4)], store.object)[name]


def test_other_types_from_part_to_part_are_damage(store: Store) -> None:
    """Nobody gets a column that numpy has made of two types."""
    other = dict(columns(4, 8))
    other["warping/place"] = np.zeros(other["warping/place"].shape, np.int64)
    tables = RunTables([("it", recorded(store, columns(0, 4), other), 8)], store)
    for name in ("warping/place", "weights"):
        with pytest.raises(DamagedError, match="types and shapes of those before"):
            tables[name]


def test_of_what_is_verified_no_more_is_held_than_one_object(store: Store) -> None:
    """Of many, of which one small column is wanted: without it, all of them would be."""
    parts = []
    for number in range(20):
        part = dict(columns(0, 4))
        part["warping/place"] = np.full((2, 20_000, 3), float(number))
        parts.append(part)
    tables = RunTables([("it", recorded(store, *parts), 80)], store.object)
    tracemalloc.start()
    assert len(tables["weights"]) == 300
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5_000_000, "five times one, of twenty"


def test_a_column_that_no_memory_holds(store: Store) -> None:
    """Many times the same block: a line that says how large it would be."""
    part = dict(columns(0, 4))
    part["warping/place"] = np.zeros((2, 50_000, 3))
    recording = recorded(store, part)
    recording = replace(recording, tables=recording.tables * 400)
    tables = RunTables([("it", recording, 1600)], store)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 28), limits[1]))
    try:
        with pytest.raises(DamagedError, match=r"Unable to allocate \d+\. MiB"):
            tables["warping/place"]
        assert len(tables["weights"]) == 6000
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_an_array_that_no_memory_holds(tmp_path: Path) -> None:
    """And one whose file ends before it does."""
    (tmp_path / "a").write_bytes(bytes(12))
    descriptor = os.open(tmp_path / "a", os.O_RDONLY)
    try:
        for size, why in ((1 << 50, "Unable to allocate"), (2, "has become shorter")):
            with pytest.raises(DamagedError, match=why):
                npy.Placed(np.dtype("<f8"), (size,), 0).read(descriptor, "it")
    finally:
        os.close(descriptor)


def test_a_block_that_came_many_times_is_read_once(store: Store) -> None:
    """Blocks in which the same happened are one object."""
    part = dict(columns(0, 4))
    part["warping/place"] = np.zeros((2, 5_000, 3))
    recording = recorded(store, part)
    recording = replace(recording, tables=recording.tables * 50)
    tables = RunTables([("it", recording, 200)], store)
    before = bytes_read()
    assert tables["warping/place"].shape == (100, 5_000, 3)
    assert bytes_read() - before < 300_000
    assert np.array_equal(tables["weights"], np.tile(part["weights"], 50))
