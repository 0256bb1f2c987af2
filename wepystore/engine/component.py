"""What every built-in part of an apparatus or a configuration is: plain parameters.

A component is wholly described by the keyword arguments of its constructor
(kept under the same names as attributes) plus, for the few that change while
they run, a state. Nothing else is written into a store, so a snapshot made of
components needs no pickle and survives new versions of this package.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar


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

    #: Raised when the meaning of the parameters changes; `from_params` then upgrades.
    version: ClassVar[int] = 1

    def params(self) -> dict[str, Any]:
        """Keyword arguments that build an equal component."""
        parameters = inspect.signature(type(self)).parameters.values()
        return {
            parameter.name: getattr(self, parameter.name)
            for parameter in parameters
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        }

    @classmethod
    def from_params(cls, params: dict[str, Any], version: int) -> Component:
        """Build a component from `params` as written by `version` of this class."""
        if version > cls.version:
            raise ValueError(
                f"{cls.__name__} version {version} was written by a newer wepystore; "
                f"this one reads up to {cls.version}: upgrade wepystore"
            )
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
