"""What can go wrong in a use case."""

from __future__ import annotations

from wepystore.errors import DamagedError, FailedError, StoppedError, UsageError


class JobExistsError(FailedError):
    """{job_dir} already holds a run ({found}); it was left alone: {resume}choose another
    --job-dir or move it away"""


class JobBusyError(FailedError):
    """{job_dir} is being worked in by {holder}; wait for it, or end it first"""


class NoJobError(FailedError):
    """{job_dir} holds no job to resume: {problem}"""


class MalformedJobError(DamagedError):
    """{file} does not say what was run: {problem}; 'wepy run orch {store} HASH …' goes on from a
    snapshot of the job's store as a new run"""


class NotContinuedError(FailedError):
    """{file}: {problem}, so that the job cannot write on in it; put a copy of it back, or start
    a new run from the last checkpoint: 'wepy run orch {store} {end} SECONDS STEPS'"""


class NoJobStoreError(FailedError):
    """{job_dir} has lost {found}, with all checkpoints: put a copy of it back; or bring its start
    from the store it was run from, 'wepy reconcile orch {store} ORCH', and the job begins anew"""


class NewerJobError(FailedError):
    """{file} was written by a newer wepystore (format {found}; this one reads {known}): upgrade
    wepystore to go on with the job"""


class FewerCyclesError(UsageError):
    """--n-cycles {n_cycles}: {job_dir} has done {n_done} already, and cycles are counted from the
    start of the run"""


class StoppedEarlyError(StoppedError):
    """{reason} before the first cycle was done; {job_dir} holds all that is needed to begin it:
    wepy resume {job_dir}"""


class JobDirError(FailedError):
    """cannot make the job folder {job_dir}: {problem}; choose another with --job-dir"""


class JobFolderError(FailedError):
    """cannot work in the job folder {job_dir}: {problem}"""


class JobNameError(UsageError):
    """{name!r} cannot be a job's name: {problem}"""


class NoConfigurationError(FailedError):
    """{store} has {problem}; name one with --configuration (see 'wepy ls configs {store}')"""


class CycleFailedError(FailedError):
    """{problem}; what came before it ({cycles}) is kept and ends in snapshot {end}; once the
    cause is gone: wepy resume {job_dir}"""


class CheckpointFailedError(FailedError):
    """{problem}; {kept}; once the cause is gone: wepy resume {job_dir}"""
