"""Whether pickles do without wepy: read from their bytes, and tried where it cannot be imported.

A user's distance that was written for wepy is derived from wepy's `Distance`, and most often
uses nothing of it but the name. Its class is then pickled with this package's `Distance` in that
place. Whether that is the same distance is not argued about but tried: an interpreter in which wepy
cannot be imported loads it and measures the walkers' states, and must get the very bits that
the original gets here.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from wepystore.compat.wepy.classes import is_of_wepy
from wepystore.engine.distances.base import Distance
from wepystore.engine.walker import WalkerState
from wepystore.records import pickles
from wepystore.records.sinks import Memory
from wepystore.records.values import encode
from wepystore.store.names import Ref
from wepystore.store.pickles import opcodes
from wepystore.store.pickles.pickled import XML, code_parts

_BASE = "wepy.resampling.distances.distance.Distance"

#: So many states are measured, and so long a user's code may take for it, in seconds.
_MOST_STATES = 12
_PATIENCE_S = 300

# The child takes over where to import from; what it imports itself is this module.
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[3])
_CHILD = """
import pickle, sys
path, task = pickle.load(sys.stdin.buffer)
sys.path[:] = path
from wepystore.compat.wepy.without import child
child(task)
"""


class NeedsWepy(Exception):
    """What the message says keeps wepy needed."""


def rebased(distance: Any, states: Sequence[Any]) -> Any:
    """A user's distance with this package's `Distance` in place of wepy's.

    Parameters
    ----------
    distance : object of a user's class derived from wepy's Distance
    states : sequence of WalkerState
        What it is tried on; some of them, and a few that are shaken by 0.01.

    Raises
    ------
    NeedsWepy : the class uses more of wepy, or measures otherwise without it.
    """
    data = pickled_without(distance)
    tried = [dict(state.items()) for state in _to_try(states)]
    try:
        here = _measured(distance, tried)
    except Exception as problem:
        # Anything can come out of a user's code.
        raise NeedsWepy(
            f"it fails on the walkers' states ({type(problem).__name__}: {problem}), so that "
            "nothing can be compared"
        ) from problem
    there = _ask("measure", (data, tried))
    if isinstance(there, str):
        raise NeedsWepy(f"without wepy it fails: {there}")
    if not _same(here, there):
        raise NeedsWepy("it measures otherwise without wepy's class below it")
    return pickles.loads(data)


def pickled_without(distance: Any) -> bytes:
    """The pickle of a user's distance with wepy's `Distance` replaced. Raises NeedsWepy."""
    bases = [cls for cls in type(distance).__mro__ if is_of_wepy(cls.__module__)]
    names = [f"{cls.__module__}.{cls.__qualname__}" for cls in bases]
    others = [name for name in names if name != _BASE]
    if others:
        raise NeedsWepy(f"its class is derived from {others[0]}")
    try:
        data = pickles.dumps(distance, dict.fromkeys(bases, Distance))
    except Exception as problem:
        # dill raises whatever the object's own hooks raise.
        raise NeedsWepy(f"it cannot be pickled: {problem}") from problem
    reason = mention(data)
    if reason is not None:
        raise NeedsWepy(reason)
    return data


def needing(parts: Mapping[str, Any]) -> dict[str, str]:
    """Which parts of a snapshot or configuration need wepy, and why.

    Parameters
    ----------
    parts : mapping of str to object
        Components by what they are called.

    Returns
    -------
    dict
        {where: why}, such as {"resampler.distance": "it names wepy..."}; empty if
        all can be loaded where wepy is not.
    """
    memory = Memory()
    encoded = {name: encode(part, memory, name) for name, part in parts.items()}

    def fetch(ref: Ref) -> bytes:
        return memory.entries["objects", ref.md5]

    nowhere = Ref("0" * 32, "0" * 64, 0)
    found = [
        (part.where, fetch(part.ref))
        for part in code_parts(encoded, nowhere, fetch)
        if part.of != XML
    ]
    reasons = {where: mention(data) for where, data in found}
    unknown = {where: data for where, data in found if reasons[where] is None}
    if unknown:
        answers = _ask("load", unknown)
        if isinstance(answers, str):
            answers = dict.fromkeys(unknown, answers)
        reasons.update(answers)
    return {where: reason for where, reason in reasons.items() if reason is not None}


def mention(data: bytes) -> str | None:
    """Where a pickle, or the code in it, names wepy; None if it does nowhere."""
    reading = opcodes.read(data)
    for each in (reading, *reading.nested):
        for name, _ in each.names:
            if is_of_wepy(name.module or ""):
                return f"it uses {name}"
        for function in each.functions:
            for used in function.names:
                if is_of_wepy(used):
                    return f"{function.name} uses {used}"
    return None


def _to_try(states: Sequence[Any]) -> list[Any]:
    """Different states, some of them shaken: those of a start may all be the same one."""
    unique = list({id(state): state for state in states}.values())[:_MOST_STATES]
    rng = np.random.default_rng(1)
    shaken = [
        WalkerState(
            **{
                name: array + 0.01 * rng.normal(size=array.shape) if name == "positions" else array
                for name, array in state.items()
            }
        )
        for state in unique[:2]
    ]
    return [*unique, *shaken]


def _measured(distance: Any, fields: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Images, and the distances from each to the next and back to the first."""
    states = [WalkerState(**each) for each in fields]
    images = [distance.image(state) for state in states]
    distances = [distance.image_distance(a, b) for a, b in pairwise([*images, images[0]])]
    direct = distance.distance(states[0], states[-1])
    return [images, distances, direct]


def _same(a: Any, b: Any) -> bool:
    """Whether two results are equal to the bit, and of equal kinds."""
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    one, other = np.asarray(a), np.asarray(b)
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return bool(one.tobytes() == other.tobytes()) if one.dtype != object else bool(a == b)


# ---- the interpreter without wepy


def _ask(what: str, argument: Any) -> Any:
    """What an interpreter in which wepy cannot be imported answers; a text if it fails."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-W", "ignore", "-c", _CHILD],
            # The package too: from a checkout it may have been found in the current directory.
            input=pickle.dumps(([*sys.path, _PACKAGE_PARENT], (what, argument))),
            capture_output=True,
            timeout=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        return f"it takes more than {_PATIENCE_S} s"
    # What the user's code prints comes first; a crash leaves nothing.
    _, mark, answer = done.stdout.rpartition(_MARK)
    if not mark:
        return "the interpreter that tried it died"
    return pickle.loads(answer)


_MARK = b"\n-- the answer of wepystore --\n"


def child(task: tuple[str, Any]) -> None:
    """Answer `_ask`, in a process of its own."""
    sys.meta_path.insert(0, _Nowhere())
    what, argument = task
    answer: Any
    if what == "load":
        answer = {where: _problem_of_loading(data) for where, data in argument.items()}
    else:
        data, tried = argument
        try:
            answer = _measured(pickles.loads(data), tried)
            pickle.dumps(answer)
        except Exception as problem:
            answer = f"{type(problem).__name__}: {problem}"
    sys.stdout.flush()
    sys.stdout.buffer.write(_MARK + pickle.dumps(answer))
    sys.stdout.buffer.flush()


def _problem_of_loading(data: bytes) -> str | None:
    try:
        pickles.loads(data)
    except Exception as problem:
        # Whatever a user's own hooks raise.
        return f"where wepy is not, it cannot be loaded: {problem}"
    return None


class _Nowhere:
    """Finds wepy nowhere."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if is_of_wepy(name):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


__all__ = ["NeedsWepy", "mention", "needing", "rebased"]
