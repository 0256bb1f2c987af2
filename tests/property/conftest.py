"""Where properties are tried: in memory if that can be, since thousands of stores are made."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.helpers import memory


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder of this module's own."""
    made = Path(tempfile.mkdtemp(prefix="wepystore-", dir=memory()))
    yield made
    shutil.rmtree(made)
