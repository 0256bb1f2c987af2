"""A worker ends with its parent, whatever either of them is doing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import threading

#: From <sys/prctl.h>: a signal for this process when its parent dies.
_PR_SET_PDEATHSIG = 1
#: From <linux/fcntl.h>: the signal that says that something happened to a file.
_F_SETSIG = 10


def hold(fd: int, *others: int) -> None:
    """End this process and its group, in the middle of a segment too, when `fd` hangs up.

    To be called before anything that takes long, such as imports; the caller leads its process
    group. No program that it starts will inherit `fd` and `others`: it would keep the
    parent from seeing this end.
    """
    for each in (fd, *others):
        os.set_inheritable(each, False)
    _be_woken()
    thread = threading.Thread(target=_leave_with_parent, args=(fd, os.getppid()), daemon=True)
    thread.start()


def be_killed(fd: int) -> None:
    """Have the kernel kill this process and its group when the other end of the pipe `fd` closes.

    That needs no thread of this process, and so no lock that a runner may hold for as long as
    its segment takes.
    """
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(fd, _F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)


def _be_woken() -> None:
    # A worker that was stopped could not leave. Not SIGKILL: that comes when the parent's
    # *thread* that made this process ends, and programs of a runner would be left behind.
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)


def _leave_with_parent(fd: int, parent: int) -> None:
    poll = select.poll()
    poll.register(fd, 0)  # A hang-up is reported always, and nothing else is of interest.
    # A program that the parent forked may hold its end open: so look at the parent as well.
    while not poll.poll(1000) and os.getppid() == parent:
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)
