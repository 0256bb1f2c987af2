"""Fixtures that several rooms share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systems import pair_snapshot, plain_configuration, tree_of
from wepystore.api import Prepared, prepare_store

# Tests pickle and trust; none of that is to end up in the developer's own list.
os.environ["WEPY_TRUST"] = os.path.join(tempfile.mkdtemp(prefix="wepystore-test-"), "trusted")


@pytest.fixture(scope="session")
def pair_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """A store with six Lennard-Jones pairs and a silent serial configuration. Only read it."""
    path: Path = tmp_path_factory.mktemp("pair") / "pair.orch"
    made = prepare_store(path, pair_snapshot(), plain_configuration())
    before = tree_of(path)
    yield made
    assert tree_of(path) == before, "a test has written into the store that all share"
