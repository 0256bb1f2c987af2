"""The program: help, wrong usage, errors as one line and an exit status."""

from __future__ import annotations

import contextlib
import os
import string
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.conftest import ENVIRONMENT, Wepy, World
from wepystore.cli import console, get
from wepystore.cli.main import COMMANDS, main
from wepystore.errors import (
    DamagedError,
    FailedError,
    StoppedError,
    UntrustedError,
    UsageError,
    WepystoreError,
)


def test_help_lists_all_commands(wepy: Wepy) -> None:
    """--help, -h and help go to stdout with exit status 0 and name every command."""
    for line in ("--help", "-h", "help"):
        result = wepy(line)
        assert result.status == 0 and result.err == ""
        assert all(f"\n  {name} " in result.out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(wepy: Wepy, command: str) -> None:
    """The first line of a module is its line in `wepy --help`; its usage is docopt's."""
    for line in (f"{command} --help", f"help {command}", f"{command} -h nonsense --nonsense"):
        result = wepy(line)
        assert result.status == 0
        assert result.lines[0] == COMMANDS[command]
        assert f"Usage:\n  wepy {command}" in result.out
    doc = import_module(f"wepystore.cli.{command}").__doc__ or ""
    assert "--debug" not in doc.partition("Options:")[2]


def test_version(wepy: Wepy) -> None:
    """--version prints one line."""
    from wepystore import __version__

    assert wepy("--version").lines == [f"wepystore {__version__}"]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("", "no command"),
        ("lss", "did you mean 'ls'"),
        ("--hepl", "no option '--hepl'"),
        ("help reconsile", "did you mean 'reconcile'"),
        ("ls", "configs, runs, snapshots"),
        ("ls snapshot", "'snapshot'; did you mean 'snapshots'"),
        ("ls zebras", "'zebras'; there are configs, runs, snapshots"),
        ("ls snapshots a b", "'b' is one word too many"),
        ("ls snapshots --lnog", "'--lnog'; did you mean '--long'"),
        ("ls snapshots --lon", "'--lon'; did you mean '--long'"),
        ("ls snapshots --long=1", "--long takes no value"),
        ("ls snapshots -x", "no option '-x'"),
        ("ls snapshots -lx", "no option '-x' (in '-lx')"),
        ("get snapshot", "HASH is missing"),
        ("get snapshots x", "'snapshots'; did you mean 'snapshot'"),
        ("get snapshot x y z", "'z' is one word too many"),
        ("get snapshot x --output", "--output needs a value"),
        ("get snapshot x -O", "-O needs a value"),
        (
            "run orch --tag mine s.orch x 1 1",
            "--tag of wepy 1.x is not there",
        ),
        ("run orch --monitor-http-port=9 s.orch x 1 1", "SimMonitor(port=…)"),
        ("run snapshot --log INFO a b 1 1", "--log of wepy 1.x is not there"),
        ("ls --tag", "no option '--tag'"),
        ("add config", "FILE is missing"),
        ("add", "config, snapshot"),
        ("get run a", "END is missing"),
        ("get run-cycles", "START, END are missing"),
        ("create", "orch"),
        ("create orhc", "did you mean 'orch'"),
        ("create orch a b", "'b' is one word too many"),
        ("init a b", "'b' is one word too many"),
        ("reconcile a b", "'a'"),
        ("reconcile orch", "TARGET, SOURCE are missing"),
        ("reconcile orch a", "SOURCE is missing"),
        ("show", "HASH is missing"),
        ("log a b", "'b' is one word too many"),
        ("tag a b c d", "'d' is one word too many"),
        ("tag --delete a b c", "do not go together"),
        ("tag --delete", "NAME is missing"),
        ("run orch --n-cycles 3 x 1 1 --n-cycles=4", "--n-cycles is given more than once"),
        ("get snapshot x -O a -O b", "-O is given more than once"),
    ],
)
def test_wrong_usage_names_the_word(wepy: Wepy, line: str, word: str) -> None:
    """Exit status 2; the first line says which word is wrong; nothing on stdout."""
    result = wepy(line)
    assert result.status == 2 and result.out == ""
    first, *hints = result.err.splitlines()
    assert first.startswith("wepy: error: ") and word in first
    assert hints and all(hint.startswith("  usage: wepy ") for hint in hints)


@pytest.mark.parametrize("option", ["--platform", "--scheduler"])
@pytest.mark.parametrize("line", ["run orch x default 10 10", "resume job", "verify x abcd"])
def test_an_empty_name_is_refused(wepy: Wepy, line: str, option: str) -> None:
    """A variable that is not set is no wish for whatever comes instead."""
    result = wepy(f"{line} {option}=")
    assert result.status == 2 and f"{option} is empty" in result.err


# The operating system lets no NUL into an argument.
texts = st.text(st.characters(exclude_characters="\0"), max_size=5)
words = st.sampled_from(
    [
        "ls",
        "snapshots",
        "tag",
        "get",
        "snapshot",
        "-O",
        "--json",
        "-d",
        "--",
        "-",
        "show",
        "zz",
        "--x=",
    ]
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(argv=st.lists(words | texts, max_size=5))
def test_no_command_line_gives_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    """Whatever is typed ends in an exit status of the table, and an error in one line."""
    os.environ.pop("WEPY_ORCH", None)
    with contextlib.chdir(tmp_path):
        status = main(argv)
    err = capsys.readouterr().err
    assert status in (0, 1, 2, 3) and "bug" not in err and "Traceback" not in err
    assert status == 0 or err.startswith("wepy: error: ")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (FailedError("why\nnot"), 1),
        (UsageError("why not"), 2),
        (DamagedError("why not"), 3),
        (UntrustedError("why not"), 5),
        (StoppedError("why not"), 75),
        (OSError(28, "No space left on device", "/x/why not"), 1),
        (PermissionError(13, "Permission denied", "/x/why not"), 1),
        (ValueError("why not"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_is_one_line_and_a_status(
    wepy: Wepy, world: World, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int
) -> None:
    """One place maps errors to exit statuses; a traceback is shown only with --debug."""

    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(get, "store_of", fail)
    result = wepy("get snapshot 1234")
    assert result.status == status and result.out == "" and result.err.count("\n") == 1
    assert ("bug" in result.err) == isinstance(error, ValueError)
    if not isinstance(error, KeyboardInterrupt):
        assert "why not" in result.err and result.err.startswith("wepy: error: ")
    for line in ("--debug get snapshot 1234", "get snapshot 1234 --debug"):
        result = wepy(line)
        assert result.status == status and "Traceback" in result.err


def test_the_store_is_found(
    wepy: Wepy, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ORCH; else $WEPY_ORCH; else upwards a store or a .orch; else it says where it looked."""
    hashes = sorted([world.start, world.end])
    assert wepy("ls snapshots", world.store.path).lines == hashes
    inside = world.store.path / "refs" / "tags"
    monkeypatch.chdir(inside)
    assert wepy("ls snapshots").lines == hashes
    project = tmp_path / "project"
    (project / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(project / "a" / "b")
    result = wepy("ls snapshots")
    assert result.status == 1 and str(project / "a" / "b") in result.err
    world.store.path.rename(project / ".orch")
    assert wepy("ls snapshots").lines == hashes
    assert wepy("ls snapshots", project).lines == hashes
    wepy("create orch", tmp_path / "other")
    monkeypatch.setenv("WEPY_ORCH", str(tmp_path / "other"))
    assert wepy("ls snapshots").lines == []
    assert wepy("ls snapshots .").status == 1
    monkeypatch.setenv("WEPY_ORCH", str(tmp_path / "none"))
    assert "no store at" in wepy("ls snapshots").err


@pytest.mark.parametrize("line", ["ls snapshots", "log", "show 1234", "get config 1234", "tag"])
def test_what_is_no_store_is_an_error(wepy: Wepy, tmp_path: Path, line: str) -> None:
    """No such path, a plain directory, a file and a damaged store, each in one line."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "wepystore.json").write_text("{")
    command, *rest = line.split(" 1234")
    for name, status in (("none", 1), ("plain", 1), ("file", 1), ("bad", 3)):
        result = wepy(f"{command} {name}" + " 1234" * bool(rest))
        assert result.status == status and result.out == ""
        assert name in result.err and result.err.count("\n") == 1


def run_python(*argv: object, **env: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter."""
    command = [sys.executable, *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, env={**ENVIRONMENT, **env})


def test_as_a_program(world: World) -> None:
    """`python -m wepystore` is the same program; its exit status is the command's."""
    good = run_python("-m", "wepystore", "ls", "runs", world.store.path)
    assert (good.returncode, good.stdout) == (0, f"{world.start}, {world.end}\n")
    bad = run_python("-m", "wepystore", "ls", "zebras")
    assert bad.returncode == 2 and bad.stdout == "" and "zebras" in bad.stderr


def test_a_reader_that_goes_is_no_error(world: World) -> None:
    """`wepy ls … | head -1`: quiet."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "wepystore", "ls", "snapshots", world.store.path],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    os.close(writer)
    assert done.stderr == b"" and done.returncode == 141


def test_a_full_or_closed_stdout(world: World) -> None:
    """An answer that cannot be written is an error in one line; a closed stdout is the user's."""
    command = f"{sys.executable} -m wepystore ls snapshots {world.store.path}"
    full = subprocess.run(
        f"{command} >/dev/full", shell=True, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert full.returncode == 1 and full.stderr.count("\n") == 1 and "No space" in full.stderr
    closed = subprocess.run(
        f"{command} >&-", shell=True, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert closed.returncode == 0 and closed.stderr == ""


def test_an_ascii_terminal_is_no_error(world: World) -> None:
    """Names that cannot be printed are escaped."""
    done = run_python("-m", "wepystore", "log", world.store.path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and "\\u2026" in done.stdout


def test_console_talks_on_the_right_stream(capsys: pytest.CaptureFixture[str]) -> None:
    """Answers on stdout; notes, warnings and errors on stderr, each in one line."""
    here = console.Console()
    here.out("answer")
    here.json({"a": "é"})
    here.note("note")
    here.warn("two\nlines")
    here.error("two\nlines")
    out, err = capsys.readouterr()
    assert out == 'answer\n{\n  "a": "é"\n}\n'
    assert err == "note\nwepy: warning: two lines\nwepy: error: two lines\n"
    assert not here.stderr_is_terminal and here.rich().stderr


def test_every_error_has_a_message() -> None:
    """Every error class of the package fills its docstring to one line."""
    for name in ("wepystore.store.errors", "wepystore.cli.get", "wepystore.cli.tag"):
        for thing in vars(import_module(name)).values():
            if isinstance(thing, type) and issubclass(thing, WepystoreError):
                doc = thing.__doc__ or ""
                fields = {f: "X" for _, f, _, _ in string.Formatter().parse(doc) if f}
                error = thing("X") if "message" in fields else thing(**fields)
                assert "\n" not in str(error) and "{" not in str(error) and error.exit_status
