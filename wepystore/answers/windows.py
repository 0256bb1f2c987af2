"""Which cycles of a chain are looked at."""

from __future__ import annotations

from dataclasses import dataclass

from wepystore.answers.errors import WindowError
from wepystore.answers.study import Chain


@dataclass(frozen=True)
class Window:
    """Cycles of each chain, counted from the first cycle of its first run.

    Attributes
    ----------
    first, stop : int or None
        From `first` to before `stop`; below 0 counted from the end, as in a slice. None for the
        beginning and the end; both None for the last half of each chain.
    """

    first: int | None = None
    stop: int | None = None

    def of(self, chain: Chain) -> slice:
        """Its cycles in a chain. Raises WindowError where there are none."""
        n = chain.n_cycles
        if self.first is None and self.stop is None:
            return slice(n // 2, n)
        first, stop, _ = slice(self.first, self.stop).indices(n)
        if first >= stop:
            raise WindowError(what=self, run=chain.run, n_cycles=n)
        return slice(first, stop)

    def __str__(self) -> str:
        if self.first is None and self.stop is None:
            return "the last half of each"
        if self.stop is None:
            return f"a burn-in of {self.first} cycles" if self.first else "all cycles"
        return f"the window {self.first or 0}:{self.stop}"
