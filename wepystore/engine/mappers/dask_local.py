"""A worker of dask as `DaskMapper` sees it: a process of ours, or somebody else's."""

from __future__ import annotations

import contextlib
from typing import Any

from wepystore.engine.mappers.child import Child
from wepystore.engine.mappers.patience import Watch
from wepystore.engine.mappers.wire import Channel


class Elsewhere:
    """A worker that is no process of ours: nothing is known of it."""

    def stopped(self) -> bool:
        return False

    def cpu_seconds(self) -> float | None:
        return None


class Local:
    """A worker process of the local cluster.

    Attributes
    ----------
    address : str or None
        None until it has joined the cluster.
    """

    def __init__(self, number: int, greeting: tuple[Any, ...], n_starts: int, now: float) -> None:
        self.number = number
        self.n_starts = n_starts
        self.address: str | None = None
        self.watch = Watch(now)
        self.child = Child("wepystore.engine.mappers.dask_worker")
        self.channel = Channel(self.child.connection)
        self.child.connection.setblocking(False)
        with contextlib.suppress(OSError):
            self.channel.queue(greeting)

    def listen(self) -> str | None:
        """Take note of its address when it comes; what is wrong with it, if something is."""
        with contextlib.suppress(EOFError):
            self.channel.pump()
            for word, content in self.channel.messages():
                if word == "failed":
                    return str(content)
                self.address = content
        return "it left without a word" if self.child.ended() else None

    def end(self, patience_s: float = 0.0) -> None:
        self.channel.close()
        self.child.reap(patience_s)
