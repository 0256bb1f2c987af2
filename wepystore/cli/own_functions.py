"""Functions in files of Python that a user names: code, which is run if that is trusted (S9)."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import types
from typing import TYPE_CHECKING

from wepystore.errors import FailedError, UntrustedError, UsageError

if TYPE_CHECKING:
    from wepystore.coordinates.composed import OwnCoordinate

#: More than anybody writes into one file.
_MOST_BYTES = 1 << 24


class UntrustedCodeError(UntrustedError):
    """{file} is code, and could do whatever you may do: look at it, and give --trust if you trust
    whoever wrote it"""


class OwnCodeError(FailedError):
    """{file} cannot be used: {why}"""


class NoSuchFunctionError(UsageError):
    """{file} has no function {function}{near}"""


def load_function(file: str, function: str, trusted: bool) -> OwnCoordinate:
    """The coordinate that a function in a file is.

    Parameters
    ----------
    trusted : bool
        Whether the user says so; otherwise it must be on the list of what is trusted.

    Raises UntrustedCodeError, OwnCodeError, NoSuchFunctionError.
    """
    code = _read(file)
    if not trusted:
        from wepystore.records.trust import users_own

        if hashlib.sha256(code).hexdigest() not in users_own().trusted():
            raise UntrustedCodeError(file=file)
    module = _run(file, code)
    found = getattr(module, function, None)
    if not callable(found):
        from wepystore.cli.usage import suggestion

        there = [n for n, value in vars(module).items() if isinstance(value, types.FunctionType)]
        raise NoSuchFunctionError(file=file, function=function, near=suggestion(function, there))

    from wepystore.coordinates.composed import OwnCoordinate

    try:
        return OwnCoordinate.of(found, f"{os.path.basename(file)}:{function}")
    except ValueError as problem:
        raise OwnCodeError(file=file, why=problem) from None


def _read(file: str) -> bytes:
    """What is run is what was looked at: the file is read once."""
    try:
        # Of a pipe one would wait for ever.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as problem:
        raise OwnCodeError(file=file, why=problem.strerror or problem) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OwnCodeError(file=file, why="it is no file")
    with os.fdopen(descriptor, "rb") as opened:
        code = opened.read(_MOST_BYTES + 1)
    if len(code) > _MOST_BYTES:
        raise OwnCodeError(file=file, why=f"it has more than {_MOST_BYTES} bytes")
    return code


def _run(file: str, code: bytes) -> types.ModuleType:
    """The module that it makes."""
    module = types.ModuleType("own_coordinates")
    module.__file__ = os.path.abspath(file)
    # Classes look their module up by its name.
    sys.modules[module.__name__] = module
    try:
        exec(compile(code, file, "exec"), vars(module))
    except (Exception, SystemExit) as problem:
        why = f"running it raised {type(problem).__name__}: {problem}"
        raise OwnCodeError(file=file, why=why) from problem
    return module
