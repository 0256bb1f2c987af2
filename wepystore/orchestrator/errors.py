"""What can go wrong in a use case."""

from __future__ import annotations

from wepystore.errors import DamagedError, FailedError, StoppedError, UsageError


class JobExistsError(FailedError):
    """{job_dir} already holds a run ({found}); it was left alone: {resume}choose another
    {to_name_job_dir} or move it away"""


class JobBusyError(FailedError):
    """{job_dir} is being worked in by {holder}; wait for it, or end it first"""


class NoJobError(FailedError):
    """{job_dir} holds no job: {problem}"""


class MalformedJobError(DamagedError):
    """{file} does not say what was run: {problem}; '{to_run_again}' goes on from a
    snapshot of the job's store as a new run"""


class NotContinuedError(FailedError):
    """{file}: {problem}, so that the job cannot write on in it; put a copy of it back, or start
    a new run from the last checkpoint: '{to_run_on}'"""


class NoJobStoreError(FailedError):
    """{job_dir} has lost {found}, with all checkpoints: put a copy of it back; or bring its start
    from the store it was run from, '{to_fetch_start}', and the job begins anew"""


class NewerJobError(FailedError):
    """{file} was written by a newer wepystore (format {found}; this one reads {known}): upgrade
    wepystore to go on with the job"""


class FewerCyclesError(UsageError):
    """{to_count_cycles} {n_cycles}: {job_dir} has done {n_done} already, and cycles are counted
    from the start of the run"""


class StoppedEarlyError(StoppedError):
    """{reason} before the first cycle was done; {job_dir} holds all that is needed to begin it:
    {to_resume}"""


class JobDirError(FailedError):
    """cannot make the job folder {job_dir}: {problem}; choose another with {to_name_job_dir}"""


class JobFolderError(FailedError):
    """cannot work in the job folder {job_dir}: {problem}"""


class JobNameError(UsageError):
    """{name!r} cannot be a job's name: {problem}"""


class NoConfigurationError(FailedError):
    """{store} has {problem}; name one with {to_name_config} (see '{to_list_configs}')"""


class CycleFailedError(FailedError):
    """{problem}; what came before it ({cycles}) is kept and ends in snapshot {end}; once the
    cause is gone: {to_resume}"""


class CheckpointFailedError(FailedError):
    """{problem}; {kept}; once the cause is gone: {to_resume}"""
