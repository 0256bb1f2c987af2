from pathlib import Path

import pytest
from hypothesis import settings

from wepystore.store import Store

# These tests wait for the disk, and the machine may be busy.
settings.register_profile("disk", deadline=None)
settings.load_profile("disk")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store.create(tmp_path / "a.orch")
