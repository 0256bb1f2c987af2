"""What runs inside a worker of dask.distributed.

Only there, and where `DaskMapper` talks to it, is this module imported.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import Any

from distributed import WorkerPlugin

from wepystore.engine.mappers.pack import pack_answers, unpack_tasks
from wepystore.engine.mappers.segment import Done, Failed, drop_contexts, run_task

#: What `SegmentPlugin` brought into this process, and what became of it when it was first used.
_payloads: dict[str, bytes] = {}
_functions: dict[str, Callable[..., Any]] = {}
#: A worker may have several threads, and a cluster several runs. All contexts of the Reference
#: platform in a process share one generator: two runs at once would draw each other's numbers (R1).
_one_batch = threading.Lock()


class SegmentPlugin(WorkerPlugin):  # type: ignore[misc]
    """Brings the runner into each worker once, also into those that join later.

    Parameters
    ----------
    token : str
        One for each mapper and run.
    payload : bytes
        The pickled segment function; it is opened by `open_function`.
    """

    def __init__(self, token: str, payload: bytes) -> None:
        self.token = token
        self.name = f"wepystore-{token}"
        self._payload = payload

    def setup(self, worker: Any) -> None:
        _payloads[self.token] = self._payload

    def teardown(self, worker: Any) -> None:
        _payloads.pop(self.token, None)
        _functions.pop(self.token, None)


class Parcel:
    """A value that dask does not look into."""

    def __init__(self, content: Any) -> None:
        self.content = content


def open_function(token: str) -> str:
    """Make the runner ready, which may take seconds of imports; what is wrong if that fails."""
    try:
        _function(token)
    except Exception as problem:
        return f"{type(problem).__name__}: {problem}"
    return ""


def _function(token: str) -> Callable[..., Any]:
    if token not in _functions:
        _functions[token] = pickle.loads(_payloads[token])
    return _functions[token]


def run_batch(token: str, batch: Parcel) -> Parcel:
    """Run segments up to the first that fails; the contexts stay in this process."""
    answers: list[Done | Failed] = []
    with _one_batch:
        segment_func = _function(token)
        for task in unpack_tasks(batch.content):
            answers.append(run_task(segment_func, task, {}))
            if isinstance(answers[-1], Failed):
                drop_contexts(segment_func)
                break
    return Parcel(pack_answers(answers))
