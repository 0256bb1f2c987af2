"""A worker process of `ProcessMapper`.

It is a fresh interpreter (a forked one may hang inside OpenMM), it runs no
`__main__` of its parent's, and it lives no longer than the socket to its parent.
"""

from __future__ import annotations

import contextlib
import pickle
import socket
import sys
import time
import traceback
from typing import Any

from wepystore.engine import progress
from wepystore.engine.mappers import lifeline
from wepystore.engine.mappers.child import Slot
from wepystore.engine.mappers.pack import pack_answers, unpack_tasks
from wepystore.engine.mappers.segment import (
    Done,
    Failed,
    Task,
    drop_contexts,
    failed,
    run_task,
    said,
)
from wepystore.engine.mappers.wire import Channel

#: Results are kept back no longer than this, s: one message for many tiny segments.
_KEEP_BACK_S = 0.02


def serve(fd: int, slot_fd: int, life_fd: int) -> None:
    """Answer batches of segments from the socket `fd` until it closes."""
    lifeline.be_killed(life_fd)
    slot = Slot(slot_fd)
    progress.send_to(slot.sign)
    channel = Channel(socket.socket(fileno=fd))
    # A broken pipe means that the parent is gone: nobody is left to tell. A runner may have seen
    # to it that SIGINT, else ignored, raises: the parent sees the end, and nobody a traceback.
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        sys.path[:], payload, properties = channel.receive()
        try:
            segment_func = pickle.loads(payload)
        except BaseException as problem:
            channel.queue(("failed", said(problem)))
            return
        channel.queue(("ready", None))
        while True:
            try:
                message = channel.receive()
                if message is None:
                    return
                batch = unpack_tasks(message)
            except (EOFError, OSError):
                return
            except Exception as problem:
                what = f"the walker cannot be read in a worker: {said(problem)}"
                channel.queue(("unreadable", (what, traceback.format_exc())))
                continue
            _run(segment_func, batch, properties, channel, slot)


def _run(
    segment_func: Any, batch: list[Task], properties: dict[str, str], channel: Channel, slot: Slot
) -> None:
    """Answer every task of a batch, up to the first that fails."""
    answers: list[Done | Failed] = []
    sent = time.monotonic()
    for task in batch:
        slot.begin(task.index)
        answers.append(run_task(segment_func, task, properties))
        if isinstance(answers[-1], Failed):
            drop_contexts(segment_func)
            break
        if time.monotonic() - sent > _KEEP_BACK_S:
            _send(channel, answers)
            answers = []
            sent = time.monotonic()
    if answers:
        _send(channel, answers)


def _send(channel: Channel, answers: list[Done | Failed]) -> None:
    try:
        channel.queue(("answers", pack_answers(answers)))
    except (EOFError, OSError):
        raise
    except Exception:
        for k, answer in enumerate(answers):
            try:
                pickle.dumps(answer)
            except Exception as problem:
                unsendable = [*answers[:k], failed(answer.index, problem)]
                channel.queue(("answers", pack_answers(unsendable)))
                return
