"""Walkers and their states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Units of the fields OpenMM fills; a runner may add fields of its own.
UNITS = {
    "positions": "nanometer",
    "velocities": "nanometer/picosecond",
    "box_vectors": "nanometer",
    "time": "picosecond",
    "forces": "kilojoule/(nanometer*mole)",
    "kinetic_energy": "kilojoule/mole",
    "potential_energy": "kilojoule/mole",
    "box_volume": "nanometer**3",
}
#: Fields that mean something in a periodic system only.
BOX_FIELDS = ("box_vectors", "box_volume")
#: How the names of a state's global parameters (of an OpenMM context) begin.
PARAMETERS = "parameters/"


class WalkerState(Mapping[str, NDArray[np.float64]]):
    """Named float64 arrays; immutable, so that clones can share one.

    Parameters
    ----------
    **fields : array_like
        positions (n_atoms, 3) nm, velocities (n_atoms, 3) nm/ps, box_vectors
        (3, 3) nm, time () ps, and whatever the runner adds.
    """

    __slots__ = ("_fields",)

    def __init__(self, **fields: ArrayLike) -> None:
        held: dict[str, NDArray[np.float64]] = {}
        for name, value in fields.items():
            array = np.asarray(value, dtype=np.float64)
            if array.flags.writeable:
                # Ours alone: nobody can change a state through an array they kept.
                array = array.copy() if array is value or array.base is not None else array
                array.flags.writeable = False
            held[name] = array
        self._fields = held

    @classmethod
    def adopt(cls, fields: dict[str, NDArray[np.float64]]) -> WalkerState:
        """Wrap fresh float64 arrays without a copy; the caller gives them up."""
        for array in fields.values():
            array.flags.writeable = False
        return cls.adopt_frozen(fields)

    @classmethod
    def adopt_frozen(cls, fields: dict[str, NDArray[np.float64]]) -> WalkerState:
        """Wrap float64 arrays that nobody can write to, and the dictionary itself."""
        state = cls.__new__(cls)
        state._fields = fields
        return state

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self._fields[name]

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def dict(self) -> dict[str, NDArray[np.float64]]:
        """The fields as a plain dictionary (a shallow copy)."""
        return dict(self._fields)

    def __reduce__(self) -> tuple[Any, ...]:
        return (WalkerState.adopt, (self._fields,))

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}{array.shape}" for name, array in self._fields.items())
        return f"WalkerState({inside})"

    def equals(self, other: WalkerState) -> bool:
        """True if both hold the same fields with the same bits."""
        if self is other:
            return True
        return self._fields.keys() == other._fields.keys() and all(
            array.shape == other._fields[name].shape
            and array.tobytes() == other._fields[name].tobytes()
            for name, array in self._fields.items()
        )


class UnaskedBox(WalkerState):
    """A state whose box nobody asked for: OpenMM gives one to systems without a box, too."""

    __slots__ = ()

    def without_box(self) -> WalkerState:
        """The state of a system that is not periodic."""
        return WalkerState(**{name: self[name] for name in self if name != "box_vectors"})


class Walker:
    """One replica: a state and the probability it carries; immutable.

    Whoever is shown a walker (a reporter, a distance) can change nothing of the run by it.

    Parameters
    ----------
    state : WalkerState
    weight : float, in (0, 1]

    Raises
    ------
    AttributeError : state or weight is set once more.
    """

    __slots__ = ("state", "weight")

    state: Any
    weight: float

    def __init__(self, state: Any, weight: float) -> None:
        _set_state(self, state)
        _set_weight(self, weight)

    def __setattr__(self, name: str, value: Any) -> None:
        # Once only: by a constructor of a subclass, or while it is unpickled.
        if name in _ONCE and hasattr(self, name):
            raise AttributeError(
                f"the {name} of a walker cannot be changed; make another: Walker(state, weight)"
            )
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"the {name} of a walker cannot be removed")

    def clone(self, number: int = 1) -> list[Walker]:
        """`number` + 1 walkers with this state, the weight shared equally."""
        share = self.weight / (number + 1)
        return [type(self)(self.state, share) for _ in range(number + 1)]

    def squash(self, target: Walker) -> Walker:
        """`target` with this walker's weight added; this walker's state is given up."""
        return type(target)(target.state, self.weight + target.weight)

    def merge(
        self, others: Sequence[Walker], rng: np.random.Generator | None = None
    ) -> tuple[Walker, int]:
        """Merge this walker (index 0) and `others` into one.

        The state kept is drawn with probability proportional to weight, which
        is what keeps the ensemble unbiased (Huber & Kim, Biophys. J. 70, 97, 1996).

        Returns the merged walker and the index of the one whose state was kept.
        """
        group = [self, *others]
        weights = np.array([walker.weight for walker in group])
        total = float(weights.sum())
        kept = int((rng or np.random.default_rng()).choice(len(group), p=weights / total))
        return type(self)(group[kept].state, total), kept

    def __repr__(self) -> str:
        return f"Walker(weight={self.weight:.6g}, state={self.state!r})"


_ONCE = frozenset(Walker.__slots__)
# Four times as fast as by way of __setattr__, and walkers are made for every segment.
_set_state = Walker.__dict__["state"].__set__
_set_weight = Walker.__dict__["weight"].__set__
