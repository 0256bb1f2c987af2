"""What a pickle would do is read from its bytes, whatever they are, and nothing is executed."""

from __future__ import annotations

import collections
import contextlib
import functools
import io
import os
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import ENVIRONMENT
from wepystore.store.pickles import machine, opcodes
from wepystore.store.pickles.opcodes import read
from wepystore.store.pickles.reading import Name


class Calls:
    """Pickles to a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


def names_of(data: bytes) -> set[str]:
    return {str(name) for name, _ in read(data).names}


@pytest.mark.parametrize("protocol", range(6))
def test_what_is_called_is_named(protocol: int) -> None:
    """In every protocol, among all other kinds of values; nothing is left unfollowed."""
    value = [
        *(1, -1, 300, 2**40, 2**3000, 1.5, None, True, "é\n'", "x" * 70_000, b"ab", (1, 2, 3, 4)),
        *({1, 2}, frozenset((3,)), {"a": [()]}, bytearray(b"x"), collections.OrderedDict(a=1)),
        *(Calls(os.system, "true"), Calls(eval, "1"), functools.partial(print)),
    ]
    reading = read(pickle.dumps(value, protocol))
    names = {str(name) for name, _ in reading.names}
    assert f"{os.system.__module__}.system" in names
    assert names & {"builtins.eval", "__builtin__.eval"}
    assert "collections.OrderedDict" in names and "functools.partial" in names
    assert reading.problems == () and reading.protocol == (protocol if protocol > 1 else 0)
    assert any("system" in text for text in reading.suspicious)
    assert any("eval" in text for text in reading.suspicious)
    assert not any("OrderedDict" in text for text in reading.suspicious)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"cos\nsystem\n.", "os.system"),
        (b"(S'true'\nios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nS'true'\no.", "os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),
        # Through the memo, in all ways to fill and to read it.
        (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93.", "os.system"),
        (b"\x80\x04\x8c\x02osq\x07\x8c\x06systemr\x08\0\0\0h\x07j\x08\0\0\0\x93.", "os.system"),
        (b"Vos\np000000000000000000000000000000005\n0Vsystem\np6\n0g5\ng6\n\x93.", "os.system"),
        (b"\x80\x04\x8c\x02os2\x940\x8c\x06system\x93.", "os.system"),
        (b"S'o\\x73'\nV\\u0073ystem\n\x93.", "os.system"),
        (b"U\x02osT\x06\0\0\0system\x93.", "os.system"),
        # A dotted name walks through attributes.
        (b"\x80\x04\x8c\x05numpy\x8c\x09os.system\x93.", "numpy.os.system"),
        (b"\x80\x02\x82\x01.", "?.extension 1"),
        (b"\x80\x02N(\x93.", "?.?"),
    ],
)
def test_hidden_names_are_found(data: bytes, name: str) -> None:
    """Old and odd ways to name something, and suspicion of each."""
    reading = read(data)
    assert name in {str(found) for found, _ in reading.names}
    assert reading.suspicious


def test_pickles_within_pickles() -> None:
    """As bytes that look like one, as what `loads` is given, several levels deep; not for ever."""
    data = pickle.dumps(Calls(os.system, "true"), 4)
    for _ in range(3):
        data = pickle.dumps([data, 1], 4)
    reading = read(data)
    assert reading.suspicious == ("nested: nested: nested: posix.system",)
    old = pickle.dumps(Calls(pickle.loads, pickle.dumps(Calls(os.system, "true"), 0)), 4)
    assert "nested: posix.system" in read(old).suspicious
    for _ in range(20):
        data = pickle.dumps(data, 4)
    deepest = read(data)
    while deepest.nested:
        deepest = deepest.nested[0]
    assert deepest.problems


def test_code_of_a_users_class_is_told() -> None:
    """dill's pickle of a class: its functions, the names they use, the modules it imports."""
    script = (
        "import os, sys\nimport numpy as np\n"
        "from wepystore.records import pickles\n"
        "def helper(x):\n    return np.linalg.norm(x)\n"
        "class Mine:\n"
        "    def plain(self, x):\n        return helper(x)\n"
        "    def odd(self):\n        return os.environ.get('HOME'), eval('1')\n"
        "sys.stdout.buffer.write(pickles.dumps(Mine()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, check=True, timeout=60
    )
    reading = read(done.stdout)
    functions = {function.name: function for function in reading.functions}
    assert functions["Mine.plain"].names == ("helper",)
    assert functions["Mine.plain"].suspicious == ()
    assert functions["helper"].names == ("np", "linalg", "norm")
    assert {"os", "environ", "eval"} <= set(functions["Mine.odd"].suspicious)
    assert "HOME" in functions["Mine.odd"].strings
    modules = {name.module for name, _ in reading.names}
    assert {"numpy", "os", "dill._dill"} <= modules
    assert any("Mine.odd uses" in text for text in reading.suspicious)
    assert not any("numpy" in text or "helper" in text for text in reading.suspicious)
    assert reading.problems == ()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "without a STOP"),
        (b"\x80\x04N", "without a STOP"),
        (b"\x80\x09N.", "protocol 9"),
        (b"\xff.", "no instruction"),
        (b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.", "not there"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "not there"),
        (b"0.", "empty stack"),
        (b"t.", "mark"),
        (b"h\x00.", "never filled"),
        (b"N.N.", "follow its end"),
        (b"cos", "not ended"),
        (b"gx\n.", "no index"),
        (b"g" + b"1" * 600 + b"\n.", "no index"),
        (b"]R.", "empty stack"),
        (b"N)R.", "only loading can tell"),
        (b"cos\nsystem\n)R)R.", "os.system gives is called"),
    ],
)
def test_what_cannot_be_followed_is_said(data: bytes, says: str) -> None:
    """Never an exception; a problem in words, so that nobody takes silence for innocence."""
    assert any(says in problem for problem in read(data).problems)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04" + b"N\x85" * 4_000_000 + b".",
        b"(" * 4_000_000,
        b"N" + b"2\x86" * 4_000_000 + b".",
        b"\x80\x04\x95" + b"\xff" * 8 + b")" * 4_000_000 + b"." * 100,
        b"]" + b"\x94" * 4_000_000 + b".",
        b"cos\nsystem\n)R\x30" * 500_000 + b".",
        b"".join(b"c%d\nx\n0" % k for k in range(300_000)) + b".",
        b"c" + b"a" * 4_000_000 + b"\nb\n.",
        b"B\x04\0\0\0\x80\x04N.0" * 500_000,
    ],
    ids=["deep", "marks", "doubling", "frame", "memo", "calls", "names", "line", "nested"],
)
def test_bombs_are_bounded(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Millions of instructions end within seconds; what was not read is said."""
    monkeypatch.setattr(opcodes, "MAX_STEPS", 300_000)
    begun = time.process_time()
    reading = read(data)
    assert time.process_time() - begun < 10
    assert reading.problems
    assert len(reading.names) <= machine.MAX_ITEMS and len(reading.nested) <= machine.MAX_ITEMS
    assert len(reading.problems) < 1200


def seeds() -> list[bytes]:
    """Pickles to mutate."""
    value = [1, "os", b"\x80\x04N.", Calls(os.system, "true"), {"a": (1, 2.5, "b")}, Name("a", "b")]
    return [pickle.dumps(value, protocol) for protocol in range(6)]


def mutated(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(changed))
        how = rng.randrange(4)
        if how == 0:
            changed[place] = rng.randrange(256)
        elif how == 1:
            del changed[place : place + rng.randint(1, 4)]
        elif how == 2:
            changed[place:place] = rng.randbytes(rng.randint(1, 4))
        else:
            changed[place:place] = changed[rng.randrange(len(changed)) :][:20]
        changed = changed or bytearray(b".")
    return bytes(changed)


def look_at(n_cases: int, seed: int) -> None:
    rng = random.Random(seed)
    originals = seeds()
    for _ in range(n_cases):
        data = mutated(rng, rng.choice(originals))
        reading = read(data)
        assert isinstance(reading.suspicious, tuple), data
        assert reading.size == len(data)


def test_mutated_pickles_never_raise() -> None:
    """2,000 of them; the long sweep has 10,000 and more."""
    look_at(2_000, 1)


@pytest.mark.slow
def test_many_mutated_pickles_never_raise() -> None:
    """50,000 of them."""
    look_at(50_000, 2)


def agree(n_cases: int, seed: int) -> int:
    """What a real unpickler looks up in mutated pickles is among the names that were read, unless
    something could not be followed. The unpickler is made harmless; returns how often it got to
    a name."""

    class Recording(pickle._Unpickler):  # type: ignore[name-defined,misc]
        found: list[str]

        def find_class(self, module: str, name: str) -> object:
            self.found.append(f"{module}.{name}")
            return lambda *args, **kwargs: None

    rng = random.Random(seed)
    originals = seeds()
    reached = 0
    for _ in range(n_cases):
        data = mutated(rng, rng.choice(originals))
        unpickler = Recording(io.BytesIO(data))
        # Python 2's names are not to be renamed: what is compared is what the bytes say.
        unpickler.fix_imports = False
        unpickler.found = []
        # It is the names until something fails that count.
        with contextlib.suppress(Exception):
            unpickler.load()
        reading = read(data)
        names = {str(name) for name, _ in reading.names}
        if unpickler.found and not reading.problems:
            reached += 1
            assert set(unpickler.found) <= names, data
    return reached


def test_no_name_that_python_would_look_up_is_missed() -> None:
    """The reader and Python's own unpickler agree on mutated pickles."""
    assert agree(3_000, 3) > 100


@pytest.mark.slow
def test_no_name_is_missed_in_many() -> None:
    """The same on 60,000."""
    assert agree(60_000, 4) > 2_000


def test_nothing_is_imported(tmp_path: Path) -> None:
    """S9: reading imports no pickle, no pickletools and nothing the pickle names."""
    marker = tmp_path / "marker"
    data = pickle.dumps([Calls(os.mkdir, str(marker)), collections.OrderedDict()], 2)
    data = data.replace(b"collections\n", b"wave\n")
    script = (
        "import sys\nfrom wepystore.store.pickles.opcodes import read\n"
        f"print(read({data!r}).names)\n"
        "assert not {'pickle', '_pickle', 'pickletools', 'dill', 'wave'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "wave" in done.stdout and not marker.exists()
