"""Fixtures of the reporters' tests."""

from __future__ import annotations

import pytest

from tests.reporters.recorded import Recording, record


@pytest.fixture(scope="session")
def recording() -> Recording:
    """Forty cycles of eight walkers with clones, merges, new regions and warps."""
    made = record(40)
    assert any(report["warp_data"] for report in made.reports)
    assert any(report["resampler_data"] for report in made.reports)
    return made
