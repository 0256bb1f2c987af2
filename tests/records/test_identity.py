"""I1: equal content has an equal hash, in any process, anywhere, under any hash seed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.systems import python

HEADER = """
import sys
import numpy as np
from tests.systems import pair_apparatus, pair_snapshot, plain_configuration
from wepystore.api import (
    Configuration, DashboardReporter, Distance, HDF5Reporter, ProcessMapper, Snapshot,
    Store, WExploreResampler, hash_of, load_snapshot, save_snapshot,
)
from wepystore.records import bundle

def show(snapshot):
    '''The hash, and the same after a save and a load, twice.'''
    names = [hash_of(snapshot)]
    for k in range(2):
        store = Store.create(sys.argv[1] + str(k) + ".orch")
        names.append(save_snapshot(store, snapshot))
        snapshot = load_snapshot(store, names[-1])
    names.append(hash_of(snapshot))
    assert len(set(names)) == 1, names
    print(names[0])

def with_distance(distance):
    return pair_snapshot(apparatus=pair_apparatus(resampler=WExploreResampler(distance)))
"""

DISTANCE = """
import math
import numpy as np
from wepystore.api import Distance

KINDS = {"alpha", "beta", "gamma", "delta", "epsilon", frozenset({"x", "y", "z"}),
         frozenset({"x", "y", "v"}), frozenset({"z", "w", "v"}), ("t", frozenset({"o", "p", "q"}))}
SCALE = 2.5
TABLE = {name: len(name) for name in ("one", "three", "seven")}

def helper(positions, scale=SCALE):
    '''Uses a global of its module, and another function.'''
    return second(positions) * scale

def second(positions):
    return np.linalg.norm(positions[0] - positions[1]) * math.pi

def decorate(function):
    def inner(*args):
        return function(*args)
    return inner

class Mine(Distance):
    '''A user's distance.'''

    COLOURS = {"red", "green", "blue", "white", "black"}
    PAIRS = frozenset({("a", 1), ("b", 2), ("c", 3)})

    def __init__(self, weight=1.0):
        self.weight = weight
        self.names = {"p", "q", "r", "s"}

    def image(self, state):
        if "x" in {"u", "v", "w", "x"} and len(KINDS) == 9 and len(TABLE) == 3:
            return np.array([helper(state["positions"])])

    @decorate
    def image_distance(self, a, b):
        return self.weight * float(np.abs(a - b).sum()) if a is not None else 0.0

    @staticmethod
    def nothing():
        return None

    @classmethod
    def make(cls):
        return cls(2.0)

    @property
    def double(self):
        return 2 * self.weight
"""

SCRIPTS = {
    "built-ins": HEADER + "show(pair_snapshot())",
    "a configuration": HEADER
    + """
made = Configuration(ProcessMapper(2), [HDF5Reporter(), DashboardReporter()], platform="CPU",
                     platform_properties={"Threads": "1"})
print(hash_of(made))
""",
    "a class of the script": HEADER + DISTANCE + "show(with_distance(Mine(0.5)))",
    "a class of a user's module": HEADER + "import mine\nshow(with_distance(mine.Mine(0.5)))",
    "an instance that shares a function": HEADER
    + DISTANCE
    + """
made = Mine(0.5)
made.extra = [helper, second, {"b": helper, "a": second}]
show(with_distance(made))
""",
    "a lambda": HEADER
    + """
class Holder(Distance):
    def __init__(self, function):
        self.function = function
    def image(self, state):
        return self.function(state)
    def image_distance(self, a, b):
        return float(abs(a - b).sum())
show(with_distance(Holder(lambda state: np.asarray(state["positions"]) * len({"k", "l", "m"}))))
""",
    "a closure": HEADER
    + """
def build(scale, words):
    class Inner(Distance):
        def image(self, state):
            return state["positions"] * scale * len(words)
        def image_distance(self, a, b):
            return float(abs(a - b).sum())
    return Inner()
show(with_distance(build(3.0, {"i", "j", "k"})))
""",
}


@pytest.mark.parametrize("what", SCRIPTS)
def test_one_hash_in_every_process(tmp_path: Path, what: str) -> None:
    """I1: four processes with other hash seeds, folders, script names and bytecode caches, one
    hash; and the same again when saved after a load."""
    (tmp_path / "modules").mkdir()
    found = set()
    for number, seed in enumerate(("0", "1", "77", "random")):
        home = tmp_path / f"home{number}"
        (home / "modules").mkdir(parents=True)
        (home / "modules" / "mine.py").write_text(DISTANCE)
        script = home / f"script{number}.py"
        script.write_text(
            f"import sys; sys.path.insert(0, {str(home / 'modules')!r})\n" + SCRIPTS[what]
        )
        found.add(python(script, home / "out", cwd=home, PYTHONHASHSEED=seed))
        if number == 3:
            # Once more: the module now comes from its .pyc, where equal constants are shared.
            found.add(python(script, home / "again", cwd=tmp_path, PYTHONHASHSEED=seed))
    assert len(found) == 1, found
    assert all(len(each) == 32 for each in found)


SAVE = (
    HEADER
    + """
import mine
store = Store.create(sys.argv[1])
print(save_snapshot(store, with_distance(mine.Mine(0.5))))
"""
)

USE = """
import sys
from wepystore.api import Store, load_snapshot
try:
    import mine
except ImportError:
    pass
else:
    raise SystemExit("the module can be imported here")
snapshot = load_snapshot(Store.open(sys.argv[1]), sys.argv[2])
distance = snapshot.apparatus.resampler.distance
a = snapshot.walkers[0].state
image = distance.image(a)
print(type(distance).__name__, distance.image_distance(image, image + 1.0), distance.double)
print(type(distance).make().weight, sorted(distance.names))
"""


def test_a_user_s_class_travels_without_its_module(tmp_path: Path) -> None:
    """By value: a process that cannot import the user's module loads and uses the class."""
    (tmp_path / "mine.py").write_text(DISTANCE)
    (tmp_path / "save.py").write_text(SAVE)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "use.py").write_text(USE)
    md5 = python(tmp_path / "save.py", tmp_path / "a.orch", cwd=tmp_path)
    lines = python(
        tmp_path / "elsewhere" / "use.py",
        tmp_path / "a.orch",
        md5,
        cwd=tmp_path / "elsewhere",
    ).splitlines()
    assert lines == ["Mine 0.5 1.0", "2.0 ['p', 'q', 'r', 's']"]


SAME_NAME = """
import sys
from wepystore.api import Distance, Store, hash_of, load_snapshot

class Mine(Distance):
    '''A newer version of the class in the store.'''
    def image_distance(self, a, b):
        return -1.0

distance = load_snapshot(Store.open(sys.argv[1]), sys.argv[2]).apparatus.resampler.distance
print(type(distance) is Mine, distance.image_distance(0.0, 1.0))
"""


def test_a_stored_class_is_not_swapped_for_one_of_the_same_name(tmp_path: Path) -> None:
    """What a snapshot holds is what runs, even in a script that has its own class of that name."""
    (tmp_path / "save.py").write_text(
        HEADER
        + DISTANCE
        + "\nprint(save_snapshot(Store.create(sys.argv[1]), with_distance(Mine(0.5))))"
    )
    (tmp_path / "other.py").write_text(SAME_NAME)
    md5 = python(tmp_path / "save.py", tmp_path / "a.orch")
    assert python(tmp_path / "other.py", tmp_path / "a.orch", md5) == "False 0.5"


LOAD_AND_SAVE = """
import sys
from wepystore.api import Store, hash_of, load_snapshot
snapshot = load_snapshot(Store.open(sys.argv[1]), sys.argv[2])
print(hash_of(snapshot))
"""


def test_a_hash_survives_a_load_in_another_process(tmp_path: Path) -> None:
    """I1, I2: what one process saved, another loads and would save under the same hash."""
    (tmp_path / "mine.py").write_text(DISTANCE)
    (tmp_path / "save.py").write_text(SAVE)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "load.py").write_text(LOAD_AND_SAVE)
    md5 = python(tmp_path / "save.py", tmp_path / "a.orch", cwd=tmp_path)
    for seed in ("1", "77"):
        script = tmp_path / "elsewhere" / "load.py"
        assert python(script, tmp_path / "a.orch", md5, PYTHONHASHSEED=seed) == md5


def test_what_differs_has_another_hash(tmp_path: Path) -> None:
    """Another constant, helper or parameter is another snapshot: nothing is left out."""
    variants = {
        "as it is": DISTANCE,
        "constant": DISTANCE.replace("SCALE = 2.5", "SCALE = 2.6"),
        "set": DISTANCE.replace('"gamma", ', ""),
        "helper": DISTANCE.replace("* math.pi", "* math.e"),
        "default": DISTANCE.replace("weight=1.0", "weight=1.5"),
        "member": DISTANCE.replace('"blue", ', ""),
    }
    found = {}
    for name, (text, order) in zip(
        variants, zip(variants.values(), itertools.count(), strict=False), strict=True
    ):
        script = tmp_path / f"{order}.py"
        script.write_text(HEADER + text + "\nprint(hash_of(with_distance(Mine(0.5))))")
        found[name] = python(script, "-")
    assert len(set(found.values())) == len(variants), found
