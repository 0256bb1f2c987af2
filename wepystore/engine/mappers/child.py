"""A worker's process as its parent sees it."""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

_PACKAGE_PARENT = str(Path(__file__).resolve().parents[3])
#: One core for each worker: they are the parallelism.
ONE_THREAD = dict.fromkeys(
    ("OPENMM_CPU_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
_SLOT = struct.Struct("<qq")


class Slot:
    """Sixteen bytes shared by parent and worker: what the worker does, readable when it is dead.

    How many segments it has begun, and the index of the last one.
    """

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, _SLOT.size)
        self._count = 0

    @staticmethod
    def open_file() -> int:
        """The descriptor of a file without a name that can hold a slot."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("wepystore-worker")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.truncate(fd, _SLOT.size)
        return fd

    def begin(self, index: int) -> None:
        """Worker: this segment is begun."""
        self._count += 1
        _SLOT.pack_into(self._map, 0, self._count, index)

    def read(self) -> tuple[int, int]:
        """Parent: number of segments begun, index of the last one."""
        count, index = _SLOT.unpack_from(self._map)
        return count, index

    def close(self) -> None:
        self._map.close()


class Child:
    """A fresh interpreter that lives no longer than this end of its socket.

    Parameters
    ----------
    module : str
        Its function `serve(socket descriptor, slot's descriptor)` is called.
    env : dict
        Added to this process's environment.
    """

    def __init__(self, module: str, env: dict[str, str] | None = None) -> None:
        self.connection, theirs = socket.socketpair()
        slot_fd = Slot.open_file()
        try:
            code = (
                # Before anything slow: a batch system signals every process of a job, and what
                # that means is for the parent to decide.
                "import signal as s\n"
                "for n in (s.SIGINT, s.SIGTERM, s.SIGHUP, s.SIGUSR1, s.SIGUSR2, s.SIGTTOU):"
                " s.signal(n, s.SIG_IGN)\n"
                f"import sys; sys.path.insert(0, {_PACKAGE_PARENT!r})\n"
                f"from {module} import serve; serve({theirs.fileno()}, {slot_fd})"
            )
            self._popen = subprocess.Popen(
                [sys.executable, "-c", code],
                pass_fds=[theirs.fileno(), slot_fd],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **ONE_THREAD, **(env or {})},
                # Out of the terminal's foreground group, and a group that can be killed whole:
                # a runner may start programs of its own.
                process_group=0,
            )
            self.slot = Slot(slot_fd)
        finally:
            theirs.close()
            os.close(slot_fd)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def status(self) -> int | None:
        """What it ended with, the number of a signal negative; None while it is not reaped."""
        return self._popen.returncode

    def ended(self) -> bool:
        """Whether it is dead; it is not reaped."""
        return self._popen.returncode is not None or self._waitable(os.WEXITED)

    def stopped(self) -> bool:
        """Whether it stands still by a signal (SIGSTOP, SIGTSTP)."""
        return self._popen.returncode is None and self._waitable(os.WSTOPPED)

    def _waitable(self, kind: int) -> bool:
        try:
            return os.waitid(os.P_PID, self.pid, kind | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return False

    def cpu_seconds(self) -> float | None:
        """Processor time of it and of its programs that ended, s; None where /proc is missing."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_bytes()
        except OSError:
            return None
        fields = stat.rpartition(b")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def reap(self, patience_s: float) -> None:
        """Wait for its end, at most so long; then, or if it leaves others behind, kill them."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if patience_s and self._popen.returncode is None and not self.ended():
                self._popen.wait(patience_s)
        if self._popen.returncode is None:
            # Not reaped yet, so the number still means this group.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, 9)
            self._popen.wait()
        self.slot.close()
