"""RED: the steady flux from how long events take."""

from __future__ import annotations

import numpy as np
import pytest

from wepystore.estimates.durations import red_flux


def ramp(law: np.ndarray, n_cycles: int) -> tuple[list[float], list[int]]:
    """All events of a run whose walkers leave the initial state at rate 1 from the start, and take
    1, 2, … cycles with the probabilities of `law`."""
    found = [
        (law[duration - 1], duration)
        for left in range(n_cycles)
        for duration in range(1, min(len(law), n_cycles - left) + 1)
    ]
    weights, durations = zip(*found, strict=True)
    return [*weights], [*durations]


@pytest.mark.parametrize("n_cycles", [12, 20, 50, 200])
def test_a_ramp_foretells_its_steady_flux(n_cycles: int) -> None:
    """Exactly, once the run is as long as the longest event, while the mean is far below."""
    law = np.arange(1.0, 13.0)
    law /= law.sum()
    weights, durations = ramp(law, n_cycles)
    assert red_flux(weights, durations, n_cycles) == pytest.approx(1.0)
    assert sum(weights) / n_cycles < 0.97


def test_what_takes_longer_than_the_run_is_not_foretold() -> None:
    """Of a run of half that length the events that there can be are."""
    law = np.full(20, 0.05)
    assert red_flux(*ramp(law, 10), 10) == pytest.approx(0.5)


def test_it_is_the_double_integral_of_the_scheme() -> None:
    """Raw mean x n / int int f: with the histogram that is integrated there in closed form."""
    rng = np.random.default_rng(3)
    n_cycles, weights = 400, rng.exponential(size=900)
    durations = rng.integers(1, 300, size=900)
    density = np.zeros(n_cycles)
    np.add.at(density, durations - 1, weights / (n_cycles + 1 - durations))
    density /= density.sum()
    # Seen at t in 1 … n if it takes no longer.
    twice = np.cumsum(density).sum()
    factor = n_cycles / twice
    expected = weights.sum() / n_cycles * factor
    assert red_flux(weights, durations, n_cycles) == pytest.approx(expected)


@pytest.mark.parametrize("duration", [0, 11, np.nan])
def test_no_event_takes_longer_than_the_run(duration: float) -> None:
    """Nor no time."""
    with pytest.raises(ValueError, match="lasts 1 to 10"):
        red_flux([1.0], [duration], 10)
