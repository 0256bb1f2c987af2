"""What can go wrong in a store. The base class is the exit status, the docstring the message."""

from __future__ import annotations

from wepystore.errors import DamagedError, FailedError


class NoSuchStoreError(FailedError):
    """no store at {path}: there is no such directory; '{to_create}' makes one"""


class NotAStoreError(FailedError):
    """{path} is not a store: {why}"""


class StoreExistsError(FailedError):
    """{path} is already a store: use it as it is, or name another place"""


class NotEmptyError(FailedError):
    """{path} is not empty and not a store (it holds {found}): name a new or an empty directory"""


class NewerFormatError(FailedError):
    """{path} has store format {found} and this program reads formats up to {known}: upgrade it"""


class UnknownHashError(FailedError):
    """no {kinds} {text!r} in {path}: {hint}"""


class AmbiguousHashError(FailedError):
    """{text!r} could be any of {count}: {candidates}; give more digits"""


class MalformedHashError(FailedError):
    """{text!r} is not a hash: {why}"""


class SeveralHashesError(FailedError):
    """{count} hashes ({shown}) where one is needed: name one of them, or 'default'"""


class MalformedTagError(FailedError):
    """{text!r} cannot be a tag: {why}"""


class WrongKindError(FailedError):
    """{text} is a {found}, and a {expected} is needed here"""


class NotCanonicalError(FailedError):
    """{what} cannot be written as canonical JSON: {why}"""


class MD5CollisionError(FailedError):
    """two different contents with the MD5 {md5} ({kind}): the one in {path} stays, and the
    other is refused, because a name must mean one content; change any byte of it to store it"""


class NotAnExportError(FailedError):
    """{path} is not a file of '{to_export}': {why}"""


class NotAFileError(FailedError):
    """{path} is there and is no file: it stays, and nothing is written; name a file"""


class BadJSONError(DamagedError):
    """{what} is damaged: {why}"""


class DamagedEntryError(DamagedError):
    """{file} is damaged: {why}; bring a whole copy from another store with '{to_merge}'"""


class DamagedMarkError(BadJSONError):
    """{what} is damaged: {why}; '{to_heal} {path}' brings it from another
    store, and it is the same in all"""


class LinkedDirectoryError(DamagedError):
    """{path} is a symbolic link, and a store has none in place of its directories: nothing is
    written through it; replace it by a real directory"""


class DamagedExportError(DamagedError):
    """{path} is damaged: {why}; get it again with '{to_export}'"""


class MissingError(DamagedError):
    """{file} is not there{needed}: bring it from another store with '{to_merge}'"""


class ElsewhereError(MissingError):
    """{file} is not there{needed}: {why}"""


class IncompleteError(DamagedError):
    """{kind} {md5} is incomplete in {path}: {missing} missing; {way}"""
