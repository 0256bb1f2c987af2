"""`wepy show --pickles`, and how odd texts are shown."""

from __future__ import annotations

import base64
import json
import os
import pickle
import zlib
from pathlib import Path

import pytest

from tests.cli.conftest import Wepy, World
from tests.hazard.hostile import plant, text_with_pickle
from wepystore.cli.pickles import readings
from wepystore.store import Ref, canonical
from wepystore.store.pickles.pickled import Pickled

SYSTEM = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R."


@pytest.fixture
def listed(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A snapshot with a pickle and with XML that has one."""
    monkeypatch.setenv("WEPY_TRUST", str(tmp_path / "trusted"))
    part = world.store.put("objects", SYSTEM)
    text = world.store.put("objects", text_with_pickle(SYSTEM))
    params = {"distance": {"pickle": part.to_json(), "of": "Mine"}, "pmax": 0.5}
    resampler = {"component": {"class": "WExploreResampler", "version": 1, "params": params}}
    runner = {
        "component": {"class": "OpenMMRunner", "params": {"system": {"text": text.to_json()}}}
    }
    manifest = {
        "type": "snapshot",
        "format": 1,
        "walkers": {"weights": [0.5, 0.5], "states": [0, 0]},
        "apparatus": {"resampler": resampler, "runner": runner},
    }
    return world.store.put("snapshots", canonical.dumps(manifest)).md5


def test_pickles_are_told_and_not_loaded(wepy: Wepy, listed: str) -> None:
    """Each part with where it is, what it would call, what stands out, and whether it is trusted;
    and a reminder that this is no proof."""
    result = wepy(f"show --pickles w.orch {listed}")
    assert result.status == 0 and result.lines[0] == f"snapshot {listed}"
    for text in (
        "  resampler.distance: Mine, object",
        "not trusted",
        "    WORTH A LOOK: os.system",
        "    os.system: called once",
        "    with the words os.system('true')",
        "    instructions that call: 1 REDUCE",
        "  runner.system: OpenMM XML, object",
    ):
        assert text in result.out
    assert result.out.count("os.system: called once") == 2
    assert "proves nothing" in result.err
    wepy(f"trust w.orch {listed}")
    assert "not trusted" not in wepy(f"show -p {listed} w.orch").out
    (told,) = json.loads(wepy(f"show --pickles --json w.orch {listed}").out)
    part = next(part for part in told["parts"] if part["of"] == "Mine")
    assert part["trusted"] and part["pickles"][0]["suspicious"] == ["os.system"]
    assert part["pickles"][0]["names"] == [{"module": "os", "name": "system", "calls": 1}]


def test_pickles_of_a_file_an_object_a_run_and_of_nothing(
    wepy: Wepy, listed: str, world: World
) -> None:
    """All that can be named can be looked into."""
    wepy(f"get snapshot w.orch {listed} -O s.file")
    assert "os.system" in wepy("show --pickles s.file").out
    md5 = next(m for m in world.store.hashes("objects") if world.store.read("objects", m) == SYSTEM)
    assert "os.system" in wepy(f"show --pickles w.orch {md5}").out
    assert "no pickled parts" in wepy(f"show --pickles w.orch {world.run}").out


def test_pickles_of_wepy_1(wepy: Wepy, listed: str, world: World) -> None:
    """An entry of wepy 1.x is one whole pickle, and is told of as such."""
    md5 = plant(world.store, "snapshots", base64.b64encode(zlib.compress(SYSTEM)))
    assert "WORTH A LOOK: os.system" in wepy(f"show --pickles w.orch {md5}").out


def test_texts_cannot_command_the_terminal(wepy: Wepy, world: World) -> None:
    """Control characters in names and values are shown as escapes, in text, JSON and errors."""
    odd = "\x1b[31m\u202e\x9b2J"
    part = world.store.put("objects", pickle.dumps(odd))
    manifest = {"type": "snapshot", odd: {"pickle": part.to_json(), "of": odd}}
    md5 = world.store.put("snapshots", canonical.dumps(manifest)).md5
    for line in ("show", "show --json", "show --pickles", "show -p --json", "trust"):
        result = wepy(f"{line} w.orch {md5}")
        assert result.status == 0
        assert not set("\x1b\u202e\x9b") & set(result.out + result.err), line
    assert json.loads(wepy(f"show --json w.orch {md5}").out)["manifest"][odd]


def test_one_state_is_one_state(wepy: Wepy, listed: str) -> None:
    """Two walkers in the same state: '1 state'."""
    assert "  1 state" in wepy(f"show w.orch {listed}").lines


def test_a_label_hides_no_pickle() -> None:
    """What a manifest calls a pickled part has no bearing on whether it is read."""
    data = pickle.dumps(os.system)
    part = Pickled("runner", "wepy 1.x", Ref.of(data))
    (reading,) = readings(part, data)
    assert [name.module for name, _ in reading.names] == [os.system.__module__]
