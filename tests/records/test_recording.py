"""Recordings: the same happenings have the same bytes, and what is read is what was recorded."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from wepystore.engine.record_tables import RecordField
from wepystore.errors import DamagedError
from wepystore.records.errors import CannotRecordError, MalformedRecordError
from wepystore.records.recording import (
    Layout,
    Part,
    Recording,
    block_cycles_for,
    buffers_of,
    decode_recording,
    encode_recording,
    joined,
)
from wepystore.records.sinks import Memory, Remembering
from wepystore.records.tables import RunTables
from wepystore.store import canonical
from wepystore.store.names import Ref

INT, FLOAT = np.dtype(np.int64), np.dtype(np.float64)
TABLES = ("resampling", "resampler", "warping", "progress", "boundary_conditions")

LAYOUT = Layout(
    {
        "resampling": (
            RecordField("decision_id", (1,), INT),
            RecordField("target_idxs", None, INT),
            RecordField("why", (1,), np.dtype("U20")),
        ),
        "resampler": (),
        "warping": (RecordField("place", (2, 3), FLOAT),),
        "progress": (RecordField("distance", None, FLOAT),),
        "boundary_conditions": (RecordField("flag", (1,), np.dtype(bool)),),
    }
)


def happenings(n_cycles: int, seed: int = 3) -> tuple[list[Any], list[dict[str, Any]]]:
    """Weights and records of cycles, with a number of walkers that varies."""
    rng = np.random.default_rng(seed)
    weights, records = [], []
    for cycle in range(n_cycles):
        n_walkers = 3 + cycle % 3
        weights.append(rng.random(n_walkers))
        records.append(
            {
                "resampling": [
                    {"decision_id": [1], "target_idxs": list(range(w)), "why": "é" * w}
                    for w in range(n_walkers)
                ],
                "resampler": [],
                "warping": [{"place": rng.random((2, 3))}] if cycle % 2 else [],
                "progress": {"distance": rng.random(n_walkers)},
                "boundary_conditions": [{"flag": True}] if cycle == 1 else [],
            }
        )
    return weights, records


def columns(first: int, stop: int, **change: Any) -> Any:
    weights, records = happenings(stop)
    for name, rows in change.items():
        records[first][name] = rows
    return LAYOUT.columns(first, weights[first:stop], records[first:stop])


def test_pieces_joined_are_the_whole() -> None:
    """However cycles are cut into pieces, together they have the same bytes (D2)."""
    whole = b"".join(map(bytes, buffers_of(columns(0, 12))))
    for cuts in ((5,), (1, 2, 3), (4, 8), (11,)):
        edges = (0, *cuts, 12)
        parts = [columns(a, b) for a, b in itertools.pairwise(edges)]
        assert b"".join(map(bytes, buffers_of(joined(parts)))) == whole


def saved(*stretches: Any) -> tuple[Memory, dict[str, Any]]:
    """The recording of these stretches, and its manifest."""
    memory = Memory()
    sink = Remembering(memory, {})
    tables = [Part(len(c["n_walkers"]), sink.put("objects", buffers_of(c))) for c in stretches]
    recording = Recording(10, 4, tuple(LAYOUT.names()), tuple(tables), {"NOTHING": 1})
    entry = encode_recording(recording, sink)
    return memory, canonical.load_object(memory.entries["recordings", entry.md5], "it")


def read(memory: Memory, manifest: Any) -> RunTables:
    found = decode_recording(manifest, "it")
    return RunTables(
        [("it", found, found.n_cycles)], lambda ref: memory.entries["objects", ref.md5]
    )


def test_what_is_read_is_what_was_recorded() -> None:
    """Every column of every cycle, by numpy."""
    weights, records = happenings(12)
    tables = read(*saved(columns(0, 4), columns(4, 8), columns(8, 12)))
    assert tables["n_walkers"].tolist() == [len(each) for each in weights]
    assert np.array_equal(tables["weights"], np.concatenate(weights))
    for cycle, row in enumerate(tables.by_walker("progress/distance")):
        there = records[cycle]["progress"]["distance"]
        assert np.array_equal(row[: len(there)], there) and np.isnan(row[len(there) :]).all()
    resampling = tables.table("resampling")
    every = [record for each in records for record in each["resampling"]]
    ends = np.cumsum(resampling["target_idxs/lengths"])
    for found, record in zip(np.split(resampling["target_idxs"], ends[:-1]), every, strict=True):
        assert found.tolist() == record["target_idxs"]
    ends = np.cumsum(resampling["why/lengths"])
    texts = [bytes(each).decode() for each in np.split(resampling["why"], ends[:-1])]
    assert texts == [record["why"] for record in every]
    assert tables["warping/place"].shape == (6, 2, 3)
    assert tables["warping/cycle_idx"].tolist() == [1, 3, 5, 7, 9, 11]
    assert tables["boundary_conditions/flag"].tolist() == [[True]]
    assert len(tables["missing"]) == 0
    with pytest.raises(KeyError):
        tables["resampler/image"]
    with pytest.raises(ValueError, match="each walker"):
        tables.by_walker("warping/cycle_idx")


def test_a_number_for_each_walker_is_one_in_each_cycle() -> None:
    """A value more in one cycle and one less in the next are as many in all, and not those of the
    walkers."""
    part = columns(0, 4, progress={"distance": [1.0, 2.0]})
    assert read(*saved(part))["progress/distance/lengths"].tolist() == [2, 4, 5, 3]
    more = columns(1, 2, progress={"distance": [1.0] * 5})
    part = joined([columns(0, 1, progress={"distance": [1.0, 2.0]}), more, columns(2, 4)])
    tables = read(*saved(part))
    assert tables["n_walkers"].sum() == len(tables["progress/distance"])
    with pytest.raises(ValueError, match="progress/distance has not one number for each walker"):
        tables.by_walker("progress/distance")


def test_numpy_alone_reads_a_part() -> None:
    """An object is .npy files one after the other, in the order of the manifest's columns."""
    import io

    memory, manifest = saved(columns(0, 4))
    file = io.BytesIO(memory.entries["objects", manifest["tables"][0]["object"]["md5"]])
    read_alone = {name: np.load(file) for name in manifest["columns"]}
    assert file.read() == b""
    tables = read(memory, manifest)
    assert all(np.array_equal(read_alone[name], tables[name]) for name in tables)


def test_a_value_that_is_missing_is_told() -> None:
    """A record without a field that is declared: a blank, and its column and row in `missing`,
    which stay right when pieces are joined."""
    bare = [{"decision_id": 1, "target_idxs": [0]}, {"why": "x"}]
    names = LAYOUT.names()
    one, other = columns(0, 3), columns(3, 5, resampling=bare)
    n_before = len(one["resampling/decision_id"])
    found = joined([one, other])
    told = {(names[place], int(row) - n_before) for place, row in found["missing"]}
    assert told == {
        ("resampling/why", 0),
        ("resampling/decision_id", 1),
        ("resampling/target_idxs", 1),
    }
    assert found["resampling/why/lengths"][n_before] == 0
    assert found["resampling/decision_id"][n_before + 1] == 0


def test_nan_has_one_form() -> None:
    """NaN of any bits gives the same bytes (I1)."""
    odd = np.frombuffer(np.uint64(0xFFF8_0000_DEAD_BEEF).tobytes(), np.float64)
    one = columns(0, 1, progress={"distance": [np.nan, 1, 2]})
    other = columns(0, 1, progress={"distance": [odd[0], 1, 2]})
    assert b"".join(map(bytes, buffers_of(one))) == b"".join(map(bytes, buffers_of(other)))


@pytest.mark.parametrize("dtype", [object, complex, "datetime64[s]"])
def test_what_is_neither_number_nor_text_is_refused(dtype: Any) -> None:
    """When the layout is made, which is before the first cycle."""
    with pytest.raises(CannotRecordError, match="'odd'"):
        Layout({"progress": (RecordField("odd", (2,), np.dtype(dtype)),)})


def test_a_value_of_another_shape_is_refused() -> None:
    """With the name of the table and the field."""
    with pytest.raises(CannotRecordError, match=r"warping field 'place'"):
        columns(0, 1, warping=[{"place": [1.0, 2.0]}])


def test_a_block_is_fixed_by_the_walkers_at_the_start() -> None:
    """A power of two of cycles; of many walkers fewer, at least one."""
    found = [block_cycles_for(n) for n in (1, 10, 48, 480, 4800, 10**9)]
    assert found == [16384, 16384, 4096, 512, 32, 1]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"n_cycles": 13}, "as many cycles"),
        ({"columns": ["weights", "n_walkers", "missing"]}, "sorted"),
        ({"columns": ["weights"]}, "no weights|sorted"),
        ({"tables": [{"n_cycles": True, "object": {}}]}, "True"),
        ({"tables": {"a": 1}}, "str|indices"),
        ({"block_cycles": 0}, "0"),
        ({"n_steps": -1}, "-1"),
        ({"decisions": []}, "items"),
        ({"decisions": {"A": 1.5}}, "1.5"),
        ({"topology": 3}, "3|reference|lacks"),
        ({"format": 2}, "frames"),
        ({"format": 3}, "format 3"),
        ({"more": 1}, "'more'"),
        ({"units": {}}, "'units'"),
        ({"type": "snapshot"}, "snapshot"),
    ],
)
def test_a_manifest_of_a_stranger_is_refused_in_words(change: dict[str, Any], why: str) -> None:
    """As damage, whatever is in it."""
    _, manifest = saved(columns(0, 12))
    with pytest.raises(DamagedError, match=why):
        decode_recording(manifest | change, "it")


def test_tables_of_a_stranger_are_refused_in_words() -> None:
    """Fewer arrays, other numbers of weights, a header that promises more than there is."""
    good = columns(0, 4)
    bad = [
        {name: good[name] for name in list(good)[:-1]},
        good | {"weights": good["weights"][:-1]},
        good | {"n_walkers": np.array([3, 4, -1, 3])},
        good | {"n_walkers": good["n_walkers"].astype(float)},
    ]
    memory, manifest = saved(good)
    for each in bad:
        broken = read(*saved(each)) if len(each["n_walkers"]) == 4 else None
        assert broken is not None
        with pytest.raises(MalformedRecordError):
            broken["weights"]
    data = memory.entries["objects", manifest["tables"][0]["object"]["md5"]]
    odd = columns(0, 4)
    strange = [
        b"".join(map(bytes, buffers_of(odd | change)))
        for change in (
            {"missing": np.array([[len(odd), 0]])},
            {"missing": np.array([[0, -1]])},
            {"missing": np.zeros((2, 3), np.int64)},
            {"warping/cycle_idx": np.array(1)},
        )
    ]
    for cut in (data[:-8], data + b"x", b"", data.replace(b"(15,)", b"(99,)"), *strange):
        part = {"n_cycles": 4, "object": Ref.of(cut).to_json()}
        memory.put("objects", cut)
        changed = json.loads(json.dumps(manifest | {"tables": [part]}))
        with pytest.raises(MalformedRecordError):
            read(memory, changed)["weights"]
