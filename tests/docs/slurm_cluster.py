"""A SLURM of one node, for tests: the real daemons, with ports, keys and folders of their own.

Nothing of a SLURM that the machine may have besides is read or touched. The programs are Debian's
packages (tests/installed.py).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests import installed

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "scontrol", "munged", "setpriv")
#: Variables of a job that the tests may run in, or of its user.
_THEIRS = ("SLURM_", "SBATCH")
_START_S = 60

# More processors than there may be: what is to be seen here is the queue, not the speed. With
# JobRequeue=0 a job is requeued only if it asks for it itself. Signals and limits are looked at
# every 30 s, which no setting changes; a requeued job waits for cred_expire and a second.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket,cred_expire=5
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
BatchStartTimeout=1
JobRequeue=0
KillWait=30
MinJobAge=3600
ReturnToService=2
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=32000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def wait_until(condition: Callable[[], object], seconds: float, what: Callable[[], str]) -> None:
    """Fails with `what` happened instead."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


class Cluster:
    """One node, `one`, of sixteen processors; `environment` is what its commands need."""

    def __init__(self) -> None:
        # Short, as a socket is in it.
        self.home = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.home.chmod(0o755)
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **{name: value for name, value in os.environ.items() if name[:6] not in _THEIRS},
            "PATH": installed.PATH,
            "SLURM_CONF": str(self.home / "slurm.conf"),
        }

    def start(self) -> None:
        """Bring it up."""
        key = self.home / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        for name in ("state", "spool"):
            (self.home / name).mkdir()
        (self.home / "slurm.conf").write_text(
            CONFIGURATION.format(
                home=self.home,
                host=socket.gethostname().partition(".")[0],
                user=pwd.getpwuid(os.geteuid()).pw_name,
                **dict(zip(("controller_port", "node_port"), free_ports(2), strict=True)),
            )
        )
        # --force: the folders above are others', as /tmp is.
        self._daemon(
            *("munged", "--foreground", "--force", f"--key-file={key}"),
            *(f"--{name}-file={self.home}/munged.{name}" for name in ("pid", "log", "seed")),
            f"--socket={self.home}/munge.socket",
        )
        self._await((self.home / "munge.socket").exists)
        self._daemon("slurmctld", "-D")
        self.start_node()

    def start_node(self) -> None:
        """Start slurmd, and wait for the node to be ready."""
        self._daemon("slurmd", "-D", "-N", "one")
        self._await(lambda: self.asked("sinfo", "--noheader", "--format=%t") in ("idle", "mix"))

    def _daemon(self, *words: str) -> None:
        name = words[0]
        with (self.home / f"{name}.out").open("ab") as out:
            # Should the tests be killed, the daemons end with them.
            self._daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *words],
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _await(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_S
        while not ready():
            ended = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
            name = (ended or list(self._daemons))[-1]
            said = (self.home / f"{name}.out").read_text()
            assert not ended and time.monotonic() < deadline, f"{name} does not come up: {said}"
            time.sleep(0.1)

    def asked(self, *words: str) -> str:
        """What a command says, whatever its exit status."""
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=60
        ).stdout.strip()

    def told(self, *words: str, cwd: Path | None = None, **variables: str) -> str:
        """What a command says that must not fail."""
        done = subprocess.run(
            words,
            cwd=cwd or self.home,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    def job(self, number: str) -> dict[str, str]:
        """What the controller knows of a job: JobState, Reason, Restarts, Dependency, …"""
        told = self.told("scontrol", "--oneliner", "show", "job", number)
        return dict(re.findall(r"(\S+?)=(\S*)", told))

    def await_job(self, number: str, seconds: float, **wanted: str) -> dict[str, str]:
        """Wait until a job is as wanted, e.g. JobState="COMPLETED"; what is known of it then."""

        def found() -> bool:
            known = self.job(number)
            return all(known.get(name) == value for name, value in wanted.items())

        wait_until(found, seconds, lambda: f"not {wanted}: {self.job(number)}")
        return self.job(number)

    def steps_of(self, number: str) -> list[int]:
        """The processes of a job and their slurmstepd."""
        return [
            pid
            for pid in self.processes()
            if f"slurmstepd: [{number}." in words_of(pid)
            or f"SLURM_JOB_ID={number}\0" in environment_of(pid)
        ]

    def lose_node(self, number: str) -> None:
        """The node goes down like one without power, with the job that runs on it."""
        self._daemons["slurmd"].kill()
        self._daemons["slurmd"].wait()
        while pids := self.steps_of(number):
            for pid in pids:
                kill(pid)

    def processes(self) -> list[int]:
        """All that belongs to this cluster: its daemons, and what its jobs have started."""
        mark = str(self.home)
        return [
            int(entry)
            for entry in os.listdir("/proc")
            if entry.isdigit()
            and (
                mark in environment_of(int(entry))
                # These write their titles where their environment was.
                or (
                    "slurm" in words_of(int(entry))
                    and any(mark in file for file in open_files_of(int(entry)))
                )
            )
        ]

    def stop(self) -> None:
        """End it with all its jobs. Nothing of it runs afterwards."""
        if "slurmctld" in self._daemons:
            for number in self.asked("squeue", "--noheader", "--format=%A").split():
                self.asked("scancel", "--quiet", number)
            deadline = time.monotonic() + 10
            while self.asked("squeue", "--noheader") and time.monotonic() < deadline:
                time.sleep(0.2)
        for name in ("slurmd", "slurmctld", "munged"):
            if name in self._daemons:
                self._daemons[name].terminate()
        deadline = time.monotonic() + 10
        while (left := self.processes()) and time.monotonic() < deadline + 10:
            if time.monotonic() > deadline:
                for pid in left:
                    kill(pid)
            for daemon in self._daemons.values():
                daemon.poll()
            time.sleep(0.1)
        assert not left, [words_of(pid) for pid in left]
        shutil.rmtree(self.home)


def free_ports(n: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for each in sockets:
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def words_of(pid: int) -> str:
    return _read(pid, "cmdline").replace("\0", " ")


def environment_of(pid: int) -> str:
    return _read(pid, "environ")


def open_files_of(pid: int) -> list[str]:
    """What a process has open, and the folder it is in."""
    here = f"/proc/{pid}"
    try:
        links = [f"{here}/cwd", *(f"{here}/fd/{name}" for name in os.listdir(f"{here}/fd"))]
    except OSError:
        return []
    found = []
    for link in links:
        with contextlib.suppress(OSError):
            found.append(os.readlink(link))
    return found


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    except OSError:
        return ""
