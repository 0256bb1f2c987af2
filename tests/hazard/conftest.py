"""Where faults are injected from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.conftest import ENVIRONMENT
from tests.hazard import inject, scenarios


@pytest.fixture(scope="session")
def injector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[inject.Injector]:
    """A process that runs commands and interrupts them, if the kernel lets it."""
    why = inject.why_not()
    if why is not None:
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("injector")
    made = inject.Injector(scenarios.MODULES, folder, dict(ENVIRONMENT))
    yield made
    made.close()
