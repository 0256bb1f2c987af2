"""The random numbers of a run: every use has a stream of its own.

All come from one seed (R1), through the spawn keys of numpy's SeedSequence, so
that a stream depends on what it is for (purpose, cycle, walker) and on nothing
else: not on workers, on the order of calls, or on how often a run was resumed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: First element of a spawn key. The numbers are part of what a seed means: never renumber.
SEGMENTS = 0
BOUNDARY_CONDITIONS = 1
RESAMPLING = 2

#: OpenMM takes a C int and reads 0 as "choose one yourself".
_MAX_SEGMENT_SEED = 2**31 - 1


class Drawing:
    """Base of the components that draw random numbers."""

    _rng: np.random.Generator | None = None

    def set_rng(self, rng: np.random.Generator) -> None:
        """Draw from `rng` from now on; the manager calls this before each use (R1)."""
        self._rng = rng

    @property
    def rng(self) -> np.random.Generator:
        """Where random numbers come from; seeded by the system if `set_rng` was not called."""
        if self._rng is None:
            self._rng = np.random.default_rng()
        return self._rng


class Streams:
    """The streams of one run.

    Parameters
    ----------
    entropy : int or sequence of int, >= 0
        The run's seed, and whatever else must tell its streams from those of
        other runs: a continuation mixes in its start snapshot's hash, lest the
        same seed give the same noise twice along one trajectory.
    """

    def __init__(self, entropy: int | Sequence[int]) -> None:
        # The 32-bit words that numpy would make of it anew for each stream, which takes it
        # longer than all the rest.
        numbers = entropy if isinstance(entropy, Sequence) else [entropy]
        self._words = np.array([word for number in numbers for word in _words(number)], np.uint32)

    def generator(self, purpose: int, cycle_idx: int) -> np.random.Generator:
        """The generator for one step of the algorithm in one cycle."""
        sequence = np.random.SeedSequence(self._words, spawn_key=(purpose, cycle_idx))
        return np.random.Generator(np.random.PCG64(sequence))

    def segment_seeds(self, cycle_idx: int, n_walkers: int) -> list[int]:
        """A seed in [1, 2**31) for each walker's segment, all different.

        Two clones with one seed would stay equal for ever, so a seed that
        comes up twice within a cycle is moved to the next free number.
        """
        sequence = np.random.SeedSequence(self._words, spawn_key=(SEGMENTS, cycle_idx))
        words = sequence.generate_state(n_walkers, np.uint32)
        seeds: list[int] = (words.astype(np.int64) % _MAX_SEGMENT_SEED + 1).tolist()
        used = set(seeds)
        if len(used) < n_walkers:
            used = set()
            for k, seed in enumerate(seeds):
                while seed in used:
                    seed = seed % _MAX_SEGMENT_SEED + 1
                used.add(seed)
                seeds[k] = seed
        return seeds


def _words(number: int) -> list[int]:
    """The number in base 2**32, the lowest digit first."""
    if number < 0:
        raise ValueError(f"a seed must be a whole number >= 0, got {number}")
    words = [number & 0xFFFFFFFF]
    while number := number >> 32:
        words.append(number & 0xFFFFFFFF)
    return words
