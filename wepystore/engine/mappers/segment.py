"""What a worker does with a segment, whichever mapper it works for."""

from __future__ import annotations

import pickle
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wepystore.engine.protocols import RunnerCapabilities
from wepystore.errors import WepystoreError


# Nobody changes these two either; but they are made for each segment, and `frozen` takes its time.
@dataclass(slots=True)
class Task:
    """One segment to run; `index` is its place among the walkers of the cycle."""

    index: int
    walker: Any
    length: int
    keywords: dict[str, Any]

    def with_properties(self, properties: Mapping[str, str]) -> dict[str, Any]:
        """The keywords, with a worker's own platform properties merged into them."""
        if not properties:
            return self.keywords
        merged = {**(self.keywords.get("platform_kwargs") or {}), **properties}
        return {**self.keywords, "platform_kwargs": merged}


@dataclass(slots=True)
class Done:
    """A segment that was run, and the seconds it took."""

    index: int
    result: Any
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A segment that raised.

    Attributes
    ----------
    problem : str
    trace : str
        The traceback, as text: it ends at the border of the process.
    error : bytes or None
        The exception pickled, if it is one of ours and made for the user.
    """

    index: int
    problem: str
    trace: str
    error: bytes | None


def run_task(
    segment_func: Callable[..., Any],
    task: Task,
    properties: Mapping[str, str],
    caught: type[BaseException] = BaseException,
) -> Done | Failed:
    """Run one segment; an exception becomes a value.

    In a worker every one does: no signal raises there, so even a KeyboardInterrupt or SystemExit is
    the runner's. Elsewhere a handler may raise what is not to be `caught`.
    """
    begun = time.perf_counter()
    try:
        result = segment_func(task.walker, task.length, **task.with_properties(properties))
    except caught as problem:
        return failed(task.index, problem)
    return Done(task.index, result, time.perf_counter() - begun)


def drop_contexts(segment_func: Callable[..., Any]) -> None:
    """Let the runner forget what it keeps between segments, if it can."""
    RunnerCapabilities(runner_of(segment_func)).drop_contexts()


def runner_of(segment_func: Callable[..., Any]) -> Any:
    """The runner whose segments a function runs; a plain function itself."""
    return getattr(segment_func, "__self__", segment_func)


def said(problem: BaseException) -> str:
    """An exception in words; some have none of their own."""
    return f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__


def failed(index: int, problem: BaseException) -> Failed:
    """The failure of a segment by the exception being handled."""
    return Failed(
        index,
        said(problem),
        traceback.format_exc(),
        _pickled(problem) if isinstance(problem, WepystoreError) else None,
    )


def _pickled(problem: WepystoreError) -> bytes | None:
    # What cannot travel, a user's own class or odd fields of it, goes as text.
    try:
        data = pickle.dumps(problem)
        pickle.loads(data)
    except Exception:
        return None
    return data


def unpickled(data: bytes | None) -> WepystoreError | None:
    """The exception that `Failed.error` holds, if this process knows its class."""
    if data is None:
        return None
    try:
        problem = pickle.loads(data)
    except Exception:
        return None
    return problem if isinstance(problem, WepystoreError) else None
