"""Segments spread over the workers of dask.distributed, on this host or on many."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import secrets
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from wepystore.engine.errors import (
    ComponentError,
    MissingDaskError,
    NoDaskWorkersError,
    SchedulerError,
    WorkerStartError,
)
from wepystore.engine.mappers.base import WorkMapper, portable, tasks
from wepystore.engine.mappers.checks import checked_number, checked_timeout
from wepystore.engine.mappers.crew import Crew
from wepystore.engine.mappers.dask_local import Elsewhere, Local
from wepystore.engine.mappers.ledger import Ledger, Loss
from wepystore.engine.mappers.pack import pack_tasks, unpack_answers
from wepystore.engine.mappers.patience import MOST_STARTS, START_S, TICK_S, AwakeClock, Pace, Watch
from wepystore.engine.mappers.segment import Done, Failed, Task
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
class _Running:
    """A batch that a worker has."""

    future: Any
    batch: list[Task]  # Empty while it opens the runner.
    watch: Watch


class DaskMapper(WorkMapper):
    """Runs segments in the workers of dask.distributed (extra `dask`).

    The runner travels to each worker once, and its contexts stay there over
    cycles. One segment at a time is given to a worker, however many threads it
    has. The segments of a worker that is lost are run again in others.

    Parameters
    ----------
    scheduler : str or None
        Address (tcp://HOST:PORT) or scheduler file (NAME.json) of a cluster that is
        there; None starts workers on this host. It cannot be part of a stored
        configuration: each run is given its own.
    n_workers : int or None
        How many workers to start, None for one a core; of a cluster that is there:
        how many to use at most, None for all.
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
        self._forget()

    def _forget(self) -> None:
        self._client: Any = None
        self._cluster: Any = None
        self._locals: list[Local] = []
        self._running: dict[str, _Running] = {}
        self._opened: set[str] = set()
        self._given_up: set[str] = set()
        self._crew = Crew()
        self._numbers: dict[str, int] = {}
        self._inbox: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._members: list[str] = []
        self._limit: int | None = None
        self._folder = ""
        self._token = ""
        self._greeting: tuple[Any, ...] = ()
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
        self.__dict__.update(state, worker_segment_times={})
        self._forget()

    def init(
        self,
        segment_func: Callable[..., Any],
        num_workers: int | None = None,
        dumps: Callable[[Any], bytes] | None = None,
    ) -> None:
        check_dask()
        payload = portable(segment_func, dumps)
        self._forget()
        for name in _LOGGERS:
            self._levels[name] = logging.getLogger(name).level
        from wepystore.engine.mappers.dask_worker import SegmentPlugin

        self._quiet()
        self._limit = num_workers or self.n_workers
        if self.scheduler is None:
            self._start_cluster(num_workers or self.would_start() or 1)
        else:
            self._connect(self.scheduler)
        self._token = secrets.token_hex(8)
        self._client.register_plugin(SegmentPlugin(self._token, payload))

    def would_start(self) -> int | None:
        """As many as were asked for, or one a core; None where a cluster has its own."""
        if self.scheduler is not None:
            return None
        return self.n_workers or len(os.sched_getaffinity(0))

    def _quiet(self) -> None:
        # Workers that come and go are this mapper's business, not the user's.
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def _start_cluster(self, n_workers: int) -> None:
        import dask
        from distributed import Client, LocalCluster
        from distributed.security import Security

        # Whoever may connect to a scheduler may run code as its owner, and this host may have
        # other users: so a certificate that nobody else has.
        security = Security.temporary()
        self._folder = tempfile.mkdtemp(prefix="wepystore-dask-")
        # A segment is tried again by this mapper, which counts how often.
        settings = {
            "distributed.scheduler.allowed-failures": 0,
            "distributed.scheduler.http.routes": [],
        }
        with dask.config.set(settings):
            self._cluster = LocalCluster(
                n_workers=0,
                processes=True,
                host="127.0.0.1",
                dashboard_address=None,
                security=security,
                silence_logs=logging.CRITICAL,
                # It serves HTTP in any case: nothing, then, and to nobody else.
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            )
        self._greeting = (sys.path, self._cluster.scheduler_address, security, self._folder)
        for number in range(n_workers):
            self._crew.change(partial(self._start_local, number))
        self._client = Client(self._cluster, set_as_default=False)

    def _start_local(self, number: int, n_starts: int = 1) -> None:
        self._locals.append(Local(number, self._greeting, n_starts, self._clock.now))

    def _connect(self, scheduler: str) -> None:
        from distributed import Client
        from distributed.comm.addressing import get_address_host_port

        try:
            if scheduler.endswith(".json"):
                scheduler = str(json.loads(Path(scheduler).read_text())["address"])
            # What is no address is told here: half a client complains with a traceback as it goes.
            get_address_host_port(scheduler)
            self._client = Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
        except Exception as problem:  # Among them ValueError and socket errors.
            raise SchedulerError(scheduler=self.scheduler, problem=_one_line(problem)) from None

    def map(
        self, walkers: Sequence[Any], lengths: Iterable[int], **kwargs: Iterable[Any]
    ) -> list[Any]:
        work = [Task(k, *task) for k, task in enumerate(tasks(walkers, lengths, kwargs))]
        ledger = Ledger(work, self._pace, _LEAST_BATCH_S)
        self.worker_segment_times = {number: [] for number in self._numbers.values()}
        self._crew.settle()
        self._abandon()
        looked = seen_a_worker = self._clock.tick()
        tick = TICK_S if self.segment_timeout is None else min(TICK_S, self.segment_timeout / 4)
        self._refresh(ledger)
        while not ledger.finished:
            self._hand_out(ledger)
            starting = any(local.address is None for local in self._locals)
            for address in self._answered(0.02 if starting else tick):
                self._hear(address, ledger)
            now = self._clock.tick()
            if starting or now - looked >= tick:
                looked = now
                self._refresh(ledger)
                self._look(ledger, now)
            if self._members or self._locals:
                seen_a_worker = now
            elif now - seen_a_worker > _NO_WORKERS_S:
                raise NoDaskWorkersError(scheduler=self.scheduler, seconds=_NO_WORKERS_S)
        return ledger.results

    def _hand_out(self, ledger: Ledger) -> None:
        for address in self._members:
            if address in self._running:
                continue
            # Others of ours that are still starting are worth waiting for.
            n_workers = len(self._members)
            if self._locals:
                n_workers = sum(local.address not in self._given_up for local in self._locals)
            if n_workers == 1 and self._locals and ledger.waits_for_another(address):
                self._replace(address)
                return
            if address not in self._opened:
                self._submit(address, [])
            elif batch := ledger.take(address, n_workers):
                self._submit(address, batch)

    def _submit(self, address: str, batch: list[Task]) -> None:
        """Give a batch to a worker; an empty one has it open the runner."""
        from wepystore.engine.mappers.dask_worker import Parcel, open_function, run_batch

        with warnings.catch_warnings():
            # Large walkers are what this is for.
            warnings.filterwarnings("ignore", "Sending large graph")
            future = self._client.submit(
                run_batch if batch else open_function,
                self._token,
                *([Parcel(pack_tasks(batch))] if batch else []),
                key=f"wepystore-{secrets.token_hex(8)}",
                workers=[address],
                allow_other_workers=False,
                pure=False,
                retries=0,
            )
        self._running[address] = _Running(future, batch, Watch(self._clock.tick()))
        future.add_done_callback(partial(_announce, self._inbox, address))

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

    def _hear(self, address: str, ledger: Ledger) -> None:
        running = self._running.get(address)
        if running is None or not running.future.done():
            return
        # A worker that dies takes its result along.
        from distributed import KilledWorker

        try:
            result = self._fetch(address, running.future)
            if not running.batch:
                self._hear_opened(address, result)
                return
            answers = unpack_answers(result.content)
        except WorkerStartError:
            raise
        except KilledWorker:
            self._lost(address, ledger, None)
            return
        except Exception as problem:
            if running.future.status != "error":
                self._lost(address, ledger, f"was lost ({_one_line(problem)})")
                return
            if not running.batch:
                self._hear_opened(address, _one_line(problem))
                return
            answers = [Failed(running.batch[0].index, _one_line(problem), repr(problem), None)]
        del self._running[address]
        running.future.release()
        left = {task.index for task in running.batch}
        failures = []
        for answer in answers:
            left.discard(answer.index)
            if isinstance(answer, Done):
                ledger.done(answer)
                times = self.worker_segment_times.setdefault(self._number(address), [])
                times.append(answer.seconds)
            else:
                failures.append(answer)
        ledger.give_back(sorted(left))
        for answer in failures:
            ledger.failed(answer, address, self._name(address))

    def _fetch(self, address: str, future: Any) -> Any:
        """The result of what is done; TimeoutError if it is gone with its worker."""
        begun = time.monotonic()
        while True:
            try:
                return future.result(timeout=_FETCH_S)
            except TimeoutError:
                if future.status == "error":
                    raise  # It is the worker's own, and comes again however long one waits.
                late = time.monotonic() - begun > _ANSWER_S
                if late or address not in self._client.nthreads(callback_timeout=_ANSWER_S):
                    raise

    def _hear_opened(self, address: str, problem: str) -> None:
        del self._running[address]
        if problem:
            # It may be the fault of one host among many, whose environment is another one.
            self._given_up.add(address)
            self._members = [each for each in self._members if each != address]
            if not self._members:
                raise WorkerStartError(
                    worker=f"{self._number(address)} at {address}", status=None, problem=problem
                )
            return
        self._opened.add(address)

    def _number(self, address: str) -> int:
        return self._numbers.setdefault(address, len(self._numbers))

    def _name(self, address: str) -> str:
        return f"dask worker {self._number(address)} at {address}"

    def _refresh(self, ledger: Ledger) -> None:
        """See who is there; what those had who are not is for others."""
        if self.scheduler is None:
            for local in list(self._locals):
                self._attend(local, ledger)
            there = [local.address for local in self._locals if local.address]
            self._members = [address for address in there if address not in self._given_up]
            return
        try:
            there = list(self._client.nthreads(callback_timeout=_ANSWER_S))
        except Exception as problem:
            raise SchedulerError(scheduler=self.scheduler, problem=_one_line(problem)) from None
        self._members = [address for address in there if address not in self._given_up]
        self._members = self._members[: self._limit]
        for address in [each for each in self._running if each not in there]:
            self._lost(address, ledger, None)

    def _attend(self, local: Local, ledger: Ledger) -> None:
        """Replace a worker of ours if it is dead or does not come up."""
        problem = local.listen()
        if local.address is None and problem is None:
            why = local.watch.look(self._clock.tick(), None, local.child, timeout=START_S)
            problem = None if why is None else f"it {why}"
        if problem is None:
            return
        if local.address is not None:
            self._lost(local.address, ledger, None)
        else:
            self._renew(local, problem=problem)

    def _look(self, ledger: Ledger, now: float) -> None:
        processes = {local.address: local.child for local in self._locals}
        for address, running in list(self._running.items()):
            n_tasks = len(running.batch)
            timeout = self.segment_timeout and self.segment_timeout * n_tasks
            child = processes.get(address)
            why = running.watch.look(
                now,
                None,
                child or Elsewhere(),
                timeout=timeout if n_tasks else START_S,
                pace=self._pace,
                length=sum(task.length for task in running.batch),
                signs=child.slot.signs() if child else 0,
            )
            if why is not None:
                self._lost(address, ledger, why)

    def _lost(self, address: str, ledger: Ledger, why: str | None) -> None:
        """A worker is gone, or given up for the reason `why`."""
        running = self._running.pop(address, None)
        name = self._name(address)
        local = next((each for each in self._locals if each.address == address), None)
        loss = Loss(None, None, why or "left the cluster")
        if local is not None:
            self._renew(local, 1.0 if why is None else 0.0)
            if why is None:
                loss = Loss(local.child.pid, local.child.status)
        else:
            # Nothing of ours can end it; it gets no more segments from us.
            self._given_up.add(address)
        self._members = [each for each in self._members if each != address]
        if running is None:
            return
        with contextlib.suppress(Exception):
            running.future.cancel()
        if not running.batch:
            return
        if len(running.batch) == 1:
            ledger.lost(running.batch[0].index, address, name, loss)
        else:
            # Which one it was shows when each is run alone.
            ledger.give_back([task.index for task in running.batch])

    def _replace(self, address: str) -> None:
        for local in list(self._locals):
            if local.address == address:
                self._crew.change(partial(self._exchange, local, 0.0, 1))
        self._members = [each for each in self._members if each != address]

    def _renew(
        self, local: Local, patience_s: float = 0.0, problem: str = "it left without a word"
    ) -> None:
        n_starts = 1 if local.address in self._opened else local.n_starts + 1
        if n_starts > MOST_STARTS:
            local.end(patience_s)
            raise WorkerStartError(worker=local.number, status=local.child.status, problem=problem)
        self._crew.change(partial(self._exchange, local, patience_s, n_starts))

    def _exchange(self, local: Local, patience_s: float, n_starts: int) -> None:
        local.end(patience_s)
        self._locals.remove(local)
        self._start_local(local.number, n_starts)

    def _abandon(self) -> None:
        """Leave what a call had under way that an exception ended."""
        for address, running in list(self._running.items()):
            with contextlib.suppress(Exception):
                running.future.cancel()
            if self.scheduler is None:
                self._replace(address)
        self._running = {}
        self._inbox = queue.SimpleQueue()

    def cleanup(self, **kwargs: Any) -> None:
        self._crew.leave()
        for local in self._locals:
            local.end()
        for running in self._running.values():
            with contextlib.suppress(Exception):
                running.future.cancel()
        if self._client is not None and self.scheduler is not None:
            with contextlib.suppress(Exception):
                self._client.unregister_worker_plugin(f"wepystore-{self._token}")
        for each in (self._client, self._cluster):
            if each is not None:
                with contextlib.suppress(Exception):
                    each.close(timeout=2)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        self._forget()

    def summary(self) -> dict[str, str]:
        where = self.scheduler or "this host"
        return {"workers": f"{len(self._members) or self.n_workers or 'all'} of dask on {where}"}


def _announce(inbox: queue.SimpleQueue[str], address: str, future: Any) -> None:
    inbox.put(address)


def _one_line(problem: BaseException) -> str:
    lines = str(problem).splitlines() or [""]
    return f"{type(problem).__name__}: {lines[0]}"
