"""Real servers on this machine: an sshd with keys of its own, and an S3 server."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import installed
from tests.cli.conftest import Wepy, wepy
from tests.store.helpers import add_config, add_run, add_snapshot
from tests.waiting import until
from wepystore.store import Store

__all__ = ["Wepy", "wepy"]


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until somebody answers on the port; fails with the server's log if nobody does."""

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 60):
            return True
        return False

    try:
        until(answers, process)
    except AssertionError:
        process.kill()
        said = log.read_text(errors="replace")
        raise RuntimeError(f"the server did not start: {said}") from None


@dataclass(frozen=True)
class Sshd:
    """A running sshd of this user on loopback."""

    port: int
    folder: Path
    """With the client's `id_ed25519` and `known_hosts` in .ssh."""
    user: str
    master: Path
    """The socket of a connection that is open already, which saves time."""

    @property
    def shell(self) -> str:
        """For $WEPY_SSH, by way of the open connection."""
        return f"{self.alone} -S {self.master}"

    @property
    def alone(self) -> str:
        """The same with a connection of its own, through all of ssh's checks. Nothing of the
        developer's own ssh configuration is used."""
        keys = self.folder / ".ssh"
        return (
            f"ssh -F none -p {self.port} -i {keys}/id_ed25519 -o IdentitiesOnly=yes"
            f" -o UserKnownHostsFile={keys}/known_hosts -o GlobalKnownHostsFile=/dev/null"
            " -o StrictHostKeyChecking=yes -o BatchMode=yes"
        )

    def script(self, name: str, body: str) -> str:
        """A command for $WEPY_SSH that does more than ssh: in `body`, $SSH is it."""
        file = self.folder / name
        file.write_text(f'#!/bin/bash\nset -o pipefail\nSSH="{self.shell}"\n{body}\n')
        file.chmod(0o755)
        return str(file)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An sshd on a port of its own, with a host key and an authorized key made for it."""
    installed.need("sshd", "ssh", "rsync")
    folder = tmp_path_factory.mktemp("sshd")
    keys = folder / ".ssh"
    keys.mkdir(mode=0o700)
    for name in ("host", "id_ed25519"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    shutil.copy(keys / "id_ed25519.pub", keys / "authorized_keys")
    port = free_port()
    public = (keys / "host.pub").read_text()
    (keys / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys}/host\nPidFile none\n"
        f"AuthorizedKeysFile {keys}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 50\n"
        "Subsystem sftp internal-sftp\n"
        # With it bash reads no ~/.bashrc of the developer's, which may take longer than the rest.
        "SetEnv SHLVL=2\n"
    )
    log = folder / "sshd.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [str(installed.which("sshd")), "-D", "-e", "-f", str(config)], stderr=out
        )
    try:
        wait_for(port, process, log)
        # Paths of sockets are short.
        with tempfile.TemporaryDirectory(prefix="ssh-") as short:
            user = pwd.getpwuid(os.geteuid()).pw_name
            sshd = Sshd(port, folder, user, Path(short) / "s")
            master = subprocess.Popen([*sshd.shell.split(), "-MN", "127.0.0.1"])
            try:
                yield sshd
            finally:
                master.terminate()
                master.wait()
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an S3 server (moto's) in a process of its own."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    port = free_port()
    log = tmp_path_factory.mktemp("s3") / "log"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=out,
            stderr=out,
        )
    try:
        wait_for(port, process, log)
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def bucket(s3: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket on that server; s3:// leads to it, by the environment alone."""
    import fsspec

    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"bucket-{os.urandom(6).hex()}"
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir(name)
    return name


@dataclass(frozen=True)
class Chain:
    """A store with three snapshots, a run from the first to the last, a tag and a default."""

    store: Store
    snapshots: list[str]
    config: str
    run: str


@pytest.fixture
def make_chain(tmp_path: Path) -> Callable[..., Chain]:
    """A chain in a directory whose name needs quoting everywhere."""

    def make(path: str = 'it\'s "a" [1] *tést* $HOME.orch') -> Chain:
        store = Store.create(tmp_path / path)
        snapshots = [add_snapshot(store, label) for label in "abc"]
        config = add_config(store, "one")
        run = add_run(store, snapshots[0], snapshots[-1], config)
        store.set_ref("default-snapshot", snapshots[0])
        store.set_ref("default-config", config)
        store.set_ref("tags/bound", snapshots[1])
        return Chain(store, snapshots, config, run)

    return make
