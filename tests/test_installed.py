"""Nothing is installed unless asked; what is left out for it is named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import installed
from tests.systems import REPOSITORY

TESTS = Path(__file__).parent


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing but an apt-get that notes its arguments and makes `jq`; its notes."""
    programs = tmp_path / "bin"
    programs.mkdir()
    log = tmp_path / "log"
    program = programs / "apt-get"
    program.write_text(
        f'#!/bin/sh\necho "$*" >> {log}\n: > {programs}/jq\n/bin/chmod 755 {programs}/jq\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(installed, "PATH", str(programs))
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return log


def test_nothing_is_installed_unasked(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For root neither: apt-get is not run, and the reason names program, package and way out."""
    monkeypatch.delenv(installed.ALLOWED, raising=False)
    assert installed.lacking("jq", "ssh") == ["jq", "ssh"]
    assert not apt.exists()
    with pytest.raises(pytest.skip.Exception) as skipped:
        installed.need("ssh")
    assert str(skipped.value) == "not installed: ssh (bin/test --install gets openssh-client)"


def test_what_is_missing_is_installed_where_asked(
    apt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one call for all that is missing; what apt-get does not give is left out and says so."""
    monkeypatch.setenv(installed.ALLOWED, "1")
    assert installed.lacking("jq") == []
    assert re.fullmatch(r".* install .* jq\n", apt.read_text())
    apt.unlink()
    assert installed.lacking("jq") == [] and not apt.exists()
    assert installed.lacking("jq", "ssh", "slurmd") == ["ssh", "slurmd"]
    assert apt.read_text().splitlines()[0].endswith(" openssh-client slurmd")
    with pytest.raises(pytest.skip.Exception, match="apt-get, as root, did not get"):
        installed.need("ssh")


def test_what_was_left_out_is_named_at_the_end() -> None:
    """How many tests want what, and the command that gets all of it."""
    assert installed.left_out(["there is no mount command here"]) == []
    said = installed.left_out(
        [installed.why(["jq"]), installed.why(["jq", "sshd"]), "something else"]
    )
    assert said[0].startswith("2 tests were left out") and "jq (2), sshd (1)" in said[0]
    assert "bin/test --install" in said[1] and said[1].endswith("apt-get install jq openssh-server")


def test_a_run_without_a_program_ends_well_and_says_so(tmp_path: Path) -> None:
    """The whole way, with a PATH that lacks jq and more: status 0, one paragraph at the end."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("tests/store/test_exports.py", "-k", "unzip"),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": str(tmp_path), installed.ALLOWED: ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "1 tests were left out" in done.stdout and "apt-get install unzip" in done.stdout


def test_no_other_place_installs_anything() -> None:
    """apt-get is called in tests/installed.py alone, and every program that it is asked for is in a
    package that it knows."""
    here = {Path(__file__), TESTS / "installed.py"}
    texts = {path: path.read_text() for path in TESTS.rglob("*.py") if path not in here}
    assert [path.name for path, text in texts.items() if re.search(r"\bapt-get\b", text)] == []
    for path, text in texts.items():
        for call in re.findall(r"installed\.(?:need|lacking)\(([^)*]*)\)", text):
            assert set(re.findall(r'"(.+?)"', call)) <= set(installed.PACKAGES), path.name
