"""Which paths of somebody else's components are replaced by names in the job's folder, and how."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from wepystore.api import HDF5Reporter, Reporter
from wepystore.reporters.placing import placed
from wepystore.reporters.wepy import WepyReporter


class Lines:
    """A user's reporter that knows only where its file is."""

    def __init__(self, path: Any, **more: Any) -> None:
        self.out_path = path
        vars(self).update(more)

    def init(self, **parts: Any) -> None:
        pass

    def report(self, **report: Any) -> None:
        pass

    def cleanup(self, **parts: Any) -> None:
        pass


def seen(reporter: Any) -> Any:
    """The user's reporter itself, whatever calls it."""
    return getattr(reporter, "_given", reporter)


def one(reporter: Any, prefix: str = "job/A") -> dict[str, Any]:
    (found,) = placed([reporter], None, prefix).reporters
    return vars(seen(found))


@pytest.mark.parametrize(
    "path", ["lines.txt", "deep/er/lines.txt", "/scratch/lines.txt", "../lines.txt", "~/lines.txt"]
)
def test_the_name_is_kept_and_the_folder_is_the_jobs(path: str) -> None:
    """Relative, absolute, upwards, at home: JOB.NAME in the job's folder, as text or as Path; the
    configuration's own object keeps what the script said."""
    mine = Lines(path, logFile=Path(path))
    assert one(mine) == {"out_path": "job/A.lines.txt", "logFile": Path("job/A.lines.txt")}
    assert vars(mine) == {"out_path": path, "logFile": Path(path)}


def test_what_is_a_path(tmp_path: Path) -> None:
    """Attributes that say so, in lists and options too, and text that begins as a path does; not
    units, formats, URLs, devices, and what by its name is read."""
    found = one(
        Lines(
            "a.txt",
            save_dir="pickles/",
            folder=Path("./"),
            files=["b.txt", "c.txt"],
            options={"file_path": "d.h5", "mode": "w"},
            output="e.csv",
            where="/scratch/f",
            unit="nm/ps",
            file_format="h5",
            log="INFO",
            unit_name="kJ/mol",
            unit_out="kJ/mol",
            profile="fast",
            topology_path="top.json",
            input_files=("in.pdb",),
            db_path="postgresql://host/name",
            device_path="/dev/null",
            empty_path="",
            n_files=3,
        )
    )
    assert found == {
        "out_path": "job/A.a.txt",
        "save_dir": "job/A.pickles",
        "folder": Path("job/A.Lines"),
        "files": ["job/A.b.txt", "job/A.c.txt"],
        "options": {"file_path": "job/A.d.h5", "mode": "w"},
        "output": "job/A.e.csv",
        "where": "job/A.f",
        "unit": "nm/ps",
        "file_format": "h5",
        "log": "INFO",
        "unit_name": "kJ/mol",
        "unit_out": "kJ/mol",
        "profile": "fast",
        "topology_path": "top.json",
        "input_files": ("in.pdb",),
        "db_path": "postgresql://host/name",
        "device_path": "/dev/null",
        "empty_path": "",
        "n_files": 3,
    }


def test_no_two_files_become_one() -> None:
    """Equal names in different folders, of one reporter or of several, of built-in ones and of the
    job itself, stay apart; a path that two share stays one file; and all is the same once more."""
    shared = "x/log.txt"
    reporters = [
        HDF5Reporter(),
        Lines("a/out.txt", other_path="b/out.txt", log_file=shared),
        Lines("c/out.txt", log_file=f"./{shared}"),
        Lines("mine/wepy.h5"),
        Lines("json"),
    ]
    twice = [placed(reporters, None, "job/job", ["job/job.json"]) for _ in range(2)]
    for found in twice:
        own = [vars(seen(each)) for each in found.reporters]
        assert own[1] == {
            "out_path": "job/job.out.txt",
            "other_path": "job/job.2.out.txt",
            "log_file": "job/job.log.txt",
        }
        assert own[2] == {"out_path": "job/job.3.out.txt", "log_file": "job/job.log.txt"}
        assert own[3] == {"out_path": "job/job.2.wepy.h5"}
        assert own[4] == {"out_path": "job/job.2.json"}
    assert twice[0].remarks == twice[1].remarks
    assert len(twice[0].remarks) == 7
    assert twice[0].remarks[0] == (
        "reporter Lines writes job/job.out.txt, and not a/out.txt: what a job writes is in its "
        "folder"
    )


def test_reporters_within_reporters() -> None:
    """One that passes on to others: theirs are replaced, and one that two hold stays one."""
    inner = Lines("inner.txt")
    outer = Lines("outer.txt", others=[inner], first=inner)
    found = one(outer)
    assert found["others"][0] is found["first"] is not inner
    assert found["first"].out_path == "job/A.inner.txt"
    assert inner.out_path == "inner.txt"


def test_classes_of_all_kinds() -> None:
    """A path that the class has for all, a frozen dataclass, and a class derived from Reporter,
    whose own file is named by its suffix as ever."""

    class ForAll(Lines):
        path = "all.txt"

        def __init__(self) -> None:
            pass

    @dataclasses.dataclass(frozen=True)
    class Frozen:
        path: str

        def report(self, **report: Any) -> None:
            pass

    class Derived(Reporter):
        suffix = ".derived.txt"

        def __init__(self, second_path: str) -> None:
            self.second_path = second_path

    assert one(ForAll())["path"] == "job/A.all.txt"
    assert one(Frozen("f.txt"))["path"] == "job/A.f.txt"
    (found,) = placed([Derived("two.txt")], None, "job/A").reporters
    found.bind("job/A")
    assert (found.path, found.second_path) == ("job/A.derived.txt", "job/A.two.txt")


def test_who_names_its_files_is_left_alone() -> None:
    """A class with `bind` of its own decides itself; one without a path is the very object."""

    class Binding(Lines):
        def bind(self, base: str) -> None:
            self.base = base

    mine, plain = Binding("/data/mine.txt"), Lines(None)
    found = placed([mine, plain], None, "job/A")
    assert found.reporters == [mine, plain]
    assert found.remarks == [] and mine.out_path == "/data/mine.txt"


def test_folders_and_monitors(tmp_path: Path) -> None:
    """A directory is told of, to be made; a monitor's file is placed as a reporter's is."""
    os.mkdir(tmp_path / "there")
    found = placed(
        [Lines("a.txt", work_dir="w", data_path=tmp_path / "there")], Lines("m.prom"), "job/A"
    )
    assert found.folders == ["job/A.w", "job/A.there"]
    assert found.monitor.out_path == "job/A.m.prom"
    assert found.remarks[-1].startswith("monitor Lines writes job/A.m.prom, and not m.prom")


def test_options_of_a_reporter_that_wepys_configuration_names() -> None:
    """A configuration of wepy's says a class and its options: a path among these is placed too; its
    own files have their names by the class, and the configuration's object stays as it was."""

    class Logging(Lines):
        SUGGESTED_EXTENSIONS = ("txt",)

    mine = WepyReporter(Logging, {"log_path": "/logs/a.log", "unit": "nm/ps"})
    found = placed([mine], None, "job/A")
    assert found.reporters[0].options == {"log_path": "job/A.a.log", "unit": "nm/ps"}
    assert mine.options["log_path"] == "/logs/a.log"
    found.reporters[0].bind("job/A")  # As a run does.
    assert found.reporters[0].files() == ["job/A.txt"]
    assert found.remarks[0].startswith("reporter Logging writes job/A.a.log, and not /logs/a.log")
