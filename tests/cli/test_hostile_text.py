"""What a record or the name of a file says reaches the terminal as text and as nothing else."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Wepy
from tests.store.helpers import add_config, add_recording, add_snapshot, entry
from wepystore.cli.console import Console, Drawing, printable
from wepystore.store import Store, canonical

#: What forges lines, moves the cursor, turns text round, or is not seen: one of each kind.
EVIL = (
    "\n \r \x0b \x0c \x1b[2J \x08 \x07 \x00 \x7f \x85 \x9b \xad \u061c \u180e \u200b \u200d \u200e "
    "\u200f \u2028 \u2029 \u202a \u202e \u2060 \u2066 \u2069 \ufeff \ufff9 \U000e0041 \U0001d173"
)
HARM = "x".join(f"{word}FORGED" for word in EVIL.split(" "))
ALLOWED = set("\n")


def harmless(text: str) -> None:
    """Nothing but what can be seen, and no line of a stranger's."""
    bad = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs")} - ALLOWED
    assert not bad, bad
    assert not [line for line in text.split("\n") if line.lstrip().startswith("FORGED")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A start, an end, a configuration and a run, all texts in which are hostile."""
    made = Store.create(tmp_path / "h.orch")
    plain, config = add_snapshot(made, "a"), add_config(made, "c")
    part: Any = made.manifest("snapshots", plain)["apparatus"]["system"]
    fields = {HARM: part, "positions": part}
    walkers = {"weights": [1.0], "states": [0], "groups": [{"n_states": 1, "fields": fields}]}
    component = {"class": HARM, "version": 1, "params": {HARM: HARM, "list": [HARM, [HARM]]}}
    apparatus = {"runner": {"component": component}, HARM: {"pickle": part, "of": HARM}}
    for name in ("evil", "worse"):
        manifest = {"type": "snapshot", "format": 1, "walkers": walkers, "apparatus": apparatus}
        md5 = made.put("snapshots", canonical.dumps({**manifest, "name": name})).md5
        made.set_ref(f"tags/{name}", md5)
    named = json.loads(made.read("recordings", add_recording(made, "x", 1)))
    named |= {"columns": sorted([f"{HARM}/x", *named["columns"]]), "decisions": {HARM: 1}}
    named |= {"summaries": {HARM: [HARM]}}
    happened = made.put("recordings", canonical.dumps(named)).md5
    record = {
        "type": "run",
        "format": 2,
        "recording": entry(made, "recordings", happened),
        "start": entry(made, "snapshots", plain),
        "end": entry(made, "snapshots", md5),
        "config": entry(made, "configs", config),
        "n_cycles": 1,
        "n_steps": 10,
        "seed": 1,
        "reproducible": True,
        "environment": {"platform": HARM, HARM: HARM, "cpu": HARM, "openmm": HARM},
        "execution": {
            **dict.fromkeys(("job_name", "narration", "begun", "begin", "stopped_by"), HARM),
            **dict.fromkeys(("ended_by", "platform_override", "run_id"), HARM),
            HARM: HARM,
        },
    }
    made.set_ref("tags/run", made.put("runs", canonical.dumps(record)).md5)
    made.set_ref("default-snapshot", md5)
    return made


LINES = """
    show h.orch evil
    show --pickles h.orch evil
    show h.orch run
    show --json h.orch evil
    show --json h.orch run
    show --pickles --json h.orch evil
    diff h.orch evil worse
    diff --json h.orch evil worse
    log h.orch
    log --graph h.orch
    log --json h.orch
    ls snapshots -l h.orch
    ls runs -l h.orch
    ls runs --json h.orch
    ls configs -l h.orch
    status h.orch
    status --json h.orch
    fsck h.orch
    fsck --json h.orch
    gc h.orch
    tag h.orch
    trust h.orch evil
    verify h.orch run
    get run h.orch evil evil -O out.orch
    reconcile orch new.orch h.orch
    run orch --n-cycles 1 h.orch evil 5 5
"""


def test_no_command_passes_it_on(wepy: Wepy, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newlines, controls, bidi marks and what cannot be seen, in every text of a store: each
    command shows them escaped, in its own lines; JSON has the text as it is."""
    monkeypatch.setenv("WEPY_TRUST", str(store.path.parent / "trusted"))
    happened = store.hashes("recordings")[-1]
    for line in [*LINES.strip().splitlines(), *(f"show {o} h.orch {happened}" for o in ("", "-p"))]:
        said = wepy(line.strip())
        harmless(said.out)
        harmless(said.err)
        assert "bug in wepystore" not in said.err, said
    shown = json.loads(wepy("show --json h.orch run").out)
    assert shown["manifest"]["execution"]["narration"] == HARM


def test_names_of_files_too(wepy: Wepy, store: Store) -> None:
    """What lies in a store by a hostile name, and a store, a file and a tag that are called so."""
    name = HARM.replace("\0", "").replace("/", "")[:80]
    for place in ("snapshots", "objects", "refs/tags", "tmp", "."):
        (store.path / place / name).write_bytes(b"x")
    evil = store.manifest("snapshots", store.ref("tags/evil") or "")["apparatus"]
    store.file("objects", evil[HARM]["pickle"]["md5"]).unlink()
    for line in ("fsck h.orch", "status h.orch", "gc h.orch", "tag h.orch", "log h.orch"):
        said = wepy(line)
        harmless(said.out + said.err)
    # What is left out is told with what it lacks.
    said = wepy("reconcile orch other.orch h.orch")
    assert said.status == 3 and "left out" in said.err
    harmless(said.out + said.err)
    for words in (
        ["ls", "snapshots", name],
        ["show", "h.orch", name],
        ["tag", "h.orch", name, "evil"],
        ["add", "snapshot", "h.orch", name],
        ["resume", name],
        ["reconcile", "orch", "h.orch", name],
        ["run", "orch", "--job-name", name, "h.orch", "evil", "5", "5"],
        [name],
    ):
        said = wepy("", *words)
        assert said.status, words
        harmless(said.out + said.err)


def test_one_place_makes_it_so(capsys: pytest.CaptureFixture[str]) -> None:
    """An answer and a remark are one line each, whatever a command hands over."""
    console = Console()
    for say in (console.out, console.note, console.warn, console.error):
        say(f"a{HARM}")
        shown = capsys.readouterr()
        text = shown.out + shown.err
        harmless(text)
        assert text.count("\n") == 1
    console.json({HARM: [HARM]})
    shown = capsys.readouterr()
    harmless(shown.out)
    assert json.loads(shown.out) == {HARM: [HARM]}
    Drawing(console).line([("● ", 0)], f"a{HARM}", HARM)
    harmless(capsys.readouterr().out)
    assert printable("naïve 日本語 µm\u00a0→ ✓") == "naïve 日本語 µm\u00a0→ ✓"
