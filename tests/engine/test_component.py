"""Components are their parameters."""

from __future__ import annotations

import pytest

from wepystore.engine.component import Component, Text
from wepystore.errors import WepystoreError


class Spring(Component):
    version = 2

    def __init__(self, stiffness: float, *, label: str = "spring") -> None:
        self.stiffness = stiffness
        self.label = label
        self.derived = stiffness * 2


def test_params_are_the_arguments_of_the_constructor() -> None:
    """Positional and keyword-only arguments, under their names, and nothing derived."""
    assert Spring(2.0, label="x").params() == {"stiffness": 2.0, "label": "x"}


def test_params_build_an_equal_component() -> None:
    """from_params is the inverse of params, for this version and older ones."""
    spring = Spring.from_params(Spring(2.0).params(), 1)
    assert isinstance(spring, Spring)
    assert spring.params() == Spring(2.0).params()


def test_params_of_a_newer_version_are_refused() -> None:
    """Who cannot know what the parameters mean must not guess; the message says what to do."""
    with pytest.raises(ValueError, match="upgrade wepystore"):
        Spring.from_params({"stiffness": 1.0}, 3)


def test_a_component_without_state_takes_none() -> None:
    """A state that nobody would use is an error, not silence."""
    Spring(1.0).restore({})
    with pytest.raises(ValueError, match=r"Spring keeps no state.*'x'"):
        Spring(1.0).restore({"x": 1})


def test_text_is_a_string() -> None:
    """Text only marks what is worth an object of its own."""
    assert Text("abc") == "abc"
    assert {Text("abc"): 1}["abc"] == 1


def test_an_error_survives_the_way_between_processes() -> None:
    """Workers raise in one process what is reported in another: fields and message stay."""
    import pickle

    from wepystore.engine.errors import SegmentError

    error = SegmentError(cycle_idx=1, walker_idx=2, worker="worker 0", problem="it blew up")
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, WepystoreError)
    assert str(again) == str(error) == "cycle 1, walker 2, worker 0: the segment failed: it blew up"
