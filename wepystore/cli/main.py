"""The program `wepy`: finds the command, and turns errors into one line and an exit status.

A command is a module of this package, `wepystore.cli.<name>`, with

    __doc__    a summary in the first line (the same as in COMMANDS), then a section "Usage:" for
               docopt whose lines begin with `wepy <name>`, then one "Options:". Not in it: --help
               and --debug, which are handled here for all commands.
    main(args: dict[str, Any], console: Console) -> int
               args as docopt gives them ({"ORCH": None, "--json": False, ...}); returns the exit
               status or raises a WepystoreError. It prints through the console only, and only
               modules of cli/ read the environment.

Modules are imported when their command is called, and import what is heavy when they need it:
`wepy --help` and `wepy ls` are to start fast.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from wepystore.cli.console import Console
from wepystore.errors import WepystoreError

COMMANDS = {
    "init": "Make an empty store here, if there is none yet.",
    "create": "Make an empty store.",
    "ls": "List the snapshots, configurations or runs of a store.",
    "log": "Show which runs led from which snapshot to which.",
    "show": "Show what a snapshot, a configuration, a recording or a run consists of.",
    "diff": "Show what differs between two snapshots, configurations or runs.",
    "tag": "Give snapshots and configurations names that people can remember.",
    "default": "Show or set what the word 'default' stands for.",
    "get": "Write a snapshot, a configuration, a run or its trajectories to a file of their own.",
    "rates": "Tell the rate into a target, with an interval, from runs of a store.",
    "profile": "Show how much weight there is along a coordinate, as a free energy with intervals.",
    "reweight": "Tell the rate that runs lead to, before the flux into the target is steady.",
    "add": "Put a file into a store: one of 'wepy get', or the trajectories of a run.",
    "trust": "Say that the pickled parts of a snapshot, a configuration or a store may be run.",
    "run": "Run cycles of a simulation and keep them in a job folder.",
    "report": "Write what runs have shown to one file for people to look at.",
    "resume": "Go on with a run that was interrupted, as if it had never been.",
    "watch": "Show how a job stands, while it runs or after.",
    "verify": "Run a recorded run again and say whether it ends in the same bits.",
    "convert": "Make a native snapshot or configuration out of one of wepy 1.x.",
    "reconcile": "Bring what other stores have, and this one lacks, into this one.",
    "hdf5": "Copy a WepyHDF5 file, with what in it stands in other files.",
    "push": "Bring what this store has, and another lacks, into the other.",
    "status": "Show what is in a store, what is incomplete, and what nothing refers to.",
    "fsck": "Check that everything in a store is there and whole, and heal it.",
    "gc": "Remove what nothing needs from a store.",
}

HELP = """Weighted ensemble simulations run from a content-addressed store.

Usage:
  wepy COMMAND [ARGUMENTS]
  wepy help COMMAND

Commands:
{commands}

Options, for every command:
  -h --help     Show how a command is used.
  --debug       Show the traceback of an error.
  --version     Show the version.

The store ORCH may be left out: then it is $WEPY_ORCH, or else the nearest directory upwards
that is a store or holds a '.orch'. A hash may be given by its first digits (at least 4), as a
tag, or as 'default'.
"""

# As of a program that the signal ended: SIGINT 2, SIGPIPE 13.
INTERRUPTED = 130
BROKEN_PIPE = 141


def entry_point() -> None:
    """What the installed scripts call."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # The shell closed it (>&-): what is written to it is lost, and that is no error.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            # A name that cannot be printed here is shown escaped, and is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    status = main(sys.argv[1:])
    try:
        Console().flush()
    except OSError:
        # main has tried the same and has said so; the interpreter is not to try it once more.
        status = status or 1
        _drop_stdout()
    sys.exit(status)


def main(argv: list[str]) -> int:
    """Run a command line (without the program's name); returns the exit status."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    console = Console(debug="--debug" in words)
    argv = [word for word in words if word != "--debug"] + argv[len(words) :]
    try:
        status = _dispatch(argv, "--help" in words or "-h" in words, console)
        console.flush()
        return status
    except WepystoreError as error:
        _trace_if_debug(console)
        console.error(str(error))
        for line in getattr(error, "usage", ()):
            console.note(f"  usage: {line}")
        return error.exit_status
    except BrokenPipeError:
        _drop_stdout()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        _trace_if_debug(console)
        console.note("wepy: interrupted")
        return INTERRUPTED
    except OSError as error:
        _trace_if_debug(console)
        console.error(_os_error(error))
        return 1
    except Exception as error:
        _trace_if_debug(console)
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        console.error(f"{text} (this is a bug in wepystore; --debug shows the traceback)")
        return 1


def _dispatch(argv: list[str], asks_for_help: bool, console: Console) -> int:
    if not argv:
        from wepystore.cli.usage import WrongUsageError

        raise WrongUsageError("no command was given; 'wepy --help' lists them", ["wepy COMMAND"])
    name = argv[0]
    if name in ("-h", "--help") or argv == ["help"]:
        lines = "\n".join(f"  {word:12}{summary}" for word, summary in COMMANDS.items())
        console.text(HELP.format(commands=lines).rstrip())
        return 0
    if name in ("-V", "--version"):
        from wepystore import __version__

        console.out(f"wepystore {__version__}")
        return 0
    if name == "help":
        return _help(argv[1], console)
    module = _command(name)
    if asks_for_help:
        return _help(name, console)
    from wepystore.cli import usage

    status: int = module.main(usage.parse(module.__doc__, argv), console)
    return status


def _help(name: str, console: Console) -> int:
    console.text(_command(name).__doc__.strip())
    return 0


def _command(name: str):  # type: ignore[no-untyped-def]  # a module with the members above
    if name not in COMMANDS:
        from wepystore.cli.usage import WrongUsageError, suggestion

        near = suggestion(name, COMMANDS) or "; 'wepy --help' lists the commands"
        what = "option" if name.startswith("-") else "command"
        raise WrongUsageError(f"there is no {what} {name!r}{near}", ["wepy COMMAND [ARGUMENTS]"])
    return import_module(f"wepystore.cli.{name}")


def _os_error(error: OSError) -> str:
    # Of what was opened by its number the name is that number, and tells nobody anything.
    given = (error.filename, error.filename2)
    names = [os.fspath(n) for n in given if n is not None and not isinstance(n, int)]
    where = " -> ".join(n.decode(errors="replace") if isinstance(n, bytes) else n for n in names)
    what = error.strerror or str(error) or type(error).__name__
    return f"{where}: {what}" if where else what


def _drop_stdout() -> None:
    """What is still in the buffer goes nowhere, instead of failing again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _trace_if_debug(console: Console) -> None:
    if console.debug:
        import traceback

        traceback.print_exc()
