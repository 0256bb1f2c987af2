"""What a word of the command line means as a source or destination."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wepystore.remotes.address import parse
from wepystore.remotes.elsewhere import inventory_of
from wepystore.remotes.errors import MalformedAddressError
from wepystore.remotes.staging import Staging
from wepystore.store.names import KINDS


@pytest.mark.parametrize(
    ("text", "kind", "host", "path"),
    [
        ("x.orch", "store", "", "x.orch"),
        ("./a:b", "store", "", "./a:b"),
        ("/a/b:c", "store", "", "/a/b:c"),
        ("host:x.orch", "ssh", "host", "x.orch"),
        ("me@host:/data/x y.orch/", "ssh", "me@host", "/data/x y.orch"),
        ("host:", "ssh", "host", "."),
        ("host:/", "ssh", "host", "/"),
        ("host:~/x", "ssh", "host", "x"),
        ("host:~", "ssh", "host", "."),
        ("host:-x", "ssh", "host", "-x"),
        ("host::module", "ssh", "host", "./:module"),
        ("[::1]:/x", "ssh", "[::1]", "/x"),
        ("me@[fe80::1%eth0]:x", "ssh", "me@[fe80::1%eth0]", "x"),
        ("s3://bucket/x", "url", "", ""),
        ("file:///x", "url", "", ""),
    ],
)
def test_forms(text: str, kind: str, host: str, path: str) -> None:
    """The forms of scp and rsync, URLs, and paths."""
    found = parse(text)
    assert (found.kind, found.host, found.path) == (kind, host, path)
    assert found.text == text


def test_what_is_here_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory here with a colon in its name is not a host."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("host:x.orch")
    assert parse("host:x.orch").kind == "store"


def test_no_host_is_an_option() -> None:
    """S10: what begins with '-' would be an option of ssh, and could run a command: as a host, as a
    user, after the user, in brackets."""
    for text in (
        "-oProxyCommand=touch:x",
        "x@-oProxyCommand=id>F:p",
        "-x@host:p",
        "-oProxyCommand=id@host:p",
        "x@-p:22",
        "me\x1b@host:p",
        "me@ho\x07st:p",
        "host:a\nb",
    ):
        with pytest.raises(MalformedAddressError):
            parse(text)
    # Not of the form of an address at all: a path of this machine.
    for text in ("[-oProxyCommand=id]:p", "x@[-oProxyCommand=id]:p", "a@-b@c:p", "./-x@y:p"):
        assert parse(text).kind == "store"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Whether a word is a database is found out without opening what is no file."""
    os.mkfifo(tmp_path / "pipe.orch.sqlite")
    assert parse(str(tmp_path / "pipe.orch.sqlite")).kind == "store"


def test_a_listing_knows_only_names_of_a_store() -> None:
    """S10: of what a remote lists, only well-formed names are ever used."""
    good = "ab" + "0" * 30
    sizes = inventory_of(
        [
            (f"objects/ab/{good}", 1),
            (f"runs/ab/{good}.json", 2),
            (f"objects/ac/{good}", 3),
            (f"objects/ab/{good}.json", 4),
            (f"runs/ab/{good}", 5),
            (f"snapshots/../{good}", 6),
            (f"/objects/ab/{good}", 7),
            (f"objects/ab/{good}\n", 8),
            (f"objects/AB/{good.upper()}", 9),
            (f"attachments/ab/{good}", 10),
            ("refs/tags/good", 33),
            ("refs/tags/../../x", 33),
            ("refs/tags/huge", 1 << 40),
            ("refs/default-snapshot", 33),
            ("refs/other", 33),
        ]
    )
    held = {"objects": {good: 1}, "attachments": {good: 10}, "runs": {good: 2}}
    assert sizes.sizes == {kind: held.get(kind, {}) for kind in KINDS}
    assert sizes.refs == ("refs/default-snapshot", "refs/tags/good")


def test_two_processes_do_not_share_a_staging_folder(tmp_path: Path) -> None:
    """S8: the second one neither waits for the first nor disturbs it; the next one after a broken
    transfer finds what has come."""
    first, second = Staging(tmp_path / "tmp", "host:x"), Staging(tmp_path / "tmp", "host:x")
    other = Staging(tmp_path / "tmp", "host:y")
    assert len({first.path, second.path, other.path}) == 3
    (first.path / "came").touch()
    for staging in (second, other):
        staging.close(keep=False)
    first.close(keep=True)
    again = Staging(tmp_path / "tmp", "host:x")
    assert again.path == first.path and (again.path / "came").exists()
    again.close(keep=False)
    assert not list((tmp_path / "tmp").iterdir())
