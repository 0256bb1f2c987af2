"""Runners that misbehave in worker processes, and ways to see that no process is left."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Workers import this module to unpickle a runner: OpenMM is not among what it needs.
from wepystore.engine import progress
from wepystore.engine.component import Component
from wepystore.engine.walker import Walker
from wepystore.errors import FailedError


class CustomError(FailedError):
    """walker {name} is {how}"""


def crash() -> None:
    """End as a program with a bad pointer does."""
    ctypes.string_at(0)


class Adder(Component):
    """A runner whose walkers are numbers, and that can be told to misbehave.

    `order` is what to do; with a `mark`, the path of a file, it is done only by
    the first who comes, and the file then holds that process's id.
    """

    def run_segment(
        self,
        walker: Walker,
        length: int,
        *,
        order: str = "",
        mark: str = "",
        delay: float = 0.0,
        **kwargs: Any,
    ) -> Walker:
        time.sleep(delay)
        if order and (not mark or claimed(mark)):
            self._obey(order)
        if order == "pid":
            return Walker(os.getpid(), walker.weight)
        return Walker(walker.state + length, walker.weight)

    def _obey(self, order: str) -> None:
        if order == "raise":
            raise ZeroDivisionError("on request")
        elif order == "own":
            raise CustomError(name="w", how="odd")
        elif order == "interrupt":
            raise KeyboardInterrupt
        elif order == "leave":
            sys.exit("on request")
        elif order == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif order == "exit":
            os._exit(3)
        elif order == "crash":
            crash()
        elif order == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif order == "hang":
            time.sleep(1000)
        elif order == "program":
            subprocess.run(["sleep", "1000"])


class Terminating(Adder):
    """A runner whose walkers become what a program of its own ends with at SIGTERM."""

    def run_segment(self, walker: Walker, length: int, **keywords: Any) -> Walker:
        with subprocess.Popen(["sleep", "60"]) as program:
            program.terminate()
        return Walker(program.returncode, walker.weight)


class Counter(Component):
    """A runner that says in which process it is, and how many segments this copy of it has run."""

    def __init__(self) -> None:
        self.n_run = 0

    def run_segment(self, walker: Walker, length: int, **kwargs: Any) -> Walker:
        time.sleep(0.05)
        self.n_run += 1
        threads = os.environ.get("OPENMM_CPU_THREADS")
        return Walker((os.getpid(), self.n_run, threads), walker.weight)


class Spoiled(Adder):
    """A runner whose context is spoiled by walker 1, for all that come after it."""

    spoiled = False

    def drop_contexts(self) -> None:
        self.spoiled = False

    def run_segment(self, walker: Walker, length: int, **kwargs: Any) -> Walker:
        if self.spoiled:
            raise FloatingPointError("the context is spoiled")
        self.spoiled = walker.state == 1
        return Walker(walker.state + length, walker.weight)


class Patient(Adder):
    """A runner whose segments, where there is a `mark`, wait for a file of that name; another one,
    with the process's id behind it, shows that they have begun."""

    def run_segment(self, walker: Walker, length: int, *, mark: str = "", **kwargs: Any) -> Walker:
        if mark:
            Path(f"{mark}-{os.getpid()}").touch()
            while not os.path.exists(mark):
                time.sleep(0.02)
        return super().run_segment(walker, length, **kwargs)


class Teller(Adder):
    """A runner that says what platform properties its segments run with."""

    def run_segment(self, walker: Walker, length: int, **keywords: Any) -> Walker:
        super().run_segment(walker, length, delay=0.05)
        return Walker(dict(keywords.get("platform_kwargs") or {}), walker.weight)


class Signing(Adder):
    """A runner that gives signs of life, at first."""

    def run_segment(self, walker: Walker, length: int, **keywords: Any) -> Walker:
        for _ in range(length):
            time.sleep(0.1)
            progress.sign()
        return super().run_segment(walker, length, **keywords)


class Unloadable:
    """A runner that ends the process that opens it."""

    def run_segment(self, walker: Walker, length: int, **keywords: Any) -> Walker:
        return walker

    def __reduce__(self) -> Any:
        return (os._exit, (4,))


class GaveUp(BaseException):
    """What no `except Exception` holds up."""


def give_up() -> None:
    """End whatever is being done."""
    raise GaveUp


class Unopenable(Unloadable):
    """A runner that breaks off the opening of it, and leaves the process alive."""

    def __reduce__(self) -> Any:
        return (give_up, ())


def claimed(mark: str) -> bool:
    """Whether this process is the first to claim a file."""
    try:
        with open(mark, "x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True


def numbers(n: int) -> list[Walker]:
    """Walkers whose states are 0 to n - 1."""
    return [Walker(k, 1 / n) for k in range(n)]


def orders(n: int, **special: str) -> list[str]:
    """`orders(3, w1="kill")` is "" for all walkers but the second."""
    return [special.get(f"w{k}", "") for k in range(n)]


def stat_of(pid: int | str) -> list[str] | None:
    """State, parent's id, group and so on of a process; None if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def children_of(pid: int) -> set[int]:
    """Ids of the processes that a process has started and that are not gone."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = stat_of(entry)
            if stat is not None and int(stat[1]) == pid:
                found.add(int(entry))
    return found


def alive(pid: int) -> bool:
    """Neither gone nor a zombie that waits for an init process a container may lack."""
    stat = stat_of(pid)
    return stat is not None and stat[0] not in "ZX"


def seconds_until_gone(pids: Iterable[int], guard_s: float = 300.0) -> float:
    """How long it takes until none of these processes runs any more; fails after `guard_s`."""
    begun = time.monotonic()
    left = [pid for pid in pids if alive(pid)]
    while left:
        assert time.monotonic() - begun < guard_s, f"still there: {left}"
        time.sleep(0.01)
        left = [pid for pid in left if alive(pid)]
    return time.monotonic() - begun
