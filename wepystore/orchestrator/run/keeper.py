"""How the memory of a user's own reporters outlives a session of a job."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from wepystore.records import reporter_state
from wepystore.records.trust import Trust, made_here

_NONE: Mapping[str, str] = {}


class TrustedKeeper:
    """Turns a reporter into bytes and back, and lets nobody else's bytes in (S9).

    Parameters
    ----------
    trust : Trust or None
        What may be loaded; None leaves that to the caller.
    """

    def __init__(self, trust: Trust | None) -> None:
        self._trust = trust

    def dumps(self, reporter: Any, known: Mapping[str, Any]) -> bytes:
        """As records.reporter_state.dumps."""
        return reporter_state.dumps(reporter, known)

    def made(self, data: bytes) -> None:
        """`data`, of this process's own making, is about to be kept."""
        made_here(data)

    def admit(self, data: bytes) -> None:
        """Raise ValueError for bytes that were made elsewhere."""
        sha256 = hashlib.sha256(data).hexdigest()
        if self._trust is not None and sha256 not in self._trust.trusted():
            raise ValueError("it was not made by you, here")

    def loads(self, data: bytes, known: Mapping[str, Any], moved: Mapping[str, str] = _NONE) -> Any:
        """The reporter, of bytes that were admitted. Raises as its own hooks do.

        Parameters
        ----------
        moved : mapping of str to str
            Where files are now that it held open.
        """
        self.admit(data)
        return reporter_state.loads(data, {**known, reporter_state.MOVED: moved})
