"""Segments spread over worker processes, each with a context of its own."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

from wepystore.engine.errors import (
    ComponentError,
    SegmentError,
    WorkerDiedError,
    WorkerStartError,
)
from wepystore.engine.mappers.base import WorkMapper, tasks
from wepystore.errors import WepystoreError

#: Enough batches that no worker idles at a cycle's end, few enough that sending costs little.
_BATCHES_A_WORKER = 4
#: How long a worker may take to leave when asked; it is idle then.
_GOODBYE_S = 5.0
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[3])
#: One core for each worker: they are the parallelism.
_ONE_THREAD = dict.fromkeys(
    ("OPENMM_CPU_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)


class _Worker:
    """A worker process and this end of its pipe."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.connection: Connection[Any, Any]
        self.connection, theirs = Pipe()
        code = (
            f"import sys; sys.path.insert(0, {_PACKAGE_PARENT!r}); "
            f"from wepystore.engine.mappers.worker import serve; serve({theirs.fileno()})"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **_ONE_THREAD},
            # Out of the terminal's foreground group: Ctrl-C is the parent's business.
            start_new_session=True,
        )
        theirs.close()
        self.ready = False
        self.running: list[int] = []

    def give(self, payload: bytes) -> None:
        # If it left already, check_ready says so properly.
        with contextlib.suppress(OSError):
            self.connection.send((sys.path, payload))

    def check_ready(self) -> None:
        if self.ready:
            return
        try:
            word, problem = self.connection.recv()
        except (EOFError, OSError):
            word, problem = "failed", "it left without a word"
        if word != "ready":
            raise WorkerStartError(
                worker=self.index, status=self.process.poll(), problem=problem
            ) from None
        self.ready = True

    def stop(self) -> None:
        with contextlib.suppress(OSError):  # It may be dead already.
            self.connection.send(None)
        self.connection.close()

    def reap(self, at_once: bool) -> None:
        if at_once:
            self.process.kill()
        try:
            self.process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class ProcessMapper(WorkMapper):
    """Runs segments in spawned worker processes.

    Parameters
    ----------
    n_workers : int or None
        Number of processes; None takes one for every core this process may use.
    """

    def __init__(self, n_workers: int | None = None) -> None:
        if n_workers is not None and n_workers < 1:
            raise ComponentError(
                component="ProcessMapper", problem=f"n_workers must be at least 1, not {n_workers}"
            )
        self.n_workers = n_workers
        self.worker_segment_times = {}
        self._workers: list[_Worker] = []
        self._busy = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_workers": [], "_busy": False}

    def init(
        self,
        segment_func: Callable[..., Any],
        num_workers: int | None = None,
        dumps: Callable[[Any], bytes] | None = None,
    ) -> None:
        number = num_workers or self.n_workers or len(os.sched_getaffinity(0))
        payload = _portable(segment_func, dumps)
        for k in range(number):
            self._workers.append(_Worker(k))
        # A large system does not fit into a pipe: all must be starting before one is waited for.
        for worker in self._workers:
            worker.give(payload)

    def map(
        self, walkers: Sequence[Any], lengths: Iterable[int], **kwargs: Iterable[Any]
    ) -> list[Any]:
        work = [(k, *task) for k, task in enumerate(tasks(walkers, lengths, kwargs))]
        size = max(1, len(work) // (len(self._workers) * _BATCHES_A_WORKER))
        batches = deque(work[k : k + size] for k in range(0, len(work), size))
        results: list[Any] = [None] * len(work)
        self.worker_segment_times = {worker.index: [] for worker in self._workers}
        # Set until every answer is in: a mapper left in mid-way may not be asked to say goodbye.
        self._busy = True
        by_connection = {worker.connection: worker for worker in self._workers}
        for worker in self._workers:
            worker.check_ready()
            self._send(worker, batches)
        while any(worker.running for worker in self._workers):
            waiting = [worker.connection for worker in self._workers if worker.running]
            for connection in wait(waiting):
                worker = by_connection[connection]  # type: ignore[index]
                for index, result, seconds in self._receive(worker, work):
                    results[index] = result
                    self.worker_segment_times[worker.index].append(seconds)
                self._send(worker, batches)
        self._busy = False
        return results

    def _send(self, worker: _Worker, batches: deque[Any]) -> None:
        if batches:
            batch = batches.popleft()
            worker.running = [index for index, *_ in batch]
            # If its end of the pipe is gone, _receive says so properly.
            with contextlib.suppress(OSError):
                worker.connection.send(batch)

    def _receive(self, worker: _Worker, work: list[Any]) -> list[tuple[int, Any, float]]:
        cycle_idx = work[worker.running[0]][3].get("cycle_idx")
        try:
            word, answer = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.wait()
            raise WorkerDiedError(
                cycle_idx=cycle_idx,
                worker=worker.index,
                pid=worker.process.pid,
                status=worker.process.returncode,
                walker_idxs=", ".join(map(str, worker.running)),
            ) from None
        if word == "error":
            index, problem, trace = answer
            if isinstance(problem, WepystoreError):
                problem.add_note(trace)
                raise problem
            error = SegmentError(
                cycle_idx=cycle_idx,
                walker_idx=index,
                worker=f"worker {worker.index}",
                problem=problem,
            )
            error.add_note(trace)
            raise error
        worker.running = []
        done: list[tuple[int, Any, float]] = answer
        return done

    def cleanup(self, **kwargs: Any) -> None:
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.reap(at_once=self._busy)
        self._workers = []
        self._busy = False


def _portable(segment_func: Callable[..., Any], dumps: Callable[[Any], bytes] | None) -> bytes:
    """`segment_func` as bytes that a fresh interpreter can load."""
    owner = type(getattr(segment_func, "__self__", segment_func))
    # What this package defines is importable anywhere; a user's class may live in a
    # script that no worker can import, so it must travel by value.
    if owner.__module__.startswith("wepystore.") or dumps is None:
        return pickle.dumps(segment_func)
    return dumps(segment_func)
