"""Frames as arrays: what is put in comes out, whatever the blocks and the walkers."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wepystore.engine.ensemble import Ensemble
from wepystore.engine.kept_frames import Recording
from wepystore.engine.walker import Walker, WalkerState
from wepystore.errors import DamagedError
from wepystore.records import frame_rows, npy
from wepystore.records import frames as module
from wepystore.records.errors import CannotRecordError
from wepystore.records.frame_fields import fields_of, frames_of
from wepystore.records.frame_rows import CycleFrames, cycles_of, grouped, groups_of, rows_before
from wepystore.records.frames import (
    Block,
    FrameField,
    Frames,
    Part,
    block_cycles_for,
    decode_frames,
    encode_frames,
    kept_cycles,
)
from wepystore.records.recording import Part as TablePart
from wepystore.records.recording import Recording as Happened
from wepystore.records.recording import decode_recording, encode_recording
from wepystore.records.sinks import Memory
from wepystore.store import canonical
from wepystore.store.names import Ref

FIELDS = (FrameField("box_vectors", (3, 3), "<f4"), FrameField("positions", (2, 3), "<f4"))


def shots(counts: list[int], seed: int = 0) -> list[CycleFrames]:
    """Frames of so many walkers in each cycle, one value of some of them missing."""
    random = np.random.default_rng(seed)
    found = []
    for count in counts:
        arrays: dict[str, Any] = {
            field.name: random.normal(size=(count, *field.shape)).astype(field.dtype)
            for field in FIELDS
        }
        lacking = [(1, int(w)) for w in np.flatnonzero(random.random(count) < 0.2)]
        for _, walker in lacking:
            arrays["positions"][walker] = np.nan
        found.append((arrays, lacking))
    return found


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6) | st.integers(1, 6).map(lambda n: [n] * 4),
    st.sampled_from([1, 150, 400, 1 << 25]),
    st.sampled_from([1, 1 << 14]),
)
def test_what_is_put_into_objects_comes_out(counts: list[int], part_bytes: int, large: int) -> None:
    """Also where walkers come and go, those of a cycle are in several objects, and rows are
    written from where they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PART_BYTES", part_bytes)
        patch.setattr(frame_rows, "_LARGE", large)
        frames = Frames(FIELDS, 1, 8)
        made = shots(counts)
        groups = list(groups_of(frames, made))
        assert [group.n_walkers for group in groups] == grouped(
            max(counts), len(counts), frames.frame_bytes
        )
        for group in groups:
            copied = [npy.buffers(each) for each in (*group.arrays.values(), group.missing)]
            assert b"".join(group.buffers()) == b"".join(itertools.chain(*copied))
            size = sum(array.nbytes for array in group.arrays.values())
            assert size <= part_bytes or group.n_walkers == 1
        for (arrays, lacking), (found, missing) in zip(
            made, cycles_of(groups, counts), strict=True
        ):
            assert sorted(missing) == sorted(lacking)
            for name, array in arrays.items():
                assert found[name].tobytes() == array.tobytes()
        # Walker after walker, of each its cycles: as what reads single rows takes it to be.
        first = 0
        for group in groups:
            for place, count in enumerate(counts):
                walkers = np.arange(first, min(count, first + group.n_walkers))
                rows = rows_before(np.array(counts), first, walkers, np.full(len(walkers), place))
                expected = made[place][0]["positions"][walkers]
                assert np.array_equal(group.arrays["positions"][rows], expected, equal_nan=True)
            first += group.n_walkers


def test_a_walkers_stretch_is_one_piece_of_the_file() -> None:
    """Row k of walker w, of three cycles and four walkers, is 3 w + k (D2)."""
    made = shots([4, 4, 4])
    (group,) = groups_of(Frames(FIELDS, 1, 8), made)
    stacked = np.stack([arrays["positions"] for arrays, _ in made], axis=1)
    assert np.array_equal(group.arrays["positions"], stacked.reshape(12, 2, 3), equal_nan=True)


@pytest.mark.parametrize(
    ("n_walkers", "n_bytes", "every", "cycles"),
    [
        (48, 120_036, 1, 8),  # 10,000 atoms: 5.8 MB a cycle, 46 MB a block
        (1, 12_036, 1, 2048),  # one walker: 25 MB, in one object
        (48, 240_036, 1, 2),  # 20,000: a block of 23 MB
        (48, 1_200_036, 1, 1),  # 100,000: more than an object in one cycle
        (10, 60, 1, 1 << 14),
        (48, 120_036, 10, 80),
    ],
)
def test_a_block_is_as_long_as_walkers_and_fields_say(
    n_walkers: int, n_bytes: int, every: int, cycles: int
) -> None:
    """A power of two of cycles with frames, in at most two objects of 32 MiB (D2)."""
    assert block_cycles_for(n_walkers, n_bytes, every) == cycles


def test_which_cycles_have_frames() -> None:
    """The multiples of the interval, whatever block they are in."""
    assert [*kept_cycles(0, 10, 4)] == [0, 4, 8]
    assert [*kept_cycles(5, 3, 4)] == []
    assert [*kept_cycles(8, 1, 4)] == [8]


def walkers(*states: dict[str, Any]) -> list[Walker]:
    return [Walker(WalkerState(**state), 1 / len(states)) for state in states]


def test_what_is_usual_is_what_states_have() -> None:
    """Positions and the box in single precision; no box where there is none; nothing of states that
    have neither."""
    here = walkers({"positions": np.ones((4, 3)), "box_vectors": np.eye(3), "time": 1.0})
    assert fields_of(here, Recording()) == (
        FrameField("box_vectors", (3, 3), "<f4", "nanometer"),
        FrameField("positions", (4, 3), "<f4", "nanometer"),
    )
    assert [f.name for f in fields_of(here, Recording(), has_box=False)] == ["positions"]
    assert fields_of(walkers({"x": [1.0]}), Recording()) == ()
    assert fields_of(here, Recording(fields=())) == ()


def test_what_is_asked_for_is_there_or_refused() -> None:
    """By name, with what there is instead; and by the number of the atom."""
    here = walkers({"positions": np.ones((4, 3)), "time": 1.0})
    with pytest.raises(CannotRecordError, match=r"no 'forces', but positions, time"):
        fields_of(here, Recording(fields=["positions", "forces"]))
    with pytest.raises(CannotRecordError, match=r"atom 4 is asked for, and positions are of 4"):
        fields_of(here, Recording(atoms=[0, 4]))
    (field,) = fields_of(here, Recording(["positions"], atoms=[3, 1], precision="float64"))
    assert field == FrameField("positions", (2, 3), "<f8", "nanometer")


@pytest.mark.parametrize("whole", [False, True])
def test_frames_are_values_of_states(whole: bool) -> None:
    """Of some atoms, in their order; what a state lacks is marked; an Ensemble as its walkers."""
    positions = np.arange(36.0).reshape(3, 4, 3)
    states: list[dict[str, Any]] = [{"positions": p, "x": k} for k, p in enumerate(positions)]
    if not whole:
        del states[1]["x"]
    here: Any = walkers(*states)
    if whole:
        here = Ensemble.of(here)
    fields = fields_of(here, Recording(["x", "positions"], atoms=[3, 0]))
    arrays, missing = frames_of(here, fields, np.array([3, 0]))
    assert np.array_equal(arrays["positions"], positions[:, [3, 0]])
    assert arrays["positions"].dtype == arrays["x"].dtype == np.float32
    if whole:
        assert missing == [] and arrays["x"].tolist() == [0, 1, 2]
    else:
        assert missing == [(1, 1)] and np.array_equal(arrays["x"], [0, np.nan, 2], equal_nan=True)


def test_a_state_of_another_shape_is_refused() -> None:
    """Nothing is stretched to fit."""
    fields = (FrameField("positions", (4, 3), "<f4"),)
    with pytest.raises(CannotRecordError, match=r"positions.*shape \(1, 3\), and had \(4, 3\)"):
        frames_of(walkers({"positions": np.ones((1, 3))}), fields, None)


def test_values_that_are_no_numbers_have_one_form() -> None:
    """Whatever the bits of a NaN; what single precision cannot hold is infinite."""
    odd = np.array([[np.nan, -np.nan, 1e300]])
    odd.view(np.int64)[0, 1] |= 5
    ((arrays, _), (again, _)) = (
        frames_of(walkers({"positions": each}), (FrameField("positions", (1, 3), "<f4"),), None)
        for each in (odd, np.array([[np.nan, np.nan, np.inf]]))
    )
    assert arrays["positions"].tobytes() == again["positions"].tobytes()


def manifest(**change: Any) -> Any:
    """That of two full blocks of two cycles and one more, with something else in it."""
    part = Part(3, Ref.of(b"x"))
    blocks = (Block(2, (part,)), Block(2, (part,)), Block(1, (part,)))
    memory = Memory()
    frames = Frames(FIELDS, 1, 2, blocks, np.arange(2))
    entry = encode_frames(frames, memory)
    value = canonical.load_object(memory.entries["frames", entry.md5], "it")
    return {**value, **change}


@pytest.mark.parametrize(("n_different", "is_refused"), [(1, True), (40, False)])
def test_one_object_again_and_again_is_refused(n_different: int, is_refused: bool) -> None:
    """A stranger's lines of some bytes each would be gigabytes where what is left over is read, of
    frames and of tables: not so what is there."""
    refs = [Ref.of(bytes([k]))._replace(size=1 << 22) for k in range(n_different)]
    every = [refs[k % n_different] for k in range(80)]
    blocks = [{"n_cycles": 1, "parts": [{"n_walkers": 3, "object": r.to_json()}]} for r in every]
    recording = Happened(10, 1 << 14, ("missing", "n_walkers", "weights"))
    recording = replace(recording, tables=tuple(TablePart(1, ref) for ref in every))
    memory = Memory()
    md5 = encode_recording(recording, memory).md5
    tables = canonical.load_object(memory.entries["recordings", md5], "it")
    strange = manifest(blocks=blocks, n_cycles=80, block_cycles=1 << 14)
    for read, value in ((decode_frames, strange), (decode_recording, tables)):
        with pytest.raises(DamagedError, match="335544320 bytes") if is_refused else nullcontext():
            assert read(value, "it").n_cycles == 80  # type: ignore[operator]


def test_a_manifest_is_read_as_it_was_written() -> None:
    """All but the atoms, which are an object."""
    found = decode_frames(manifest(), "it")
    assert (found.n_cycles, found.n_full, found.fields, found.every) == (5, 2, FIELDS, 1)
    assert isinstance(found.atoms, Ref) and found.n_bytes == 3


FIELD = {"name": "x", "shape": [], "dtype": "<f4", "unit": None}
BLOCK = {"n_cycles": 2, "parts": []}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"n_cycles": 6}, "as many cycles"),
        ({"every": 0}, "0"),
        ({"every": True}, "True"),
        ({"block_cycles": 3}, "full"),
        ({"every": 4}, "whole intervals"),
        ({"fields": []}, "none"),
        (
            {"fields": [{"name": "x", "shape": [1 << 31] * 3, "dtype": "<f4", "unit": None}]},
            "shape",
        ),
        ({"fields": [{**FIELD, "shape": [-1]}]}, "-1"),
        ({"fields": [{**FIELD, "dtype": "|O"}]}, "precision"),
        ({"fields": [{**FIELD, "name": 3}]}, "3"),
        ({"fields": 5}, "iter"),
        ({"fields": [{**FIELD, "unit": 1}]}, "unit"),
        ({"blocks": [BLOCK, BLOCK], "n_cycles": 4}, "lacks some"),
        ({"blocks": [{**BLOCK, "more": 1}]}, "'more'"),
        ({"atoms": 3}, "3|reference|lacks"),
        ({"format": 2}, "format 2"),
        ({"more": 1}, "'more'"),
        ({"type": "recording"}, "recording"),
    ],
)
def test_a_manifest_of_a_stranger_is_refused_in_words(change: dict[str, Any], why: str) -> None:
    """As damage, whatever is in it."""
    with pytest.raises(DamagedError, match=why):
        decode_frames(manifest(**change), "it")
