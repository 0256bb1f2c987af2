"""A worker ends with its parent, whatever either of them is doing."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable

#: From <sys/prctl.h>: a signal for this process when its parent dies.
_PR_SET_PDEATHSIG = 1


def hold(fd: int, last: Callable[[], None] | None = None) -> None:
    """End this process and its group, in the middle of a segment too, when `fd` hangs up.

    The caller leads its process group. `last` is called before.
    """
    _be_woken()
    thread = threading.Thread(target=_leave_with_parent, args=(fd, last, os.getppid()), daemon=True)
    thread.start()


def _be_woken() -> None:
    # A worker that was stopped could not leave. Not SIGKILL: that comes when the parent's
    # *thread* that made this process ends, and programs of a runner would be left behind.
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)


def _leave_with_parent(fd: int, last: Callable[[], None] | None, parent: int) -> None:
    poll = select.poll()
    poll.register(fd, 0)  # A hang-up is reported always, and nothing else is of interest.
    # A program that the parent forked may hold its end open: so look at the parent as well.
    while not poll.poll(1000) and os.getppid() == parent:
        pass
    if last is not None:
        with contextlib.suppress(Exception):
            last()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)
