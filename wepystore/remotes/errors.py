"""What can go wrong on the way to a store that is elsewhere. The docstring is the message."""

from __future__ import annotations

from wepystore.errors import FailedError


class UnreachableError(FailedError):
    """{address} cannot be read: {why}"""


class NotAStoreThereError(FailedError):
    """{address} is not a store: {why}"""


class CannotWriteThereError(FailedError):
    """{address} cannot be written: {why}"""


class BrokenOffError(FailedError):
    """the transfer {way} {address} broke off: {why}; what has crossed is kept: run the same command
    again, and only the rest will cross"""


class NoRoomError(FailedError):
    """{path} has room for {free} bytes, and {needed} would come: make room and try again"""


class NotInstalledError(FailedError):
    """{address} needs {what}, which is not installed here: {hint}"""


class MalformedAddressError(FailedError):
    """{address} is no address: {why}"""


class NoDestinationError(FailedError):
    """{address} is a database of wepy 1.x: those are read and never written; name a store"""
