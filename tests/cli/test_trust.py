"""`wepy trust`, and what `wepy run` does without it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from tests.cli.conftest import Wepy, World
from wepystore.store import canonical


@pytest.fixture
def pickled(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A snapshot with a pickled part, in a store whose maker nobody knows; a list of its own."""
    monkeypatch.setenv("WEPY_TRUST", str(tmp_path / "trusted"))
    part = world.store.put("objects", pickle.dumps({"a": print}, 4))
    manifest = {
        "type": "snapshot",
        "format": 1,
        "apparatus": {"resampler": {"pickle": part.to_json(), "of": "Mine"}},
    }
    md5 = world.store.put("snapshots", canonical.dumps(manifest)).md5
    world.store.set_ref("tags/mine", md5)
    world.store.set_ref("default-config", world.config)
    return {"md5": md5, "sha256": part.sha256, "object": part.md5}


def test_a_run_is_refused_until_it_is_trusted(
    wepy: Wepy, pickled: dict[str, str], tmp_path: Path
) -> None:
    """Exit 5, one line with the part, how to look and how to trust; no job folder. Afterwards the
    run gets past that (and fails for another reason, this being no real snapshot)."""
    line = "run orch --n-cycles 1 --job-dir job w.orch mine 5 5"
    result = wepy(line)
    assert result.status == 5 and result.out == "" and result.err.count("\n") == 1
    for text in ("resampler (Mine)", f"wepy show --pickles w.orch {pickled['md5']}", "wepy trust"):
        assert text in result.err
    assert not (tmp_path / "job").exists()
    assert wepy("trust w.orch mine").status == 0
    assert wepy(line).status == 3


@pytest.mark.parametrize(
    "words",
    [
        "w.orch mine",
        "mine w.orch",
        "w.orch {md5}",
        "w.orch {object}",
        "--store w.orch",
        "w.orch",
        "s.file",
    ],
)
def test_ways_to_trust_and_to_revoke(wepy: Wepy, pickled: dict[str, str], words: str) -> None:
    """A hash or tag and a store either way round, a store as a whole, a file; doing it twice
    adds nothing; revoking takes it back."""
    wepy("get snapshot w.orch mine -O s.file")
    words = words.format(**pickled)
    result = wepy(f"trust {words}")
    assert (result.status, result.lines) == (0, [pickled["sha256"]])
    assert "trusted 1 pickled part" in result.err
    assert wepy("trust --list").lines == [pickled["sha256"]]
    assert json.loads(wepy("trust --list --json").out) == [pickled["sha256"]]
    again = json.loads(wepy(f"trust --json {words}").out)
    assert again == {"trusted": [], "unchanged": 1}
    assert wepy(f"trust --revoke {words}").lines == [pickled["sha256"]]
    assert wepy("trust --list").out == ""


def test_revoking_by_the_list(wepy: Wepy, pickled: dict[str, str]) -> None:
    """A line of the list can be revoked though its store is gone."""
    wepy("trust w.orch mine")
    assert wepy(f"trust --revoke {pickled['sha256']}").lines == [pickled["sha256"]]
    assert wepy("trust --list").out == ""


def test_nothing_to_trust(wepy: Wepy, pickled: dict[str, str], world: World) -> None:
    """An entry of built-in parts says so."""
    result = wepy(f"trust w.orch {world.start}")
    assert (result.status, result.out) == (0, "") and "nothing to trust" in result.err


def test_runs_stand_for_their_ends(wepy: Wepy, pickled: dict[str, str], world: World) -> None:
    """Of a run, by its hash or its ends, the parts of its snapshots and configuration."""
    assert wepy(f"trust w.orch {world.run}").status == 0
    assert wepy(f"trust w.orch {world.start},{world.end}").status == 0


def test_trusting_what_is_not_there_or_damaged(
    wepy: Wepy, pickled: dict[str, str], world: World
) -> None:
    """Exit 1 for an unknown hash; exit 3 for a damaged entry, all others being trusted."""
    assert wepy("trust w.orch 0123456789").status == 1
    world.store.file("snapshots", world.end).write_text("[")
    result = wepy("trust --store w.orch")
    assert result.status == 3 and result.lines == [pickled["sha256"]] and world.end in result.err
    assert wepy(f"trust w.orch {world.end}").status == 3


def test_what_stands_out_is_told_when_it_is_trusted(
    wepy: Wepy, pickled: dict[str, str], world: World
) -> None:
    """The warning names what deserves a look; it is the user who decides."""
    part = world.store.put("objects", b"cos\nsystem\n(S'true'\ntR.")
    manifest = {"type": "configuration", "monitor": {"pickle": part.to_json(), "of": "M"}}
    md5 = world.store.put("configs", canonical.dumps(manifest)).md5
    result = wepy(f"trust w.orch {md5}")
    assert result.status == 0 and "monitor (M): os.system" in result.err


def test_a_list_that_others_may_write_stops_all(
    wepy: Wepy, pickled: dict[str, str], tmp_path: Path
) -> None:
    """Exit 1 with what to do about it, and no run."""
    (tmp_path / "trusted").write_text(pickled["sha256"] + "\n")
    (tmp_path / "trusted").chmod(0o666)
    for line in ("trust --list", "trust w.orch mine", "run orch w.orch mine 5 5"):
        result = wepy(line)
        assert result.status == 1 and "chmod 600" in result.err
