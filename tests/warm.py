"""An interpreter that is started once, and forked for each program that a test wants to run in one.

Hundreds of programs are run here, and most of what each of them did was to import numpy, OpenMM,
pandas and the like, and this package. That is done once, before the fork; nothing of wepy is
imported, and nothing called. What a program can tell is that these modules are there: what is about
starting an interpreter, its signals or its imports starts one itself.
"""

from __future__ import annotations

import atexit
import builtins
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
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


def serve() -> None:
    """Import the modules, then fork for each order."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
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
    for number, name in enumerate(order["files"]):
        flags = os.O_RDWR | (os.O_CREAT | os.O_TRUNC if number else 0)
        os.dup2(os.open(name, flags), number)
    first, *rest = order["words"]
    found = [each for each in order["environment"].get("PYTHONPATH", "").split(":") if each]
    start = "" if first == "-c" else os.getcwd() if first == "-m" else os.path.dirname(first)
    sys.path[:] = [start, *found, *PATH]
    sys.path_importer_cache.clear()
    status = 0
    try:
        if first == "-m":
            sys.argv[:] = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif first == "-c":
            sys.argv[:] = ["-c", *rest[1:]]
            main = sys.modules["__main__"] = ModuleType("__main__")
            main.__dict__["__builtins__"] = builtins
            exec(compile(rest[0], "<string>", "exec"), main.__dict__)
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
