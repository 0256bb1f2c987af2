"""What can go wrong between objects in memory and entries in a store."""

from __future__ import annotations

from wepystore.errors import DamagedError, FailedError


class CannotRecordError(FailedError):
    """{where}: cannot be kept in a store: {problem}"""


class UnknownComponentError(FailedError):
    """{where}: this wepystore has no component {name!r}; a newer version may: upgrade wepystore"""


class MalformedRecordError(DamagedError):
    """{where}: not what a {what} looks like: {problem}"""


class PickleLoadError(FailedError):
    """{where}: the pickled {of} cannot be loaded here: {problem}; install what it needs,
    or make the snapshot again in this environment"""
