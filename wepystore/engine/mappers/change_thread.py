"""Changes among a mapper's workers that no signal handler can break off half-way."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

_Answer = queue.SimpleQueue[tuple[Any, BaseException | None]]
_Change = tuple[Callable[[], Any], _Answer]


class ChangeThread:
    """A thread in which workers are started and replaced.

    Python runs signal handlers in the main thread, between any two instructions. One
    that raises after a process is made and before anybody knows of it would
    leave a zombie; after a worker is buried and before its successor has its place,
    a dead one among the living. Blocking signals is not enough: another thread may
    receive them, and the handler runs in the main one all the same. Here none runs.
    """

    def __init__(self) -> None:
        self._changes: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def change(self, what: Callable[[], Any]) -> Any:
        """What `what()` gives or raises. If this call is broken off it is done nevertheless."""
        if self._thread is None:
            self._begin()
        answer: _Answer = queue.SimpleQueue()
        self._changes.put((what, answer))
        result, problem = answer.get()
        if problem is not None:
            raise problem
        return result

    def _begin(self) -> None:
        changes: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        thread = threading.Thread(target=_work, args=(changes,), daemon=True)
        try:
            thread.start()
            self._changes = changes
            self._thread = thread
        except BaseException:
            changes.put(None)  # Whether it is there cannot be told: if so, it leaves.
            self._thread = None
            raise

    def settle(self) -> None:
        """Wait for changes whose `change` was broken off."""
        if self._thread is not None:
            self.change(lambda: None)

    def leave(self) -> None:
        """Wait for all changes and end the thread."""
        if self._thread is not None:
            self._changes.put(None)
            self._thread.join()
            self._thread = None


def _work(changes: queue.SimpleQueue[_Change | None]) -> None:
    while (change := changes.get()) is not None:
        what, answer = change
        try:
            answer.put((what(), None))
        except BaseException as problem:
            answer.put((None, problem))
