"""Which pickles need wepy: what can be told where it is not installed.

With the real wepy it is tested in tests/compat/test_converted.py.
"""

from __future__ import annotations

import importlib
import pickle
from typing import Any

import pytest

from wepystore.api import NoResampler, PairDistance, WExploreResampler
from wepystore.compat.wepy import without


class Sneaky:
    """A user's resampler that names wepy only while it runs."""

    def __setstate__(self, state: Any) -> None:
        importlib.import_module("".join(["we", "py"]))

    def __getstate__(self) -> dict[str, int]:
        return {"a": 1}


class Lazy:
    """One that imports it in a method."""

    def resample(self, walkers: Any) -> Any:
        from wepy.walker import merge

        return merge(walkers)


class Plain:
    """One that does not; a text may speak of it."""

    told = "wepy"

    def resample(self, walkers: Any) -> Any:
        return list(walkers), [], []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"cwepy.walker\nWalker\n.", "it uses wepy.walker.Walker"),
        (b"cwepystore.engine.walker\nWalker\n.", None),
        (pickle.dumps(["wepy", "wepy.walker"]), None),
        (pickle.dumps(len), None),
    ],
)
def test_what_names_it(data: bytes, reason: str | None) -> None:
    """A class of wepy's, looked up by its name; this package's name begins alike, and is not it."""
    assert without.mention(data) == reason


def test_parts_that_need_it() -> None:
    """Told apart, with the reason: by what they name, and by trying to load the others."""
    found = without.needing(
        {
            "runner": Lazy(),
            "boundary_conditions": Sneaky(),
            "resampler": WExploreResampler(PairDistance(0, 1)),
            "monitor": Plain(),
            "nothing": None,
        }
    )
    assert sorted(found) == ["boundary_conditions", "runner"]
    assert found["runner"] == "Lazy.resample uses wepy.walker"
    assert "No module named 'wepy'" in found["boundary_conditions"]


def test_plain_parameters_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no second interpreter is asked."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("subprocess.run", refuse)
    assert without.needing({"resampler": NoResampler(), "runner": None}) == {}
