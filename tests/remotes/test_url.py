"""Stores behind URLs: a real S3 server, sftp through a real sshd, files, memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.remotes.conftest import Chain, Sshd, Wepy
from tests.store.helpers import add_snapshot, check, contents
from wepystore.store import Store

fsspec = pytest.importorskip("fsspec")
Make = Callable[..., Chain]

#: A path with all that goes wrong where something is not quoted; '#' and '?' end a URL's path.
ODD = "it's a [1] *tést* $HOME.orch"

#: The kinds of places; the slower ones only with the long sweeps.
BRIEF = ["s3", pytest.param("sftp", marks=pytest.mark.slow), "memory"]


@pytest.fixture(params=["s3", "sftp", "file", "memory"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The URL of a place that is not there yet."""
    if request.param == "s3":
        yield f"s3://{request.getfixturevalue('bucket')}/{ODD}"
    elif request.param == "sftp":
        sshd: Sshd = request.getfixturevalue("sshd")
        monkeypatch.setenv("HOME", str(sshd.folder))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        yield f"sftp://{sshd.user}@127.0.0.1:{sshd.port}{tmp_path}/away {ODD}"
    elif request.param == "file":
        yield f"file://{tmp_path}/away {ODD}"
    else:
        yield f"memory://{tmp_path.name}/{ODD}"


def files_at(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it, reached without our code."""
    if url.startswith("sftp"):
        # The same directory, seen from this side.
        return fsspec.filesystem("file"), url[url.index("/", len("sftp://")) :]
    return fsspec.core.url_to_fs(url, skip_instance_cache=True)


def test_there_and_back(wepy: Wepy, make_chain: Make, place: str, tmp_path: Path) -> None:
    """S6: a store that is pushed to a place and brought back from it is the same; neither is done
    twice; a dry run does neither; what is new goes and comes alone."""
    chain = make_chain("mine.orch")
    dry = wepy("push -n mine.orch", place)
    assert dry.status == 0 and "Would send 20 files" in dry.err
    fs, root = files_at(place)
    assert not fs.exists(root)
    pushed = wepy("push mine.orch", place)
    assert pushed.status == 0, pushed.err
    assert pushed.err.splitlines()[0] == f"To {place}" and "20 files sent" in pushed.err
    assert wepy("push mine.orch", place) == (0, "", "Already up to date.\n")
    dry = wepy("reconcile orch -n back.orch", place)
    assert "Would bring 20 files" in dry.err and not (tmp_path / "back.orch").exists()
    came = wepy("reconcile orch back.orch", place)
    assert came.status == 0, came.err
    assert came.err.splitlines()[0] == f"From {place}"
    back = Store.open(tmp_path / "back.orch")
    assert contents(back) == contents(chain.store) and back.tags() == chain.store.tags()
    assert back.ref("default-config") == chain.config
    check(back.path)
    assert wepy("reconcile orch back.orch", place).err == "Already up to date.\n"
    add_snapshot(chain.store, "new")
    assert "3 files sent" in wepy("push mine.orch", place).err
    assert "3 files linked" in wepy("reconcile orch back.orch", place).err


@pytest.mark.parametrize("place", BRIEF, indirect=True)
def test_damage_there_is_left_out(wepy: Wepy, make_chain: Make, place: str, tmp_path: Path) -> None:
    """S10, S5: what has rotten there or is missing there stays out with what needs it, named by its
    URL; push replaces nothing that is there."""
    chain = make_chain("mine.orch")
    wepy("push mine.orch", place)
    fs, root = files_at(place)
    rotten, missing, cut = (
        chain.store.references("snapshots", md5)[-1][1].md5 for md5 in chain.snapshots
    )
    at = {md5: f"{root}/objects/{md5[:2]}/{md5}" for md5 in (rotten, missing, cut)}
    data = fs.cat_file(at[rotten])
    fs.pipe_file(at[rotten], data[:-1] + b"!")
    fs.rm_file(at[missing])
    fs.pipe_file(at[cut], b"cut")
    came = wepy("reconcile orch back.orch", place)
    assert came.status == 3
    assert f"{place}/objects/{rotten[:2]}/{rotten} is damaged" in came.err
    assert missing in came.err and cut in came.err and "incoming" not in came.err
    assert Store.open(tmp_path / "back.orch").hashes("snapshots") == []
    check(tmp_path / "back.orch")
    pushed = wepy("push mine.orch", place)
    assert pushed.status == 3 and f"{cut} has 3 bytes" in pushed.err
    assert fs.cat_file(at[cut]) == b"cut"
    assert fs.exists(at[missing])
    again = wepy("reconcile orch back.orch", place)
    assert Store.open(tmp_path / "back.orch").hashes("snapshots") == [chain.snapshots[1]], again.err


@pytest.mark.parametrize(
    "place",
    ["memory", *(pytest.param(each, marks=pytest.mark.slow) for each in ("s3", "sftp"))],
    indirect=True,
)
def test_half_a_recording_there(wepy: Wepy, make_chain: Make, place: str, tmp_path: Path) -> None:
    """S5: a run of whose recording a part is not there stays out, alone, and comes with it."""
    chain = make_chain("mine.orch")
    wepy("push mine.orch", place)
    fs, root = files_at(place)
    (recording,) = chain.store.hashes("recordings")
    *_, happened = (x for k, x in chain.store.references("recordings", recording) if k == "objects")
    for kind, md5 in (("objects", happened.md5), ("recordings", recording)):
        at = f"{root}/{kind}/{md5[:2]}/{md5}"
        data = fs.cat_file(at)
        fs.rm_file(at)
        came = wepy("reconcile orch", f"{kind}.orch", place)
        assert came.status == 3 and f"[left out] run {chain.run}" in came.err and md5 in came.err
        back = Store.open(tmp_path / f"{kind}.orch")
        assert not back.hashes("runs") and back.hashes("snapshots") == sorted(chain.snapshots)
        fs.pipe_file(at, data)
        assert wepy("reconcile orch", f"{kind}.orch", place).status == 0
        assert contents(back) == contents(chain.store)
        check(back.path)


@pytest.mark.parametrize("place", BRIEF, indirect=True)
def test_what_is_no_store_there(wepy: Wepy, make_chain: Make, place: str) -> None:
    """A place that is not there, or holds something else: one line, exit status 1, no target."""
    make_chain("mine.orch")
    result = wepy("reconcile orch new.orch", place)
    assert result.status == 1 and result.err.count("\n") == 1, result.err
    assert "is not a store" in result.err
    fs, root = files_at(place)
    fs.makedirs(root, exist_ok=True)
    fs.pipe_file(f"{root}/thesis.tex", b"x")
    for line in ("reconcile orch new.orch", "push mine.orch"):
        result = wepy(line, place)
        assert result.status == 1 and "thesis.tex" in result.err, result.err
    assert not Path("new.orch").exists()


def test_a_job_folder_behind_a_url(wepy: Wepy, make_chain: Make, tmp_path: Path) -> None:
    """It stands for its store, and the default of what is made from it is the run's start."""
    (tmp_path / "job").mkdir()
    chain = make_chain("job/checkpoint.orch")
    chain.store.set_ref("default-snapshot", chain.snapshots[-1])
    assert wepy(f"reconcile orch new.orch file://{tmp_path}/job").status == 0
    assert Store.open(tmp_path / "new.orch").ref("default-snapshot") == chain.snapshots[0]


@pytest.mark.parametrize("what", ["tmp", "folder", "refs", "file", "lock"])
def test_nothing_comes_through_links_in_tmp(
    wepy: Wepy, make_chain: Make, tmp_path: Path, what: str
) -> None:
    """A stranger's store has links where what comes from an address is put: what they lead to
    stays as it was."""
    chain = make_chain("there.orch")
    url = f"file://{chain.store.path}"
    new, precious = Store.create(tmp_path / "new.orch"), make_chain("precious.orch").store
    before = {path: path.lstat() for path in precious.path.rglob("*")}
    folder = new.path / "tmp" / f"incoming-{hashlib.md5(url.encode()).hexdigest()[:16]}"
    md5 = chain.snapshots[0]
    link, leads_to = {
        "tmp": (new.path / "tmp", precious.path),
        "folder": (folder, precious.path),
        "refs": (folder / "refs", precious.path / "refs"),
        "file": (folder / f"snapshots/{md5[:2]}/.{md5}.part", precious.path / "wepystore.json"),
        "lock": (folder / "lock", precious.path / "made"),
    }[what]
    if what == "tmp":
        link.rmdir()
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(leads_to)
    result = wepy("reconcile orch new.orch", url)
    after = {path: path.lstat() for path in precious.path.rglob("*")}
    assert {k: (v.st_ino, v.st_size) for k, v in after.items()} == {
        k: (v.st_ino, v.st_size) for k, v in before.items()
    }
    check(precious.path)
    if what == "tmp":
        assert result.status == 3 and "symbolic link" in result.err
    else:
        assert result.status == 0, result.err
        assert contents(Store.open(new.path)) == contents(chain.store)


def test_a_manifest_of_any_size_is_not_fetched(
    wepy: Wepy, make_chain: Make, tmp_path: Path
) -> None:
    """One that is larger than any is told and stays there; the rest comes."""
    chain = make_chain("there.orch")
    huge = chain.store.file("snapshots", "ab" * 16)
    huge.parent.mkdir(exist_ok=True)
    huge.touch()
    os.truncate(huge, (1 << 30) + 1)
    result = wepy("reconcile orch new.orch", f"file://{chain.store.path}")
    (line,) = [line for line in result.err.splitlines() if "left out" in line]
    assert result.status == 3 and f"its manifest has {(1 << 30) + 1} bytes" in line
    huge.unlink()
    assert contents(Store.open(tmp_path / "new.orch")) == contents(chain.store)


def test_a_transfer_that_breaks_is_gone_on_with(
    wepy: Wepy, make_chain: Make, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server that fails after some files: exit status 1, what has come is not fetched again."""
    import s3fs

    chain = make_chain("mine.orch")
    place = f"s3://{bucket}/x"
    wepy("push mine.orch", place)
    whole = s3fs.S3FileSystem._get_file
    fetched: list[str] = []

    async def failing(self: Any, rpath: str, lpath: str, **more: Any) -> None:
        if "/objects/" in rpath:
            if len(fetched) >= 3:
                raise ConnectionResetError("the server has gone")
            fetched.append(rpath)
        await whole(self, rpath, lpath, **more)

    monkeypatch.setattr(s3fs.S3FileSystem, "_get_file", failing)
    result = wepy("reconcile orch new.orch", place)
    assert result.status == 1 and "broke off" in result.err and "same command" in result.err
    assert not any(contents(Store.open(tmp_path / "new.orch")).values())
    first = list(fetched)

    async def counting(self: Any, rpath: str, lpath: str, **more: Any) -> None:
        fetched.append(rpath)
        await whole(self, rpath, lpath, **more)

    monkeypatch.setattr(s3fs.S3FileSystem, "_get_file", counting)
    fetched.clear()
    assert wepy("reconcile orch new.orch", place).status == 0
    assert set(first).isdisjoint(fetched)
    assert len([path for path in fetched if "/objects/" in path]) == 13 - len(first)
    assert contents(Store.open(tmp_path / "new.orch")) == contents(chain.store)
    check(tmp_path / "new.orch")


def test_sftp_goes_by_known_hosts(
    wepy: Wepy, sshd: Sshd, make_chain: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host whose key is not known is refused: fsspec's own sftp would take any."""
    chain = make_chain()
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    key = (sshd.folder / ".ssh" / "id_ed25519").read_bytes()
    (home / ".ssh" / "id_ed25519").write_bytes(key)
    monkeypatch.setenv("HOME", str(home))
    url = f"sftp://{sshd.user}@127.0.0.1:{sshd.port}{chain.store.path}"
    result = wepy("reconcile orch new.orch", url)
    assert result.status == 1 and "known_hosts" in result.err
    assert result.err.count("\n") == 1 and not (tmp_path / "new.orch").exists()


def test_errors_of_a_url_are_one_line(
    wepy: Wepy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown protocol, a bucket that is not there, a server that is not there."""
    for url in ("nosuch://x/y", f"s3://{bucket}-none/x"):
        result = wepy("reconcile orch new.orch", url)
        assert result.status == 1 and result.err.count("\n") == 1, result.err
        assert result.err.startswith(f"wepy: error: {url} ")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    result = wepy("reconcile orch new.orch", f"s3://{bucket}/x")
    assert result.status == 1 and result.err.count("\n") == 1 and "127.0.0.1:1" in result.err
    assert not os.path.exists("new.orch")


def test_without_fsspec_it_says_what_to_install(
    wepy: Wepy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra is named."""
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    result = wepy("reconcile orch new.orch s3://bucket/x")
    assert result.status == 1 and "pip install 'wepystore[remote]'" in result.err
