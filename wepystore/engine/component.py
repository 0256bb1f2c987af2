"""What every built-in part of an apparatus or a configuration is: plain parameters.

A component is wholly described by the keyword arguments of its constructor
(kept under the same names as attributes) plus, for the few that change while
they run, a state. Nothing else is written into a store, so a snapshot made of
components needs no pickle and survives new versions of this package.
"""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Iterable
from typing import Any, ClassVar

#: For a person at a prompt.
_SHORT = reprlib.Repr()
_SHORT.maxother = 60


class Text(str):
    """A long text (XML, JSON) that a store keeps as an object of its own.

    Equal texts are then stored once, however many snapshots name them.
    """

    __slots__ = ()


class Component:
    """Base of everything that a store keeps as plain parameters.

    Values of parameters and state may be: None, bool, int, float, str, `Text`,
    numpy arrays, other components, walker states (mappings of str to arrays),
    and lists, tuples or str-keyed dicts of these. Any other object (a user's
    function or class) is kept as a pickle, and the snapshot is marked so.
    """

    #: Raised when the meaning of the parameters changes; `from_params` then upgrades, and
    #: `parameter_names` tells the names that each version had.
    version: ClassVar[int] = 1
    #: Arguments of the constructor that no store keeps, nor takes from one: addresses and the
    #: like, which say where something runs and not what it is.
    unstored: ClassVar[frozenset[str]] = frozenset()
    #: Those that `params` leaves out while they are at their defaults. An argument that is added
    #: to a class that stores know belongs here: it then changes no hash that exists.
    left_out: ClassVar[frozenset[str]] = frozenset()
    #: Those of its parameters that name atoms, counted from 0.
    ATOM_PARAMETERS: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        """What is not at its default, cut short."""
        words = [
            f"{name}={' '.join(_SHORT.repr(value).split())}"
            for name, parameter in _arguments(type(self)).items()
            if not _is(value := getattr(self, name, None), parameter.default)
        ]
        return f"{type(self).__name__}({', '.join(words)})"

    def params(self) -> dict[str, Any]:
        """Keyword arguments that build an equal component."""
        found = {}
        for name, parameter in _arguments(type(self)).items():
            value = getattr(self, name)
            if name in self.unstored or (name in self.left_out and _is(value, parameter.default)):
                continue
            found[name] = value
        return found

    @classmethod
    def parameter_names(cls, version: int) -> tuple[frozenset[str], frozenset[str]]:
        """The names that `params` of a version always writes, and those that it may write."""
        names = _arguments(cls).keys() - cls.unstored
        return frozenset(names - cls.left_out), frozenset(names & cls.left_out)

    @classmethod
    def check_names(cls, names: Iterable[str], version: int) -> None:
        """Raise ValueError unless these are just what `params` of that version writes.

        What a store holds may come from a stranger: what no store is given, none may give.
        """
        if type(version) is not int or version < 1:
            raise ValueError(f"{cls.__name__} has no version {version!r}")
        if version > cls.version:
            raise ValueError(
                f"{cls.__name__} version {version} was written by a newer wepystore; "
                f"this one reads up to {cls.version}: upgrade wepystore"
            )
        always, sometimes = cls.parameter_names(version)
        given = set(names)
        for name in sorted(given - always - sometimes):
            raise ValueError(f"{cls.__name__} takes no {reprlib.repr(name)} from a store")
        for name in sorted(always - given):
            raise ValueError(f"{cls.__name__} lacks its {name!r}")

    @classmethod
    def from_params(cls, params: dict[str, Any], version: int) -> Component:
        """Build a component from `params` as written by `version` of this class.

        Raises ValueError for any other names, and as the constructor.
        """
        cls.check_names(params, version)
        return cls(**params)

    def state(self) -> dict[str, Any]:
        """What has changed since construction; {} for most components."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        if state:
            raise ValueError(f"{type(self).__name__} keeps no state, but was given {sorted(state)}")

    def summary(self) -> dict[str, str]:
        """A few facts for a person who watches a run: {label: value}, cheap to make."""
        return {}


def _arguments(cls: type) -> dict[str, inspect.Parameter]:
    """The named arguments of a constructor."""
    parameters = inspect.signature(cls).parameters.values()
    return {
        parameter.name: parameter
        for parameter in parameters
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def _is(value: Any, default: Any) -> bool:
    """Whether a value is its default: None, a number or a word; nothing else is compared."""
    return value is default or (
        type(value) is type(default)
        and isinstance(value, (bool, int, float, str))
        and value == default
    )
