"""Every single file of a small real store is damaged in every way, in turn: each time that is
found and named with what needs it, no run starts from it, and a copy heals it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.systems import run_job
from wepystore.api import Prepared
from wepystore.cli.main import main
from wepystore.errors import WepystoreError
from wepystore.orchestrator.run import recorder
from wepystore.orchestrator.run.start import start_from
from wepystore.records import frames
from wepystore.store import KINDS, Store, carriers, graph, merge
from wepystore.store.care import fsck, report
from wepystore.store.errors import NewerFormatError
from wepystore.store.names import MARK, Name

IS_ROOT = os.geteuid() == 0


class Whole(NamedTuple):
    """The store before anything happens to it."""

    store: Store
    parts: dict[Name, graph.Parts]
    files: list[str]
    """All that is to be damaged, relative to the store: every file but what only git reads."""


@pytest.fixture(scope="module")
def whole(pair_store: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Two runs, the second from where the first ended, each with a recording and frames; a tag."""
    folder = tmp_path_factory.mktemp("damage")
    # Three cycles: a full block, and a piece.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "block_cycles_for", lambda n_walkers: 2)
        patch.setattr(frames, "block_cycles_for", lambda n_walkers, n_bytes, every: 2)
        return _two_runs(pair_store, folder)


def _two_runs(pair_store: Prepared, folder: Path) -> Whole:
    shutil.copytree(pair_store.store.path, folder / "whole.orch")
    store = Store.open(folder / "whole.orch")
    start = pair_store.snapshot_hash
    for number in (1, 2):
        job = folder / f"job{number}"
        start = run_job(store, start, job, seed=number).end
        made = Store.open(job / "checkpoint.orch")
        merge.apply(merge.plan(store, [made]))
    store.set_ref("tags/last", start)
    assert len(store.hashes("runs")) == 2
    for kind, key in (("recordings", "tables"), ("frames", "blocks")):
        assert len(store.hashes(kind)) == 2
        for md5 in store.hashes(kind):
            assert [part["n_cycles"] for part in store.manifest(kind, md5)[key]] == [2, 1]
    files = sorted(
        str(path.relative_to(store.path))
        for path in store.path.rglob("*")
        if path.is_file() and path.name not in carriers.FILES
    )
    return Whole(store, dict(graph.load(store).parts), files)


def flip(store: Path, file: str, files: list[str]) -> None:
    """One bit, at another place in each file."""
    path = store / file
    data = bytearray(path.read_bytes())
    # Not the version number of wepystore.json: that has a test of its own.
    place = (len(file) * 7919 + len(data) // 2) % len(data) if file != MARK else 3
    data[place] ^= 1 << (place % 7)
    path.write_bytes(data)


def truncate(store: Path, file: str, files: list[str]) -> None:
    os.truncate(store / file, (store / file).stat().st_size // 2)


def empty(store: Path, file: str, files: list[str]) -> None:
    os.truncate(store / file, 0)


def delete(store: Path, file: str, files: list[str]) -> None:
    (store / file).unlink()


def partner(file: str, files: list[str]) -> str:
    """The next file, whatever that is; but two refs in place of each other are just two refs."""
    after = files[files.index(file) + 1 :] + files
    return next(f for f in after if not (file.startswith("refs/") and f.startswith("refs/")))


def swap(store: Path, file: str, files: list[str]) -> None:
    """With another file."""
    other = partner(file, files)
    first, second = (store / file).read_bytes(), (store / other).read_bytes()
    assert first != second
    (store / file).write_bytes(second)
    (store / other).write_bytes(first)


def hide(store: Path, file: str, files: list[str]) -> None:
    (store / file).chmod(0)


WAYS: list[Callable[[Path, str, list[str]], None]] = [flip, truncate, empty, delete, swap, hide]


def test_all_damage_is_found_and_healed(whole: Whole, tmp_path: Path) -> None:
    """S10, S5: 100 % of the cases are found and named with all that needs the file; no snapshot
    that needs it can be started from; repaired from a copy the store is as before, and what was
    damaged lies in quarantine/.

    A ref or a run record that is *deleted* is the one thing no store can know to lack: nothing
    names it. Frames whose manifest is deleted look as if they had never been brought (D4).
    Reconcile brings both back.
    """
    cases = unknowable = 0
    for way in WAYS:
        for file in whole.files:
            cases += 1
            store = _copy(whole, tmp_path / "case.orch")
            way(store.path, file, whole.files)
            if way is delete and file.startswith(("runs/", "refs/")):
                unknowable += 1
                _is_brought_back(whole, store, file)
            elif way is delete and file.startswith("frames/"):
                assert [*fsck.check(store).elsewhere] == [_name(file)[1]]
                _is_brought_back(whole, store, file)
            else:
                _is_found(whole, store, file, way)
                _is_no_start(whole, store, file, way)
                _is_healed(whole, store, file, way)
            shutil.rmtree(store.path)
    print(f"{cases} cases in {len(whole.files)} files, {unknowable} of them deleted roots")
    assert cases == len(WAYS) * len(whole.files) and unknowable == 2 + 3


def _copy(whole: Whole, path: Path) -> Store:
    shutil.copytree(whole.store.path, path)
    return Store(path)


def _name(file: str) -> Name:
    kind, _, rest = file.partition("/")
    if kind in KINDS:
        return kind, Path(rest).stem
    return ("refs", rest) if kind == "refs" else ("store", file)


def _is_found(whole: Whole, store: Store, file: str, way: object) -> None:
    found = fsck.check(store)
    problem = next((p for p in found.problems if p.path == file), None)
    if way is hide and _name(file)[0] in ("refs", "store") and IS_ROOT:
        # Mode bits prove nothing, and root reads it as before.
        assert problem is None
        return
    assert problem is not None, (file, way)
    name = _name(file)
    assert (problem.kind, problem.name) == name
    if name[0] in KINDS:
        # Whatever is itself damaged in the same case does not count as needing it.
        hurt = {(p.kind, p.name) for p in found.problems}
        needs = {n for n in whole.parts if name in graph.closure(whole.parts, [n])} - {name}
        told = {tuple(need) for need in problem.needed_by}
        direct = _unhurt_needs(whole, name, hurt)
        assert direct <= told <= needs | {("refs", r) for r in graph.ref_names(whole.store)}
    others = {p.path for p in found.problems} - {file}
    if way is swap:
        others -= {partner(file, whole.files)}
    assert _follows(others), others


def _unhurt_needs(whole: Whole, name: Name, hurt: set[Name]) -> set[Name]:
    parts = {other: named for other, named in whole.parts.items() if other not in hurt}
    return {other for other in parts if name in graph.closure(parts, [other])} - {name}


def _follows(others: set[str]) -> bool:
    # A snapshot that has gone is missing, and so is what the refs to it name.
    return all(path.startswith("refs/") for path in others)


def _is_no_start(whole: Whole, store: Store, file: str, way: object) -> None:
    """The configuration is the default one; the snapshots are all there are."""
    if way is hide and IS_ROOT:
        return
    name = _name(file)
    config = ("configs", whole.store.ref("default-config") or "")
    for snapshot in whole.store.hashes("snapshots"):
        needed = graph.closure(whole.parts, [("snapshots", snapshot), config])
        if name in needed or name == ("refs", "default-config"):
            with pytest.raises(WepystoreError):
                start_from(Store.open(store.path), snapshot, "default")
    if name == ("refs", "default-snapshot"):
        with pytest.raises(WepystoreError):
            start_from(store, "default", None)


def _is_healed(whole: Whole, store: Store, file: str, way: object) -> None:
    found = fsck.check(store)
    damaged = (store.path / file).read_bytes() if (store.path / file).exists() else None
    done = fsck.repair(store, found, [whole.store])
    assert not done.unhealed, (file, way, done.unhealed)
    after = fsck.check(store)
    assert after.healthy, (file, way, after.problems)
    assert dict(_contents(store)) == dict(_contents(whole.store)), (file, way)
    if way not in (delete, hide):
        assert damaged in [path.read_bytes() for path in (store.path / "quarantine").iterdir()]


def _contents(store: Store) -> Iterator[tuple[str, bytes]]:
    for path in store.path.rglob("*"):
        if path.is_file() and path.parent.name != "quarantine":
            yield str(path.relative_to(store.path)), path.read_bytes()


def _is_brought_back(whole: Whole, store: Store, file: str) -> None:
    found = fsck.check(store)
    assert found.healthy
    end = whole.store.ref("tags/last")
    if file.startswith("runs/") and not any(end == ref.md5 for _, ref in whole.parts[_name(file)]):
        # The first run: its end is the start of the second, so nothing shows but its recording, its
        # frames and its times.
        shown = {note.path.split("/")[0] for note in found.notes}
        assert shown == {"recordings", "frames", "objects"}
    merge.apply(merge.plan(store, [whole.store]))
    assert (store.path / file).read_bytes() == (whole.store.path / file).read_bytes()


def test_every_bit_of_the_mark(whole: Whole, tmp_path: Path) -> None:
    """A store whose wepystore.json has any bit flipped is reported: as damaged, or as one that a
    later version of the program made."""
    store = _copy(whole, tmp_path / "case.orch")
    mark = (store.path / MARK).read_bytes()
    for bit in range(len(mark) * 8):
        data = bytearray(mark)
        data[bit // 8] ^= 1 << (bit % 8)
        (store.path / MARK).write_bytes(data)
        try:
            found = fsck.check(store, fast=True)
        except NewerFormatError as error:
            assert str(store.path) in str(error)
            continue
        # A newline turned into other white space is the same JSON.
        assert [p.path for p in found.problems] == [MARK] or bytes(data).split() == mark.split()


def test_wepy_run_refuses(whole: Whole, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends with status 3 and makes no job folder, for each file it needs."""
    default = whole.store.ref("default-snapshot") or ""
    config = whole.store.ref("default-config") or ""
    names = graph.closure(whole.parts, [("snapshots", default), ("configs", config)])
    for name in sorted(names):
        store = _copy(whole, tmp_path / "case.orch")
        flip(store.path, str(store.file(*name).relative_to(store.path)), [])
        job = tmp_path / "job"
        line = ["run", "orch", "--n-cycles", "1", "--job-dir", str(job), str(store.path)]
        status = main([*line, "default", "60", "10"])
        assert status == 3 and name[1] in capsys.readouterr().err
        assert not job.exists()
        shutil.rmtree(store.path)


def test_what_no_copy_has_is_set_aside(whole: Whole, tmp_path: Path) -> None:
    """--repair without sources moves what is damaged to quarantine/ and says what is now missing;
    a copy that comes later heals it all the same (S5)."""
    snapshot = whole.store.hashes("snapshots")[0]
    md5 = next(ref.md5 for kind, ref in whole.parts["snapshots", snapshot] if kind == "objects")
    store = _copy(whole, tmp_path / "case.orch")
    empty(store.path, f"objects/{md5[:2]}/{md5}", [])
    done = fsck.repair(store, fsck.check(store))
    assert [p.name for p in done.unhealed] == [md5]
    assert [path for path, _ in done.quarantined] == [f"objects/{md5[:2]}/{md5}"]
    assert [p.what for p in fsck.check(store).problems] == [report.MISSING]
    merge.apply(merge.plan(store, [whole.store]))
    assert fsck.check(store).healthy
