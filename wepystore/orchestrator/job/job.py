"""A job folder: the reporters' files, a store of its own, and what the job is.

    JOB/.lock            held while a process works here
    JOB/checkpoint.orch  start, checkpoints and end
    JOB/job.json         what was asked for; there from just before the first cycle
    JOB/.checkpoints     what of checkpoint.orch the job may remove (ledger.py)
    JOB/.progress        how far that process has come (progress_file.py)
    JOB/NAME.*           the reporters' files

A folder with `job.json` can be resumed. One without it, but with a store that only
this program can have made, is what is left of a run that was killed before it began.
"""

from __future__ import annotations

import errno
import math
import os
import reprlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wepystore.errors import DamagedError, way_out
from wepystore.orchestrator.errors import (
    JobDirError,
    JobExistsError,
    JobFolderError,
    JobNameError,
    MalformedJobError,
    NewerJobError,
    NoJobError,
    NoJobStoreError,
)
from wepystore.orchestrator.job.ledger import LISTED, LISTED_DRAFT, Ledger
from wepystore.orchestrator.job.lock import LOCK, JobLock, has_lock
from wepystore.orchestrator.job.progress_file import PROGRESS, PROGRESS_DRAFT, remove_progress
from wepystore.orchestrator.run.request import RunRequest, check_job_name
from wepystore.records.trust import arguments
from wepystore.reporters import files
from wepystore.store import canonical
from wepystore.store.errors import StoreExistsError
from wepystore.store.names import MARK, EntryRef
from wepystore.store.places import CHECKPOINT
from wepystore.store.store import Store

SPEC = "job.json"
_DRAFT = f".{SPEC}.tmp"
# How often a folder that somebody takes away again is made before that is an error.
_TRIES = 20
_FORMAT = 2
#: Bytes; a narration may be long.
_LARGEST = 1 << 24
#: The job's own files in its folder, whatever its name; no reporter's, no user's.
RESERVED = frozenset(
    (CHECKPOINT, SPEC, _DRAFT, LOCK, LISTED, LISTED_DRAFT, PROGRESS, PROGRESS_DRAFT)
)


@dataclass(frozen=True)
class JobSpec:
    """What a job was asked for: all that another process needs to go on with it.

    Attributes
    ----------
    request : RunRequest
        What of it holds for all sessions. Its seed and n_steps, with start and config, define the
        result (R1).
    start, config : EntryRef
    begun : str
        UTC.
    ended : str or None
        The record of the run, once it has done what was asked for and all its files
        are as they should be.
    extends : str or None
        The record of an end that the job is to go on from, though it was all that had been
        asked for, or all that fitted into SECONDS: `seconds` and `n_cycles` are newer than it.
    """

    request: RunRequest
    start: EntryRef
    config: EntryRef
    begun: str
    ended: str | None = None
    extends: str | None = None

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        value = {
            **self.request.to_json(),
            "type": "job",
            # Who knows format 1 only would take a job without a limit for a damaged one.
            "format": _FORMAT if self.request.seconds == math.inf else 1,
            "start": self.start.to_json(),
            "config": self.config.to_json(),
            "begun": self.begun,
            "ended": self.ended,
            "extends": self.extends,
        }
        return canonical.dumps(value)

    @staticmethod
    def read(file: Path) -> JobSpec:
        """Raises MalformedJobError, NewerJobError, OSError."""
        store = arguments(file.parent / CHECKPOINT)
        try:
            value = canonical.load_object(_read(file), str(file))
            if value.get("type") != "job":
                raise ValueError("it is of another kind")
            _check_format(value.get("format"), file)
            request = RunRequest.from_json(value)
            entries = {}
            for name, kind in (("start", "snapshots"), ("config", "configs")):
                entries[name] = EntryRef.from_json(value[name], str(file))
                if entries[name].kind != kind:
                    raise ValueError(f"its {name} is not one of {kind}")
            texts = {name: value[name] for name in ("begun", "ended", "extends")}
            for name, text in texts.items():
                if not isinstance(text, str if name == "begun" else str | None):
                    raise ValueError(f"its {name} is {reprlib.repr(text)}")
            return JobSpec(request, entries["start"], entries["config"], **texts)
        except (KeyError, ValueError, DamagedError, JobNameError) as problem:
            why = f"it has no {problem.args[0]}" if isinstance(problem, KeyError) else problem
            raise MalformedJobError(file=file, problem=why, store=store) from None


def _read(file: Path) -> bytes:
    """What is in `job.json`: a few hundred bytes. ValueError for what is no file of ours."""
    try:
        return files.read_own(file, _LARGEST)
    except OSError as problem:
        if problem.errno in (errno.EINVAL, errno.EFBIG):
            raise ValueError(problem.strerror) from None
        raise


def _check_format(found: Any, file: Path) -> None:
    if type(found) is int and found > _FORMAT:
        raise NewerJobError(file=file, found=found, known=_FORMAT)
    if type(found) is not int or not 1 <= found <= _FORMAT:
        raise ValueError(f"its format is {reprlib.repr(found)}")


class Job:
    """A job folder that this process has to itself; made for one run.

    Attributes
    ----------
    path : Path
    name : str
        Prefix of the reporters' files.
    store : Store
        checkpoint.orch
    ledger : Ledger
        What of `store` this job has written itself.
    spec : JobSpec or None
        None before the run begins.

    Raises JobExistsError, JobBusyError, JobDirError, JobNameError.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = check_job_name(name)
        self.spec: JobSpec | None = None
        self._made: list[Path] = []
        # A look before anything is made or locked: what is no job's is not touched at all.
        found = held_run(path, name)
        if found is not None and not has_lock(path):
            raise _exists(path, found)
        real = path.resolve()
        store = next((each for each in (real, *real.parents) if (each / MARK).exists()), None)
        if store is not None:
            # It would be copied with the store, and be foreign to fsck and prey of gc.
            raise JobDirError(job_dir=path, problem=f"that is inside the store {store}")
        try:
            self._lock = self._first_lock(path)
        except OSError as problem:
            self._unmake_directories()
            raise JobDirError(job_dir=path, problem=problem.strerror or problem) from None
        begun = False
        try:
            if self._lock.signed:
                _clear_what_never_began(path)
            found = held_run(path, name)
            if found is not None:
                raise _exists(path, found)
            self._lock.sign()
            self.ledger = Ledger(path)
            begun = True
            self.store = Store.create(path / CHECKPOINT)
            # Nothing yet; whatever a list of a job says that was here before.
            self.ledger.replace(())
        except BaseException as problem:
            if begun and not isinstance(problem, StoreExistsError):
                # Ctrl-C, a full disk: half a store without a lock would only be in the way.
                self.abandon()
            self._lock.release(remove=not self._lock.signed)
            self._unmake_directories()
            if isinstance(problem, StoreExistsError):
                raise _exists(path, CHECKPOINT) from None
            if isinstance(problem, OSError):
                raise JobDirError(job_dir=path, problem=problem.strerror or problem) from None
            raise

    @classmethod
    def reopen(cls, path: Path) -> Job:
        """The job that was begun in a folder, to go on with it.

        Raises NoJobError, NoJobStoreError, JobBusyError, JobFolderError, MalformedJobError,
        NewerJobError, and as Store.open.
        """
        if not os.path.lexists(path / SPEC):
            raise NoJobError(job_dir=path, problem=why_no_job(path))
        job = cls.__new__(cls)
        job.path = path
        job._made = []
        try:
            job._lock = JobLock.acquire(path)
        except OSError as problem:
            why = problem.strerror or problem
            raise JobFolderError(job_dir=path, problem=why) from None
        try:
            job.spec = JobSpec.read(path / SPEC)
            job.name = job.spec.request.job_name or ""
            if not os.path.lexists(path / CHECKPOINT):
                store = arguments(path / CHECKPOINT)
                raise NoJobStoreError(job_dir=path, found=CHECKPOINT, store=store)
            _check_files(path, job.name)
            job.store = Store.open(path / CHECKPOINT)
            job.ledger = Ledger(path)
            # Of a process that was killed: what was done since its last checkpoint is to be done.
            remove_progress(path)
            job._lock.sign()
        except BaseException:
            job._lock.release()
            raise
        return job

    def publish(self, spec: JobSpec) -> None:
        """Write what the job is, durably and at once; from now on it can be resumed."""
        with files.replacing(self.path / SPEC, self.path / _DRAFT, lasting=True) as file:
            file.write(spec.to_bytes())
        self.spec = spec

    def release(self) -> None:
        """Let others work here."""
        remove_progress(self.path)
        self._lock.release()

    def _first_lock(self, path: Path) -> JobLock:
        """Lock the folder, which is made if need be; somebody who is refused may just take it
        away again."""
        for _ in range(_TRIES):
            try:
                self._make_directories(path)
                return JobLock.acquire(path)
            except FileNotFoundError:
                self._unmake_directories()
                self._made.clear()
        self._make_directories(path)
        return JobLock.acquire(path)

    def _make_directories(self, path: Path) -> None:
        missing = []
        while not path.exists():
            missing.append(path)
            path = path.parent
        for directory in reversed(missing):
            try:
                directory.mkdir()
            except FileExistsError:
                if not directory.is_dir():
                    raise
            else:
                self._made.append(directory)

    def _unmake_directories(self) -> None:
        for directory in reversed(self._made):
            try:
                directory.rmdir()
            except OSError:
                return  # Somebody else has put something there meanwhile.

    def abandon(self) -> None:
        """Take everything away again: for a run that failed before its first cycle was done."""
        # Killed half-way, what is left can be resumed, or else is known never to have begun.
        for name in _files_of(self.path, self.name):
            if (self.path / name).is_dir() and not (self.path / name).is_symlink():
                shutil.rmtree(self.path / name, ignore_errors=True)
            else:
                (self.path / name).unlink(missing_ok=True)
        for name in (SPEC, _DRAFT):
            (self.path / name).unlink(missing_ok=True)
        remove_progress(self.path)
        self.ledger.clear()
        shutil.rmtree(self.path / CHECKPOINT, ignore_errors=True)
        self._lock.release()
        self._unmake_directories()


def held_run(path: Path, name: str) -> str | None:
    """The file that shows that a run is in the folder, or None."""
    for own in (CHECKPOINT, SPEC):
        if os.path.lexists(path / own):
            return own
    return next(iter(_files_of(path, name)), None)


def _files_of(path: Path, name: str) -> list[str]:
    try:
        return sorted(
            entry
            for entry in os.listdir(path)
            if entry not in RESERVED and entry.lstrip(".").startswith(name + ".")
        )
    except (FileNotFoundError, NotADirectoryError):
        return []


def _check_files(path: Path, name: str) -> None:
    """Raise JobFolderError if anything in a job's place is a link, a pipe or the like.

    Whoever opens one of them looks again; this is said before anything is done.
    """
    try:
        files.check_own_folder(path / CHECKPOINT)
        for entry in [*sorted(RESERVED - {CHECKPOINT}), *_files_of(path, name)]:
            # Reporters of somebody else's may have folders.
            if os.path.islink(path / entry) or not os.path.isdir(path / entry):
                files.check_own(path / entry)
    except OSError as problem:
        entry = os.path.basename(str(problem.filename))
        raise JobFolderError(job_dir=path, problem=f"{entry}: {problem.strerror}") from None


def _clear_what_never_began(path: Path) -> None:
    """Remove the store of a run that was killed before it began: it holds copies only.

    Called with the lock held, where the lock's file says that a job was made here.
    """
    store = path / CHECKPOINT
    if os.path.lexists(path / SPEC) or not store.is_dir() or store.is_symlink():
        return
    # A run was recorded: not what a killed start leaves, whatever became of job.json.
    if not _has_records(store):
        shutil.rmtree(store)


def _has_records(store: Path) -> bool:
    return any((store / "runs").glob("*/*.json"))


def _exists(path: Path, found: str) -> JobExistsError:
    resume = ""
    if os.path.lexists(path / SPEC):
        to_resume = way_out("to_resume", job_dir=arguments(path))
        resume = f"'{to_resume}' goes on with it; for another run "
    return JobExistsError(job_dir=path, found=found, resume=resume)


def why_no_job(path: Path) -> str:
    if not os.path.isdir(path):
        return "it is no folder" if os.path.lexists(path) else "there is nothing of that name"
    if path.name == CHECKPOINT and os.path.lexists(path.parent / SPEC):
        return f"it is the store of one: '{way_out('to_resume', job_dir=arguments(path.parent))}'"
    if _has_records(path / CHECKPOINT):
        to_run = way_out("to_run_default", store=arguments(path / CHECKPOINT))
        return (
            f"it has lost its {SPEC}: put a copy of it back; '{to_run}' goes on from the last "
            "checkpoint as a new run"
        )
    if os.path.lexists(path / CHECKPOINT):
        to_run = way_out("to_run")
        return f"it has no {SPEC}, so no cycle of it was run; start it again with '{to_run}'"
    if os.path.lexists(path / MARK):
        to_run = way_out("to_run_default", store=arguments(path))
        return f"it is a store: '{to_run}' makes a job of it"
    return f"it has no {SPEC}"
