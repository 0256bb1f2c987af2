"""One session of a run: prepared, its files opened, its cycles run, its end told."""

from __future__ import annotations

import contextlib
import dataclasses
import errno

from wepystore.engine.fit import doubts
from wepystore.engine.kept_frames import Recording
from wepystore.engine.mappers.base import WorkMapper
from wepystore.errors import WepystoreError
from wepystore.orchestrator.errors import NotContinuedError
from wepystore.orchestrator.job.job import Job
from wepystore.orchestrator.run.account import Account
from wepystore.orchestrator.run.budget import StopSignals
from wepystore.orchestrator.run.checkpoint import Checkpointer
from wepystore.orchestrator.run.cycles import Cycles, Saving
from wepystore.orchestrator.run.desk import Desk
from wepystore.orchestrator.run.mapping import WITHOUT_SCHEDULER, needs_scheduler
from wepystore.orchestrator.run.preparation import prepare
from wepystore.orchestrator.run.pulse import Pulse
from wepystore.orchestrator.run.recorder import Recorder
from wepystore.orchestrator.run.request import RunRequest
from wepystore.orchestrator.run.start import Past, Start
from wepystore.orchestrator.run.stillness import Stillness
from wepystore.orchestrator.run.watching import Begun, FramesToCome, RunOutcome, Watcher
from wepystore.orchestrator.run.writer import Writer
from wepystore.records.library import load_run
from wepystore.records.reporter_state import TrustedKeeper
from wepystore.records.trust import arguments
from wepystore.reporters import files
from wepystore.store.names import EntryRef

#: Of these the disk is the cause, or a lack of rights, and not what is in a file.
_NOT_THE_FILE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO))


class Session:
    """One session of a run, from its start or from a checkpoint of it.

    Whatever cannot be run is refused here, before anything is written.

    Parameters
    ----------
    start : Start
    request : RunRequest
        With its job_dir and job_name.
    past : Past
        What was done before this session.

    Attributes
    ----------
    account : Account
    """

    def __init__(self, start: Start, request: RunRequest, past: Past) -> None:
        self._start, self._request, self._past = start, request, past
        self._stillness = Stillness(start.snapshot.apparatus.resampler)
        self._desk = Desk(start.configuration, request.prefix)
        placed = self._desk.placed
        self._prepared = prepare(
            start,
            request,
            request.seed,
            past.n_cycles,
            reporters=placed.reporters,
            monitor=placed.monitor,
        )
        self._recorder = self._recorder_of(past)
        self._frames_to_come = self._projected()
        self.account = Account(start, request, past, self._prepared)

    def _recorder_of(self, past: Past) -> Recorder | None:
        """None for a run that goes on from a checkpoint of an older version's."""
        manager = self._prepared.manager
        if not past.n_cycles:
            choice = self._start.configuration.recording or Recording()
            found = Recorder.begun(manager, self._request.n_steps, choice)
        elif past.recorded is None:
            return None
        else:
            found = Recorder.gone_on(manager, past.recorded)
        found.keep_times(past.recorded)
        manager.record = found
        return found

    def run(self, job: Job, signals: StopSignals, watcher: Watcher) -> RunOutcome:
        """Run cycles until something ends them."""
        account, n_done = self.account, self.account.n_done
        self._desk.tell("bind", n_done, str(self._request.prefix))
        self._desk.tell("keep_with", n_done, TrustedKeeper(self._start.trust))
        self._desk.tell(
            "annotate",
            n_done,
            start_snapshot_hash=self._start.snapshot_ref.md5,
            config_hash=self._start.config_ref.md5,
            seed=self._request.seed,
            narration=self._request.narration,
        )
        apparatus = self._start.snapshot.apparatus
        writer = Writer(job.store, job.ledger)
        checkpointer = Checkpointer(writer, apparatus, account.record, self._recorder)
        if self._past.resumed:
            account.note_resumption()
            checkpointer.adopt(self._start.snapshot_ref, self._past.end, self._past.record)
            self._desk.tell("resume", n_done, n_done)
        self._tell_beginning(watcher)
        try:
            self._open(job, watcher)
            end = self._cycles(job, checkpointer, signals, watcher)
            if end is not None:
                self._desk.tell("annotate", account.n_done, end_snapshot_hash=end.md5)
        finally:
            try:
                self._prepared.manager.cleanup()
            finally:
                # Also of a run that failed nothing is at work in the store any more. What ended it
                # is told, not what could not be removed.
                with contextlib.suppress(OSError, WepystoreError):
                    checkpointer.close()
        if account.how.complete:
            assert job.spec is not None
            job.publish(dataclasses.replace(job.spec, ended=checkpointer.run))
        return account.outcome(end, checkpointer.run)

    def _tell_beginning(self, watcher: Watcher) -> None:
        prepared, request = self._prepared, self._request
        watcher.begun(
            Begun(
                n_walkers=prepared.n_walkers,
                n_steps=request.n_steps,
                seed=request.seed,
                seconds=request.seconds,
                job_dir=request.job_dir,
                n_resumed=self._past.n_cycles if self._past.resumed else None,
                changes=self.account.changes,
                frames=self._frames_to_come,
            )
        )
        if isinstance(prepared.mapper, WorkMapper):
            prepared.mapper.remark = watcher.remark
        if needs_scheduler(self._start.configuration.work_mapper) and not request.scheduler:
            watcher.remark(WITHOUT_SCHEDULER)
        for text in self._desk.placed.remarks:
            watcher.remark(text)
        if (still := self._stillness.at_start(prepared.manager.init_walkers)) is not None:
            watcher.remark(still)

    def _projected(self) -> FramesToCome | None:
        if self._recorder is None:
            return None
        walkers, n_cycles = self._prepared.manager.init_walkers, self._request.n_cycles
        fields, every = self._recorder.film.kept(walkers)
        if not fields:
            return None
        cycle_bytes = len(walkers) * sum(field.n_bytes for field in fields) / every
        left = None if n_cycles is None else max(0, n_cycles - self._past.n_cycles)
        return FramesToCome(
            fields=tuple(field.name for field in fields),
            cycle_bytes=cycle_bytes,
            n_bytes=None if left is None else round(left * cycle_bytes),
        )

    def _open(self, job: Job, watcher: Watcher) -> None:
        """Start the workers and open the reporters' files."""
        for folder in self._desk.placed.folders:
            files.make_own_folder(folder)
        manager = self._prepared.manager
        try:
            manager.init(num_workers=self._prepared.n_workers)
        except OSError as problem:
            if not self._past.resumed or problem.errno in _NOT_THE_FILE:
                raise
            raise NotContinuedError(
                file=problem.filename or job.path,
                problem=problem.strerror or problem,
                store=arguments(job.store.path),
                end=self._past.end or self._start.snapshot_ref.md5,
            ) from problem
        if not self.account.n_done:
            for text in doubts(manager.init_walkers, self._prepared.runner):
                watcher.remark(text)
        for text in self._desk.remarks(self.account.n_done):
            watcher.remark(text)

    def _cycles(
        self, job: Job, checkpointer: Checkpointer, signals: StopSignals, watcher: Watcher
    ) -> EntryRef | None:
        """The end; None if there is no cycle yet."""
        account, request = self.account, self._request
        if account.how.complete:
            # All that is left is to put the files in order.
            checkpointer.finish()
            assert self._past.record is not None
            return load_run(job.store, self._past.record).end
        saving = Saving(
            checkpointer, self._desk, account, request, signals.budget, watcher, job.path
        )
        manager = self._prepared.manager
        parts = {name: getattr(manager, name) for name in ("boundary_conditions", "resampler")}
        pulse = Pulse(job.path, account, parts)
        still = self._stillness
        return Cycles(manager, request, account, saving, signals, watcher, still, pulse).run()
