"""Stores where a hash is meant, job folders where a store is meant, words in another order."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Wepy, World
from tests.store.helpers import add_snapshot
from wepystore.store import Store

#: What takes a store and hashes, without the hashes; and the word that is missing.
FORGOTTEN = {
    "show {}": "HASH",
    "show --pickles {}": "HASH",
    "get snapshot {}": "HASH",
    "get config {}": "HASH",
    "get run {}": "END",
    "get run {} ffff": "END",
    "get run-cycles {}": "END",
    "tag {} name": "HASH",
    "tag --delete {}": "NAME",
    "diff {} ffff": "B",
    "convert {}": "HASH",
    "verify {}": "RUN",
    "add snapshot {}": "FILE",
    "push {}": "DEST",
}


@pytest.mark.parametrize("line", FORGOTTEN)
@pytest.mark.parametrize("place", ["w.orch", "job", "project"])
def test_a_forgotten_hash_is_what_is_missing(
    wepy: Wepy, world: World, line: str, place: str
) -> None:
    """With the store named and the hash not, the message is of the hash, whether another store is
    found from here or not; a job folder and a project's directory are stores, too."""
    shutil.copytree("w.orch", "job/checkpoint.orch")
    shutil.copytree("w.orch", "project/.orch")
    result = wepy(line.format(place))
    missing = FORGOTTEN[line]
    if line in ("get run {}", "get run-cycles {}"):
        assert result.status == 2 and "missing" in result.err
        return
    assert (result.status, result.out) == (2, "")
    assert result.err == f"wepy: error: {missing} is missing: {place} is a store\n"
    shutil.copytree("w.orch", ".orch")
    if not line.startswith("push"):
        assert wepy(line.format(place)) == result


def test_a_tag_that_is_called_as_a_store_is_a_tag(wepy: Wepy, world: World) -> None:
    """In the store that is found from here; where that has no such tag, it is the store."""
    here = Store.create(".orch")
    md5 = add_snapshot(here, "x")
    assert "HASH is missing" in wepy("show w.orch").err
    here.set_ref("tags/w.orch", md5)
    assert wepy("show w.orch").lines[0] == f"snapshot {md5} (tag: w.orch)"


def test_a_store_that_is_not_there_is_named(wepy: Wepy, world: World) -> None:
    """A path with a typo, and no hash: the store is what is told of."""
    for line in ("show no.orch", "get snapshot ./no", "verify no.orch", "convert a/b"):
        result = wepy(line)
        assert result.status == 1 and "no store at" in result.err, result
    Path("empty").mkdir()
    assert "empty is not a store" in wepy("show empty").err
    assert "no store was named and none was found" in wepy("show ffff").err


def test_words_in_another_order(wepy: Wepy, world: World) -> None:
    """One other word may stand before the store; of several it is told that the store is first."""
    for line in ("show {} w.orch", "verify {} w.orch", "convert {} w.orch", "tag -d {} w.orch"):
        result = wepy(line.format("ffff"))
        assert "ffff" in result.err and "no store" not in result.err, (line, result)
    file = wepy(f"get snapshot {world.start} w.orch").lines[0]
    assert wepy(f"add snapshot {file} w.orch").lines == [world.start]
    for line in ("get run {} {} w.orch", "diff {} {} w.orch", "tag name {} w.orch"):
        result = wepy(line.format(world.start, world.end))
        assert result.err == "wepy: error: ORCH comes first: w.orch is a store\n", (line, result)
        assert result.status == 2


#: What reads, or writes into, a store that is named.
ON_A_STORE = (
    "ls snapshots {}",
    "ls runs {}",
    "log {}",
    "show {} default",
    "diff {} default default",
    "tag {}",
    "tag {} bound default",
    "default {}",
    "default snapshot {} bound",
    "get snapshot --force {} default",
    "get run-cycles {} {start} {end}",
    "status {}",
    "fsck {}",
    "gc {}",
    "trust {}",
    "reconcile orch a.orch {}",
    "reconcile orch {} w.orch",
    "push {} b.orch",
    "push w.orch {}",
    "fsck --repair --from {} w.orch",
)


def test_a_job_folder_stands_for_its_store(wepy: Wepy, world: World) -> None:
    """Wherever a store is named, checkpoint.orch is meant, as if it had been named itself."""
    world.store.set_ref("default-snapshot", world.end)
    for name in ("job", "twin"):
        shutil.copytree("w.orch", f"{name}/checkpoint.orch")
    for line in ON_A_STORE:
        words = {"start": world.start, "end": world.end}
        by_folder = wepy(line.format("job", **words))
        in_full = wepy(line.format("twin/checkpoint.orch", **words))
        assert by_folder.status == in_full.status == 0, (line, by_folder)
        assert by_folder.out.replace("job/", "twin/") == in_full.out
    assert Store.open("job/checkpoint.orch").tags() == {"bound": world.end}
    status = json.loads(wepy("status --json job").out)
    assert status["store"] == "job/checkpoint.orch"


def test_a_job_folder_is_not_looked_for_upwards(
    wepy: Wepy, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a job folder within a project the store that is found is the project's."""
    shutil.copytree("w.orch", "project/.orch")
    other = Store.create("project/job/checkpoint.orch")
    md5 = add_snapshot(other, "x")
    monkeypatch.chdir("project/job")
    assert md5 not in wepy("ls snapshots").out and world.start in wepy("ls snapshots").out
    assert wepy("ls snapshots .").lines == [md5]
    monkeypatch.setenv("WEPY_ORCH", ".")
    assert wepy("ls snapshots").lines == [md5]


def test_a_linked_checkpoint_orch_is_not_taken(wepy: Wepy, world: World) -> None:
    """A job folder of a stranger whose store is a link: nothing is read or written through it."""
    Path("job").mkdir()
    Path("job/checkpoint.orch").symlink_to("../w.orch")
    for line in ("tag job bound", "ls snapshots job", "reconcile orch new.orch job", "gc job"):
        result = wepy(line, *([world.start] if line.startswith("tag") else []))
        assert result.status == 1 and "its checkpoint.orch is a link" in result.err, (line, result)
    assert world.store.tags() == {}
    assert wepy("ls snapshots job/checkpoint.orch").status == 0


def test_a_store_where_a_job_folder_is_meant(wepy: Wepy, world: World) -> None:
    """The other way round: `wepy resume` says whose store it is, or how to make a job of it."""
    result = wepy("resume w.orch")
    assert result.status == 1 and "'wepy run orch w.orch default …'" in result.err
