"""Who may import whom. The rooms stay apart because this test fails when they do not."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.systems import REPOSITORY, environment
from wepystore.engine import adapt
from wepystore.remotes.sources import READERS
from wepystore.store import formats

PACKAGE = REPOSITORY / "wepystore"

#: Room -> the rooms and the third-party packages its modules may import, anywhere in a file.
ALLOWED: dict[str, tuple[set[str], set[str]]] = {
    "errors": (set(), set()),
    "_version": (set(), set()),
    # How every room writes files that are whole.
    "durable": (set(), set()),
    "__init__": ({"_version"}, set()),
    # Numbers out of numbers.
    "estimates": ({"errors"}, {"numpy"}),
    "store": ({"durable", "errors", "_version"}, set()),
    # Stores elsewhere: reached with the standard library, or with what fsspec brings.
    "remotes": ({"store", "durable", "errors", "_version"}, {"fsspec", "paramiko"}),
    # Numbers of a state: of use to whoever has positions.
    "coordinates": ({"errors"}, {"numpy"}),
    "engine": (
        {"coordinates", "errors", "_version"},
        {"dask", "distributed", "numpy", "networkx", "openmm"},
    ),
    "reporters": (
        {"engine", "coordinates", "estimates", "durable", "errors", "_version"},
        {"numpy", "h5py", "networkx"},
    ),
    "records": (
        {"store", "engine", "reporters", "errors", "_version"},
        {"numpy", "dill"},
    ),
    # Read recordings, run nothing.
    "answers": ({"store", "records", "coordinates", "estimates", "errors"}, {"numpy"}),
    # What recordings tell, as figures in one page.
    "report": (
        {
            *("answers", "coordinates", "estimates", "store", "records"),
            *("errors", "_version", "__init__"),
        },
        {"numpy", "vl_convert"},
    ),
    # What is recorded, as files that other programs read.
    "trajectories": (
        {
            *("answers", "store", "records", "reporters", "engine", "coordinates"),
            *("durable", "errors"),
        },
        {"numpy", "h5py", "mdtraj"},
    ),
    "orchestrator": (
        {"store", "engine", "reporters", "records", "remotes", "durable", "errors", "_version"},
        {"numpy", "networkx"},
    ),
    # What is there for other programs: found by name, and imported by nobody below.
    "compat": (
        {
            *("store", "engine", "reporters", "records", "orchestrator"),
            *("durable", "errors", "_version"),
        },
        {"numpy", "openmm", "wepy"},
    ),
    "cli": (
        {
            *("compat", "orchestrator", "answers", "trajectories", "remotes", "store", "records"),
            *("coordinates", "report"),
            *("reporters", "durable", "errors", "_version", "__init__"),
        },
        {"docopt", "rich"},
    ),
    "__main__": ({"cli"}, set()),
    "api": (
        {
            *("compat", "store", "engine", "reporters", "records", "remotes", "orchestrator"),
            *("answers", "coordinates", "trajectories", "report", "errors", "_version"),
        },
        set(),
    ),
}

#: Rooms that `wepy --help` and `wepy ls` pull in.
LIGHT = ("errors", "_version", "__init__", "__main__", "store", "cli")
HEAVY = {"numpy", "openmm", "h5py", "rich", "networkx", "dill"}

#: The only rooms that may import each of these, in any way.
ONLY = {
    "distributed": {"engine"},
    "dill": {"records"},
    "openmm": {"engine", "compat"},
    "wepy": {"compat"},
    "mdtraj": {"trajectories"},
    "vl_convert": {"report"},
    "docopt": {"cli"},
    "rich": {"cli"},
}

FILES = sorted(PACKAGE.rglob("*.py"))
ALL_FILES = frozenset(FILES)


def room_of(file: Path) -> str:
    """The directory under wepystore/, or the module's own name."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def imports(file: Path) -> list[tuple[str, int, bool]]:
    """(module, line, at module level) of every import, also those inside functions, behind
    TYPE_CHECKING and through import_module with a literal name. At module level means: executed
    when the module is imported."""
    tree = ast.parse(file.read_text(), str(file))
    package = ["wepystore", *file.relative_to(PACKAGE).parts[:-1]]

    def walk(node: ast.AST, top: bool) -> Iterator[tuple[str, int, bool]]:
        for child in ast.iter_child_nodes(node):
            inner = top and not isinstance(
                child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
            )
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                inner = False
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield alias.name, child.lineno, top
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    base = ".".join([*package[: len(package) - child.level + 1], base]).rstrip(".")
                if base == "wepystore":
                    for alias in child.names:
                        yield f"wepystore.{alias.name}", child.lineno, top
                else:
                    yield base, child.lineno, top
            elif (
                isinstance(child, ast.Call)
                and ast.unparse(child.func).endswith(("import_module", "__import__"))
                and child.args
                and isinstance(child.args[0], ast.Constant)
            ):
                yield str(child.args[0].value), child.lineno, inner
            yield from walk(child, inner)

    return list(walk(tree, True))


def our_room(module: str) -> str:
    """The room of `wepystore.x.y`; a name that is no room is something of the package itself."""
    name = module.split(".")[1] if "." in module else "__init__"
    return name if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists() else "__init__"


def test_only_allowed_arrows() -> None:
    """Every import of every module goes along an allowed arrow."""
    wrong = []
    for file in FILES:
        room = room_of(file)
        rooms, packages = ALLOWED[room]
        for module, line, _ in imports(file):
            first = module.split(".")[0]
            if first == "wepystore":
                fine = our_room(module) in rooms | {room}
            else:
                fine = first in packages or first in sys.stdlib_module_names
            if not fine:
                wrong.append(f"{file.relative_to(PACKAGE)}:{line}: {room} imports {module}")
    assert not wrong


@functools.cache
def modules_of(file: Path) -> set[Path]:
    """The files of ours that a file imports, wherever in it; of `from package import module` the
    module."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{each.name}" for each in node.names)]
            if set(map(place_of, names[1:])) <= ALL_FILES:
                del names[0]
        found |= {place_of(name) for name in names} & ALL_FILES
    return found - {file}


def place_of(module: str) -> Path:
    """The file of a module's name, if it is one of ours."""
    path = PACKAGE.parent / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def test_no_circles() -> None:
    """No file imports, by way of others, itself: also not inside functions or for types alone."""
    left = {file: modules_of(file) for file in FILES}
    while free := {file for file, needed in left.items() if not needed & left.keys()}:
        for file in free:
            del left[file]
    # What is left is in a circle, or needs one that is.
    assert sorted(str(file.relative_to(PACKAGE)) for file in left) == []


#: Rooms within store/, of which each may import itself, what stands left of it, and the core.
WITHIN_STORE = ("pickles", "merge", "care")


def test_the_core_of_a_store_needs_none_of_what_is_built_on_it() -> None:
    """Whoever only reads or writes a store loads no care, no merging and no reading of pickles.

    Care comes last: a repair takes from the sources that a merge takes from.
    """
    wrong = []
    for file in FILES:
        if room_of(file) != "store":
            continue
        for other in modules_of(file):
            if room_of(other) == "store" and rank(other) > rank(file):
                wrong.append(f"{file.relative_to(PACKAGE)} imports {other.relative_to(PACKAGE)}")
    assert not wrong


def rank(file: Path) -> int:
    """Of a file of store/: 0 in the core, else its room's place."""
    part = file.relative_to(PACKAGE / "store").parts[0]
    return WITHIN_STORE.index(part) + 1 if part in WITHIN_STORE else 0


@pytest.mark.parametrize("package", ONLY)
def test_only_one_room_imports(package: str) -> None:
    """dill, openmm, docopt and rich have one home each."""
    homes = {
        room_of(file)
        for file in FILES
        for module, _, _ in imports(file)
        if module.split(".")[0] == package
    }
    assert homes <= ONLY[package]


def test_reading_a_store_needs_no_pickle() -> None:
    """S9: nothing in store/ imports pickle, not even inside a function."""
    unpicklers = {"pickle", "cPickle", "_pickle", "pickletools", "marshal", "shelve", "dill"}
    found = [
        (file.name, module)
        for file in FILES
        if room_of(file) == "store"
        for module, _, _ in imports(file)
        if module.split(".")[0] in unpicklers
    ]
    assert not found


#: The tables in which the rooms name what is there for other programs, and where these are.
BY_NAME = {
    "engine/adapt.py": [adapt.PLUGS, adapt.MOVED],
    "store/formats.py": [{name: place for name, (_, place) in formats.FORMATS.items()}],
    "remotes/sources.py": [READERS],
}


def test_other_programs_are_named_in_tables() -> None:
    """No room below the command line and the API names a module of compat/ but in these tables, and
    what they name is there."""
    naming = set()
    for file in FILES:
        if room_of(file) in ("compat", "cli", "api"):
            continue
        texts = [
            node.value
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Constant)
        ]
        if any(isinstance(text, str) and "wepystore.compat" in text for text in texts):
            naming.add(str(file.relative_to(PACKAGE)))
    assert naming == BY_NAME.keys()
    for table in (table for tables in BY_NAME.values() for table in tables):
        for place in table.values():
            module, _, name = place.partition(":")
            assert module.startswith("wepystore.compat.")
            assert not name or hasattr(import_module(module), name)


def test_other_programs_are_loaded_where_something_of_theirs_is_met() -> None:
    """Neither the engine nor a store loads what is there for wepy before it meets something of it;
    a store that does knows it with nothing but its own room."""
    code = (
        "import sys, wepystore.engine.manager, wepystore.orchestrator.run.run;"
        "from wepystore.store import formats;"
        "there = lambda: sorted(m for m in sys.modules if m.startswith('wepystore.compat.wepy.'));"
        "formats.manifest_of('snapshots', b'{}', 'x'); before = there();"
        "print(before, formats.manifest_of('snapshots', b'eJxx', 'x')['type'], there())"
    )
    assert printed(code) == "[] wepy 1.x ['wepystore.compat.wepy.entries']"


def printed(code: str) -> str:
    """What an interpreter of its own prints."""
    command = [sys.executable, "-c", code]
    return subprocess.check_output(command, text=True, env=environment(), cwd=REPOSITORY).strip()


@pytest.mark.parametrize("room", LIGHT)
def test_light_rooms_import_nothing_heavy_at_once(room: str) -> None:
    """What `wepy --help` pulls in imports numpy and the like inside functions only."""
    found = [
        f"{file.relative_to(PACKAGE)}:{line} {module}"
        for file in FILES
        if room_of(file) == room
        for module, line, top in imports(file)
        if top and module.split(".")[0] in HEAVY
    ]
    assert not found


@pytest.mark.parametrize(
    ("modules", "kept_out"),
    [
        ("cli.main store.store store.exports", HEAVY),
        (
            "engine.manager engine.resamplers.wexplore.resampler engine.distances.receptor "
            "engine.boundary_conditions.unbinding engine.mappers.processes",
            {"openmm"},
        ),
    ],
    ids=["command line", "engine"],
)
def test_importing_imports_nothing_heavy(modules: str, kept_out: set[str]) -> None:
    """Seen from outside, so also nothing through another module: `wepy --help` is quick, and
    resamplers, distances and boundary conditions work on any state without OpenMM."""
    names = ", ".join(f"wepystore.{module}" for module in modules.split())
    assert printed(f"import sys, {names}; print(sorted({kept_out!r} & set(sys.modules)))") == "[]"


def test_every_room_is_known() -> None:
    """A new room must say here what it may import."""
    assert {room_of(file) for file in FILES} <= set(ALLOWED)


def test_modules_stay_readable() -> None:
    """Near 500 lines at most; every module says in its first line what it is for."""
    texts = {file.relative_to(PACKAGE): file.read_text() for file in FILES}
    assert [str(file) for file, text in texts.items() if text.count("\n") > 550] == []
    told = {
        file: ast.get_docstring(ast.parse(text)) for file, text in texts.items() if text.strip()
    }
    assert [str(file) for file, doc in told.items() if not doc and file.name != "_version.py"] == []
