"""Which segments of a cycle are still to be run, and which have failed once."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wepystore.engine.errors import SegmentError, WorkerDiedError, WorkerHungError
from wepystore.engine.mappers.segment import Done, Failed, Task, unpickled
from wepystore.engine.mappers.timeouts import Pace
from wepystore.errors import WepystoreError

#: Segments that together take no longer than this are sent together,
_BATCH_S = 0.1
#: and not fewer of them than take this long, or sending would cost more than it brings.
_LEAST_S = 0.001
#: Nor may the walkers of a batch hold more bytes than this: they are in memory twice meanwhile.
_BATCH_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Loss:
    """How a worker was lost while it ran a segment.

    Attributes
    ----------
    pid : int or None
        None where the worker is on another host.
    status : int or str or None
        What its process ended with; None if it did not end by itself.
    problem : str
        What was wrong with it, if it did not end by itself.
    """

    pid: int | None
    status: int | str | None
    problem: str = ""


class Ledger:
    """The segments of one `map`: handed out in batches, taken back as results or failures.

    Parameters
    ----------
    tasks : list of Task
    pace : Pace
        Of the segments before, for the size of batches.
    least_s : float
        What sending a batch costs, times ten or so.
    """

    def __init__(self, tasks: Sequence[Task], pace: Pace, least_s: float = _LEAST_S) -> None:
        self.tasks = tasks
        self._least_s = least_s
        self.results: list[Any] = [None] * len(tasks)
        self._pace = pace
        self._left = len(tasks)
        self._fresh = deque(range(len(tasks)))
        #: Walkers to run again: (index, the worker that is not to get it).
        self._again: deque[tuple[int, object]] = deque()
        self._first_failures: dict[int, str] = {}
        self._largest_batch = _BATCH_BYTES // max(1, _bytes_of(tasks[0].walker)) if tasks else 1

    @property
    def finished(self) -> bool:
        """Whether every result is in."""
        return self._left == 0

    def take(self, worker: object, n_workers: int) -> list[Task]:
        """A batch for `worker`, one of `n_workers`; empty if there is nothing for it now.

        What failed is tried again before anything new, alone, and not where it
        failed unless there is no other worker.
        """
        for k, (index, avoided) in enumerate(self._again):
            if avoided != worker or n_workers == 1:
                del self._again[k]
                return [self.tasks[index]]
        size = self._batch_size(n_workers)
        return [self.tasks[self._fresh.popleft()] for _ in range(size)]

    def _batch_size(self, n_workers: int) -> int:
        # Large batches first and ever smaller ones, so that all workers end together.
        left = len(self._fresh)
        if left == 0:
            return 0
        expected = self._pace.expected(self.tasks[self._fresh[0]].length)
        if expected is None:
            return 1
        least = min(int(self._least_s / expected), left // n_workers)
        most = min(int(_BATCH_S / expected), self._largest_batch)
        return max(1, min(max(3 * left // (4 * n_workers), least), most))

    def done(self, answer: Done) -> None:
        """Take a result."""
        self.results[answer.index] = answer.result
        self._left -= 1
        self._pace.note(answer.seconds, self.tasks[answer.index].length)

    def give_back(self, indices: Sequence[int]) -> None:
        """These were not run, or it is not known whether they were; no fault of theirs."""
        self._again.extendleft((index, None) for index in reversed(indices))

    def failed(self, answer: Failed, worker: object, name: str) -> None:
        """A segment raised: it is to be run again elsewhere.

        Raises its own error, if that was made for the user, or SegmentError, if it
        had failed before.
        """
        if self._first_time(answer.index, worker, f"{name}: {answer.problem}"):
            return
        place = self._place(answer.index)
        problem: WepystoreError | None = unpickled(answer.error)
        if problem is None:
            problem = SegmentError(**place, worker=name, problem=answer.problem)
        problem.add_note(
            f"cycle {place['cycle_idx']}, walker {place['walker_idx']}; "
            f"the first attempt failed as well, on {self._first_failures[answer.index]}\n"
            f"traceback in {name}:\n{answer.trace}"
        )
        raise problem

    def lost(self, index: int, worker: object, name: str, loss: Loss) -> None:
        """A worker died or was given up while it ran this segment.

        Raises WorkerDiedError or WorkerHungError if the segment had failed before.
        """
        what = f"died with status {loss.status}" if loss.status is not None else loss.problem
        if self._first_time(index, worker, f"{name}, which {what}"):
            return
        error: WepystoreError
        where = name if loss.pid is None else f"{name} (pid {loss.pid})"
        fields = {
            **self._place(index),
            "worker": where,
            "pid": loss.pid,
            "first": self._first_failures[index],
        }
        if loss.status is not None:
            error = WorkerDiedError(status=loss.status, **fields)
        else:
            error = WorkerHungError(problem=loss.problem, **fields)
        raise error

    def _first_time(self, index: int, worker: object, what: str) -> bool:
        if index in self._first_failures:
            return False
        self._first_failures[index] = what
        self._again.append((index, worker))
        return True

    def _place(self, index: int) -> dict[str, Any]:
        keywords = self.tasks[index].keywords
        return {
            "cycle_idx": keywords.get("cycle_idx"),
            "walker_idx": keywords.get("walker_idx", index),
        }

    def waits_for_another(self, worker: object) -> bool:
        """Whether something is to be run again that this worker may not have."""
        return any(avoided == worker for _, avoided in self._again)


def _bytes_of(walker: Any) -> int:
    state: Any = getattr(walker, "state", None)
    try:
        return int(sum(array.nbytes for array in state.values()))
    except (AttributeError, TypeError):
        return 0
