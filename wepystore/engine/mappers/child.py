"""A worker's process as its parent sees it."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

_PACKAGE_PARENT = str(Path(__file__).resolve().parents[3])
#: One core for each worker: they are the parallelism.
ONE_THREAD = dict.fromkeys(
    ("OPENMM_CPU_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
#: A batch system signals every process of a job, and what that means is for the parent to decide.
_IGNORED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGTTOU")
_SLOT = struct.Struct("<qq")
_SIGNS = struct.Struct("<q")


class Slot:
    """Some bytes shared by parent and worker: what the worker does, readable when it is dead.

    How many segments it has begun, the index of the last one, and how many signs of life it
    has given from within segments (engine/progress.py).
    """

    N_BYTES = _SLOT.size + _SIGNS.size

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, self.N_BYTES)
        self._count = self._n_signs = 0

    @staticmethod
    def open_file() -> int:
        """The descriptor of a file without a name that can hold a slot."""
        fd = os.memfd_create("wepystore-worker")
        os.truncate(fd, Slot.N_BYTES)
        return fd

    def begin(self, index: int) -> None:
        """Worker: this segment is begun."""
        self._count += 1
        _SLOT.pack_into(self._map, 0, self._count, index)

    def sign(self) -> None:
        """Worker: it is getting on with its segment."""
        self._n_signs += 1
        _SIGNS.pack_into(self._map, _SLOT.size, self._n_signs)

    def signs(self) -> int:
        """Parent: how many signs there were."""
        (n_signs,) = _SIGNS.unpack_from(self._map, _SLOT.size)
        return int(n_signs)

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
        Its function `serve` is called with three descriptors: of the socket, the slot, and a
        pipe that closes when this process ends.
    env : dict
        Added to this process's environment.
    """

    def __init__(self, module: str, env: dict[str, str] | None = None) -> None:
        self.connection, theirs = socket.socketpair()
        slot_fd = Slot.open_file()
        life_fd, self._life_fd = os.pipe()
        try:
            fds = (theirs.fileno(), slot_fd, life_fd)
            code = (
                # What came until now was blocked (below), and is dropped.
                "import signal as s\n"
                f"n = [getattr(s, each) for each in {_IGNORED}]\n"
                # By a handler: what is ignored stays ignored in programs that a runner starts, and
                # nobody could end these by SIGTERM, as multiprocessing's Pool does.
                "for each in n: s.signal(each, lambda *a: None)\n"
                "s.pthread_sigmask(s.SIG_UNBLOCK, n)\n"
                f"import sys; sys.path.insert(0, {_PACKAGE_PARENT!r})\n"
                # Imports take seconds on a busy machine, and a parent may die meanwhile.
                "from wepystore.engine.mappers.lifeline import hold\n"
                f"hold{fds}\n"
                f"from {module} import serve; serve{fds}"
            )
            # An interpreter that has only just begun would die of them, or show where it was.
            before = signal.pthread_sigmask(
                signal.SIG_BLOCK, {getattr(signal, each) for each in _IGNORED}
            )
            try:
                self._popen = subprocess.Popen(
                    # -P: else whatever lies in the current directory (a signal.py among data that
                    # somebody sent) would be imported before the standard library. What this
                    # process started from there is in its sys.path, which the worker is sent.
                    [sys.executable, "-P", "-c", code],
                    pass_fds=fds,
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, **ONE_THREAD, **(env or {})},
                    # Out of the terminal's foreground group, and a group that can be killed whole:
                    # a runner may start programs of its own.
                    process_group=0,
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            self.slot = Slot(slot_fd)
        finally:
            theirs.close()
            os.close(slot_fd)
            os.close(life_fd)

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

    def reap(self, wait_s: float) -> None:
        """Wait for its end, at most so long; then, or if it leaves others behind, kill them."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if wait_s and self._popen.returncode is None and not self.ended():
                self._popen.wait(wait_s)
        if self._popen.returncode is None:
            # Not reaped yet, so the number still means this group.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, 9)
            self._popen.wait()
        self.slot.close()
        if self._life_fd >= 0:
            os.close(self._life_fd)
            self._life_fd = -1
