"""A user's own classes and functions, pickled by value and reproducibly.

dill already pickles what lives in `__main__` by value. Two things are added:

- what lives in a user's own module is pickled by value as well, so that a store
  can be used where that module is not. Modules of installed packages stay
  references.
- equal input gives equal bytes in every process (I1). Left alone, a pickle
  depends on the hash seed (the order of sets, of the globals a function uses),
  on which equal strings happen to be one object, on the path of the script and
  on the line in it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import operator
import site
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dill
import dill.detect
import numpy as np

#: Protocol 4 is the newest that every supported Python and dill can read.
_PROTOCOL = 4


def dumps(value: Any, instead: Mapping[type, type] | None = None) -> bytes:
    """`value` as a pickle that holds the user's own code by value.

    Parameters
    ----------
    instead : mapping of type to type, optional
        Classes that whoever loads it gets in place of others: as the base of a user's class,
        and wherever the user's code names them.
    """
    return dumps_with(value, functools.partial(_Pickler, dict(instead or {})))


def dumps_with(value: Any, pickler: Callable[..., Any]) -> bytes:
    """As `dumps`, by a pickler that is made as ``pickler(buffer, **how)``."""
    with _as_if_in_main(_user_modules()), _ordered_globals():
        buffer = io.BytesIO()
        pickler(buffer, protocol=_PROTOCOL, recurse=True, byref=False).dump(value)
    return buffer.getvalue()


def loads(data: bytes) -> Any:
    """The inverse; runs whatever the pickle says, so only for trusted data (S9)."""
    # Otherwise dill gives the object a class of the same name that the running script has.
    return dill.loads(data, ignore=True)


def label(value: Any) -> str:
    """What a person would call `value`."""
    named = value if isinstance(value, (type, types.FunctionType)) else type(value)
    return str(named.__qualname__)


class _Pickler(dill.Pickler):  # type: ignore[misc]
    """dill's pickler, made independent of hash seeds, interning and paths."""

    def __init__(self, instead: Mapping[type, type], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._instead = instead
        self._canonical: dict[Any, Any] = {}
        # The pickler's memo goes by id(): what it has seen must stay alive until the end.
        self._kept: list[Any] = []

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        cls = type(obj)
        if cls in _CONSTANTS:
            # Equal constants become one object: which of them were one already depends on
            # interning, on the compiler, and on whether the code came from a .pyc or a pickle.
            content = _content(obj)
            if content is not None:
                obj = self._canonical.setdefault(content, obj)
        if cls is set or cls is frozenset:
            self._save_sorted_set(obj)
            return
        elif cls is types.CodeType:
            obj = self._keep(_without_place(obj))
        elif isinstance(obj, np.dtype):
            obj = _one_dtype(obj)
        elif cls is type and obj in self._instead:
            obj = self._instead[obj]
        elif cls is types.ModuleType and id(obj) not in self.memo and _is_ours(obj.__name__):
            # Of a checkout dill would pickle all that the module holds, and set it when loaded.
            self.save_reduce(dill._dill._import_module, (obj.__name__,), obj=obj)
            return
        super().save(obj, save_persistent_id)

    def _keep(self, obj: Any) -> Any:
        self._kept.append(obj)
        return obj

    def _save_sorted_set(self, obj: Any) -> None:
        memoised = self.memo.get(id(obj))
        if memoised is not None:
            self.write(self.get(memoised[0]))
            return
        items = sorted(obj, key=_order)
        self.save_reduce(type(obj), (self._keep(items),), obj=obj)


def _one_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The one object that numpy itself has for a plain number type.

    An array that came out of a pickle has a copy of it: whether two arrays share
    one would tell whether a run was gone on with in between (R2).
    """
    if dtype.kind not in "biufc" or dtype.metadata is not None:
        return dtype
    return np.dtype(dtype.str)


#: Types of constants that a pickle's memo knows by identity.
_CONSTANTS = (str, bytes, tuple, frozenset)


def _content(item: Any) -> Any:
    """A key that equal constants of equal types share; None for what is no constant."""
    cls = type(item)
    if cls is tuple or cls is frozenset:
        members = [_content(member) for member in item]
        return None if None in members else (cls, cls(members))
    if cls in (float, complex):
        return cls, repr(item)  # 0.0 == -0.0, and NaN is not even equal to itself.
    if cls in (str, bytes, int, bool, type(None), type(...)):
        return cls, item
    return None


def _order(item: Any) -> tuple[str, str]:
    """What members of a set are sorted by: the same under every hash seed, for sets within too."""
    kind = type(item).__qualname__
    if isinstance(item, (frozenset, tuple)):
        members = [_order(member) for member in item]
        return kind, repr(sorted(members) if isinstance(item, frozenset) else members)
    return kind, repr(item)


#: What dill says of a code object; it disassembles it to a text and searches that.
_nested_globals = dill.detect.nestedglobals


@functools.lru_cache(4096)
def _names_of_globals(code: types.CodeType) -> tuple[str, ...]:
    """The names of globals that a code object uses.

    Remembered by what the code is, not by which object: code never changes, and whoever gives a
    function another one is told the names of that.
    """
    return tuple(_nested_globals(code))


def _nested(func: Any, recurse: bool = True) -> Sequence[str]:
    has_code = isinstance(func, (types.FunctionType, types.MethodType))
    code = func.__code__ if has_code else func
    if recurse and type(code) is types.CodeType:
        return _names_of_globals(code)
    return list(_nested_globals(func, recurse))


@contextlib.contextmanager
def _ordered_globals() -> Iterator[None]:
    """Within the block, dill finds the globals that a function uses in the order of their names,
    analyses no code twice, and none that is pickled by name.

    It collects them in a set, so otherwise their order follows the hash seed. It knows functions
    that call themselves, but goes round for ever where two call each other. And it looks into
    functions of libraries that a function calls, so that what a library's function calls today
    would be in the pickle, and its hash another one with each version of the library.
    """
    original = dill.detect.globalvars
    looked_at: set[int] = set()

    def ordered(func: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if id(func) in looked_at:
            return {}  # The call that looks at it adds what it uses.
        if looked_at and _is_by_name(func):
            return {}
        looked_at.add(id(func))
        try:
            found = original(func, *args, **kwargs)
        finally:
            looked_at.discard(id(func))
        return {name: found[name] for name in sorted(found)}

    dill.detect.globalvars = ordered
    dill.detect.nestedglobals = _nested
    try:
        yield
    finally:
        dill.detect.globalvars = original
        dill.detect.nestedglobals = _nested_globals


def _is_by_name(func: Any) -> bool:
    """Whether a function is pickled as the place where it is imported from."""
    func = func.__func__ if isinstance(func, types.MethodType) else func
    if not isinstance(func, types.FunctionType) or func.__module__ in (None, "__main__"):
        return False
    try:
        found = operator.attrgetter(func.__qualname__)(sys.modules[func.__module__])
    except (KeyError, AttributeError):
        return False
    return found is func


def _without_place(code: types.CodeType, first_line: int | None = None) -> types.CodeType:
    """`code` as if it stood alone in a nameless file, nested functions included.

    Neither the script's path nor what stands above a function in it is part of
    what the function does.
    """
    first = code.co_firstlineno if first_line is None else first_line
    constants = tuple(
        _without_place(item, first) if isinstance(item, types.CodeType) else item
        for item in code.co_consts
    )
    return code.replace(
        co_filename="<wepystore>",
        co_consts=constants,
        co_firstlineno=code.co_firstlineno - first + 1,
    )


@contextlib.contextmanager
def _as_if_in_main(modules: Sequence[types.ModuleType]) -> Iterator[None]:
    """Within the block, the functions and classes of `modules` call `__main__` their home.

    dill pickles by value what is in `__main__`, and has no other way to ask for it.
    """
    homes: list[tuple[Any, str]] = []
    try:
        for module in modules:
            for thing in list(vars(module).values()):
                _move(thing, module.__name__, homes)
        yield
    finally:
        for thing, home in homes:
            thing.__module__ = home


def _move(thing: Any, home: str, homes: list[tuple[Any, str]]) -> None:
    if not isinstance(thing, (type, types.FunctionType)) or thing.__module__ != home:
        return
    try:
        thing.__module__ = "__main__"
    except (AttributeError, TypeError):
        return  # An extension type keeps its home; it cannot be had by value anyway.
    homes.append((thing, home))
    if isinstance(thing, type):
        for member in list(vars(thing).values()):
            held = isinstance(member, (classmethod, staticmethod, types.MethodType))
            _move(member.__func__ if held else member, home, homes)


#: What was imported when somebody asked last, which objects these are, and which are a user's.
_looked_at: tuple[dict[str, Any], dict[str, int], list[types.ModuleType]] = ({}, {}, [])


def _user_modules() -> list[types.ModuleType]:
    """Imported modules that are neither Python's, nor installed, nor this package's."""
    global _looked_at
    imported = sys.modules.copy()
    # By which objects they are: anything may be there, and not all can be compared.
    ids = dict(zip(imported, map(id, imported.values()), strict=True))
    if ids != _looked_at[1]:
        _looked_at = imported, ids, _users_of(imported)
    return _looked_at[2]


def _users_of(imported: Mapping[str, Any]) -> list[types.ModuleType]:
    found = []
    for name, module in imported.items():
        path = vars(module).get("__file__") if isinstance(module, types.ModuleType) else None
        if (
            isinstance(path, str)
            and _is_users(path)
            and name != "__main__"
            and name != "__mp_main__"
            and not _is_ours(name)
        ):
            found.append(module)
    return found


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "wepystore"


@functools.cache
def _is_users(path: str) -> bool:
    """Whether a module's file is neither Python's nor installed.

    Remembered for good: a program imports some thousand modules, and to follow the links of all
    their paths takes longer than all else that a checkpoint does.
    """
    return not str(Path(path).resolve()).startswith(_installed())


@functools.cache
def _installed() -> tuple[str, ...]:
    """What the paths of Python's and of installed modules begin with."""
    roots = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    roots += [*site.getsitepackages(), site.getusersitepackages()]
    roots.append(f"{sys.base_prefix}/lib/{version}")
    return tuple(str(Path(root).resolve()) + "/" for root in roots if root)
