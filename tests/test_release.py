"""bin/release makes files only where version, changelog, citation and tag agree and tests pass."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import installed
from tests.systems import REPOSITORY


class Checkout:
    """A small repository with bin/release, whose tests and build are stand-ins."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bin").mkdir(parents=True)
        shutil.copy(REPOSITORY / "bin/release", root / "bin")
        self.program("bin/test", 'test ! -e ../failing && test "$1" = --all')
        # In place of python: makes what `python -m build --outdir dist` would.
        self.program("bin/fake-python", 'mkdir dist && echo "$@" > dist/made.whl')
        self.program("bin/setup-environment", 'test "$1" = release && echo bin/fake-python')
        self.write("wepystore/_version.py", '__version__ = "1.2.3"\n')
        self.write(
            "CHANGELOG.md", "# Changelog\n\n## [1.2.3] - 2026-12-01\n\n## [1.2.2] - 2026-1-1\n"
        )
        self.write("CITATION.cff", "cff-version: 1.2.0\nversion: 1.2.3\n")
        self.write(".gitignore", "dist/\n")
        self.git("init", "-q")
        self.commit("-a")

    def program(self, name: str, line: str) -> None:
        self.write(name, f"#!/bin/sh\n{line}\n").chmod(0o755)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def git(self, *words: str) -> None:
        who = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *words], cwd=self.root, check=True, capture_output=True)

    def commit(self, *tag: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "all", "--allow-empty")
        self.git("tag", "-f", *tag, *(("-m", "wepystore 1.2.3") if tag else ()), "v1.2.3")

    def release(self, *words: str) -> str:
        """The first line that it refused with, "" if it made everything."""
        done = subprocess.run(
            [self.root / "bin/release", *words], capture_output=True, text=True, timeout=60
        )
        made = (self.root / "dist").exists()
        assert made == (done.returncode == 0), done.stderr
        return done.stderr.removeprefix("bin/release: ").partition("\n")[0]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    installed.need("git")
    return Checkout(tmp_path / "checkout")


def test_a_release(checkout: Checkout) -> None:
    """All agree and the tests pass: the build is called, and no second time over its files."""
    assert checkout.release("1.2.3") == ""
    assert (checkout.root / "dist/made.whl").read_text() == "-m build --outdir dist\n"
    again = subprocess.run([checkout.root / "bin/release", "1.2.3"], capture_output=True, text=True)
    assert (again.returncode, again.stderr) == (
        1,
        "bin/release: dist/ is there already; remove it\n",
    )


@pytest.mark.parametrize(
    ("name", "text", "refusal"),
    [
        ("wepystore/_version.py", '__version__ = "1.2.4"\n', "_version.py says 1.2.4, not 1.2.3"),
        ("CITATION.cff", "version: 1.2.2\n", "CITATION.cff says 1.2.2, not 1.2.3"),
        ("CHANGELOG.md", "## [1.2.3] - unreleased\n", "not with '## [1.2.3] - YYYY-MM-DD'"),
        (
            "CHANGELOG.md",
            "## [1.2.4] - 2026-12-02\n## [1.2.3] - 2026-12-01\n",
            "CHANGELOG.md begins",
        ),
        ("CHANGELOG.md", "", "CHANGELOG.md begins with ''"),
    ],
)
def test_files_that_say_another_version(
    checkout: Checkout, name: str, text: str, refusal: str
) -> None:
    """Each place that names the version is asked."""
    checkout.write(name, text)
    checkout.commit("-a")
    assert refusal in checkout.release("1.2.3")


def test_what_is_checked_out_is_what_is_tagged(checkout: Checkout) -> None:
    """No tag, a tag elsewhere, a tag without a message, changes that are in no commit."""
    checkout.write("new", "")
    assert "not everything is committed" in checkout.release("1.2.3")
    checkout.git("add", "-A")
    checkout.git("commit", "-qm", "more")
    assert checkout.release("1.2.3") == "tag v1.2.3 is not what is checked out"
    checkout.commit()
    assert "has no message" in checkout.release("1.2.3")
    checkout.git("tag", "-d", "v1.2.3")
    assert "there is no tag v1.2.3" in checkout.release("1.2.3")


def test_tests_that_fail(checkout: Checkout) -> None:
    """Nothing is made of what does not pass."""
    (checkout.root.parent / "failing").touch()
    assert checkout.release("1.2.3") == "the tests did not pass"


@pytest.mark.parametrize("words", [(), ("1.2.3", "now"), ("1.2",), ("v1.2.3",), ("1.2.3\n",)])
def test_words_that_are_no_version(checkout: Checkout, words: tuple[str, ...]) -> None:
    """One version, as it is written everywhere."""
    assert checkout.release(*words)


def test_it_sends_nothing_anywhere() -> None:
    """To publish is left to a person."""
    text = (REPOSITORY / "bin/release").read_text()
    assert "git push" not in text and "twine" not in text
