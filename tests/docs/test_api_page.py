"""docs/api.md is run as it stands, and names every error that scripts can import."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.systems import REPOSITORY
from wepystore import api

PAGE = (REPOSITORY / "docs/api.md").read_text()


def test_its_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From top to bottom, in one folder."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(blocks) == 9
    exec(compile("\n".join(blocks), "api.md", "exec"), {"__name__": "__main__"})


def test_it_names_every_error_with_its_kind() -> None:
    """Each that is exported, in the row of its base class."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*)$", PAGE, re.M))
    rows["FailedError"] += PAGE.partition("Of those that failed:")[2].partition("```")[0]
    named = {kind: set(re.findall(r"`(\w+Error)`", text)) | {kind} for kind, text in rows.items()}
    for name in api.__all__:
        found = getattr(api, name)
        if name.endswith("Error") and found is not api.WepystoreError:
            (kind,) = (each for each in rows if issubclass(found, getattr(api, each)))
            named[kind].remove(name)
    assert not any(named.values())
