"""What earlier versions wrote with a user's own classes in it is read, loaded and run by this one.

If a test here fails, the program is wrong and not the fixture: fixtures/own-classes/README.md and
docs/design/0032-names-that-stay.md.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickletools
import shutil
import sys
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import dill
import numpy as np
import pytest

from tests.cli.conftest import Wepy, wepy
from tests.compat.conftest import InWepy
from tests.systems import REPOSITORY, tree_of
from wepystore import api
from wepystore.api import Configuration, Snapshot, Store, load_configuration, load_snapshot
from wepystore.records import bundle
from wepystore.records.registry import PLACES, builtin_class
from wepystore.records.trust import Trust, location

__all__ = ["wepy"]

FIXTURE = REPOSITORY / "fixtures/own-classes"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_bytes())
HASHES: dict[str, str] = EXPECTED["hashes"]
NAMES = {(module, name) for module, name in EXPECTED["names"]}
EXPORTS = sorted((FIXTURE / "exports").glob("*.dill.pkl"))
BUILT_IN = ("dask", "processes", "serial", *("bins", "fields", "openmm", "random-walk"))
BUILT_IN += ("rebinding", "receptor", "rmsd", "unbinding", "xy")
MINOR = EXPECTED["python"].rpartition(".")[0]
#: Whose names a component of a user's own may use, and not only the script around it.
ROOMS = ("api", "engine", "errors", "records", "reporters")
own_code = pytest.mark.skipif(
    f"{sys.version_info.major}.{sys.version_info.minor}" != MINOR,
    reason=f"pickles by value hold byte code of Python {MINOR}, this is {sys.version.split()[0]}",
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A copy; the fixture itself is only read."""
    return Store.open(shutil.copytree(FIXTURE / "frozen.orch", tmp_path / "frozen.orch"))


def trust_all(parts: Any) -> None:
    """For pickles that are in the repository."""


def name_of(export: Path) -> str:
    return export.name.split(".")[0]


def named_in(data: bytes) -> set[tuple[str, str]]:
    """Module and name of all that a pickle names, by its opcodes; in archives within it, too."""
    found = set()
    texts: list[Any] = []  # What is pushed, as far as it matters: texts, and None for the rest.
    memo: list[Any] = []
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "MEMOIZE":
            memo.append(texts[-1] if texts else None)
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            texts.append(memo[argument])
        elif opcode.name == "STACK_GLOBAL":
            found.add((texts[-2], texts[-1]))
            texts.append(None)
        elif opcode.name == "GLOBAL":
            module, name = argument.split(" ", 1)
            found.add((module, name))
            texts.append(None)
        else:
            texts.append(argument if isinstance(argument, str) else None)
        if isinstance(argument, bytes) and argument.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(b"." * 42 + argument + b"...")) as archive:
                for member in archive.infolist():
                    found |= in_file(archive.read(member))
    return found


def in_file(data: bytes) -> set[tuple[str, str]]:
    """What a file names, if it is a pickle or holds a reporter's memory."""
    if data.startswith(b'{"'):
        data = data.partition(b"\n")[2]
    return named_in(data) if data.startswith(b"\x80") else set()


def frozen_files() -> Iterator[Path]:
    for folder in ("exports", "frozen.orch", "job"):
        yield from (path for path in sorted((FIXTURE / folder).rglob("*")) if path.is_file())


def test_no_byte_has_changed() -> None:
    """Neither git nor anybody else has touched a file, and none has come or gone."""
    found = {
        str(path.relative_to(FIXTURE)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in frozen_files()
    }
    assert found == EXPECTED["files"]


def test_a_frozen_name_is_where_it_was() -> None:
    """It is found there, and says itself that it is from there, so new pickles name that too."""
    for module, name in sorted(NAMES):
        found = getattr(import_module(module), name)
        assert (found.__module__, found.__qualname__) == (module, name)


def test_the_frozen_names_are_all() -> None:
    """All that scripts import, all that stores know by name, and all that the pickles name."""
    exported = {(thing.__module__, thing.__qualname__) for thing in map(vars(api).get, api.__all__)}
    registered = {(builtin_class(name, "").__module__, name) for name in PLACES}
    assert {place for place in exported if place[0].split(".")[1] in ROOMS} <= NAMES
    assert registered <= NAMES
    assert ("wepystore.records.bundle", "load") in NAMES
    named = set().union(*(in_file(path.read_bytes()) for path in frozen_files()))
    ours = {place for place in named if str(place[0]).split(".")[0] == "wepystore"}
    # The function `everything` of the fixture's names all that scripts imported then.
    assert len(ours) > 60
    assert ours <= NAMES
    assert not {place for place in named if None in place}


def test_listings(wepy: Wepy) -> None:
    """Nothing of it is loaded to be shown, and nothing is written."""
    root = FIXTURE / "frozen.orch"
    before = tree_of(root)
    kinds = {"snapshot": "snapshots", "config": "configs"}
    for kind, folder in kinds.items():
        expected = {HASHES[name_of(path)] for path in EXPORTS if f".{kind}." in path.name}
        assert set(wepy(f"ls {folder}", root).lines) >= expected
    for md5 in HASHES.values():
        assert wepy("show --pickles", root, md5).status == 0
    fsck = wepy("fsck --sha256", root)
    assert (fsck.status, fsck.out) == (0, "")
    assert tree_of(root) == before


@pytest.mark.parametrize("export", EXPORTS, ids=lambda path: path.name)
def test_an_export_is_added_again(export: Path, tmp_path: Path, wepy: Wepy) -> None:
    """I2: by any Python, with nothing loaded, to its very hash; and the same file comes out."""
    kind = export.name.split(".")[1]
    store = Store.create(tmp_path / "today.orch")
    assert wepy(f"add {kind}", store.path, export).lines == [HASHES[name_of(export)]]
    assert wepy(f"get {kind} -O", tmp_path / "out", store.path, HASHES[name_of(export)]).status == 0
    assert (tmp_path / "out").read_bytes() == export.read_bytes()


@own_code
@pytest.mark.parametrize(
    "export", [path for path in EXPORTS if "wepy" not in path.name], ids=lambda path: path.name
)
def test_an_export_is_loaded(export: Path, tmp_path: Path) -> None:
    """By dill alone, as a colleague would; saved again it has the hash that it had."""
    loaded = dill.loads(export.read_bytes())
    kind = Snapshot if ".snapshot." in export.name else Configuration
    assert type(loaded) is kind
    if name_of(export) in BUILT_IN or EXPECTED["dill"] == dill.__version__:
        assert bundle.save(loaded, tmp_path / "again") == HASHES[name_of(export)]


@own_code
@pytest.mark.parametrize("name", sorted(path.stem for path in FIXTURE.glob("exports/*.pickled")))
def test_among_other_things_in_a_pickle(name: str) -> None:
    """A snapshot or configuration that a script pickled in a list of its own."""
    (loaded,) = dill.loads((FIXTURE / "exports" / f"{name}.pickled").read_bytes())
    assert type(loaded) in (Snapshot, Configuration)


@own_code
def test_what_holds_one_of_each(store: Store) -> None:
    """A user's object with components of every kind in it, built-in ones and the user's own."""
    held = load_snapshot(store, HASHES["own-held"], trust_all).apparatus
    things = held.resampler.things
    kinds = {type(thing).__name__ for thing in things}
    assert {"MyReceptor", "Snapshot", "OpenMMRunner", "UnbindingBC", "FamilyTreeReporter"} <= kinds
    state = held.resampler.known()[-1]  # A function whose globals are all that scripts import.
    assert state is api.save_snapshot
    assert held.resampler.known()[0] is api.Apparatus
    for name in ("own-processes", "own-dask", "own-serial"):
        mapper = load_configuration(store, HASHES[name], trust_all).work_mapper
        assert type(mapper).__name__.startswith("My")


@own_code
@pytest.mark.parametrize("name", ["own-bases", "own-openmm", "own-random-walk", "own-langevin"])
def test_a_run_goes_on(name: str, store: Store, tmp_path: Path, wepy: Wepy) -> None:
    """From what a run of the earlier version ended in, with its resampler's memory."""
    end = HASHES[f"{name}-end"]
    assert wepy("trust --store", store.path).status == 0
    options = f"--n-cycles=2 --seed=4 --job-dir=job --configuration={HASHES['files']}"
    result = wepy(f"run orch {options}", store.path, end, 600, 20)
    assert result.status == 0, result.err
    assert result.lines[-1].startswith(f"Run start and end hashes: {end}, ")


@own_code
def test_a_job_is_resumed(tmp_path: Path, wepy: Wepy) -> None:
    """R2: one that ended in the middle, with a reporter's memory and an open file beside it."""
    job = shutil.copytree(FIXTURE / "job", tmp_path / "job")
    assert wepy("trust --store", job / "checkpoint.orch").status == 0
    memory = json.loads((job / ".job.log.txt.kept-3").read_bytes().partition(b"\n")[0])["memory"]
    Trust(location(os.environ)).add([memory["sha256"]])
    result = wepy("resume", job)
    # That version removed a tree's spool at the end of each session; the way out is in the message.
    assert result.status == 1 and "remove it and the .gexf beside it" in result.err
    (job / "job.restree.gexf").unlink()
    result = wepy("resume", job)
    assert result.status == 0, result.err
    assert (job / "job.log.txt").read_text() == EXPECTED["job_log"]
    if np.__version__ == EXPECTED["numpy"] and dill.__version__ == EXPECTED["dill"]:
        assert result.lines[-1].endswith(EXPECTED["job_end"])


@own_code
def test_a_reporter_of_wepys_is_loaded(in_wepy: InWepy, tmp_path: Path) -> None:
    """Around a class of wepy's, around one of a user's own for wepy, and around an object."""
    export = FIXTURE / "exports" / "wepy-reporters.config.dill.pkl"
    script = tmp_path / "load.py"
    script.write_text(
        "import sys, dill\n"
        "for each in dill.load(open(sys.argv[1], 'rb')).reporters:\n"
        "    each.bind('folder/job')\n"
        "    print(type(each).__module__, type(each).__name__, *each.files())\n"
    )
    done = in_wepy(script, export)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "wepystore.reporters.wepy WepyReporter folder/job.restree.gexf",
        "wepystore.reporters.wepy WepyReporter folder/job.LinesReporter.lines.txt",
        "wepystore.reporters.wepy GivenWepyReporter lines.txt",
    ]
