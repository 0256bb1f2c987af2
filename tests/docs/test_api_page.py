"""docs/api.md is run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.systems import REPOSITORY


def test_its_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From top to bottom, in one folder."""
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/api.md").read_text(), re.S)
    exec(compile(block, "api.md", "exec"), {"__name__": "__main__"})
