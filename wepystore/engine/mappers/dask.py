"""Segments spread over the workers of dask.distributed, on any number of hosts."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import secrets
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from wepystore.engine.errors import (
    ComponentError,
    MissingDaskError,
    NoDaskWorkersError,
    SchedulerError,
    WorkerStartError,
)
from wepystore.engine.mappers.base import Dumps, WorkMapper, portable, tasks
from wepystore.engine.mappers.checks import checked_number, checked_timeout
from wepystore.engine.mappers.ledger import Ledger, Loss
from wepystore.engine.mappers.pack import pack_tasks, unpack_answers
from wepystore.engine.mappers.segment import Done, Failed, Task
from wepystore.engine.mappers.timeouts import START_S, TICK_S, AwakeClock, Pace, Watch
from wepystore.errors import way_out

#: How long a scheduler may take to answer at first, s,
_CONNECT_S = 4.0
#: and later, when it may be busy with others.
_ANSWER_S = 30.0
#: Look so often whether the worker that has a result is still there.
_FETCH_S = 1.0
#: How long a scheduler may be without any worker: they may still be waiting in a queue.
_NO_WORKERS_S = 300.0
#: Sending a batch costs some milliseconds, so it is to take a multiple of that.
_LEAST_BATCH_S = 0.02
_LOGGERS = ("distributed", "tornado", "asyncio")


def check_dask() -> None:
    """Raise MissingDaskError unless dask.distributed can be imported."""
    from importlib.util import find_spec

    if find_spec("distributed") is None:
        raise MissingDaskError()


@dataclass
class _Worker:
    """A worker of the cluster.

    Attributes
    ----------
    number : int
        Workers are counted as they are met.
    opened : bool
        It has made the runner ready.
    given_up : bool
        It gets nothing more from this mapper.
    future : Any
        Of what it was given and has not answered; None if there is nothing.
    batch : list of Task
        What that is; empty while it opens the runner.
    """

    address: str
    number: int
    opened: bool = False
    given_up: bool = False
    future: Any = None
    batch: list[Task] = field(default_factory=list)
    watch: Watch = field(default_factory=lambda: Watch(0.0))

    @property
    def name(self) -> str:
        return f"dask worker {self.number} at {self.address}"


class DaskMapper(WorkMapper):
    """Runs segments in the workers of a cluster of dask.distributed (extra `dask`).

    The runner travels to each worker once, and its contexts stay there over
    cycles. One segment at a time is given to a worker, however many threads it
    has. The segments of a worker that is lost are run again in others.

    Parameters
    ----------
    scheduler : str or None
        Address (tcp://HOST:PORT) or scheduler file (NAME.json) of the cluster. It
        cannot be part of a stored configuration: each run is given its own. One
        without has as many processes on this host.
    n_workers : int or None
        How many workers to use at most, None for all.
    segment_timeout : float or None
        Seconds after which a segment is taken for hung; see ProcessMapper.
    """

    # Whoever is reached at an address may run code here.
    unstored: ClassVar[frozenset[str]] = frozenset(("scheduler",))
    left_out: ClassVar[frozenset[str]] = frozenset(("n_workers", "segment_timeout"))

    def __init__(
        self,
        scheduler: str | None = None,
        n_workers: int | None = None,
        segment_timeout: float | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.n_workers = checked_number("DaskMapper", n_workers)
        self.segment_timeout = checked_timeout("DaskMapper", segment_timeout)
        self.worker_segment_times = {}
        self.worker_segment_walkers = {}
        self._forget()

    def _forget(self) -> None:
        self._client: Any = None
        self._workers: dict[str, _Worker] = {}
        self._members: list[_Worker] = []
        self._limit: int | None = None
        self._inbox: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._token = ""
        self._levels: dict[str, int] = {}
        self._pace = Pace()
        self._clock = AwakeClock()

    def params(self) -> dict[str, Any]:
        if self.scheduler is not None:
            raise ComponentError(
                component="DaskMapper",
                problem="a configuration holds no host name; leave `scheduler` out and give "
                f"the address with `{way_out('to_choose_scheduler')}`",
            )
        return super().params()

    def __getstate__(self) -> dict[str, Any]:
        return {
            "scheduler": self.scheduler,
            "n_workers": self.n_workers,
            "segment_timeout": self.segment_timeout,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, worker_segment_times={}, worker_segment_walkers={})
        self._forget()

    def init(
        self, segment_func: Callable[..., Any], num_workers: int | None = None, dumps: Dumps = None
    ) -> None:
        check_dask()
        payload = portable(segment_func, dumps)
        self._forget()
        from wepystore.engine.mappers.dask_worker import SegmentPlugin

        # Workers that come and go are this mapper's business, not the user's.
        for name in _LOGGERS:
            self._levels[name] = logging.getLogger(name).level
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._limit = num_workers or self.n_workers
        self._connect()
        self._token = secrets.token_hex(8)
        self._client.register_plugin(SegmentPlugin(self._token, payload))

    def _connect(self) -> None:
        from distributed import Client
        from distributed.comm.addressing import get_address_host_port

        address = self.scheduler
        if address is None:
            raise ComponentError(component="DaskMapper", problem="it was given no scheduler")
        try:
            if address.endswith(".json"):
                address = str(json.loads(Path(address).read_text())["address"])
            # What is no address is told here: half a client complains with a traceback as it goes.
            get_address_host_port(address)
            self._client = Client(address, timeout=_CONNECT_S, set_as_default=False)
        except Exception as problem:  # Among them ValueError and socket errors.
            raise SchedulerError(scheduler=self.scheduler, problem=_one_line(problem)) from None

    def map(
        self, walkers: Sequence[Any], lengths: Iterable[int], **kwargs: Iterable[Any]
    ) -> list[Any]:
        work = [Task(k, *task) for k, task in enumerate(tasks(walkers, lengths, kwargs))]
        ledger = Ledger(work, self._pace, _LEAST_BATCH_S)
        self.worker_segment_times = {worker.number: [] for worker in self._workers.values()}
        self.worker_segment_walkers = {worker.number: [] for worker in self._workers.values()}
        self._abandon()
        looked = seen_a_worker = self._clock.tick()
        tick = TICK_S if self.segment_timeout is None else min(TICK_S, self.segment_timeout / 4)
        self._refresh(ledger)
        while not ledger.finished:
            for worker in self._members:
                self._give(worker, ledger)
            for address in self._answered(tick):
                self._hear(self._workers[address], ledger)
            now = self._clock.tick()
            if now - looked >= tick:
                looked = now
                self._refresh(ledger)
                self._look(ledger, now)
            if self._members:
                seen_a_worker = now
            elif now - seen_a_worker > _NO_WORKERS_S:
                raise NoDaskWorkersError(scheduler=self.scheduler, seconds=_NO_WORKERS_S)
        return ledger.results

    def _give(self, worker: _Worker, ledger: Ledger) -> None:
        if worker.future is not None:
            return
        if not worker.opened:
            self._submit(worker, [])
        elif batch := ledger.take(worker.address, len(self._members)):
            self._submit(worker, batch)

    def _submit(self, worker: _Worker, batch: list[Task]) -> None:
        """Give a batch to a worker; an empty one has it open the runner."""
        from wepystore.engine.mappers.dask_worker import Parcel, open_function, run_batch

        with warnings.catch_warnings():
            # Large walkers are what this is for.
            warnings.filterwarnings("ignore", "Sending large graph")
            worker.future = self._client.submit(
                run_batch if batch else open_function,
                self._token,
                *([Parcel(pack_tasks(batch))] if batch else []),
                key=f"wepystore-{secrets.token_hex(8)}",
                workers=[worker.address],
                allow_other_workers=False,
                pure=False,
                retries=0,
            )
        worker.batch = batch
        worker.watch = Watch(self._clock.tick())
        inbox, address = self._inbox, worker.address
        worker.future.add_done_callback(lambda future: inbox.put(address))

    def _answered(self, tick: float) -> list[str]:
        """Addresses whose batches are done, or may be."""
        try:
            found = [self._inbox.get(timeout=tick)]
        except queue.Empty:
            return []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._inbox.get_nowait())
        return found

    def _hear(self, worker: _Worker, ledger: Ledger) -> None:
        future, batch = worker.future, worker.batch
        if future is None or not future.done():
            return
        # A worker that dies takes its result along.
        from distributed import KilledWorker

        try:
            result = self._fetch(worker)
            if not batch:
                self._hear_opened(worker, result)
                return
            answers = unpack_answers(result.content)
        except WorkerStartError:
            raise
        except KilledWorker:
            self._lost(worker, ledger)
            return
        except Exception as problem:
            if future.status != "error":
                self._lost(worker, ledger, f"was lost ({_one_line(problem)})")
                return
            if not batch:
                self._hear_opened(worker, _one_line(problem))
                return
            answers = [Failed(batch[0].index, _one_line(problem), repr(problem), None)]
        worker.future = None
        future.release()
        left = {task.index for task in batch}
        failures = []
        for answer in answers:
            left.discard(answer.index)
            if isinstance(answer, Done):
                ledger.done(answer)
                times = self.worker_segment_times.setdefault(worker.number, [])
                times.append(answer.seconds)
                walkers = self.worker_segment_walkers.setdefault(worker.number, [])
                walkers.append(answer.index)
            else:
                failures.append(answer)
        ledger.give_back(sorted(left))
        for answer in failures:
            ledger.failed(answer, worker.address, worker.name)

    def _fetch(self, worker: _Worker) -> Any:
        """The result of what is done; TimeoutError if it is gone with its worker."""
        begun = time.monotonic()
        while True:
            try:
                return worker.future.result(timeout=_FETCH_S)
            except TimeoutError:
                if worker.future.status == "error":
                    raise  # It is the worker's own, and comes again however long one waits.
                late = time.monotonic() - begun > _ANSWER_S
                if late or worker.address not in self._client.nthreads(callback_timeout=_ANSWER_S):
                    raise

    def _hear_opened(self, worker: _Worker, problem: str) -> None:
        worker.future = None
        worker.opened = not problem
        if problem:
            # It may be the fault of one host among many, whose environment is another one.
            self._give_up(worker)
            if not self._members:
                raise WorkerStartError(
                    worker=f"{worker.number} at {worker.address}", status=None, problem=problem
                )

    def _give_up(self, worker: _Worker) -> None:
        worker.given_up = True
        self._members = [each for each in self._members if each is not worker]

    def _refresh(self, ledger: Ledger) -> None:
        """See who is there; what those had who are not is for others."""
        try:
            there = list(self._client.nthreads(callback_timeout=_ANSWER_S))
        except Exception as problem:
            raise SchedulerError(scheduler=self.scheduler, problem=_one_line(problem)) from None
        given_up = {each.address for each in self._workers.values() if each.given_up}
        self._members = [
            self._workers.setdefault(address, _Worker(address, len(self._workers)))
            for address in [each for each in there if each not in given_up][: self._limit]
        ]
        for worker in self._workers.values():
            if worker.future is not None and worker.address not in there:
                self._lost(worker, ledger)

    def _look(self, ledger: Ledger, now: float) -> None:
        for worker in self._workers.values():
            if worker.future is None:
                continue
            n_tasks = len(worker.batch)
            timeout = self.segment_timeout and self.segment_timeout * n_tasks
            why = worker.watch.look(
                now,
                None,
                None,
                pace=self._pace,
                timeout=timeout if n_tasks else START_S,
                length=sum(task.length for task in worker.batch),
            )
            if why is not None:
                self._lost(worker, ledger, why)

    def _lost(self, worker: _Worker, ledger: Ledger, why: str = "left the cluster") -> None:
        """A worker is gone or given up. Nothing of ours can end it."""
        future, worker.future = worker.future, None
        self._give_up(worker)
        with contextlib.suppress(Exception):
            future.cancel()
        if len(worker.batch) == 1:
            ledger.lost(worker.batch[0].index, worker.address, worker.name, Loss(None, None, why))
        else:
            # Which one it was shows when each is run alone.
            ledger.give_back([task.index for task in worker.batch])

    def _abandon(self) -> None:
        """Leave what a call had under way that an exception ended."""
        for worker in self._workers.values():
            if worker.future is not None:
                with contextlib.suppress(Exception):
                    worker.future.cancel()
                worker.future = None
        self._inbox = queue.SimpleQueue()

    def cleanup(self, **kwargs: Any) -> None:
        self._abandon()
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.unregister_worker_plugin(f"wepystore-{self._token}")
            with contextlib.suppress(Exception):
                self._client.close(timeout=2)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        self._forget()

    def summary(self) -> dict[str, str]:
        number = len(self._members) or self.n_workers or "all"
        return {"workers": f"{number} of dask on {self.scheduler}"}


def _one_line(problem: BaseException) -> str:
    lines = str(problem).splitlines() or [""]
    return f"{type(problem).__name__}: {lines[0]}"
