"""Two jobs of one configuration whose reporters were made with paths: neither harms the other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.systems import Recorder, pair_snapshot, plain_configuration, run_job
from wepystore.api import Prepared, prepare_store
from wepystore.engine.errors import StepError
from wepystore.orchestrator.run.resume import resume


class Lines:
    """Begins its file anew in `init`, as reporters do, and leaves a last line."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.total = 0.0

    def init(self, **parts: Any) -> None:
        self.file = open(self.path, "w")  # noqa: SIM115 (closed in cleanup)

    def report(self, **report: Any) -> None:
        self.total += sum(walker.weight for walker in report["new_walkers"])
        print(report["cycle_idx"], self.total, file=self.file)

    def cleanup(self, **parts: Any) -> None:
        print("the end", file=self.file)
        self.file.close()


class Pieces:
    """A file a cycle in a directory, of which the newest two stay: wepy's WalkerPklReporter."""

    def __init__(self, save_dir: str) -> None:
        self.save_dir = save_dir

    def init(self, **parts: Any) -> None:
        os.makedirs(self.save_dir, exist_ok=True)

    def report(self, **report: Any) -> None:
        number = report["cycle_idx"]
        if os.environ.get("PIECES_FAIL"):
            raise ValueError("no pieces")
        with open(os.path.join(self.save_dir, f"{number}.txt"), "x") as file:
            file.write(str(number))
        if number >= 2:
            os.remove(os.path.join(self.save_dir, f"{number - 2}.txt"))

    def cleanup(self, **parts: Any) -> None:
        pass


class Killed(BaseException):
    """What nothing here catches."""


def killed_after(n_cycles: int) -> Recorder:
    def on_cycle(progress: Any) -> None:
        if progress.n_cycles_done == n_cycles:
            raise Killed

    return Recorder(on_cycle=on_cycle)


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    """A store with these two reporters, with paths in the directory that the user is in."""
    monkeypatch.chdir(tmp_path)
    reporters = [Lines("lines.txt"), Pieces("./")]
    return prepare_store("s.orch", pair_snapshot(), plain_configuration(reporters=reporters))


def run(prepared: Prepared, folder: str, watcher: Any = None, **options: Any) -> Any:
    options = {"n_cycles": 7, "checkpoint_freq": 2, **options}
    return run_job(prepared.store, prepared.snapshot_hash, Path(folder), watcher, **options)


def files(folder: str) -> dict[str, bytes]:
    """The reporters' files in a job's folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("job.*")) + sorted(Path(folder).glob("job.Pieces/*"))
        if path.is_file() and path.name != "job.json"
    }


def test_the_second_job_leaves_the_first_ones_files(prepared: Prepared) -> None:
    """Each job writes into its own folder, nothing beside it, and says which path became which."""
    watcher = Recorder()
    run(prepared, "one", watcher)
    first = files("one")
    assert set(first) == {"job.lines.txt", "job.Pieces/5.txt", "job.Pieces/6.txt"}
    assert first["job.lines.txt"].count(b"\n") == 8
    run(prepared, "two", n_cycles=2)
    assert files("one") == first
    assert sorted(os.listdir()) == ["one", "s.orch", "two"]
    said = [event[1] for event in watcher.events if event[0] == "remark"]
    assert "reporter Lines writes one/job.lines.txt, and not lines.txt" in said[0]
    assert "reporter Pieces writes one/job.Pieces/, and not ./" in said[1]


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same place", "folder moved"])
def test_a_killed_job_goes_on_with_the_same_files(prepared: Prepared, elsewhere: bool) -> None:
    """R2: killed twice, and the folder moved meanwhile, it ends with the bytes, in files and
    directories, of a job that was not; `init` does not begin them anew."""
    run(prepared, "whole")
    with pytest.raises(Killed):
        run(prepared, "job", killed_after(3))
    with pytest.raises(Killed):
        resume(Path("job"), {}, killed_after(5))
    if elsewhere:
        os.rename("job", "moved")
        os.chdir("moved")
        resume(Path("."), {}, Recorder())
        os.chdir("..")
    else:
        resume(Path("job"), {}, Recorder())
    assert files("moved" if elsewhere else "job") == files("whole")
    assert "lines.txt" not in os.listdir()


def test_links_in_a_reporters_folder_are_refused(prepared: Prepared, tmp_path: Path) -> None:
    """A job folder that somebody else had his hands on: what a file in a reporter's directory is a
    link to stays as it is, and the link is named."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    with pytest.raises(Killed):
        run(prepared, "job", killed_after(3))
    os.symlink(victim, "job/job.Pieces/3.txt.new")
    with pytest.raises(OSError, match="symbolic link") as caught:
        resume(Path("job"), {}, Recorder())
    assert caught.value.filename == "job/job.Pieces/3.txt.new"
    assert victim.read_text() == "mine"


def test_a_job_that_fails_at_once_leaves_nothing(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Directories of reporters go with the rest of the folder, so that the next try may begin."""
    monkeypatch.setenv("PIECES_FAIL", "1")
    with pytest.raises(StepError, match="Pieces failed: ValueError: no pieces"):
        run(prepared, "job")
    assert sorted(os.listdir()) == ["s.orch"]
