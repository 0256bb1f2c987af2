"""What can go wrong in a use case."""

from __future__ import annotations

from wepystore.errors import FailedError, UsageError


class JobExistsError(FailedError):
    """{job_dir} already holds a run ({found}); it was left alone:
    choose another --job-dir or move it away"""


class JobDirError(FailedError):
    """cannot make the job folder {job_dir}: {problem}; choose another with --job-dir"""


class JobNameError(UsageError):
    """{name!r} cannot be a job's name: {problem}"""


class NoConfigurationError(FailedError):
    """{store} has {problem}; name one with --configuration (see 'wepy ls configs {store}')"""


class NotPositiveError(UsageError):
    """{what} must be {wanted}, not {text!r}"""


class CycleFailedError(FailedError):
    """{problem}; the {n_cycles} cycles before it are kept and end in snapshot {end}"""
