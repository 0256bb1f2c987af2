"""An interpreter that is started once, and forked for each program that a test wants to run in one.

Hundreds of programs are run here, and most of what each of them did was to import numpy, OpenMM,
pandas and the like, and this package. That is done once, before the fork; nothing of wepy is
imported, and nothing called. What a program can tell is that these modules are there: what is about
starting an interpreter, its signals or its imports starts one itself.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NoReturn

#: Long after any of them should have ended.
PATIENCE_S = 600
#: What takes long to import: of what this package needs, and of itself.
MODULES = (
    *("numpy", "openmm.app", "h5py", "networkx", "rich.console", "dill"),
    *("wepystore.api", "wepystore.cli.run"),
)


class Warm:
    """Runs programs in forks of one interpreter.

    Parameters
    ----------
    python : path of the interpreter
    options : its own, such as ``-W ignore``
    environment : what it is started with; PYTHONHASHSEED and what libraries read when they are
        imported is that of every program
    modules : names of those to import beforehand
    """

    def __init__(
        self,
        python: str,
        environment: Mapping[str, str],
        options: Sequence[str] = (),
        modules: Sequence[str] = MODULES,
    ) -> None:
        self._server = subprocess.Popen(
            [python, *options, __file__, *modules],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._server.communicate)

    def run(
        self, words: Sequence[str], environment: Mapping[str, str], cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """What ``python WORDS`` did: `words` are a script or ``-m module`` or ``-c code``, and its
        arguments."""
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            order = {
                "words": list(words),
                "environment": dict(environment),
                "cwd": os.fspath(cwd or Path.cwd()),
                "files": [os.devnull, str(out), str(err)],
            }
            assert self._server.stdin is not None and self._server.stdout is not None
            self._server.stdin.write(json.dumps(order) + "\n")
            self._server.stdin.flush()
            status = int(self._server.stdout.readline())
            return subprocess.CompletedProcess(
                list(words), status, out.read_text(), err.read_text()
            )


#: What Python, OpenMM or glibc reads before a program begins.
EARLY = ("PYTHONHASHSEED", "OPENMM_CPU_THREADS", "GLIBC_TUNABLES")

#: Hands its words, its folder and its files over to a fork, and the signals that it gets; ends as
#: that ends. A program for which something else is set that is read early starts by itself.
_PROGRAM = """#!{python} -IS
import json, os, signal, socket, sys
words = {words!r} + sys.argv[1:]
if {{name: os.environ.get(name) for name in {early!r}}} != {early!r}:
    os.execv({python!r}, [{python!r}, *{options!r}, *words])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
order = {{"words": words, "environment": dict(os.environ), "cwd": os.getcwd()}}
socket.send_fds(server, [json.dumps(order).encode() + b"\\n"], [0, 1, 2])
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, lambda number, frame: server.send(bytes([number])))
status = int(server.recv(16))
if status < 0:
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""


@cache
def _address(
    python: str,
    options: tuple[str, ...],
    modules: tuple[str, ...],
    environment: tuple[tuple[str, str], ...],
) -> str:
    """Of a server that forks, until this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="warm-")
    address = f"{folder.name}/s"
    server = subprocess.Popen(
        [python, *options, __file__, f"--at={address}", *modules],
        env={**os.environ, **dict(environment)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdout is not None and server.stdout.readline() == b"ready\n"
    atexit.register(folder.cleanup)
    atexit.register(server.communicate)
    return address


def write_program(
    path: Path,
    *words: str,
    python: str = sys.executable,
    options: Sequence[str] = (),
    modules: Sequence[str] = MODULES,
    fork: bool = True,
    **environment: str,
) -> None:
    """A program for a shell that is ``PYTHON WORDS`` and its own arguments, in a fork of what was
    started with `environment` besides. Not so for one that is to be killed: what it does would go
    on for a moment."""
    text = f'#!/bin/sh\nexec {shlex.join([python, *options, *words])} "$@"\n'
    if fork:
        text = _PROGRAM.format(
            python=python,
            words=list(words),
            options=list(options),
            address=_address(python, tuple(options), tuple(modules), (*environment.items(),)),
            early={name: {**os.environ, **environment}.get(name) for name in EARLY},
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def serve_at(address: str) -> None:
    """Fork for each program that connects, until stdin is closed."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    print("ready", flush=True)
    # Nobody waits for those that attend.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while listening in select.select([listening, sys.stdin], [], [])[0]:
        connection, _ = listening.accept()
        if not os.fork():
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            attend(connection)
        connection.close()


def attend(connection: socket.socket) -> NoReturn:
    """Run one program; pass signals on to it, and its status back."""
    text, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while not text.endswith(b"\n"):
        text += connection.recv(1 << 20)
    pid = os.fork()
    if not pid:
        connection.close()
        become({**json.loads(text), "files": files})
    for file in files:
        os.close(file)
    ended = os.pidfd_open(pid)
    while ended not in (ready := select.select([connection, ended], [], [])[0]):
        assert ready
        # Without a byte: whoever called it was killed.
        for number in connection.recv(16) or [signal.SIGKILL]:
            os.kill(pid, number)
    with contextlib.suppress(OSError):
        connection.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
    os._exit(0)


def serve() -> None:
    """Import the modules, then fork for each order."""
    address = sys.argv.pop(1).removeprefix("--at=") if sys.argv[1].startswith("--at=") else None
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    if address is not None:
        serve_at(address)
        return
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            become(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def become(order: dict) -> NoReturn:
    """Be the program that is asked for, to its end."""
    signal.alarm(PATIENCE_S)
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    os.chdir(order["cwd"])
    for number, file in enumerate(order["files"]):
        flags = os.O_RDWR | (os.O_CREAT | os.O_TRUNC if number else 0)
        os.dup2(file if isinstance(file, int) else os.open(file, flags), number)
    # As an interpreter opens them, which looks what they are.
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, None, "backslashreplace", None, False)
    first, *rest = order["words"]
    found = [each for each in order["environment"].get("PYTHONPATH", "").split(":") if each]
    start = "" if first in ("-c", "-") else os.getcwd() if first == "-m" else os.path.dirname(first)
    sys.path[:] = [start, *found, *PATH]
    sys.path_importer_cache.clear()
    status = 0
    try:
        if first == "-m":
            sys.argv[:] = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif first in ("-c", "-"):
            code = rest.pop(0) if first == "-c" else sys.stdin.read()
            sys.argv[:] = [first, *rest]
            main = sys.modules["__main__"] = ModuleType("__main__")
            main.__dict__["__builtins__"] = builtins
            exec(compile(code, "<string>", "exec"), main.__dict__)
        else:
            sys.argv[:] = [first, *rest]
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 0xFF)


if __name__ == "__main__":
    # As it would be without PYTHONPATH and the folder of this script.
    given = os.environ.get("PYTHONPATH", "").split(":")
    PATH = [each for each in sys.path[1:] if each not in given]
    serve()
