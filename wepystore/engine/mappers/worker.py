"""A worker process of `ProcessMapper`: `python -c … serve(FD)`.

It is a fresh interpreter (a forked one may hang inside OpenMM), it runs no
`__main__` of its parent's, and it lives no longer than the pipe to its parent.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from wepystore.errors import WepystoreError


def serve(fd: int) -> None:
    """Answer batches of segments from the connection on `fd` until it closes."""
    # Ctrl-C goes to the whole foreground group, but only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection: Connection[Any, Any] = Connection(fd)
    threading.Thread(target=_leave_with_parent, args=(fd,), daemon=True).start()
    try:
        sys.path[:], payload = connection.recv()
        segment_func = pickle.loads(payload)
    except EOFError:
        return
    except Exception as problem:
        connection.send(("failed", f"{type(problem).__name__}: {problem}"))
        return
    connection.send(("ready", None))
    # A broken pipe means that the parent is gone: nobody is left to tell.
    with contextlib.suppress(EOFError, OSError):
        while (batch := connection.recv()) is not None:
            connection.send(_run(segment_func, batch))


def _leave_with_parent(fd: int) -> None:
    """End this process, in the middle of a segment too, when the other end of the pipe closes."""
    poll = select.poll()
    poll.register(fd, 0)  # A hang-up is reported always, and nothing else is of interest.
    poll.poll()
    os._exit(0)


def _run(segment_func: Any, batch: list[tuple[int, Any, int, dict[str, Any]]]) -> tuple[str, Any]:
    done = []
    for index, walker, length, keywords in batch:
        begun = time.perf_counter()
        try:
            result = segment_func(walker, length, **keywords)
        except WepystoreError as problem:
            return "error", (index, problem, traceback.format_exc())
        except Exception as problem:
            return "error", (index, f"{type(problem).__name__}: {problem}", traceback.format_exc())
        done.append((index, result, time.perf_counter() - begun))
    return "done", done
