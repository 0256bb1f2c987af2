"""What is drawn of a long series: stretches of cycles of one length, and numbers of few digits.

A figure of ten thousand cycles has no more marks than one of two hundred. Each mark then stands for
a stretch of cycles, of which it tells what its caption says: a mean, extremes, quantiles. Nothing
is left out of these. What is picked instead, as the heaviest warps are, says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Values of a column as JSON has them; None for what is no number.
Values = list[Any]


class Stretches:
    """Cycles cut into at most so many stretches of one length; the last one may be shorter.

    Parameters
    ----------
    n_cycles : int
    most : int

    Attributes
    ----------
    length : int
        Cycles in each.
    first, last : ndarray of int, shape (n,)
        The cycles of each, `last` among them.
    """

    def __init__(self, n_cycles: int, most: int = 200) -> None:
        self.n_cycles = n_cycles
        self.length = max(1, -(-n_cycles // most))
        self.first: Ints = np.arange(0, n_cycles, self.length)
        self.last: Ints = np.minimum(self.first + self.length, n_cycles) - 1

    def __len__(self) -> int:
        return len(self.first)

    @property
    def sizes(self) -> Ints:
        """Cycles in each."""
        return self.last - self.first + 1

    def of(self, cycle: Ints) -> Ints:
        """Which stretch each of these cycles is in."""
        return cycle // self.length

    def sums(self, per_cycle: NDArray[Any]) -> NDArray[Any]:
        """The sum over each, of what has one number a cycle."""
        if not len(self):
            return per_cycle[:0]
        found: NDArray[Any] = np.add.reduceat(per_cycle, self.first)
        return found

    def means(self, per_cycle: NDArray[Any]) -> Floats:
        """The mean over each, of what has one number a cycle."""
        found: Floats = self.sums(per_cycle) / self.sizes
        return found

    def rows(self, n_walkers: Ints) -> Iterator[slice]:
        """For each the rows of a column that has one for each walker of each cycle."""
        first = np.append(0, np.cumsum(n_walkers))
        for begin, end in zip(first[self.first], first[self.last + 1], strict=True):
            yield slice(int(begin), int(end))


def values(column: Any, digits: int = 4) -> Values:
    """A column as JSON has it, with so many significant digits; what is no number is None."""
    array = np.asarray(column)
    if array.dtype.kind in "iub":
        whole: Values = array.astype(np.int64).tolist()
        return whole
    form = f".{digits}g"
    return [_short(format(each, form)) if np.isfinite(each) else None for each in array.tolist()]


def _short(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 1e9 else number
