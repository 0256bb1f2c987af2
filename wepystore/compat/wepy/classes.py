"""Which classes are wepy's, and whether their source is known here."""

from __future__ import annotations

from typing import Any

from wepystore.compat.wepy.repairs import KNOWN_RELEASE, installed

_WEPY = "wepy"

#: What every class has in its namespace; a subclass that has no more is its base.
_NOTHING = frozenset(
    {"__module__", "__doc__", "__qualname__", "__dict__", "__weakref__", "__annotations__"}
    | {"__firstlineno__", "__static_attributes__", "__slotnames__"}
)


def is_of_wepy(module: str) -> bool:
    """Whether a module of this name is one of the package wepy."""
    return module.partition(".")[0] == _WEPY


def is_wepy(thing: Any) -> bool:
    """Whether `thing` is of a class of the package wepy, or of one derived from such a class."""
    return any(is_of_wepy(cls.__module__) for cls in type(thing).__mro__)


def is_derived(cls: type, name: str) -> bool:
    """Whether `cls` is, or is derived from, the class that is called "module.Name"."""
    return any(f"{base.__module__}.{base.__qualname__}" == name for base in cls.__mro__)


def wepy_class(cls: type) -> str | None:
    """The class of wepy's that `cls` is, or does not differ from, as "module.Name"; else None."""
    while not is_of_wepy(cls.__module__):
        if len(cls.__bases__) != 1 or not vars(cls).keys() <= _NOTHING:
            return None
        (cls,) = cls.__bases__
    return f"{cls.__module__}.{cls.__qualname__}"


def is_known_release() -> bool:
    """Whether the wepy that is installed is the one whose source is known here."""
    return installed(_WEPY) == KNOWN_RELEASE
