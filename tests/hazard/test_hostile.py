"""What others put into a store can do no harm: nothing in it is executed by any command (S9),
nothing outside of it is touched (S10), and every complaint is one line and a status."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.conftest import ENVIRONMENT
from tests.hazard.hostile import (
    full_of_pickles,
    hostile_arrays,
    hostile_json,
    ordinary,
    plant,
    tree,
)
from wepystore.cli.main import COMMANDS, main
from wepystore.store import KINDS, Store, canonical

Run = Callable[..., tuple[int, str, str]]

# How each command is called on the store h.orch; {s} its snapshot, {c} configuration, {r} run, {h}
# what happened in it.
LINES = {
    "init": ["init h.orch"],
    "create": ["create orch h.orch", "create orch new.orch"],
    "ls": [f"ls {kind} {o} h.orch" for kind in ("snapshots", "configs", "runs") for o in ("", "-l")]
    + ["ls snapshots --json h.orch"],
    "log": ["log h.orch", "log --graph h.orch", "log --json h.orch", "log -g --json h.orch"],
    "show": [
        f"show {o} h.orch {what}"
        for what in ("{s}", "{c}", "{r}", "{h}", "{o}", "bound", "default")
        for o in ("", "--json", "--pickles", "--pickles --json")
    ]
    + ["show --pickles s.file"],
    "diff": ["diff h.orch {s} bound", "diff --json h.orch {c} {c}", "diff s.file s.file"],
    "tag": ["tag h.orch", "tag h.orch new {s}", "tag -f h.orch bound {s}", "tag -d h.orch new"],
    "default": [
        "default h.orch",
        "default --json h.orch",
        "default config h.orch",
        "default snapshot h.orch {s}",
        "default config h.orch {c}",
    ],
    "get": [
        "get snapshot h.orch {s} -f -O s.file",
        "get config h.orch {c} -O c.file",
        "get run h.orch {s} bound -O run.orch",
        "get run-cycles h.orch {s} bound",
    ],
    "add": ["add snapshot h.orch s.file", "add config other.orch c.file"],
    "reconcile": [
        "reconcile orch new2.orch h.orch",
        "reconcile orch --dry-run other.orch h.orch",
        "reconcile orch other.orch h.orch",
        "reconcile orch h.orch other.orch",
    ],
    "run": [
        "run orch --n-cycles 1 --job-dir job h.orch {s} 5 5",
        "run snapshot --n-cycles 1 --job-dir job s.file c.file 5 5",
    ],
    "status": ["status h.orch", "status --json h.orch"],
    "fsck": ["fsck h.orch", "fsck --fast h.orch", "fsck --sha256 --json h.orch"],
    "gc": ["gc h.orch", "gc --grace 0s --apply --unreferenced-snapshots h.orch"],
    "push": ["push h.orch pushed.orch"],
    "trust": ["trust --list", "trust h.orch {s}", "trust --store h.orch", "trust -r h.orch {s}"],
}
# What a user may say to something damaged: it failed, it is damaged, tags differ, not trusted.
SAYS = {0, 1, 3, 4, 5}


def lines_for(command: str) -> list[str]:
    """How to call a command, also one that this list does not know yet."""
    unknown = [f"{command} h.orch", f"{command} h.orch {{s}}", f"{command} orch h.orch"]
    return LINES.get(command, unknown)


@pytest.fixture
def wepy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """`wepy(line)`: (status, stdout, stderr), after checks that hold for every line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WEPY_ORCH", raising=False)
    monkeypatch.setenv("WEPY_TRUST", str(tmp_path / "trusted"))

    def run(line: str) -> tuple[int, str, str]:
        capsys.readouterr()
        begun = time.process_time()
        status = main(line.split())
        out, err = capsys.readouterr()
        assert time.process_time() - begun < 20, f"wepy {line} takes for ever"
        assert "Traceback" not in err and "bug in wepystore" not in err, f"wepy {line}: {err}"
        assert "\x1b" not in out + err, f"wepy {line} sends control characters to the terminal"
        errors = [said for said in err.splitlines() if said.startswith("wepy: error")]
        assert len(errors) <= 1, f"wepy {line}: {err}"
        return status, out, err

    return run


# ---- pickles


def test_no_command_loads_a_pickle(wepy: Run, tmp_path: Path) -> None:
    """S9: a store in which all is hostile, every command there is, and nothing was executed.
    Also `wepy run`, which is refused with status 5."""
    marker = tmp_path / "marker"
    store = full_of_pickles(tmp_path / "h.orch", marker)
    ordinary(tmp_path / "other.orch")
    snapshot, config = store.ref("default-snapshot"), store.ref("default-config")
    run = store.ref("tags/done")
    assert wepy(f"get snapshot h.orch {snapshot} -O s.file")[0] == 0
    assert wepy(f"get config h.orch {config} -O c.file")[0] == 0
    (tmp_path / "c.file").rename(tmp_path / "kept.file")
    for command in sorted(COMMANDS, key=lambda name: (name == "gc", name)):
        for line in lines_for(command):
            if command in ("run", "add") and not (tmp_path / "c.file").exists():
                shutil.copy(tmp_path / "kept.file", tmp_path / "c.file")
            objects = store.hashes("objects")
            o, h = objects[0] if objects else snapshot, store.hashes("recordings")[0]
            line = line.format(s=snapshot, c=config, r=run, o=o, h=h)
            if command == "trust" and "--list" not in line:
                continue
            status, _, err = wepy(line)
            assert not marker.exists(), f"wepy {line} has loaded a pickle"
            if command in LINES:
                assert status in SAYS, f"wepy {line}: {status} {err}"
            if command == "run":
                assert status == 5, f"wepy {line}: {err}"
                assert not (tmp_path / "job").exists()


def test_trusting_does_not_load_either(wepy: Run, tmp_path: Path) -> None:
    """`wepy trust` reads, warns of what stands out, and leaves loading to the run; and the store
    is really hostile: who loads from it makes the mark."""
    marker = tmp_path / "marker"
    store = full_of_pickles(tmp_path / "h.orch", marker)
    snapshot = store.ref("default-snapshot")
    for line in LINES["trust"]:
        status, _, err = wepy(line.format(s=snapshot))
        assert status in (0, 3), err
        assert not marker.exists()
    status, _, err = wepy(f"trust h.orch {snapshot}")
    assert "posix.mkdir" in err or "trusted" in err
    assert wepy("trust --store h.orch")[0] == 3, "damaged entries are told of"
    from wepystore.records.errors import PickleLoadError
    from wepystore.records.library import load_configuration

    assert not marker.exists()
    with suppress(PickleLoadError):
        load_configuration(store, store.ref("default-config") or "")
    assert marker.exists(), "this test proves nothing"


def test_xml_that_makes_openmm_load_a_pickle_is_not_trusted(wepy: Run, tmp_path: Path) -> None:
    """OpenMM unpickles a PythonForce when it reads a system; a snapshot of built-in parts only
    is refused if its XML could have one, in whatever disguise OpenMM reads."""
    from tests.hazard.hostile import text_with_pickle
    from tests.systems import pair_snapshot, plain_configuration
    from wepystore.api import prepare_store

    made = prepare_store(tmp_path / "h.orch", pair_snapshot(), plain_configuration())
    store, manifest = made.store, made.store.manifest("snapshots", made.snapshot_hash)
    plain = b"\x80\x04N."
    for text in (
        text_with_pickle(plain),
        text_with_pickle(plain).replace(b'"PythonForce"', b'"&#80;ythonForce"'),
        b'<!DOCTYPE x [<!ENTITY p "P">]>' + text_with_pickle(plain).replace(b"Pyth", b"&p;yth"),
    ):
        part = manifest["apparatus"]["runner"]["component"]["params"]
        for value in ({"text": store.put("objects", text).to_json()}, text.decode()):
            part["system"] = value
            md5 = store.put("snapshots", canonical.dumps(manifest)).md5
            status, _, err = wepy(f"run orch --n-cycles 1 --job-dir job h.orch {md5} 5 5")
            assert status == 5 and "runner.system (OpenMM XML)" in err, text


@pytest.mark.parametrize(
    "form",
    [
        lambda ref: {"pickle": {**ref, "more": 1}, "of": "x"},
        lambda ref: {"pickle": ref},
        lambda ref: {"pickle": ref, "of": "x", "dict": {}},
        lambda ref: {"dict": {"a": [{"pickle": ref, "of": 3}]}},
        lambda ref: {"pairs": [["md5", {"pickle": ref, "of": "x"}], ["b", 1]]},
    ],
)
def test_a_pickle_cannot_be_named_past_the_check(
    wepy: Run, tmp_path: Path, form: Callable[[dict[str, object]], object]
) -> None:
    """Whatever form of reference the decoder accepts, the check has seen it: in a store and in a
    file, also when the SHA-256 it gives is one that is trusted."""
    marker = tmp_path / "marker"
    store = full_of_pickles(tmp_path / "h.orch", marker)
    snapshot = store.manifest("snapshots", store.ref("default-snapshot") or "")
    harm = snapshot["apparatus"]["boundary_conditions"]["pickle"]
    good = store.put("objects", b"\x80\x04N.").to_json()
    (tmp_path / "trusted").write_text(f"{good['sha256']}\n")
    (tmp_path / "trusted").chmod(0o600)
    for ref in (harm, {**harm, "sha256": good["sha256"]}):
        config = {"type": "configuration", "format": 1, "monitor": form(ref), "reporters": []}
        config |= {"work_mapper": None, "platform": None, "platform_properties": {"dict": {}}}
        config["keep"] = {"text": harm}
        md5 = store.put("configs", canonical.dumps(config)).md5
        wepy(f"run orch --n-cycles 1 --configuration {md5} --job-dir j h.orch bound 5 5")
        wepy(f"get config h.orch {md5} -f -O c.file")
        wepy("get snapshot h.orch bound -f -O s.file")
        if (tmp_path / "c.file").exists():
            wepy("run snapshot --n-cycles 1 --job-dir j s.file c.file 5 5")
            (tmp_path / "c.file").unlink()
        assert not marker.exists()


def test_store_commands_never_import_an_unpickler(tmp_path: Path) -> None:
    """S9: after every command but `wepy run`, no module that can load pickles is imported."""
    marker = tmp_path / "marker"
    store = full_of_pickles(tmp_path / "h.orch", marker)
    names = {"s": store.ref("default-snapshot"), "c": store.ref("default-config")}
    names |= {"r": store.ref("tags/done"), "o": store.hashes("objects")[0]}
    names |= {"h": store.hashes("recordings")[0]}
    ordinary(tmp_path / "other.orch")
    skipped = ("run", "reconcile", "push", "gc")
    lines = [line for name in LINES if name not in skipped for line in LINES[name]]
    # networkx, of the drawing, imports pickle; it is given nothing from the store but hashes.
    lines = [line.format(**names) for line in lines if "-g" not in line.replace("--graph", "-g")]
    lines += ["reconcile orch new.orch h.orch"]
    script = (
        "import sys\nfrom wepystore.cli.main import main\n"
        f"for line in {lines!r}:\n"
        "    main(line.split())\n"
        "    bad = {'pickle', '_pickle', 'dill', 'pickletools', 'marshal2'} & set(sys.modules)\n"
        "    if bad: sys.exit(f'wepy {line} imports {bad}')\n"
    )
    environment = {**ENVIRONMENT, "WEPY_TRUST": str(tmp_path / "trusted")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-300:]
    assert not marker.exists()


# ---- JSON


@pytest.mark.parametrize(
    ("name", "data"), list(hostile_json()), ids=lambda v: v if type(v) is str else ""
)
def test_hostile_json_is_one_line(wepy: Run, tmp_path: Path, name: str, data: bytes) -> None:
    """Depth, size, numbers, encodings, paths in place of hashes: status 1 or 3 and one line from
    what needs the entry, a warning from what only passes by; the good entries stay usable."""
    store, start, _, _ = ordinary(tmp_path / "h.orch")
    outside = tree(tmp_path)
    for kind in KINDS[1:]:
        md5 = plant(store, kind, data)
        wepy(f"show h.orch {md5}")
        wepy(f"show --json h.orch {md5}")
        wepy(f"diff h.orch {md5} {start}")
        wepy(f"show --pickles h.orch {md5}")
        if kind in ("snapshots", "configs"):
            what = kind.removesuffix("s")
            status, _, err = wepy(f"get {what} h.orch {md5} -O out")
            if status:
                assert status in (1, 3) and err.count("\n") == 1, err
                assert not (tmp_path / "out").exists()
            else:
                os.remove(tmp_path / "out")
    before = tree(store.path)
    for line in (
        "ls snapshots h.orch",
        "ls configs --json h.orch",
        "ls runs -l h.orch",
        "log h.orch",
        "log --graph h.orch",
        "status h.orch",
        "fsck h.orch",
        "trust --store h.orch",
        "gc h.orch",
        "reconcile orch new.orch h.orch",
        "tag h.orch",
    ):
        assert wepy(line)[0] in (0, 1, 3), line
    assert tree(store.path) == before
    assert Store.open("new.orch").has("snapshots", start)
    shutil.rmtree("new.orch")
    inside = {path for path in tree(tmp_path) if path.startswith("h.orch")}
    assert tree(tmp_path).keys() - inside - {"trusted"} == outside.keys() - inside


def test_hostile_arrays_are_no_arrays(wepy: Run, tmp_path: Path) -> None:
    """Headers that promise more than there is, or are no headers: shown as plain objects."""
    store, start, _, _ = ordinary(tmp_path / "h.orch")
    for data in hostile_arrays():
        stack = store.put("objects", data)
        walkers = {"weights": [1.0], "states": [0], "groups": [{"fields": {"x": stack.to_json()}}]}
        manifest = {"type": "snapshot", "format": 1, "walkers": walkers, "apparatus": {}}
        md5 = store.put("snapshots", canonical.dumps(manifest)).md5
        for line in (
            f"show h.orch {md5}",
            f"diff h.orch {md5} {start}",
            f"show h.orch {stack.md5}",
        ):
            status, _, err = wepy(line)
            assert status == 0, err


# ---- files


def test_things_that_are_no_files(wepy: Run, tmp_path: Path) -> None:
    """Pipes, endless devices, directories, sparse files of terabytes, links to nothing or in a
    circle, where entries, refs and the mark belong: told of, not waited for, not filled into
    memory."""
    makers: dict[str, Callable[[Path], object]] = {
        "pipe": lambda path: os.mkfifo(path),
        "zero": lambda path: path.symlink_to("/dev/zero"),
        "directory": lambda path: path.mkdir(),
        "sparse": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 42),
        "dangling": lambda path: path.symlink_to("nowhere"),
        "circle": lambda path: path.symlink_to(path.name),
        "passwd": lambda path: path.symlink_to("/etc/passwd"),
    }
    for name, make in makers.items():
        store, start, end, _ = ordinary(tmp_path / f"{name}.orch")
        part = store.references("snapshots", start)[0][1].md5
        for file in (
            store.file("objects", part),
            store.file("snapshots", end),
            store.file("recordings", store.hashes("recordings")[0]),
            store.file("runs", store.hashes("runs")[0]),
            store.path / "refs" / "tags" / "bound",
            store.path / "refs" / "default-snapshot",
        ):
            file.unlink(missing_ok=True)
            make(file)
        for line in (
            "ls snapshots {h}",
            "ls runs {h}",
            "log {h}",
            f"show {{h}} {start}",
            f"show {{h}} {end}",
            f"show {{h}} {part}",
            "show {h} bound",
            f"get snapshot {{h}} {start} -O out",
            f"diff {{h}} {start} {end}",
            "tag {h}",
            "status {h}",
            "trust --store {h}",
            "reconcile orch new-{h} {h}",
        ) + (("fsck {h}",) if name != "sparse" else ("fsck --fast {h}",)):
            status, _, err = wepy(line.format(h=f"{name}.orch"))
            assert status in (0, 1, 3), f"{name}: {line}: {err}"
        assert not (tmp_path / "out").exists()
        mark = store.path / "wepystore.json"
        mark.unlink()
        make(mark)
        assert wepy(f"ls snapshots {name}.orch")[0] in (1, 3)


@pytest.mark.parametrize("place", ["objects", "snapshots", "tmp", "refs", "refs/tags", "objects/*"])
def test_nothing_is_written_through_links_to_elsewhere(
    wepy: Run, tmp_path: Path, place: str
) -> None:
    """A directory of the store that is a link to a place outside: whoever writes is refused, and
    that place stays as it was."""
    _, start, _, _ = ordinary(tmp_path / "other.orch")
    assert wepy(f"get snapshot other.orch {start} -O s.file")[0] == 0
    victim = Store.create(tmp_path / "h.orch")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "bound").write_text("precious\n")
    if place == "objects/*":
        for prefix in range(256):
            (victim.path / "objects" / f"{prefix:02x}").symlink_to(outside)
    else:
        shutil.rmtree(victim.path / place)
        (victim.path / place).symlink_to(outside)
    before = tree(outside)
    for line in (
        "add snapshot h.orch s.file",
        "reconcile orch h.orch other.orch",
        f"tag -f h.orch bound {start}",
        f"tag -f h.orch other {start}",
        "tag -d h.orch bound",
        "gc --apply --grace 0s h.orch",
    ):
        status, _, err = wepy(line)
        assert status in (0, 1, 3), f"{line}: {err}"
        assert tree(outside) == before, line
    status, _, err = wepy("add snapshot h.orch s.file")
    if not place.startswith("refs"):
        assert status == 3 and "symbolic link" in err


@pytest.mark.parametrize(
    "name",
    ["..", "-rf", "a\nb", "\x1b[31mred", "A" * 32, "ü", "$(reboot)", " ", "x" * 255, "bound.lock"],
)
def test_hostile_file_names_are_passed_over(wepy: Run, tmp_path: Path, name: str) -> None:
    """Foreign names among entries, refs and tags are no entries, no refs and no tags, and are
    carried nowhere."""
    store, start, end, _ = ordinary(tmp_path / "h.orch")
    for directory in ("snapshots", "objects", "runs", "refs/tags", f"snapshots/{start[:2]}"):
        if name != "..":
            (store.path / directory / name).write_bytes(b"x")
            (store.path / directory / (name[:200] + "d")).mkdir()
    status, out, _ = wepy("ls snapshots h.orch")
    assert (status, sorted(out.split())) == (0, sorted([start, end]))
    for line in ("log h.orch", "tag h.orch", "status h.orch", "fsck h.orch", "gc h.orch"):
        assert wepy(line)[0] in (0, 3), line
    assert wepy("reconcile orch new.orch h.orch")[0] in (0, 3)
    assert name == ".." or not [p for p in Path("new.orch").rglob("*") if p.name == name]


@pytest.mark.parametrize(
    "content",
    [
        "../../../etc/passwd\n",
        "/etc/passwd\n",
        "A" * 32 + "\n",
        "\x1b[2J\n",
        "",
        "a" * 31,
        "a" * 9999,
    ],
)
def test_hostile_refs(wepy: Run, tmp_path: Path, content: str) -> None:
    """What a ref holds becomes a path only if it is a hash."""
    store, start, _, _ = ordinary(tmp_path / "h.orch")
    for ref in ("tags/bound", "default-snapshot", "default-config"):
        (store.path / "refs" / ref).write_text(content)
    for line in (
        "show h.orch bound",
        "show h.orch default",
        "tag h.orch",
        "diff h.orch bound bound",
    ):
        status, _, err = wepy(line)
        assert status == 3 and err.count("\n") == 1, line
    for line in (
        "log h.orch",
        "ls snapshots -l h.orch",
        "reconcile orch new.orch h.orch",
        "fsck h.orch",
    ):
        assert wepy(line)[0] in (0, 3), line
    assert Store.open("new.orch").has("snapshots", start)
