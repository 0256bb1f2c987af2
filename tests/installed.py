"""Programs of the system that tests use: the one place that says which are here.

Nothing is installed into the system unless it was asked for: `bin/test --install` sets
$WEPY_TEST_INSTALL, and root then gets from apt-get what is missing. Without it a test that needs
more is left out, says what it needs, and `bin/test` names all of these at its end. (Environments in
the checkout, `.venv` and those beside it, are no part of the system.)
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

#: Set by `bin/test --install`.
ALLOWED = "WEPY_TEST_INSTALL"
#: Debian's packages, by the program that is used of them.
PACKAGES = {
    "chromium": "chromium",
    "git": "git",
    "git-annex": "git-annex",
    "jq": "jq",
    "munged": "munge",
    "rsync": "rsync",
    "sbatch": "slurm-client",
    "scontrol": "slurm-client",
    "setpriv": "util-linux",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "strace": "strace",
    "unzip": "unzip",
}
#: Services that packages start, which nobody here has asked for.
_SERVICES = {"slurmctld": "slurmctld", "slurmd": "slurmd", "munged": "munge"}
#: Daemons are not on everybody's PATH.
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_INSTALL_S = 600
_REASON = re.compile(r"not installed: (.*?) \((?:bin/test --install|apt-get)")


def which(program: str) -> str | None:
    """The path of a program that is here."""
    return shutil.which(program, path=PATH)


def lacking(*programs: str) -> list[str]:
    """Those of the programs that are not here, and could or may not be installed now."""
    missing = [program for program in programs if which(program) is None]
    if missing and os.environ.get(ALLOWED):
        # Two processes of one test run must not do it at once.
        with open(Path(tempfile.gettempdir()) / f"wepystore-install-{os.geteuid()}", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _install([program for program in missing if which(program) is None])
        missing = [program for program in missing if which(program) is None]
    return missing


def need(*programs: str) -> None:
    """Leave the test out where one of the programs is not here."""
    missing = lacking(*programs)
    if missing:
        pytest.skip(why(missing))


def why(missing: Iterable[str]) -> str:
    """The reason to leave a test out; `left_out` reads it."""
    names = ", ".join(sorted(missing))
    if os.environ.get(ALLOWED):
        return f"not installed: {names} (apt-get, as root, did not get {packages(missing)})"
    return f"not installed: {names} (bin/test --install gets {packages(missing)})"


def packages(programs: Iterable[str]) -> str:
    """The packages that programs are in, as apt-get takes them."""
    return " ".join(sorted({PACKAGES[program] for program in programs}))


def environment(folder: Path, packages: Iterable[str], works: Callable[[Path], bool]) -> Path:
    """The folder of the programs of a virtual environment in the checkout, made with pip if it does
    not work yet; the test is left out only where pip cannot get the packages."""
    programs = folder / "bin"
    # Two test runs at once must not build it over each other.
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if works(programs):
            return programs
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(programs / "python"), "-m", "pip", "install", "--quiet", *packages],
        ):
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=900)
            except subprocess.TimeoutExpired:
                pytest.skip(f"no {folder.name}: {command[-1]} took more than 15 minutes")
            if done.returncode:
                reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                pytest.skip(f"no {folder.name}: {' '.join(command)}: {reason}")
    return programs


def left_out(reasons: Iterable[str]) -> list[str]:
    """What to say at the end of a test run, given the reasons of all tests that were left out."""
    found = [match[1].split(", ") for match in map(_REASON.match, reasons) if match]
    if not found:
        return []
    programs = sorted({program for names in found for program in names})
    each = ", ".join(f"{name} ({sum(name in names for names in found)})" for name in programs)
    return [
        f"{len(found)} tests were left out, since these programs are not installed: {each}.",
        f"bin/test --install gets them, as root: apt-get install {packages(programs)}",
    ]


def _install(programs: list[str]) -> None:
    """Try; `which` then says what came of it."""
    if not programs or os.geteuid() != 0 or not which("apt-get"):
        return
    install = ["install", "-y", "--no-install-recommends", *packages(programs).split()]
    for words in (install, ["update"], install):
        # A lock of somebody else's apt-get is waited for.
        command = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120", *words]
        try:
            subprocess.run(
                command,
                capture_output=True,
                timeout=_INSTALL_S,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            )
        except subprocess.TimeoutExpired:
            return
        if all(which(program) for program in programs):
            break
    services = [_SERVICES[program] for program in programs if program in _SERVICES]
    if services and Path("/run/systemd/system").exists():
        subprocess.run(["systemctl", "disable", "--now", *services], capture_output=True)
