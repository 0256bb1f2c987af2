"""What a simulation must come out with, computed exactly: a matrix for each Markov chain.

Every system here is a Markov chain, looked at once every `interval` steps. Its
transition matrix over the values of one coordinate gives the law at any time,
the mean first-passage time (MFPT) to a target and, if walkers are put back where
they started when they are seen at the target, the expected flux into it at every
cycle. A chain over real numbers (Euler-Maruyama steps) is a matrix over the nodes
of a Gauss-Legendre quadrature, whose error here is far below all statistical ones.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

#: kJ/mol/K
GAS_CONSTANT = 8.31446261815324e-3


@dataclass(frozen=True)
class Chain:
    """A Markov chain that starts at one point and is looked at between whole steps.

    Parameters
    ----------
    points : shape (n,), values of the coordinate
    matrix : shape (n, n), [i, j] the probability to go from i to j in one look
    start : shape (n,), where it starts
    """

    points: Floats
    matrix: Floats
    start: Floats

    def every(self, interval: int) -> Chain:
        """The same chain, looked at only every `interval` steps."""
        return Chain(self.points, np.linalg.matrix_power(self.matrix, interval), self.start)

    def law(self, n_looks: int) -> Floats:
        """Probability of each point after so many looks, shape (n,)."""
        law = self.start
        for _ in range(n_looks):
            law = law @ self.matrix
        return law

    def mfpt(self, target: float) -> float:
        """Mean number of looks until the coordinate is first seen at or beyond `target`."""
        outside = self.points < target
        inner = self.matrix[np.ix_(outside, outside)]
        times = np.linalg.solve(np.eye(len(inner)) - inner, np.ones(len(inner)))
        return float(self.start[outside] @ times)

    def fluxes(self, target: float, n_looks: int) -> Floats:
        """Expected probability found at the target at each look, shape (n_looks,).

        What is found there goes back to the start at once. The last of many is
        1 / mfpt: the Hill relation.
        """
        outside = self.points < target
        law = self.start.copy()
        fluxes = np.empty(n_looks)
        for look in range(n_looks):
            law = law @ self.matrix
            fluxes[look] = law[~outside].sum()
            law = np.where(outside, law, 0.0) + fluxes[look] * self.start
        return fluxes


def random_walk(p_up: float = 0.25, n_positions: int = 80) -> Chain:
    """A walk on 0, 1, 2, … from 0: up with `p_up`, else down, where 0 stays at 0."""
    matrix = np.zeros((n_positions, n_positions))
    for x in range(n_positions):
        matrix[x, min(x + 1, n_positions - 1)] += p_up
        matrix[x, max(x - 1, 0)] += 1 - p_up
    points = np.arange(n_positions, dtype=np.float64)
    return Chain(points, matrix, (points == 0).astype(np.float64))


def double_well(height: float, step: float = 1e-3, n_nodes: int = 20) -> Chain:
    """Euler-Maruyama steps in V = height (x^2 - 1)^2, diffusion constant and kT 1, from -1.

    x' = x - 4 height x (x^2 - 1) step + sqrt(2 step) N(0, 1)
    """
    nodes, weights = _nodes(np.linspace(-2.5, 2.5, 21), n_nodes)
    points, weights = np.append(nodes, -1.0), np.append(weights, 0.0)
    drifted = points - 4 * height * points * (points**2 - 1) * step
    kernel = _normal(points[np.newaxis, :] - drifted[:, np.newaxis], np.sqrt(2 * step))
    return Chain(points, _stochastic(kernel * weights), _last(len(points)))


@dataclass(frozen=True)
class Pair:
    """Two Lennard-Jones particles in Brownian motion, by the distance r between them.

    Parameters
    ----------
    epsilon : kJ/mol
    sigma : nm
    mass : of each, g/mol
    friction : 1/ps
    temperature : K
    """

    epsilon: float
    sigma: float = 0.34
    mass: float = 39.9
    friction: float = 1.0
    temperature: float = 300.0

    @property
    def kt(self) -> float:
        """kJ/mol"""
        return GAS_CONSTANT * self.temperature

    @property
    def diffusion(self) -> float:
        """Of the vector between the particles, nm^2/ps: both move, so twice that of one."""
        return 2 * self.kt / (self.mass * self.friction)

    @property
    def r_min(self) -> float:
        """Where the energy is lowest, nm."""
        return float(2 ** (1 / 6) * self.sigma)

    def force(self, r: Floats) -> Floats:
        """Along r, kJ/mol/nm."""
        attraction = (self.sigma / r) ** 6
        return 24 * self.epsilon / r * (2 * attraction**2 - attraction)

    def energy(self, r: Floats) -> Floats:
        """kJ/mol"""
        attraction = (self.sigma / r) ** 6
        return 4 * self.epsilon * (attraction**2 - attraction)

    def continuous_mfpt(self, target: float) -> float:
        """MFPT from r_min to `target` (nm) in ps, looked at all the time.

        By quadrature of 1/D int_rmin^target e^w(y) int_0^y e^-w(z) dz dy with
        w = energy / kT - 2 ln r, the potential of mean force in three dimensions.
        """
        inner_edges = np.linspace(0.6 * self.sigma, self.r_min, 13)
        inner, inner_weights = _nodes(inner_edges, 20)
        below = inner_weights @ (inner**2 * np.exp(-self.energy(inner) / self.kt))
        edges = np.linspace(self.r_min, target, 201)
        total = 0.0
        for low, high in itertools.pairwise(edges):
            r, weights = _nodes([low, high], 12)
            boltzmann = r**2 * np.exp(-self.energy(r) / self.kt)
            # The inner integral up to each node, by a quadrature of its own.
            for node, weight, outer in zip(r, weights, 1 / boltzmann, strict=True):
                part, part_weights = _nodes([low, node], 12)
                up_to = below + part_weights @ (part**2 * np.exp(-self.energy(part) / self.kt))
                total += weight * outer * up_to
            below += weights @ boltzmann
        return float(total / self.diffusion)

    def chain(self, step: float, target: float, beyond: float = 0.6) -> Chain:
        """Euler-Maruyama steps of `step` ps from r_min; some nodes begin at `target` nm.

        A step moves the vector between the particles by a drift along it and an
        isotropic normal vector, so the new distance has the density
        r'/(m s sqrt(2 pi)) (e^-((r'-m)/s)^2/2 - e^-((r'+m)/s)^2/2), where m is the distance
        after the drift and s the standard deviation in one dimension. All distances
        from target + beyond on are one point, which should be out of reach.
        """
        deviation = np.sqrt(2 * self.diffusion * step)
        below = np.arange(target, 0.5 * self.sigma, -4 * deviation)[::-1]
        above = np.linspace(target, target + beyond, 1 + int(np.ceil(beyond / (4 * deviation))))
        nodes, weights = _nodes(np.concatenate([below, above[1:]]), 10)
        points = np.concatenate([nodes, [above[-1], self.r_min]])
        weights = np.concatenate([weights, [0.0, 0.0]])
        drifted = points + self.diffusion / self.kt * self.force(points) * step
        mean, r = np.abs(drifted)[:, np.newaxis], points[np.newaxis, :]
        kernel = r / mean * (_normal(r - mean, deviation) - _normal(r + mean, deviation)) * weights
        kernel[:, -2] = np.maximum(0.0, 1 - kernel.sum(axis=1))
        return Chain(points, _stochastic(kernel), _last(len(points)))


def _nodes(edges: ArrayLike, n_nodes: int) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights on each of the intervals between `edges`."""
    inner, weights = np.polynomial.legendre.leggauss(n_nodes)
    bounds = np.asarray(edges, dtype=np.float64)
    half = np.diff(bounds)[:, np.newaxis] / 2
    middle = (bounds[1:] + bounds[:-1])[:, np.newaxis] / 2
    return (middle + half * inner).ravel(), (half * weights).ravel()


def _normal(x: Floats, deviation: float) -> Floats:
    density: Floats = np.exp(-0.5 * (x / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
    return density


def _stochastic(kernel: Floats) -> Floats:
    stochastic: Floats = kernel / kernel.sum(axis=1, keepdims=True)
    return stochastic


def _last(n: int) -> Floats:
    """All probability at the last point: where it starts, which no other point leads to."""
    start = np.zeros(n)
    start[-1] = 1.0
    return start
