"""The thread in which a run writes to its store while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from wepystore.orchestrator.job.ledger import Ledger
from wepystore.orchestrator.run.series import Object, Pending
from wepystore.store.batch import Batch
from wepystore.store.names import Name, Ref
from wepystore.store.publish import Workers
from wepystore.store.store import Store

P = ParamSpec("P")
T = TypeVar("T")


class Writer:
    """Does one thing after the other, in the order in which it is handed over: full blocks,
    checkpoints, and the removal of what these supersede. So a checkpoint finds the blocks that it
    names, and nothing counts on an entry that is just going.

    Parameters
    ----------
    store : Store
    ledger : Ledger
        Where it is noted what was written, for whoever goes on with the job if this process is
        killed.

    Attributes
    ----------
    blocks : list of (str, str)
        What came with full blocks since somebody has emptied it; for what is handed over alone.
    """

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self.store, self.ledger = store, ledger
        self.blocks: list[Name] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wepystore-store")
        self._workers = Workers()

    def submit(self, task: Callable[P, T], *args: P.args, **options: P.kwargs) -> Future[T]:
        """Hand something over."""
        return self._thread.submit(task, *args, **options)

    def batch(self) -> Batch:
        """For what is handed over: store.batch with threads that stay."""
        return self.store.batch(self._workers)

    def take_tables(self, objects: Callable[[], list[Object]], columns: Any) -> Pending:
        """Have a full block of the recording written while the run goes on; the next checkpoint
        will name it."""
        return self.submit(self._write_block, objects)

    take_frames = take_tables

    def _write_block(self, objects: Callable[[], list[Object]]) -> list[Ref]:
        # After the removal of what a killed process had put of it.
        with self.batch() as batch:
            refs = batch.put_many("objects", objects())
            new = [("objects", ref.md5) for ref in refs]
            self.ledger.add(each for each in new if not self.store.has(*each))
        self.blocks += batch.new
        return refs

    def close(self) -> None:
        """Wait for all that was handed over: nothing is at work in the store any more."""
        self._thread.shutdown()
        self._workers.close()
