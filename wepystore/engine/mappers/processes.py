"""Segments spread over worker processes, each with a context of its own."""

from __future__ import annotations

import contextlib
import math
import os
import select
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from wepystore.engine.errors import ComponentError, WorkerStartError
from wepystore.engine.mappers.base import Dumps, WorkMapper, portable, tasks
from wepystore.engine.mappers.change_thread import ChangeThread
from wepystore.engine.mappers.checks import checked_number, checked_timeout
from wepystore.engine.mappers.child import Child
from wepystore.engine.mappers.ledger import Ledger, Loss
from wepystore.engine.mappers.pack import pack_tasks, unpack_answers
from wepystore.engine.mappers.segment import Done, Failed, Task
from wepystore.engine.mappers.timeouts import MOST_STARTS, START_S, TICK_S, AwakeClock, Pace, Watch
from wepystore.engine.mappers.wire import Channel
from wepystore.engine.parameters import platform_properties

#: How long an idle worker may take to leave when asked, s.
_GOODBYE_S = 5.0
_READ_WRITE = select.POLLIN | select.POLLOUT


class _Worker:
    """A worker process and this end of its socket.

    Attributes
    ----------
    number : int
        Its place among the workers; a fresh process that takes a dead one's place keeps it.
    n_starts : int
        Processes in this place since one of them was ready.
    running : dict of int to Task
        What it was given and has not answered.
    """

    def __init__(
        self, number: int, payload: bytes, properties: Mapping[str, str], n_starts: int, now: float
    ) -> None:
        self.number = number
        self.n_starts = n_starts
        self.child = Child("wepystore.engine.mappers.worker")
        self.child.connection.setblocking(False)
        self.channel = Channel(self.child.connection)
        self.ready = False
        self.running: dict[int, Task] = {}
        self.watch = Watch(now)
        self._n_given = self._n_begun = 0
        with contextlib.suppress(OSError):  # If it left already, reading says so properly.
            self.channel.queue((sys.path, payload, dict(properties)))

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def name(self) -> str:
        return f"worker {self.number}"

    @property
    def idle(self) -> bool:
        return self.ready and not self.running

    def give(self, batch: list[Task]) -> None:
        self.running = {task.index: task for task in batch}
        self._n_given += 1
        self._n_begun = self.child.slot.read()[0]
        with contextlib.suppress(OSError):
            self.channel.queue(pack_tasks(batch))

    def current(self) -> int:
        """Index of the segment it is at: what to blame if it is lost."""
        n_begun, index = self.child.slot.read()
        begun = n_begun > self._n_begun and index in self.running
        return index if begun else next(iter(self.running))

    def look(self, now: float, pace: Pace, segment_timeout: float | None) -> str | None:
        """Why it is to be given up, or None."""
        slot = self.child.slot
        if self.idle:
            return None
        return self.watch.look(
            now,
            (self.ready, self._n_given, slot.read()[0]),
            self.child,
            pace=pace,
            timeout=segment_timeout if self.ready else START_S,
            length=self.running[self.current()].length if self.ready else 0,
            signs=slot.signs(),
        )

    def dismiss(self, at_once: bool) -> None:
        """Ask it to leave."""
        if not at_once:
            with contextlib.suppress(OSError):
                self.channel.queue(None)
        self.channel.close()


class ProcessMapper(WorkMapper):
    """Runs segments in spawned worker processes.

    A worker that dies, hangs, or raises has its segment run once more in another
    one; a fresh process takes its place.

    Parameters
    ----------
    n_workers : int or None
        Number of processes; None takes one for each of `worker_properties`, or
        for every core this process may use.
    worker_properties : sequence of dict of str to str, or None
        Platform properties for worker 0, 1, and so on, and again from the start if
        there are more workers: `[{"DeviceIndex": "0"}, {"DeviceIndex": "1"}]` gives
        each worker a GPU of its own, and with n_workers=4 two workers to each GPU.
        They go before those of runner and configuration.
    segment_timeout : float or None
        Seconds after which a segment is taken for hung. None: 20 times what the
        slowest one so far took without a sign of life, and a minute at least; as
        long as none has ended, see docs/design/0022-mappers.md.
    """

    left_out: ClassVar[frozenset[str]] = frozenset(("worker_properties", "segment_timeout"))

    def __init__(
        self,
        n_workers: int | None = None,
        worker_properties: Sequence[Mapping[str, str]] | None = None,
        segment_timeout: float | None = None,
    ) -> None:
        self.n_workers = checked_number(type(self).__name__, n_workers)
        self.worker_properties: list[dict[str, str]] | None = None
        if worker_properties is not None:
            self.worker_properties = [
                platform_properties(each, f"worker_properties[{k}]")
                for k, each in enumerate(worker_properties)
            ]
            if not self.worker_properties:
                raise ComponentError(
                    component=type(self).__name__,
                    problem="worker_properties is empty: leave it out, or give one dict a device",
                )
            checked_number(type(self).__name__, len(self.worker_properties))
        self.segment_timeout = checked_timeout(type(self).__name__, segment_timeout)
        self.worker_segment_times = {}
        self.worker_segment_walkers = {}
        self._workers: list[_Worker] = []
        self._changes = ChangeThread()
        self._busy = False
        self._payload = b""
        self._pace = Pace()
        self._clock = AwakeClock()
        self._remarked = False
        self.n_replaced = 0

    def __getstate__(self) -> dict[str, Any]:
        return self.params()

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).__init__(self, **state)

    def init(
        self, segment_func: Callable[..., Any], num_workers: int | None = None, dumps: Dumps = None
    ) -> None:
        self._payload = portable(segment_func, dumps)
        self._remarked = False
        self._pace = Pace()
        self._clock = AwakeClock()
        for k in range(num_workers or self.would_start()):
            self._changes.change(partial(self._hire, k))

    def would_start(self) -> int:
        """As many as were asked for, one for each of `worker_properties`, or for every core."""
        number = self.n_workers or len(self.worker_properties or ())
        return number or len(os.sched_getaffinity(0))

    def _hire(self, number: int) -> None:
        self._workers.append(self._start(number))

    def _start(self, number: int, n_starts: int = 1) -> _Worker:
        given = self.worker_properties or [{}]
        return _Worker(number, self._payload, given[number % len(given)], n_starts, self._clock.now)

    def map(
        self, walkers: Sequence[Any], lengths: Iterable[int], **kwargs: Iterable[Any]
    ) -> list[Any]:
        work = [Task(k, *task) for k, task in enumerate(tasks(walkers, lengths, kwargs))]
        ledger = Ledger(work, self._pace)
        self._changes.settle()
        self.worker_segment_times = {worker.number: [] for worker in self._workers}
        self.worker_segment_walkers = {worker.number: [] for worker in self._workers}
        self._renew()
        # Set until every answer is in: a mapper left in mid-way may not be asked to say goodbye.
        self._busy = True
        now = looked = self._clock.tick()
        tick = TICK_S if self.segment_timeout is None else min(TICK_S, self.segment_timeout / 4)
        while not ledger.finished:
            for worker in list(self._workers):
                batch = self._take(ledger, worker) if worker.idle else []
                if batch:
                    worker.give(batch)
            for worker in self._active(tick):
                self._hear(worker, ledger)
            now = self._clock.tick()
            if now - looked >= tick:
                looked = now
                for worker in list(self._workers):
                    self._look(worker, ledger, now)
        self._busy = False
        return ledger.results

    def _renew(self) -> None:
        """Replace workers left over from a call that an exception ended, or dead since the last
        one."""
        for worker in list(self._workers):
            if worker.running or (worker.ready and worker.child.ended()):
                self._replace(worker)

    def _take(self, ledger: Ledger, worker: _Worker) -> list[Task]:
        if len(self._workers) == 1 and ledger.waits_for_another(worker.child):
            # Nobody else is there: a fresh process is as good as another one.
            self._replace(worker)
            return []
        return ledger.take(worker.child, len(self._workers))

    def _active(self, tick: float) -> list[_Worker]:
        """Workers that have something to say; what is still to be sent to others is sent."""
        found = []
        poll = select.poll()  # Unlike epoll it is made anew without a call of the system.
        by_fd = {worker.channel.fileno(): worker for worker in self._workers}
        for fd, worker in by_fd.items():
            poll.register(fd, _READ_WRITE if worker.channel.sending else select.POLLIN)
        for fd, events in poll.poll(math.ceil(tick * 1000)):
            worker = by_fd[fd]
            if events & select.POLLOUT:
                with contextlib.suppress(OSError):
                    worker.channel.pump()
            if events & ~select.POLLOUT:  # A hang-up is news as well.
                found.append(worker)
        return found

    def _hear(self, worker: _Worker, ledger: Ledger) -> None:
        try:
            messages = worker.channel.messages()
        except EOFError:
            self._lost(worker, ledger, None)
            return
        except Exception as problem:
            said = f"the result cannot be read: {type(problem).__name__}: {problem}"
            messages = [("unreadable", (said, traceback.format_exc()))]
        for word, content in messages:
            if word == "ready":
                worker.ready = True
                worker.n_starts = 0
            elif word == "failed":
                raise WorkerStartError(worker=worker.number, status=None, problem=content)
            elif word == "unreadable" and worker.running:
                said, trace = content
                self._answer(worker, ledger, Failed(worker.current(), said, trace, None))
            elif word == "answers":
                for answer in unpack_answers(content):
                    self._answer(worker, ledger, answer)

    def _answer(self, worker: _Worker, ledger: Ledger, answer: Done | Failed) -> None:
        if worker.running.pop(answer.index, None) is None:
            return
        if isinstance(answer, Done):
            ledger.done(answer)
            self.worker_segment_times[worker.number].append(answer.seconds)
            self.worker_segment_walkers[worker.number].append(answer.index)
            return
        # The rest of its batch it leaves alone.
        ledger.give_back(list(worker.running))
        worker.running = {}
        ledger.failed(answer, worker.child, worker.name)

    def _look(self, worker: _Worker, ledger: Ledger, now: float) -> None:
        why = worker.look(now, self._pace, self.segment_timeout)
        if why is not None:
            self._lost(worker, ledger, why)
            return
        self._remark_on(worker, now)
        if worker.child.ended():
            # A program it has forked may hold its end of the socket, so that no end is read.
            self._hear(worker, ledger)
            if worker in self._workers:
                self._lost(worker, ledger, None)

    def _remark_on(self, worker: _Worker, now: float) -> None:
        """Say once that a segment takes very long, if it is waited for without a limit.

        With signs of life it is never given up: a loop that goes on for ever may give them too,
        but a segment that needs its time must not be ended for that.
        """
        if self._remarked or not worker.running or self.segment_timeout is not None:
            return
        task = worker.running[worker.current()]
        seconds = worker.watch.busy_for(now)
        if seconds <= self._pace.long(task.length):
            return
        self._remarked = True
        if self.remark is not None:
            than = "far longer than any before" if self._pace.slowest else "and none has ended yet"
            cycle_idx = task.keywords.get("cycle_idx")
            walker_idx = task.keywords.get("walker_idx", task.index)
            self.remark(
                f"cycle {cycle_idx}, walker {walker_idx}, {worker.name}: this segment has taken "
                f"{seconds / 60:.0f} minutes, {than}; it is waited for; the "
                "mapper's segment_timeout would set a limit"
            )

    def _lost(self, worker: _Worker, ledger: Ledger, why: str | None) -> None:
        """A worker is dead, or given up for the reason `why`: its segments go to others."""
        running, child = worker.running, worker.child
        culprit = worker.current() if running else None
        fresh = self._replace(worker, wait_s=0.0 if why else _GOODBYE_S)
        if not worker.ready and fresh.n_starts > MOST_STARTS:
            raise WorkerStartError(
                worker=worker.number,
                status=child.status,
                problem=why or f"it left without a word, {MOST_STARTS} times in a row",
            )
        if culprit is not None:
            ledger.give_back([index for index in running if index != culprit])
            status = child.status if why is None else None
            ledger.lost(culprit, child, worker.name, Loss(worker.pid, status, why or ""))

    def _replace(self, worker: _Worker, wait_s: float = 0.0) -> _Worker:
        fresh: _Worker = self._changes.change(partial(self._exchange, worker, wait_s))
        return fresh

    def _exchange(self, worker: _Worker, wait_s: float) -> _Worker:
        place = self._workers.index(worker)
        worker.dismiss(at_once=True)
        worker.child.reap(wait_s)
        worker.running = {}
        fresh = self._start(worker.number, worker.n_starts + 1)
        self._workers[place] = fresh
        self.n_replaced += 1
        return fresh

    def cleanup(self, **kwargs: Any) -> None:
        self._changes.leave()
        for worker in self._workers:
            worker.dismiss(at_once=self._busy)
        for worker in self._workers:
            worker.child.reap(0.0 if self._busy or not worker.ready else _GOODBYE_S)
        self._workers = []
        self._busy = False

    def summary(self) -> dict[str, str]:
        replaced = f", {self.n_replaced} replaced" if self.n_replaced else ""
        return {"workers": f"{len(self._workers) or self.n_workers or 'one a core'}{replaced}"}
