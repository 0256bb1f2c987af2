"""Many weighted-ensemble runs of a Markov chain at once: for figures that take thousands.

An implementation of its own, beside the engine: walkers step by a matrix, those at the target go
back to the start, and in each bin the places are drawn anew by weight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.science.reference import Chain

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Replicas(NamedTuple):
    """What happened; of each array the shape is (n_cycles, n_replicas, n_walkers).

    Attributes
    ----------
    points : of the chain, at the end of each segment
    weights : during the segment
    parents : whose state it began from, a walker of the cycle before; that of the first cycle began
        at the start
    arrived : whether it ended at the target, and the next one began at the start
    """

    points: Ints
    weights: Floats
    parents: Ints
    arrived: NDArray[np.bool_]


def simulate(
    chain: Chain,
    target: float,
    n_cycles: int,
    n_replicas: int,
    n_walkers: int,
    rng: np.random.Generator,
    width: int = 1,
) -> Replicas:
    """Run from the start of the chain; so many of its points are a bin of the resampler."""
    n_points = len(chain.points)
    below = np.cumsum(chain.matrix, axis=1)
    below[:, -1] = 1.0
    # One row after the other, so that one search finds where all of them step.
    steps = (below + np.arange(n_points)[:, np.newaxis]).ravel()
    start = int(chain.start.argmax())
    shape = (n_replicas, n_walkers)
    points = np.full(shape, start)
    weights = np.full(shape, 1 / n_walkers)
    parents = np.tile(np.arange(n_walkers), (n_replicas, 1))
    found: list[tuple[Ints, Floats, Ints, NDArray[np.bool_]]] = []
    for _ in range(n_cycles):
        drawn = np.searchsorted(steps, (points + rng.random(shape)).ravel(), "right")
        points = np.minimum(drawn.reshape(shape) - points * n_points, n_points - 1)
        arrived = chain.points[points] >= target
        found.append((points, weights, parents, arrived))
        points = np.where(arrived, start, points)
        parents, weights = resampled(points // width, weights, rng)
        points = np.take_along_axis(points, parents, 1)
    return Replicas(*(np.array(each) for each in zip(*found, strict=True)))


def resampled(bins: Ints, weights: Floats, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Who goes on in each place, and with what weight; shapes (n_replicas, n_walkers).

    Each bin that is reached has its share of the places, whose weights are equal. Who takes them is
    drawn with one random number a bin, in proportion to weights, so all expectations stay.
    """
    n_replicas, n_walkers = bins.shape
    replica = np.arange(n_replicas)[:, np.newaxis]
    order = np.argsort(bins, axis=1, kind="stable")
    ordered = np.take_along_axis(bins, order, 1)
    # Bins are numbered anew: 0, 1, … in each replica.
    number = np.zeros_like(bins)
    number[:, 1:] = np.cumsum(ordered[:, 1:] != ordered[:, :-1], axis=1)
    n_bins = number[:, -1:] + 1
    held = np.take_along_axis(weights, order, 1)
    totals = np.zeros_like(weights)
    np.add.at(totals, (replica, number), held)
    of_place = np.arange(n_walkers) * n_bins // n_walkers
    counts = np.zeros_like(bins)
    np.add.at(counts, (replica, of_place), 1)
    in_bin = np.arange(n_walkers) - (np.cumsum(counts, axis=1) - counts)[replica, of_place]
    shift = rng.random(weights.shape)[replica, of_place]
    # In each bin the shares add up to 1, however light it is.
    ends = np.cumsum(held / totals[replica, number], axis=1)
    wanted = of_place + (in_bin + shift) / counts[replica, of_place]
    apart = replica * (n_walkers + 1.0)
    place = np.searchsorted((ends + apart).ravel(), (wanted + apart).ravel()).reshape(bins.shape)
    place = place - replica * n_walkers
    # Rounding may not lead into the next bin.
    firsts = np.searchsorted((number + apart).ravel(), (of_place + apart).ravel())
    lasts = np.searchsorted((number + apart).ravel(), (of_place + apart).ravel(), "right") - 1
    firsts, lasts = (each.reshape(bins.shape) - replica * n_walkers for each in (firsts, lasts))
    parents = np.take_along_axis(order, np.clip(place, firsts, lasts), 1)
    return parents, (totals / np.maximum(counts, 1))[replica, of_place]
