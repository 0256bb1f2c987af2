"""What a run begins from: entries of a store, or two files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from wepystore.orchestrator.errors import NoConfigurationError
from wepystore.orchestrator.run import Start
from wepystore.records.library import load_configuration, load_snapshot
from wepystore.store import bundle
from wepystore.store.names import EntryRef, Ref
from wepystore.store.store import Store
