"""Which pickles a user trusts: those made here, and those the user said so of.

Loading a pickle runs whatever it says, with all that its user may do. What is
trusted is therefore exactly its bytes, by their SHA-256; not a name, a place, a
store or an MD5. The list is a file in the user's own state directory.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shlex
import stat
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from wepystore.errors import FailedError, UntrustedError
from wepystore.store.names import is_sha256
from wepystore.store.pickles.pickled import Pickled

#: So many parts are named in a message.
_NAMED = 4


class UntrustedPickleError(UntrustedError):
    """{what} would run code that was neither made here nor trusted: {parts}; see what it would do
    with '{to_inspect}', and if you trust whoever made it: '{to_trust}'"""


class TrustFileError(FailedError):
    """{file}: the list of trusted pickles cannot be {done}: {problem}"""


class Asked(NamedTuple):
    """Something that is about to be loaded: what it is, how a user names it to trust it,
    and its pickled parts."""

    what: str
    how: str
    parts: Sequence[Pickled]


def location(environ: Mapping[str, str]) -> Path:
    """Where a user's list is: $WEPY_TRUST, else wepystore/trusted in $XDG_STATE_HOME, whose
    default is ~/.local/state."""
    if environ.get("WEPY_TRUST"):
        return Path(environ["WEPY_TRUST"])
    state = environ.get("XDG_STATE_HOME", "")
    # The XDG specification wants relative paths to be passed over.
    root = Path(state) if os.path.isabs(state) else Path("~/.local/state").expanduser()
    return root / "wepystore" / "trusted"


def arguments(*words: object) -> str:
    """Words of a command line, as a message shows them; paths that look like options as ./-x."""
    texts = [f"./{word}" if str(word).startswith("-") else str(word) for word in words]
    return " ".join(map(shlex.quote, texts))


class Trust:
    """A list of trusted pickles in a file.

    The file has one SHA-256 a line; a `-` before one takes it back. It is only
    ever appended to, with one write for all lines, so any number of processes
    may do so at once; the last word counts. It is made with mode 600, and one
    that others could have written to is refused.

    Parameters
    ----------
    file : Path
        Need not be there: then nothing is trusted.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def trusted(self) -> frozenset[str]:
        """The SHA-256 of every trusted pickle. Raises TrustFileError."""
        try:
            with open(_opened(self.file, os.O_RDONLY), "rb") as stream:
                self._check(os.fstat(stream.fileno()))
                data = stream.read()
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()
        except OSError as problem:
            raise TrustFileError(
                file=self.file, done="read", problem=problem.strerror or problem
            ) from None
        known: set[str] = set()
        for line in data.decode("ascii", "replace").splitlines():
            # What is no SHA-256 is a line that a crash or a full disk cut off.
            if is_sha256(line):
                known.add(line)
            elif line.startswith("-") and is_sha256(line[1:]):
                known.discard(line[1:])
        return frozenset(known)

    def _check(self, status: os.stat_result) -> None:
        problem = ""
        if status.st_uid not in (os.geteuid(), 0):
            problem = "it belongs to somebody else; move it away"
        elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            problem = "others may write to it, so it proves nothing; look into it, and chmod 600 it"
        if problem:
            raise TrustFileError(file=self.file, done="used", problem=problem)

    def add(self, hashes: Iterable[str]) -> list[str]:
        """Trust pickles; those that were not trusted before. Raises TrustFileError."""
        known = self.trusted()
        new = [sha256 for sha256 in dict.fromkeys(hashes) if sha256 not in known]
        self._append(new)
        return new

    def revoke(self, hashes: Iterable[str]) -> list[str]:
        """Trust pickles no longer; those that were trusted before. Raises TrustFileError."""
        known = self.trusted()
        old = [sha256 for sha256 in dict.fromkeys(hashes) if sha256 in known]
        self._append([f"-{sha256}" for sha256 in old])
        return old

    def _append(self, lines: Sequence[str]) -> None:
        if not lines:
            return
        data = "".join(f"{line}\n" for line in lines).encode("ascii")
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = _opened(self.file, os.O_RDWR | os.O_APPEND | os.O_CREAT)
            try:
                # A file's size can be seen before the bytes behind it: without the lock the
                # last byte of another's line would at times be taken for a torn one. Where
                # there are no locks, an empty line is the worst that comes of it.
                with contextlib.suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    data = b"\n" + data
                if os.write(descriptor, data) != len(data):
                    raise OSError("the disk is full")
            finally:
                os.close(descriptor)
        except OSError as problem:
            raise TrustFileError(
                file=self.file, done="written", problem=problem.strerror or problem
            ) from None

    def check(self, parts: Sequence[Pickled]) -> None:
        """Raise UntrustedPickleError unless every one of the parts is trusted."""
        self.require([Asked("this entry", "ORCH HASH", parts)])

    def require(self, asked: Sequence[Asked]) -> None:
        """Raise UntrustedPickleError unless every pickle in what is asked for is trusted."""
        if not any(each.parts for each in asked):
            return
        known = self.trusted()
        for each in asked:
            unknown = [part for part in each.parts if part.ref.sha256 not in known]
            if unknown:
                shown = ", ".join(f"{part.where} ({part.of})" for part in unknown[:_NAMED])
                more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
                raise UntrustedPickleError(what=each.what, parts=shown + more, how=each.how)


def _opened(file: Path, flags: int) -> int:
    """A descriptor of a plain file, or of a link to one: a pipe would be waited for for ever."""
    descriptor = os.open(file, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no file")
    return descriptor


def users_own() -> Trust:
    """The list of whoever runs this process."""
    return Trust(location(os.environ))


Listener = Callable[[str], None]


def noting(trust: Callable[[], Trust], failed: Callable[[str], None]) -> Listener:
    """What trusts the pickles that it is told of.

    Parameters
    ----------
    trust : callable
        The list to note it in, asked for each time.
    failed : callable
        Told why it could not be noted, once. The work goes on: all that is lost is
        that the user will be asked later.
    """
    told = False
    # Each is read and written once.
    noted: set[tuple[Path, str]] = set()

    def listener(sha256: str) -> None:
        nonlocal told
        mine = trust()
        if (mine.file, sha256) in noted:
            return
        try:
            mine.add([sha256])
            noted.add((mine.file, sha256))
        except TrustFileError as problem:
            if not told:
                told = True
                failed(str(problem))

    return listener


#: Pickling happens deep inside records, so there is one for the process. What a user's own
#: program pickles, that user may run again without being asked.
_listener: Listener = noting(
    users_own, lambda why: warnings.warn(why, RuntimeWarning, stacklevel=2)
)


def tell(listener: Listener) -> Listener:
    """From now on call `listener(sha256)` for every pickle that this process makes, in place of
    the one before, which is returned. It must not raise."""
    global _listener
    before, _listener = _listener, listener
    return before


def made_here(pickle: bytes) -> None:
    """This was made by this process out of its own objects.

    Called before the pickle has its name in a store, so that no crash can leave a store behind
    whose maker is not trusted.
    """
    _listener(hashlib.sha256(pickle).hexdigest())
