"""Weighted ensembles of walks on a line of sites, thousands at once: many fluxes in seconds.

A walk goes to a neighbouring site as Metropolis has it in a potential, and back to the first site
from beyond the last. Each site is a bin that has room for so many walkers: those who come to one
site are in one state, so what is split and merged there is weights only, and without any draw.
That is the weighted ensemble of Huber and Kim, whose walkers of one site need not be told apart:
how many of them go up and down is drawn, and their weights go along.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.science.reference import Chain, Floats


@dataclass(frozen=True)
class Lattice:
    """A walk from the first site of a potential to beyond its last.

    Parameters
    ----------
    name : what it is
    potential : of each site, kT
    """

    name: str
    potential: tuple[float, ...]

    @property
    def steps(self) -> tuple[Floats, Floats]:
        """Probability to go up and down from each site."""
        potential = np.array(self.potential)
        rise = np.diff(np.append(potential, potential[-1]))
        up = 0.5 * np.minimum(1, np.exp(-rise))
        down = 0.5 * np.minimum(1, np.exp(np.append(0.0, rise[:-1])))
        down[0] = 0.0
        return up, down

    @property
    def chain(self) -> Chain:
        """The exact chain; the target is one site more."""
        up, down = self.steps
        n = len(up)
        matrix = np.diag(np.append(1 - up - down, 1.0))
        matrix[np.arange(n), np.arange(n) + 1] = up
        matrix[np.arange(1, n), np.arange(n - 1)] = down[1:]
        return Chain(np.arange(n + 1.0), matrix, (np.arange(n + 1) == 0).astype(float))

    @property
    def flux(self) -> float:
        """Of the steady state, a step."""
        return 1 / self.chain.mfpt(len(self.potential))

    def fluxes(self, n_runs: int, n_cycles: int, n_walkers: int, seed: int) -> Floats:
        """The weight that arrives in each cycle of independent runs, shape (n_runs, n_cycles).

        Parameters
        ----------
        n_walkers : int
            On each site that any has reached.
        """
        rng = np.random.default_rng(seed)
        up, down = self.steps
        # Of those who do not go up.
        down = down / (1 - up)
        weights = np.zeros((n_runs, len(up)))
        weights[:, 0] = 1.0
        found = np.zeros((n_cycles, n_runs))
        for cycle in range(n_cycles):
            rows, sites = np.nonzero(weights)
            each = weights[rows, sites] / n_walkers
            ups = rng.binomial(n_walkers, up[sites])
            downs = rng.binomial(n_walkers - ups, down[sites])
            flows = np.zeros((n_runs, len(up) + 1))
            flows[rows, sites + 1] += each * ups
            arrived = flows[:, -1].copy()
            stays = np.zeros_like(flows)
            stays[rows, sites] = each * (n_walkers - ups - downs)
            lower = sites > 0
            back = np.zeros_like(flows)
            back[rows[lower], sites[lower] - 1] = (each * downs)[lower]
            weights = (flows + stays + back)[:, :-1]
            weights[:, 0] += arrived
            found[cycle] = arrived
        return found.T


def _through(*heights: float, width: int = 6) -> tuple[float, ...]:
    """A potential that goes through these heights, `width` sites apart, smoothly."""
    places = np.arange((len(heights) - 1) * width + 1) / width
    low = np.minimum(places.astype(int), len(heights) - 2)
    part = (1 - np.cos(np.pi * (places - low))) / 2
    values = np.array(heights)
    found: list[float] = (values[low] * (1 - part) + values[low + 1] * part).tolist()
    return tuple(found)


#: A barrier, a high barrier, and two with an intermediate between them: steep, so that of four
#: walkers on a site few go on in a cycle, and flux comes in bursts.
MODELS = (
    Lattice("8 kT", _through(0, 8, 0, width=3)),
    Lattice("12 kT", _through(0, 12, 0, width=4)),
    Lattice("intermediate", _through(0, 7, 3, 8, 0, width=3)),
)
