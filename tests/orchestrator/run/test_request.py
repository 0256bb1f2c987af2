"""The request for a run: an option is declared once, and what is made of the declaration."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import pytest

from wepystore.cli import resume as resume_command
from wepystore.cli import run as run_command
from wepystore.cli import verify as verify_command
from wepystore.cli.running import options_of
from wepystore.orchestrator.errors import JobNameError
from wepystore.orchestrator.run.request import Means, RequestError, RunRequest, options
from wepystore.records.circumstances import Circumstances

#: One that has a value of its own for every option.
FULL = RunRequest(
    n_steps=10,
    seconds=5.5,
    n_cycles=3,
    seed=7,
    job_dir=Path("here"),
    job_name="job",
    narration="a note",
    n_workers=2,
    platform="CPU",
    scheduler="tcp://host:1",
    checkpoint_freq=4,
    checkpoint_every=60.0,
    grace=1.0,
    until=2e9,
)


def test_job_json_keeps_what_holds_for_all_sessions() -> None:
    """What is read is what was written, but for the options of one session; null is no limit."""
    stored = FULL.to_json()
    assert stored.keys() == {
        *("n_steps", "seconds", "n_cycles", "seed", "name", "narration", "n_workers", "platform"),
        *("checkpoint_freq", "checkpoint_every"),
    }
    of_a_session = {"job_dir": None, "scheduler": None, "grace": 30.0, "until": None}
    assert RunRequest.from_json(stored) == dataclasses.replace(FULL, **of_a_session)
    endless = RunRequest(n_steps=1, job_name="job")
    assert endless.to_json()["seconds"] is None
    assert RunRequest.from_json(endless.to_json()) == endless
    stored.pop("checkpoint_every")  # As before there was one.
    assert RunRequest.from_json(stored).checkpoint_every is None
    stored.pop("n_cycles")
    with pytest.raises(KeyError, match="n_cycles"):
        RunRequest.from_json(stored)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("n_steps", [0, -1, 10**12 + 1, 1.5, True, None, "1"]),
        ("seconds", [-1, math.nan, "1", None]),
        ("n_cycles", [0, 2.0]),
        ("seed", [-1, 2**63, None]),
        ("checkpoint_every", [-0.5, "90s"]),
        ("grace", [-1.0, math.inf]),
        ("platform", [1]),
    ],
)
def test_what_cannot_be_meant_is_refused_where_the_request_is_made(
    name: str, values: list[Any]
) -> None:
    """The message names the option and what it takes."""
    for value in values:
        with pytest.raises(RequestError, match=rf"^{name} is .* and must be ") as refused:
            dataclasses.replace(FULL, **{name: value})
        assert refused.value.exit_status == 2
    with pytest.raises(JobNameError):
        dataclasses.replace(FULL, job_name="a/b")


def test_a_resume_changes_what_the_result_does_not_depend_on() -> None:
    """None is as it was; what makes a run this very run stays."""
    changed = FULL.merged({"n_workers": 5, "seconds": math.inf, "platform": None})
    assert changed == dataclasses.replace(FULL, n_workers=5, seconds=math.inf)
    for fixed in ({"seed": 1}, {"n_steps": 20}, {"narration": "x"}, {"job_name": "x"}, {"no": 1}):
        with pytest.raises(TypeError, match=f"goes on with its {next(iter(fixed))}"):
            FULL.merged(fixed)


def test_a_seed_is_drawn_once() -> None:
    """A request says all of a run but where it begins."""
    request = RunRequest(n_steps=1)
    assert dataclasses.replace(request, n_cycles=1).seed == request.seed
    assert len({RunRequest(n_steps=1).seed for _ in range(4)}) > 1


def test_the_record_has_a_field_for_what_it_tells() -> None:
    """Whatever is declared as recorded is one of the Circumstances."""
    told = Circumstances(**FULL.recorded())
    assert (told.job_name, told.narration, told.platform_override) == ("job", "a note", "CPU")


@pytest.mark.parametrize(
    ("command", "request_class", "others"),
    [
        (run_command, RunRequest, {"--configuration"}),
        (resume_command, RunRequest, set()),
        (verify_command, Means, {"--json"}),
    ],
)
def test_what_can_be_typed_is_an_option_of_the_request(
    command: Any, request_class: type[Means], others: set[str]
) -> None:
    """Every option of the usage is one of the request, or one of the command's own."""
    typed = set(re.findall(r"^  (--[\w-]+)", command.__doc__, re.M)) - others
    known = {"--" + name.replace("_", "-") for name in options(request_class)}
    assert typed and typed <= known


def test_words_become_an_options_value_by_its_kind() -> None:
    """What was not typed is not there."""
    args = {"--n-workers": "2", "--checkpoint-every": "5m", "--grace": "0", "--seed": None}
    assert options_of(args, RunRequest) == {"n_workers": 2, "checkpoint_every": 300.0, "grace": 0.0}
    assert options_of(args, Means) == {"n_workers": 2}
