from pathlib import Path

import pytest

from wepystore.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store.create(tmp_path / "a.orch")
