"""Stops, or fails, a program at any one of the system calls by which it changes a store.

A seccomp filter hands every such call of a child process, of all its threads, to this process
before it happens (SECCOMP_RET_USER_NOTIF; no privileges needed, Linux 5.6 or later). Calls that
change something below one directory, the store, are numbered in the order in which they come.
The call with a given number is let through, or fails with an error of choice, or never returns
because the child is killed. So one counter goes over all threads, calls made through ctypes are
seen as well, and one case costs a fork, not the start of an interpreter.

    injector = Injector(["wepystore.cli.add"])
    injector.run(["wepy", "add", ...], root, cwd)                      counts
    injector.run(["wepy", "add", ...], root, cwd, at=7, act="kill")    SIGKILL before the 7th call

Run as a program this module is the process that forks the children: it has one thread and has
imported what they need.
"""

from __future__ import annotations

import array
import ctypes
import errno
import json
import os
import platform
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fcntl import ioctl
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

# Names of calls with their numbers on x86-64 and arm64 (None: it does not exist there), and where
# the paths are that they change: an int is the argument with an open file, a pair is the arguments
# with a directory (None: the working one) and a path.
Place = int | tuple[int | None, int]
CALLS: dict[str, tuple[int | None, int | None, tuple[Place, ...]]] = {
    "write": (1, 64, (0,)),
    "pwrite64": (18, 68, (0,)),
    "writev": (20, 66, (0,)),
    "pwritev": (296, 70, (0,)),
    "pwritev2": (328, 287, (0,)),
    "sendfile": (40, 71, (0,)),
    "copy_file_range": (326, 285, (2,)),
    "fallocate": (285, 47, (0,)),
    "ftruncate": (77, 46, (0,)),
    "truncate": (76, 45, ((None, 0),)),
    "fsync": (74, 82, (0,)),
    "fdatasync": (75, 83, (0,)),
    "sync_file_range": (277, 84, (0,)),
    "syncfs": (306, 267, (0,)),
    "open": (2, None, ((None, 0),)),
    "creat": (85, None, ((None, 0),)),
    "openat": (257, 56, ((0, 1),)),
    "link": (86, None, ((None, 0), (None, 1))),
    "linkat": (265, 37, ((0, 1), (2, 3))),
    "symlink": (88, None, ((None, 1),)),
    "symlinkat": (266, 36, ((1, 2),)),
    "rename": (82, None, ((None, 0), (None, 1))),
    "renameat": (264, 38, ((0, 1), (2, 3))),
    "renameat2": (316, 276, ((0, 1), (2, 3))),
    "unlink": (87, None, ((None, 0),)),
    "unlinkat": (263, 35, ((0, 1),)),
    "rmdir": (84, None, ((None, 0),)),
    "mkdir": (83, None, ((None, 0),)),
    "mkdirat": (258, 34, ((0, 1),)),
    "chmod": (90, None, ((None, 0),)),
    "fchmod": (91, 52, (0,)),
    "fchmodat": (268, 53, ((0, 1),)),
    "utimensat": (280, 88, ((0, 1),)),
}
# Those that only open for reading are none of our business: the argument with the flags.
_FLAGS = {"open": 1, "openat": 2}
# Those that need room on a disk.
ALLOCATING = frozenset(
    name for name in CALLS if name.startswith(("write", "pwrite", "open", "creat", "mkdir", "sym"))
) | {"link", "linkat", "rename", "renameat", "renameat2", "fallocate", "copy_file_range"}
_MACHINES = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}

_PR_SET_NO_NEW_PRIVS, _SET_MODE_FILTER, _NEW_LISTENER = 38, 1, 8
_RET_ALLOW, _RET_USER_NOTIF = 0x7FFF0000, 0x7FC00000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_RECEIVE, _SEND, _CONTINUE = 0xC0502100, 0xC0182101, 1
_NOTIFICATION = struct.Struct("<QIIiIQ6Q")
_RESPONSE = struct.Struct("<QqiI")
_PIDFD_OPEN, _PIDFD_GETFD = 434, 438
_AT_FDCWD = 0xFFFFFF9C
_TIMEOUT_S = 60.0


class Point(NamedTuple):
    """One call that changes the store."""

    call: str
    path: str
    """The last of its paths, relative to the store."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run."""

    status: int | None
    """None if it was killed."""
    out: str
    err: str
    points: tuple[Point, ...]
    hit: tuple[Point, ...] = field(default=())
    """Those at which something was done to it."""


_ROOT = Path(__file__).resolve().parents[2]


def why_not() -> str | None:
    """Why this cannot be done here; None if it can."""
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return f"no numbers of system calls are known for {sys.platform}, {platform.machine()}"
    try:
        actions = Path("/proc/sys/kernel/seccomp/actions_avail").read_text().split()
    except OSError:
        actions = []
    if "user_notif" not in actions:
        return "this kernel has no seccomp notifications"
    test = "from tests.hazard import inject; inject.install_filter()"
    # From the checkout's root, which `-c` puts on the path: tests is not installed.
    done = subprocess.run([sys.executable, "-c", test], cwd=_ROOT, capture_output=True, text=True)
    return f"the kernel refuses a seccomp filter: {done.stderr[-200:]}" if done.returncode else None


# ---- in the child


def install_filter() -> int:
    """From now on the calls above wait for whoever has the returned descriptor."""
    column, architecture, seccomp = _MACHINES[platform.machine()]
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _RET_ALLOW)]
    for name, call in CALLS.items():
        number = call[column]
        if number is None:
            continue
        notify = (_RETURN, 0, 0, _RET_USER_NOTIF)
        program.append((_LOAD, 0, 0, 0))
        if name in _FLAGS:
            # The low half of the 64-bit argument, which begins 16 bytes into the facts.
            flags = (_LOAD, 0, 0, 16 + 8 * _FLAGS[name])
            changing = os.O_CREAT | os.O_TRUNC
            program += [(_EQUAL, 0, 3, number), flags, (_ANY_BIT, 0, 1, changing), notify]
        else:
            program += [(_EQUAL, 0, 1, number), notify]
    program.append((_RETURN, 0, 0, _RET_ALLOW))
    code = b"".join(struct.pack("<HBBI", *instruction) for instruction in program)
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("<HxxxxxxQ", len(program), ctypes.addressof(buffer))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    listener = libc.syscall(seccomp, _SET_MODE_FILTER, _NEW_LISTENER, header)
    if listener < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(listener)


def _child(request: dict[str, Any], channel: socket.socket) -> None:
    """Never returns."""
    status = 70
    try:
        os.chdir(request["cwd"])
        for number, name in ((1, "out"), (2, "err")):
            file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(file, number)
            os.close(file)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        listener = install_filter()
        socket.send_fds(channel, [b"x"], [listener])
        os.close(listener)
        channel.recv(1)
        try:
            status = _perform(request["task"])
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _perform(task: list[str]) -> int:
    if task[0] == "wepy":
        from wepystore.cli.main import entry_point

        sys.argv = task
        entry_point()
        return 0
    module, _, function = task[0].partition(":")
    getattr(import_module(module), function)(*task[1:])
    return 0


# ---- in its parent


class _Supervisor:
    """Decides about the calls of one child."""

    def __init__(self, child: int, listener: int, request: dict[str, Any]) -> None:
        self.child = child
        self.listener = listener
        self.root = os.path.realpath(request["root"])
        self.at, self.act, self.error = request["at"], request["act"], request["error"]
        self.memory = os.open(f"/proc/{child}/mem", os.O_RDONLY | os.O_CLOEXEC)
        column = _MACHINES[platform.machine()][0]
        self.names = {call[column]: name for name, call in CALLS.items()}
        self.points: list[Point] = []
        self.hit: list[Point] = []

    def serve(self) -> None:
        """Until the child, with all its threads, is gone."""
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        until = time.monotonic() + _TIMEOUT_S
        while True:
            events = poll.poll(1000)
            if time.monotonic() > until:
                os.kill(self.child, signal.SIGKILL)
                raise TimeoutError(f"the child hangs after {self.points[-3:]}")
            if not events:
                continue
            if events[0][1] & select.POLLIN:
                self._one()
            elif events[0][1] & (select.POLLHUP | select.POLLERR):
                return

    def _one(self) -> None:
        data = bytearray(_NOTIFICATION.size)
        try:
            ioctl(self.listener, _RECEIVE, data)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                return
            raise
        cookie, thread, _, number, _, _, *arguments = _NOTIFICATION.unpack(data)
        try:
            value, error, flags = self._decide(self.names[number], thread, arguments)
        except (FileNotFoundError, ProcessLookupError):
            return  # It was killed.
        try:
            ioctl(self.listener, _SEND, bytearray(_RESPONSE.pack(cookie, value, error, flags)))
        except OSError as failure:
            if failure.errno != errno.ENOENT:
                raise

    def _decide(self, name: str, thread: int, arguments: list[int]) -> tuple[int, int, int]:
        go_on = (0, 0, _CONTINUE)
        path = self._inside(name, thread, arguments)
        if path is None:
            return go_on
        point = Point(name, path)
        self.points.append(point)
        count = len(self.points)
        if self.act == "count" or count < self.at:
            return go_on
        lasting = self.act in ("dead", "full")
        if count > self.at and not lasting:
            return go_on
        if self.act == "full" and name not in ALLOCATING:
            return go_on
        first = not self.hit
        self.hit.append(point)
        if self.act in ("torn", "full", "short") and first:
            written = self._half(name, arguments)
            if self.act == "short":
                return (written, 0, 0) if written else go_on
            if written and self.act == "full":
                return written, 0, 0
        if self.act in ("kill", "torn"):
            os.kill(self.child, signal.SIGKILL)
            raise ProcessLookupError
        return 0, -self.error, 0

    def _inside(self, name: str, thread: int, arguments: list[int]) -> str | None:
        """The last path of a call that is below the root, relative to it; None: none is."""
        found = None
        for place in CALLS[name][2]:
            if isinstance(place, int):
                path = self._link(f"/proc/{thread}/fd/{arguments[place] & 0xFFFFFFFF}")
            else:
                path = self._path(thread, arguments, *place)
            if path == self.root or path.startswith(self.root + "/"):
                found = os.path.relpath(path, self.root)
        return found

    def _path(self, thread: int, arguments: list[int], place: int | None, text: int) -> str:
        directory = _AT_FDCWD if place is None else arguments[place] & 0xFFFFFFFF
        at = "cwd" if directory == _AT_FDCWD else f"fd/{directory}"
        if not arguments[text]:
            return self._link(f"/proc/{thread}/{at}")
        name = os.fsdecode(self._string(arguments[text]))
        if not name.startswith("/"):
            name = os.path.join(self._link(f"/proc/{thread}/{at}"), name)
        parent, last = os.path.split(os.path.normpath(name))
        return os.path.join(os.path.realpath(parent), last)

    def _link(self, path: str) -> str:
        try:
            return os.readlink(path)
        except FileNotFoundError:
            return ""  # A descriptor that is not open: the call will fail.

    def _string(self, address: int) -> bytes:
        found = b""
        while b"\0" not in found:
            # Not over the end of a page: the next one need not be there.
            size = 4096 - (address + len(found)) % 4096
            more = os.pread(self.memory, size, address + len(found))
            if not more:
                raise ProcessLookupError
            found += more
        return found.partition(b"\0")[0]

    def _half(self, name: str, arguments: list[int]) -> int:
        """Do the first half of a write; returns how many bytes that was."""
        if name == "write":
            pieces = [(arguments[1], arguments[2])]
        elif name == "writev":
            table = os.pread(self.memory, 16 * arguments[2], arguments[1])
            pieces = list(struct.iter_unpack("<QQ", table))
        else:
            return 0
        data = b"".join(os.pread(self.memory, size, start) for start, size in pieces)
        half = data[: len(data) // 2]
        libc = ctypes.CDLL(None, use_errno=True)
        process = libc.syscall(_PIDFD_OPEN, self.child, 0)
        file = libc.syscall(_PIDFD_GETFD, process, arguments[0] & 0xFFFFFFFF, 0)
        try:
            return os.write(file, half) if half else 0
        finally:
            os.close(file)
            os.close(process)


def _serve_one(request: dict[str, Any]) -> dict[str, Any]:
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        ours.close()
        _child(request, theirs)
    theirs.close()
    with ours:
        message, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        if not message:
            os.waitpid(child, 0)
            raise RuntimeError(Path(request["err"]).read_text())
        listener = array.array("i", descriptors)[0]
        supervisor = _Supervisor(child, listener, request)
        ours.send(b"x")
        try:
            supervisor.serve()
        finally:
            os.close(listener)
            os.close(supervisor.memory)
            _, status = os.waitpid(child, 0)
    ended = os.waitstatus_to_exitcode(status)
    return {
        "status": ended if ended >= 0 else None,
        "points": supervisor.points,
        "hit": supervisor.hit,
    }


def serve(modules: Sequence[str]) -> None:
    """Answer requests, one JSON object a line, until there are no more."""
    for module in modules:
        import_module(module)
    # What is forked from several threads may find a lock taken for ever.
    assert len(os.listdir("/proc/self/task")) == 1
    for line in sys.stdin:
        try:
            answer = _serve_one(json.loads(line))
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


class Injector:
    """The process that forks, as seen from a test; end it with `close`."""

    def __init__(
        self, modules: Sequence[str], folder: Path, environment: dict[str, str] | None = None
    ) -> None:
        one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._out, self._err = folder / "out", folder / "err"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hazard.inject", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**(environment or dict(os.environ)), **one_thread},
        )

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(
        self,
        task: Sequence[str | os.PathLike[str]],
        root: Path,
        cwd: Path,
        at: int = 0,
        act: str = "count",
        error: int = 0,
    ) -> Outcome:
        """Run ["wepy", ...] or ["module:function", argument, ...] in a child.

        at : number, from 1, of the call that something is done to.
        act : "count" (nothing); "kill" (before the call); "torn" (the same, but the first half of
            a write is done); "short" (half of a write is done, and it says so); "fail" (with the
            error); "dead" (this call and all after it fail); "full" (the same, but only those
            that need room, and the first may do half of it).
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        request = {
            "task": [os.fspath(word) for word in task],
            "root": str(root),
            "cwd": str(cwd),
            "at": at,
            "act": act,
            "error": error,
            "out": str(self._out),
            "err": str(self._err),
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "failed" in answer:
            raise RuntimeError(answer["failed"])
        return Outcome(
            answer["status"],
            self._out.read_text(),
            self._err.read_text(),
            tuple(Point(*point) for point in answer["points"]),
            tuple(Point(*point) for point in answer["hit"]),
        )


if __name__ == "__main__":
    serve(sys.argv[1:])
