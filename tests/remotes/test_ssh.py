"""Stores on another host, through a real sshd and rsync."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import installed
from tests.cli.conftest import ENVIRONMENT
from tests.cli.test_startup import modules_of
from tests.remotes.conftest import Chain, Sshd, Wepy
from tests.store.helpers import add_config, add_run, add_snapshot, check, contents
from tests.systems import REPOSITORY
from tests.waiting import PATIENCE_S, until
from wepystore.remotes import destination
from wepystore.store import Store, canonical, merge

Make = Callable[..., Chain]
RELAY = Path(__file__).with_name("relay.py")


@pytest.fixture(autouse=True)
def _connect(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEPY_SSH", sshd.shell)


def large(store: Store, size: int, label: str = "large") -> str:
    """A snapshot with one object of so many bytes that do not compress."""
    with store.batch() as batch:
        part = batch.put("objects", os.urandom(size))
        manifest = {"type": "snapshot", "format": 1, "walkers": label, "apparatus": part.to_json()}
        return batch.put("snapshots", canonical.dumps(manifest)).md5


def test_everything_comes_from_another_host(
    wepy: Wepy, make_chain: Make, sshd: Sshd, tmp_path: Path
) -> None:
    """S6: entries, defaults and tags come over ssh, from a path with spaces, quotes, wildcards and
    letters beyond ASCII; a second time nothing does; nothing is left in tmp/ (S1)."""
    chain = make_chain()
    address = f"{sshd.user}@127.0.0.1:{chain.store.path}"
    result = wepy("reconcile orch new.orch", address)
    assert result.status == 0, result.err
    lines = result.err.splitlines()
    assert lines[0] == f"From {address}"
    assert f" * [new tag] bound -> {chain.snapshots[1][:8]}…" in lines
    new = Store.open(tmp_path / "new.orch")
    assert contents(new) == contents(chain.store) and new.tags() == chain.store.tags()
    assert new.ref("default-snapshot") == chain.snapshots[0]
    check(new.path)
    assert wepy("reconcile orch new.orch", address) == (0, "", "Already up to date.\n")


def test_a_job_elsewhere_gives_its_start_as_the_default(
    wepy: Wepy, make_chain: Make, tmp_path: Path
) -> None:
    """A job folder on another host stands for its store, whose default is the end of a run: the new
    store begins where that began; and so does one there that is pushed to."""
    (tmp_path / "job").mkdir()
    chain = make_chain("job/checkpoint.orch")
    start, end = chain.snapshots[0], chain.snapshots[-1]
    chain.store.set_ref("default-snapshot", end)
    told = f"{start[:8]}…, where the runs began that led to {end[:8]}…, the default there"
    result = wepy("reconcile orch new.orch", f"127.0.0.1:{tmp_path}/job")
    assert result.status == 0 and told in result.err
    assert Store.open(tmp_path / "new.orch").ref("default-snapshot") == start
    result = wepy("push job", f"127.0.0.1:{tmp_path}/there.orch")
    assert result.status == 0 and told in result.err
    assert Store.open(tmp_path / "there.orch").ref("default-snapshot") == start


def test_a_dry_run_tells_the_same_and_writes_nothing(
    wepy: Wepy, make_chain: Make, tmp_path: Path
) -> None:
    """--dry-run from another host: the same lines, no target."""
    address = f"127.0.0.1:{make_chain().store.path}"
    dry = wepy("reconcile orch -n new.orch", address)
    assert dry.status == 0 and "Would bring 20 files" in dry.err
    assert not (tmp_path / "new.orch").exists()
    real = wepy("reconcile orch new.orch", address)
    assert dry.err.splitlines()[:-1] == real.err.splitlines()[:-1]
    (tmp_path / "old.orch").mkdir()
    before = sorted((tmp_path / "new.orch").rglob("*"))
    assert wepy("reconcile orch -n new.orch", address).status == 0
    assert sorted((tmp_path / "new.orch").rglob("*")) == before


class Crossed:
    """Counts what crosses the wire, in one direction, from now on."""

    def __init__(self, sshd: Sshd, tmp_path: Path, way: str) -> None:
        self._file = tmp_path / f"crossed-{way}"
        relay = f'"{sys.executable}" "{RELAY}" 1000000000000 "{self._file}" 0'
        moved = f'$SSH "$@" | {relay}' if way == "from" else f'exec $SSH "$@" < <({relay})'
        self.shell = sshd.script(f"count-{way}.sh", moved)

    def take(self) -> int:
        """Bytes since the last time."""
        counts = self._file.with_name(f"{self._file.name}.count")
        total = sum(map(int, counts.read_text().split()))
        counts.unlink()
        return total


def test_only_what_is_missing_crosses(
    wepy: Wepy, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two snapshots of 1 MB with the one here, only the other crosses the wire."""
    there = Store.create(tmp_path / "there.orch")
    large(there, 1_000_000, "one")
    address = f"127.0.0.1:{there.path}"
    assert wepy("reconcile orch new.orch", address).status == 0
    large(there, 500_000, "two")
    crossed = Crossed(sshd, tmp_path, "from")
    monkeypatch.setenv("WEPY_SSH", crossed.shell)
    assert wepy("reconcile orch new.orch", address).status == 0
    assert 500_000 < crossed.take() < 520_000
    assert wepy("reconcile orch new.orch", address).err == "Already up to date.\n"
    assert crossed.take() < 10_000


def breaking(sshd: Sshd, tmp_path: Path, limit: int, seconds: float, way: str) -> str:
    """A $WEPY_SSH whose fourth connection, the one that moves objects, stops after `limit` bytes
    of what comes from there ("from") or goes there ("to"); the file `flag` then exists."""
    relay = f'"{sys.executable}" "{RELAY}" {limit} "{tmp_path}/flag" {seconds}'
    moved = f'$SSH "$@" | {{ {relay}; kill -KILL $$; }}'
    if way == "to":
        moved = f'exec $SSH "$@" < <({relay})'
    return sshd.script(
        f"break-{way}-{seconds}.sh",
        f'n=$(cat "{tmp_path}/n" 2>/dev/null || echo 0)\n'
        f'echo $((n + 1)) > "{tmp_path}/n"\n'
        f'if [ $n -eq 3 ]; then {moved}; else exec $SSH "$@"; fi',
    )


def test_a_connection_that_breaks_is_gone_on_with(
    wepy: Wepy, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off in the middle of the second of two objects of 2 MB: exit status 1, the target has
    nothing half-visible, and the same command brings only the rest."""
    there = Store.create(tmp_path / "there.orch")
    large(there, 2_000_000, "one")
    large(there, 2_000_000, "two")
    address = f"127.0.0.1:{there.path}"
    monkeypatch.setenv("WEPY_SSH", breaking(sshd, tmp_path, 3_000_000, 0, "from"))
    result = wepy("reconcile orch new.orch", address)
    assert result.status == 1 and result.err.count("\n") == 1, result.err
    assert "broke off" in result.err and "same command again" in result.err
    new = Store.open(tmp_path / "new.orch")
    assert not any(contents(new).values())
    crossed = Crossed(sshd, tmp_path, "from")
    monkeypatch.setenv("WEPY_SSH", crossed.shell)
    assert wepy("reconcile orch new.orch", address).status == 0
    assert crossed.take() < 1_150_000, "more than the rest has crossed"
    assert contents(new) == contents(there)
    check(new.path)


def come_whole(root: Path, size: int) -> list[Path]:
    """Objects of at least that size, wherever they wait to be looked at."""
    named = [path for path in root.rglob("*") if re.fullmatch("[0-9a-f]{32}", path.name)]
    return [path for path in named if path.is_file() and path.stat().st_size >= size]


@pytest.mark.waits
def test_killed_in_the_middle(
    wepy: Wepy, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL of wepy and rsync while objects come: the target is a whole store, and the same
    command brings the rest; the object that had come whole does not come again."""
    there = Store.create(tmp_path / "there.orch")
    for label in "abc":
        large(there, 1_000_000, label)
    flag = tmp_path / "flag"
    slow = breaking(sshd, tmp_path, 2_500_000, PATIENCE_S, "from")
    address = f"127.0.0.1:{there.path}"
    command = [sys.executable, "-m", "wepystore", "reconcile", "orch", "new.orch", address]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**ENVIRONMENT, "WEPY_SSH": slow},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(flag.exists, process)
        # rsync may still be busy with what has come; a file has its name once it is whole.
        until(lambda: come_whole(tmp_path / "new.orch", 1_000_000), process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not any(contents(Store.open(tmp_path / "new.orch")).values())
    crossed = Crossed(sshd, tmp_path, "from")
    monkeypatch.setenv("WEPY_SSH", crossed.shell)
    assert wepy("reconcile orch new.orch", address).status == 0
    assert crossed.take() < 2_100_000
    assert contents(Store.open(tmp_path / "new.orch")) == contents(there)
    check(tmp_path / "new.orch")


def test_damage_there_is_left_out(wepy: Wepy, make_chain: Make, tmp_path: Path) -> None:
    """S10: an object and a manifest that have rotten there are named by the place the user knows,
    and stay out with what needs them; the rest comes; exit status 3."""
    chain = make_chain("there.orch")
    store = chain.store
    part = store.references("snapshots", chain.snapshots[2])[-1][1].md5
    file = store.file("objects", part)
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    rotten = store.file("snapshots", chain.snapshots[1])
    rotten.write_bytes(b"?" + rotten.read_bytes()[1:])
    address = f"127.0.0.1:{store.path}"
    result = wepy("reconcile orch new.orch", address)
    assert result.status == 3
    assert f"{address}/objects/{part[:2]}/{part} is damaged" in result.err
    assert f"[left out] snapshot {chain.snapshots[1]} of {address}" in result.err
    assert "incoming" not in result.err
    assert wepy("ls snapshots new.orch").lines == [chain.snapshots[0]]
    check(tmp_path / "new.orch")


def test_an_incomplete_target_is_healed(wepy: Wepy, make_chain: Make, tmp_path: Path) -> None:
    """S5: what the target lacks of an entry that it has comes over; so does a truncated manifest,
    and one that has rotten keeps nothing else out."""
    chain = make_chain()
    address = f"127.0.0.1:{chain.store.path}"
    wepy("reconcile orch new.orch", address)
    new = Store.open(tmp_path / "new.orch")
    new.remove("objects", new.references("snapshots", chain.snapshots[0])[0][1].md5)
    manifest = new.file("snapshots", chain.snapshots[1])
    data = manifest.read_bytes()
    manifest.unlink()
    manifest.write_bytes(data[:-5])
    result = wepy("reconcile orch new.orch", address)
    assert result.status == 0, result.err
    assert f" * [healed snapshot] {chain.snapshots[0][:8]}…" in result.err.splitlines()
    assert contents(new) == contents(chain.store)
    assert new.missing("snapshots", chain.snapshots[0]) == []
    check(new.path)


def test_sources_of_every_kind_at_once(wepy: Wepy, make_chain: Make, tmp_path: Path) -> None:
    """A store here and one there in one command: the union, and what is here does not cross."""
    chain = make_chain()
    here = Store.create(tmp_path / "here.orch")
    mine = add_snapshot(here, "mine")
    result = wepy("reconcile orch new.orch here.orch", f"127.0.0.1:{chain.store.path}")
    assert result.status == 0
    assert wepy("ls snapshots new.orch").lines == sorted([mine, *chain.snapshots])


def test_a_tag_that_differs_there_is_a_conflict(
    wepy: Wepy, make_chain: Make, tmp_path: Path
) -> None:
    """S7: exit status 4, the place named, all else came."""
    chain = make_chain()
    new = Store.create(tmp_path / "new.orch")
    new.set_ref("tags/bound", add_snapshot(new, "other"))
    address = f"127.0.0.1:{chain.store.path}"
    result = wepy("reconcile orch new.orch", address)
    assert result.status == 4 and f"in {address}; left alone" in result.err
    assert len(new.hashes("snapshots")) == 4
    pushed = wepy("push new.orch", address)
    assert pushed.status == 4 and len(chain.store.hashes("snapshots")) == 4
    assert chain.store.tags() == {"bound": chain.snapshots[1]}


def test_annexed_files_come_and_absent_ones_are_told(
    wepy: Wepy, make_chain: Make, tmp_path: Path
) -> None:
    """Links to contents elsewhere, as git-annex makes them, are followed there; one that dangles
    leaves its entry out (S5), and no other."""
    chain = make_chain()
    annex = tmp_path / "annex"
    annex.mkdir()
    for file in chain.store.path.glob("objects/*/*"):
        file.rename(annex / file.name)
        file.symlink_to(annex / file.name)
    absent = chain.store.references("snapshots", chain.snapshots[1])[-1][1].md5
    (annex / absent).unlink()
    result = wepy("reconcile orch new.orch", f"127.0.0.1:{chain.store.path}")
    assert result.status == 3 and absent in result.err
    new = Store.open(tmp_path / "new.orch")
    assert new.hashes("snapshots") == sorted([chain.snapshots[0], chain.snapshots[2]])
    assert not any(path.is_symlink() for path in new.path.rglob("*"))
    check(new.path)


def test_hostile_names_are_not_paths(wepy: Wepy, make_chain: Make, tmp_path: Path) -> None:
    """S10: names in a source that are no entries are never used; an entry that is a link to some
    other file there is judged by its bytes."""
    chain = make_chain()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    objects = chain.store.path / "objects"
    (objects / "..x").mkdir()
    (objects / "aa").mkdir(exist_ok=True)
    (objects / "aa" / "evil; touch pwned").write_text("x")
    (objects / "aa" / ("a" * 32)).symlink_to(secret)
    (chain.store.path / "refs" / "tags" / "-rf").write_text("x")
    result = wepy("reconcile orch new.orch", f"127.0.0.1:{chain.store.path}")
    assert result.status == 0, result.err
    check(tmp_path / "new.orch")
    assert not Store.open(tmp_path / "new.orch").has("objects", "a" * 32)


def test_what_cannot_be_reached_is_one_clear_line(
    wepy: Wepy, make_chain: Make, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong path, no store, a file, no rsync there, an unknown host key, a refused login, nobody
    listening, a name that is no host: exit status 1, one line that says it, and no target."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    good = f"127.0.0.1:{make_chain().store.path}"
    plain_shell = sshd.alone
    no_rsync = sshd.script("norsync.sh", 'host=$1; shift; $SSH "$host" no-such-dir/"$@"')
    stranger = plain_shell.replace("/known_hosts", "/nobody")
    other_key = tmp_path / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other_key)], check=True
    )
    refused = plain_shell.replace(f"{sshd.folder}/.ssh/id_ed25519", str(other_key))
    closed = plain_shell.replace(f"-p {sshd.port}", "-p 1")
    for shell, address, match in (
        (plain_shell, f"127.0.0.1:{tmp_path}/none", "no such directory"),
        (plain_shell, f"127.0.0.1:{tmp_path}/plain", "thesis.tex"),
        (plain_shell, f"127.0.0.1:{tmp_path}/file", "not a directory"),
        (no_rsync, good, "rsync is not installed on 127.0.0.1"),
        (stranger, good, "key of the host"),
        (refused, good, "refused the login"),
        (closed, good, "Connection refused"),
        (plain_shell, "no-such-host.invalid:x.orch", "resolve"),
    ):
        monkeypatch.setenv("WEPY_SSH", shell)
        result = wepy("reconcile orch new.orch", address)
        assert result.status == 1, (shell, result)
        assert result.err.count("\n") == 1 and match in result.err, result.err
    Store.create(tmp_path / "mine.orch")
    for shell, address, match in (
        (plain_shell, f"127.0.0.1:{tmp_path}/no/parent.orch", "no directory on 127.0.0.1"),
        (plain_shell, f"127.0.0.1:{tmp_path}/plain", "thesis.tex"),
        (no_rsync, good, "rsync is not installed on 127.0.0.1"),
    ):
        monkeypatch.setenv("WEPY_SSH", shell)
        result = wepy("push mine.orch", address)
        assert result.status == 1 and result.err.count("\n") == 1, result
        assert match in result.err, result.err
    assert not (tmp_path / "new.orch").exists()


def test_no_rsync_here(wepy: Wepy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rsync on this machine it is said what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    result = wepy("reconcile orch new.orch host:x.orch")
    assert result.status == 1 and "install the package rsync" in result.err


def test_no_permission(
    wepy: Wepy, make_chain: Make, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that cannot be read there might hold anything: it is an error, not nothing. A
    place where nothing may be written is one line too."""
    if os.geteuid() == 0:
        # Root may read everything: the far side is run as somebody else.
        installed.need("setpriv")
        other = "setpriv --reuid=65534 --regid=65534 --clear-groups"
        script = sshd.script("nobody.sh", f'shift; exec {other} sh -c "$*"')
        monkeypatch.setenv("WEPY_SSH", script)
    with tempfile.TemporaryDirectory(prefix="wepystore-test-") as folder:
        os.chmod(folder, 0o755)
        store = make_chain(f"{folder}/there.orch").store
        (store.path / "snapshots").chmod(0o700 if os.geteuid() == 0 else 0)
        came = wepy("reconcile orch new.orch", f"127.0.0.1:{store.path}")
        os.chmod(folder, 0o555)
        (store.path / "snapshots").chmod(0o755)
        pushed = wepy("push", store.path, f"127.0.0.1:{folder}/other.orch")
        os.chmod(folder, 0o755)
    for result in (came, pushed):
        assert result.status == 1 and result.err.count("\n") == 1, result
        assert "permission denied" in result.err, result.err
    assert not Path("new.orch").exists()


def test_what_may_not_be_read_there_is_told(
    wepy: Wepy, make_chain: Make, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One object that cannot be read there keeps its snapshot out, and the reason is given."""
    if os.geteuid() == 0:
        installed.need("setpriv")
        other = "setpriv --reuid=65534 --regid=65534 --clear-groups"
        monkeypatch.setenv("WEPY_SSH", sshd.script("nobody.sh", f'shift; exec {other} sh -c "$*"'))
    with tempfile.TemporaryDirectory(prefix="wepystore-test-") as folder:
        os.chmod(folder, 0o755)
        chain = make_chain(f"{folder}/there.orch")
        part = chain.store.references("snapshots", chain.snapshots[1])[-1][1].md5
        chain.store.file("objects", part).chmod(0o600 if os.geteuid() == 0 else 0)
        came = wepy("reconcile orch new.orch", f"127.0.0.1:{chain.store.path}")
    (line,) = [line for line in came.err.splitlines() if "left out" in line]
    assert came.status == 3 and chain.snapshots[1] in line and part in line
    assert "Permission denied" in line


def test_newer_and_damaged_stores_there(wepy: Wepy, make_chain: Make) -> None:
    """A newer format there is refused by the name the user gave, not by a folder of ours."""
    chain = make_chain("there.orch")
    address = f"127.0.0.1:{chain.store.path}"
    (chain.store.path / "wepystore.json").write_text('{"format":9,"type":"store"}')
    result = wepy("reconcile orch new.orch", address)
    assert result.status == 1 and f"{address} has store format 9" in result.err
    pushed = wepy("push", chain.store.path, "127.0.0.1:elsewhere")
    assert pushed.status == 1


def test_a_project_with_a_hidden_store(wepy: Wepy, make_chain: Make, tmp_path: Path) -> None:
    """A directory there that holds a .orch stands for it, as here."""
    (tmp_path / "project").mkdir()
    chain = make_chain("project/.orch")
    assert wepy("reconcile orch new.orch", f"127.0.0.1:{tmp_path}/project").status == 0
    assert contents(Store.open(tmp_path / "new.orch")) == contents(chain.store)


# ---- push


def test_push_makes_a_store_there(wepy: Wepy, make_chain: Make, tmp_path: Path) -> None:
    """Everything goes to a place that is not there yet, refs too; again nothing goes; what was
    made since goes alone."""
    chain = make_chain()
    path = tmp_path / "far away 'ü' [x].orch"
    address = f"127.0.0.1:{path}"
    dry = wepy("push -n", chain.store.path, address)
    assert dry.status == 0 and "Would send 20 files" in dry.err and not path.exists()
    result = wepy("push", chain.store.path, address)
    assert result.status == 0, result.err
    assert result.err.splitlines()[0] == f"To {address}"
    there = Store.open(path)
    assert contents(there) == contents(chain.store)
    assert there.tags() == chain.store.tags() and there.ref("default-config") == chain.config
    check(path)
    assert wepy("push", chain.store.path, address) == (0, "", "Already up to date.\n")
    add_run(chain.store, *chain.snapshots[1:], add_config(chain.store, "two"))
    assert "8 files sent" in wepy("push", chain.store.path, address).err


@pytest.mark.parametrize("name", ["a:b.orch", "-x.orch", "-oProxyCommand=touch x:y.orch"])
def test_a_path_here_is_no_host_and_no_option(
    wepy: Wepy, make_chain: Make, tmp_path: Path, name: str
) -> None:
    """A store here with a colon in its name, or a dash in front, is reconciled into from another
    host, and pushed from, like any other; nothing of its name is taken for a host or an option."""
    chain = make_chain("there.orch")
    address = f"127.0.0.1:{chain.store.path}"
    here = f"./{name}"
    for _ in range(2):
        result = wepy("reconcile orch", here, address)
        assert result.status == 0, result.err
    assert contents(Store.open(tmp_path / name)) == contents(chain.store)
    result = wepy("push", here, f"127.0.0.1:{tmp_path}/far.orch")
    assert result.status == 0, result.err
    assert contents(Store.open(tmp_path / "far.orch")) == contents(chain.store)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [name, "far.orch", "there.orch"]
    )


def test_several_pushes_make_one_store(make_chain: Make, sshd: Sshd, tmp_path: Path) -> None:
    """Four that push to a place where nothing is, at once, all succeed: it is the union."""
    chain = make_chain("one.orch")
    other = Store.create(tmp_path / "two.orch")
    add_snapshot(other, "elsewhere")
    line = [sys.executable, "-m", "wepystore", "push"]
    place = tmp_path / "there.orch"
    processes = [
        subprocess.Popen(
            [*line, str(store.path), f"127.0.0.1:{place}"],
            cwd=tmp_path,
            env={**ENVIRONMENT, "WEPY_SSH": sshd.shell},
            stderr=subprocess.PIPE,
            text=True,
        )
        for store in (chain.store, other) * 2
    ]
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    there = Store.open(place)
    check(there.path)
    assert len(there.hashes("snapshots")) == 4 and there.tags() == chain.store.tags()


def test_push_heals_what_is_half_made(wepy: Wepy, make_chain: Make, tmp_path: Path) -> None:
    """What a push that was killed at its very beginning leaves is made a store by the next one; a
    directory that holds something is not."""
    chain = make_chain("one.orch")
    place = tmp_path / "there.orch"
    for name in ("objects", "refs/tags", "tmp"):
        (place / name).mkdir(parents=True)
    (place / ".gitattributes").write_text("* -text -merge\n")
    (place / ".wepystore.json.aB3dE9").write_text("{")
    result = wepy("push", chain.store.path, f"127.0.0.1:{place}")
    assert result.status == 0, result.err
    assert contents(Store.open(place)) == contents(chain.store)
    for name in ("thesis.tex", "objects/ab", "refs/tags/x"):
        foreign = tmp_path / name.replace("/", "-")
        (foreign / name).parent.mkdir(parents=True)
        (foreign / name).write_text("much work")
        result = wepy("push", chain.store.path, f"127.0.0.1:{foreign}")
        assert (result.status == 1 and "is not a store" in result.err) or "it has no" in result.err
        assert not (foreign / "wepystore.json").exists()


def test_push_skips_what_goes_meanwhile(make_chain: Make, sshd: Sshd, tmp_path: Path) -> None:
    """A live job replaces its checkpoint between plan and push: what is gone with its manifest is
    skipped, and the rest goes; an object that goes alone keeps its snapshot back, and is told."""
    store = make_chain("mine.orch").store
    gone, torn = add_snapshot(store, "gone"), add_snapshot(store, "torn")
    kept = {md5: store.references("snapshots", md5)[-1][1].md5 for md5 in (gone, torn)}
    there = tmp_path / "there.orch"
    with destination(store, f"127.0.0.1:{there}", shell=sshd.shell) as place:
        plan = merge.plan(place, [store])
        store.remove("snapshots", gone)
        for part in kept.values():
            store.remove("objects", part)
        outcome = merge.apply(plan, None, place)
    assert [(left.kind, left.md5) for left in outcome.left] == [("snapshots", torn)]
    assert f"{kept[torn]} has gone" in outcome.left[0].why
    assert not {gone, torn} & {entry.md5 for entry in outcome.entries}
    assert len(Store.open(there).hashes("snapshots")) == 3
    check(there)


def test_push_overwrites_nothing(wepy: Wepy, make_chain: Make, tmp_path: Path) -> None:
    """What is truncated there is named and not replaced; what is damaged here is not sent; both
    keep out what needs them, with exit status 3 (S2, S5)."""
    chain = make_chain("mine.orch")
    there = Store.create(tmp_path / "there.orch")
    address = f"127.0.0.1:{there.path}"
    part = chain.store.references("snapshots", chain.snapshots[0])[-1][1].md5
    cut = there.file("objects", part)
    cut.parent.mkdir()
    cut.write_bytes(b"cut")
    rotten = chain.store.references("snapshots", chain.snapshots[1])[-1][1].md5
    file = chain.store.file("objects", rotten)
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    result = wepy("push mine.orch", address)
    assert result.status == 3
    assert f"{address}/objects/{part[:2]}/{part} has 3 bytes" in result.err
    assert f"{rotten} is damaged" in result.err
    assert cut.read_bytes() == b"cut"
    assert there.hashes("snapshots") == [chain.snapshots[2]] and not there.hashes("runs")
    assert not there.has("objects", rotten)
    assert there.tags() == {} and there.ref("default-snapshot") is None


def test_a_push_that_breaks_is_gone_on_with(
    wepy: Wepy, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off in the middle of the second of two objects of 2 MB: no manifest is there (S4), and
    the same command sends only the rest."""
    mine = Store.create(tmp_path / "mine.orch")
    large(mine, 2_000_000, "one")
    large(mine, 2_000_000, "two")
    address = f"127.0.0.1:{tmp_path}/there.orch"
    monkeypatch.setenv("WEPY_SSH", breaking(sshd, tmp_path, 3_000_000, 2, "to"))
    result = wepy("push mine.orch", address)
    assert result.status == 1 and "broke off" in result.err, result.err
    there = Store.open(tmp_path / "there.orch")
    assert there.hashes("snapshots") == []
    sent = Crossed(sshd, tmp_path, "to")
    monkeypatch.setenv("WEPY_SSH", sent.shell)
    assert wepy("push mine.orch", address).status == 0
    assert sent.take() < 1_150_000, "more than the rest has crossed"
    assert contents(there) == contents(mine)
    assert not list(there.path.glob("objects/*/.*")), "nothing half is left"
    check(there.path)


# ---- what a command imports, and what it shows on a terminal


def test_no_pickle_is_imported(
    sshd: Sshd, make_chain: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S9: reconcile from another host and from a database, and push, import no pickle."""
    monkeypatch.setitem(ENVIRONMENT, "WEPY_SSH", sshd.shell)
    chain = make_chain()
    database = REPOSITORY / "fixtures" / "wepy1" / "first_job.checkpoint.orch.sqlite"
    for line in (
        ["reconcile", "orch", tmp_path / "new.orch", f"127.0.0.1:{chain.store.path}", database],
        ["push", tmp_path / "new.orch", f"127.0.0.1:{tmp_path}/far.orch"],
        ["show", tmp_path / "new.orch", "80611cb1"],
        ["log", tmp_path / "new.orch"],
    ):
        modules = modules_of(tmp_path, *line)
        assert modules.isdisjoint(("pickle", "_pickle", "dill", "pickletools")), line


def test_a_terminal_gets_a_bar_with_bytes_and_time(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal long work shows how many bytes of how many, and the time left; in a log it
    does not."""
    there = Store.create(tmp_path / "there.orch")
    large(there, 12_000_000)
    address = f"127.0.0.1:{there.path}"
    slow = sshd.script("slow.sh", f'$SSH "$@" | "{sys.executable}" "{RELAY}" 1000000000 x 0')
    seen = []
    for words in (
        ["reconcile", "orch", "new.orch", address],
        ["push", "there.orch", address + "2"],
    ):
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "wepystore", *words],
            cwd=tmp_path,
            env={**ENVIRONMENT, "WEPY_SSH": slow, "TERM": "xterm", "COLUMNS": "120"},
            stderr=slave,
        )
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):
            while chunk := os.read(master, 65536):
                shown += chunk
        os.close(master)
        assert process.wait() == 0, shown.decode()
        seen.append(shown.decode())
    assert "fetching" in seen[0] and "verifying" in seen[0] and "sending" in seen[1]
    for shown in seen:
        assert "/12.0 MB" in shown and ":" in shown
