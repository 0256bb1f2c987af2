"""Many walkers as a few arrays, and how to get arrays out of any walkers.

An `Ensemble` is a sequence of walkers, so everything that takes a list of
walkers takes it too; what knows of it works on whole arrays instead and makes
no Python object per walker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wepystore.engine.walker import Walker, WalkerState

#: Numbers of any shape.
Floats = NDArray[np.float64]


class Ensemble(Sequence[Walker]):
    """Walkers whose states hold the same fields in the same shapes; immutable.

    Parameters
    ----------
    weights : array_like, shape (n,)
        The probability each walker carries.
    fields : mapping of str to array_like, each of shape (n, ...)
        Row k of each is that field of walker k's state: positions
        (n, n_atoms, 3) nm, time (n,) ps, ...

    Attributes
    ----------
    weights : ndarray, shape (n,), read-only
    fields : mapping of str to ndarray, both read-only

    Raises
    ------
    ValueError : a field has another number of rows than there are weights.

    Indexing gives a `Walker` made on the spot, whose state is a view of the
    rows; a slice gives an Ensemble.
    """

    __slots__ = ("fields", "weights")

    weights: Floats
    fields: Mapping[str, Floats]

    def __init__(self, weights: ArrayLike, fields: Mapping[str, ArrayLike]) -> None:
        held = np.array(weights, dtype=np.float64)
        stacks = {name: np.array(value, dtype=np.float64) for name, value in fields.items()}
        if held.ndim != 1:
            raise ValueError(f"weights must be one number a walker, got shape {held.shape}")
        for name, stack in stacks.items():
            if stack.shape[:1] != held.shape:
                raise ValueError(
                    f"field {name!r} has shape {stack.shape}: "
                    f"its first axis must be the {len(held)} walkers"
                )
        self._take(held, stacks)

    @classmethod
    def adopt(cls, weights: Floats, fields: Mapping[str, Floats]) -> Ensemble:
        """Wrap float64 arrays that fit together, without a copy; the caller gives them up."""
        made = cls.__new__(cls)
        made._take(weights, fields)
        return made

    def _take(self, weights: Floats, fields: Mapping[str, Floats]) -> None:
        weights.flags.writeable = False
        for stack in fields.values():
            stack.flags.writeable = False
        self.weights = weights
        self.fields = fields if isinstance(fields, MappingProxyType) else MappingProxyType(fields)

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(self, name):
            raise AttributeError(f"the {name} of an Ensemble cannot be changed; make another")
        object.__setattr__(self, name, value)

    @classmethod
    def of(cls, walkers: Sequence[Any]) -> Ensemble:
        """An Ensemble of any walkers.

        Raises
        ------
        ValueError : their states differ in fields or in shapes.
        """
        if isinstance(walkers, Ensemble):
            return walkers
        if not walkers:
            raise ValueError("an ensemble needs at least one walker")
        names = set(walkers[0].state)
        for idx, walker in enumerate(walkers):
            if set(walker.state) != names:
                raise ValueError(
                    f"walker {idx} has the fields {sorted(walker.state)}, walker 0 {sorted(names)}"
                )
        return cls.adopt(
            weights_of(walkers), {name: stacked(walkers, name) for name in walkers[0].state}
        )

    def __len__(self) -> int:
        return len(self.weights)

    @overload
    def __getitem__(self, index: int) -> Walker: ...
    @overload
    def __getitem__(self, index: slice) -> Ensemble: ...
    def __getitem__(self, index: int | slice) -> Walker | Ensemble:
        if isinstance(index, slice):
            return Ensemble.adopt(
                self.weights[index], {name: stack[index] for name, stack in self.fields.items()}
            )
        return Walker(self.state(index), float(self.weights[index]))

    def __iter__(self) -> Iterator[Walker]:
        for index, weight in enumerate(self.weights.tolist()):
            yield Walker(self.state(index), weight)

    def state(self, index: int) -> WalkerState:
        """The state of one walker: views of its rows."""
        # The ellipsis makes an array of one number, too, where a bare index gives a scalar.
        return WalkerState.adopt({name: stack[index, ...] for name, stack in self.fields.items()})

    def with_weights(self, weights: Floats) -> Ensemble:
        """These states with other weights, shape (n,)."""
        if weights.shape != self.weights.shape:
            raise ValueError(f"weights of shape {weights.shape} for {len(self)} walkers")
        return Ensemble.adopt(weights, self.fields)

    def take(self, rows: ArrayLike, weights: Floats | None = None) -> Ensemble:
        """The walkers `rows`, in that order, some of them perhaps more than once.

        Parameters
        ----------
        rows : array_like of int, shape (m,)
        weights : ndarray, shape (m,), optional
            Their weights; those they have now if not given.
        """
        chosen = np.asarray(rows, dtype=np.int64)
        return Ensemble.adopt(
            self.weights[chosen] if weights is None else np.array(weights, dtype=np.float64),
            {name: stack[chosen] for name, stack in self.fields.items()},
        )

    def with_states(self, rows: Sequence[int], states: Sequence[Any]) -> Ensemble | list[Walker]:
        """These weights with other states in some rows.

        An Ensemble if the new states have the fields and shapes of the others,
        and otherwise a list.
        """
        shapes = {name: stack.shape[1:] for name, stack in self.fields.items()}
        different = {id(state): state for state in states}.values()
        if any({n: np.shape(state[n]) for n in state} != shapes for state in different):
            walkers = list(self)
            for row, state in zip(rows, states, strict=True):
                walkers[row] = Walker(state, walkers[row].weight)
            return walkers
        fields = {}
        for name, stack in self.fields.items():
            changed = stack.copy()
            changed[np.asarray(rows, dtype=np.int64)] = [state[name] for state in states]
            fields[name] = changed
        return Ensemble.adopt(self.weights, fields)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Ensemble, (self.weights, dict(self.fields)))

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}{stack.shape}" for name, stack in self.fields.items())
        return f"Ensemble({len(self)} walkers: {inside})"


def weights_of(walkers: Iterable[Any]) -> Floats:
    """The weights of any walkers, shape (n,)."""
    if isinstance(walkers, Ensemble):
        return walkers.weights
    return np.array([walker.weight for walker in walkers], dtype=np.float64)


def states_of(walkers: Sequence[Any]) -> list[Any]:
    """The states of any walkers."""
    if isinstance(walkers, Ensemble):
        return [walkers.state(row) for row in range(len(walkers))]
    return [walker.state for walker in walkers]


def stacked(walkers: Sequence[Any], name: str) -> Floats:
    """One field of all walkers, shape (n, ...); an Ensemble's own array, read-only.

    Raises
    ------
    ValueError : a walker's state lacks the field, or has another shape than the others.
    """
    if isinstance(walkers, Ensemble):
        if name not in walkers.fields:
            raise ValueError(f"the states have no {name}")
        return walkers.fields[name]
    try:
        rows = [walker.state[name] for walker in walkers]
    except KeyError:
        bare = next(idx for idx, walker in enumerate(walkers) if name not in walker.state)
        raise ValueError(f"the state of walker {bare} has no {name}") from None
    try:
        return np.array(rows, dtype=np.float64)
    except ValueError:
        shapes = sorted({np.shape(row) for row in rows})
        raise ValueError(f"{name} has shapes {shapes} in different walkers") from None


__all__ = ["Ensemble", "stacked", "states_of", "weights_of"]
