"""The list of trusted pickles: what it takes for one to be loaded by a run."""

from __future__ import annotations

import ast
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.systems import (
    environment,
    pair_apparatus,
    pair_snapshot,
    plain_configuration,
    run_job,
    tree_of,
)
from wepystore.api import Distance, Store, WExploreResampler, load_snapshot, prepare_store
from wepystore.errors import UntrustedError
from wepystore.orchestrator.run.start import start_from
from wepystore.records import bundle
from wepystore.records.trust import Trust, TrustFileError, location, made_here, noting, tell
from wepystore.store.errors import BadJSONError
from wepystore.store.names import Ref
from wepystore.store.pickles.pickled import Pickled, code_parts, parts_in

A, B, C = (hashlib.sha256(text).hexdigest() for text in (b"a", b"b", b"c"))


class Mine(Distance):
    """A user's own distance."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def image(self, state: object) -> object:
        return state["positions"]  # type: ignore[index]

    def image_distance(self, a: object, b: object) -> float:
        return float(np.linalg.norm(np.subtract(a, b))) * self.scale


@pytest.fixture
def trust(tmp_path: Path) -> Iterator[Trust]:
    """An empty list, in which this process notes what it pickles."""
    mine = Trust(tmp_path / "state" / "trusted")
    problems: list[str] = []
    before = tell(noting(lambda: mine, problems.append))
    yield mine
    tell(before)
    assert not problems


def with_own_class(path: Path) -> tuple[Store, str]:
    resampler = WExploreResampler(
        Mine(1.0), max_n_regions=(10, 10), max_region_sizes=(0.02, 0.005), pmax=0.5
    )
    snapshot = pair_snapshot(apparatus=pair_apparatus(resampler=resampler))
    made = prepare_store(path, snapshot, plain_configuration())
    return made.store, made.snapshot_hash


def test_what_this_user_pickles_is_trusted(trust: Trust, tmp_path: Path) -> None:
    """prepare_store notes the SHA-256 of what it pickles, and that alone; a run of it may start
    where nothing else is trusted, and is refused by a list that does not know it."""
    store, md5 = with_own_class(tmp_path / "s.orch")
    (part,) = parts_in(store.read_manifest("snapshots", md5))
    assert part.where == "resampler.distance" and part.of == "Mine"
    assert trust.trusted() == {part.ref.sha256}
    start_from(store, md5, None, trust=trust)
    stranger = Trust(tmp_path / "stranger")
    with pytest.raises(UntrustedError) as refused:
        start_from(store, md5, None, trust=stranger)
    for text in ("resampler.distance (Mine)", f"wepy trust {store.path} {md5}", "--pickles"):
        assert text in str(refused.value)
    with pytest.raises(UntrustedError):
        load_snapshot(store, md5, check=stranger.check)
    load_snapshot(store, md5, check=trust.check)
    stranger.add([part.ref.sha256])
    start_from(store, md5, None, trust=stranger)


def test_to_import_does_nothing(tmp_path: Path) -> None:
    """The process's listener is the one that it had, and no list is read or made; a script that
    pickles without wepystore.api is asked as little as one with it."""
    script = (
        "import sys, wepystore.records.trust as trust\n"
        "before = trust._listener\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, args: event == 'open' and opened.append(str(args[0])))\n"
        "import wepystore.api\n"
        "assert trust._listener is before\n"
        "assert not [name for name in opened if 'trusted' in name]\n"
        "trust.made_here(b'a')\n"
    )
    listed = tmp_path / "trusted"
    subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        env={**environment(), "WEPY_TRUST": str(listed)},
    )
    assert listed.read_text() == f"{A}\n"


def test_files_are_checked_like_stores(trust: Trust, tmp_path: Path) -> None:
    """`run snapshot FILE FILE`: the exported file's pickles count, and the file is named."""
    store, md5 = with_own_class(tmp_path / "s.orch")
    snapshot = load_snapshot(store, md5, trust.check)
    bundle.save(snapshot, tmp_path / "s")
    bundle.save(plain_configuration(), tmp_path / "c")
    files = str(tmp_path / "s"), str(tmp_path / "c")
    start_from(None, *files, trust=trust)
    with pytest.raises(UntrustedError, match=f"wepy trust {tmp_path}/s"):
        start_from(None, *files, trust=Trust(tmp_path / "stranger"))


def test_a_run_can_go_on_from_its_own_end(trust: Trust, tmp_path: Path) -> None:
    """A run pickles its parts again at every checkpoint; they are trusted as they are written."""
    store, md5 = with_own_class(tmp_path / "s.orch")
    done = run_job(store, md5, tmp_path / "job", checkpoint_freq=1)
    job = Store.open(tmp_path / "job" / "checkpoint.orch")
    start_from(job, done.end, None, trust=trust)


def test_built_in_parts_need_no_trust(trust: Trust, tmp_path: Path) -> None:
    """A snapshot of built-in components runs with an empty list, and adds nothing to it."""
    made = prepare_store(tmp_path / "s.orch", pair_snapshot(), plain_configuration())
    start_from(made.store, made.snapshot_hash, None, trust=trust)
    assert not trust.file.exists()


def test_words_of_the_list(tmp_path: Path) -> None:
    """Adding, revoking and adding again: the last word counts, and nothing is written twice."""
    trust = Trust(tmp_path / "deep" / "er" / "trusted")
    assert trust.trusted() == frozenset() and trust.revoke([A]) == []
    assert not trust.file.exists()
    assert trust.add([A, B, A]) == [A, B] and trust.add([A]) == []
    assert trust.revoke([A, C]) == [A] and trust.trusted() == {B}
    assert trust.add([A]) == [A] and trust.trusted() == {A, B}
    assert trust.file.read_text().split() == [A, B, f"-{A}", A]
    assert trust.file.stat().st_mode & 0o777 == 0o600
    assert trust.file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "torn", ["", A[:30], "-" + A[:30], "hello\n\n", "\xff\xfe", A.upper(), A + A]
)
def test_torn_and_foreign_lines_are_passed_over(tmp_path: Path, torn: str) -> None:
    """A crash in the middle of a line trusts nothing and spoils no other line."""
    trust = Trust(tmp_path / "trusted")
    trust.add([B])
    with open(trust.file, "ab") as file:
        file.write(torn.encode("latin-1"))
    assert trust.trusted() == {B}
    trust.add([C])
    assert trust.trusted() == {B, C}


def test_a_list_that_others_can_write_is_refused(tmp_path: Path) -> None:
    """It proves nothing: exit 1 with what to do, and no run."""
    trust = Trust(tmp_path / "trusted")
    trust.add([A])
    for mode in (0o620, 0o602, 0o666):
        trust.file.chmod(mode)
        with pytest.raises(TrustFileError, match="chmod 600"):
            trust.trusted()
    with pytest.raises(TrustFileError):
        trust.check([Pickled("x", "y", Ref("a" * 32, A, 1))])


def test_without_a_place_to_note_it_work_goes_on(tmp_path: Path) -> None:
    """A list that cannot be written costs a warning, once, not the simulation."""
    (tmp_path / "file").write_text("")
    told: list[str] = []
    before = tell(noting(lambda: Trust(tmp_path / "file" / "trusted"), told.append))
    made_here(A.encode())
    made_here(B.encode())
    tell(before)
    assert len(told) == 1 and "cannot be written" in told[0]


def test_where_the_list_is() -> None:
    """$WEPY_TRUST, $XDG_STATE_HOME if absolute, else ~/.local/state."""
    assert location({"WEPY_TRUST": "/x/y"}) == Path("/x/y")
    assert location({"XDG_STATE_HOME": "/x"}) == Path("/x/wepystore/trusted")
    home = Path("~/.local/state/wepystore/trusted").expanduser()
    assert location({}) == location({"XDG_STATE_HOME": "relative"}) == home


def test_several_processes_may_note_at_once(tmp_path: Path) -> None:
    """8 processes, 200 hashes each: no line is lost and none is torn."""
    script = (
        "import sys, hashlib\nfrom pathlib import Path\n"
        "from wepystore.records.trust import Trust\n"
        "trust = Trust(Path(sys.argv[1]))\n"
        "for k in range(200):\n"
        "    trust.add([hashlib.sha256(f'{sys.argv[2]} {k}'.encode()).hexdigest()])\n"
    )
    file = tmp_path / "trusted"
    running = [
        subprocess.Popen([sys.executable, "-c", script, file, str(n)], env=environment())
        for n in range(8)
    ]
    assert [process.wait(timeout=60) for process in running] == [0] * 8
    wanted = {hashlib.sha256(f"{n} {k}".encode()).hexdigest() for n in range(8) for k in range(200)}
    assert Trust(file).trusted() == wanted
    assert sorted(file.read_text().splitlines()) == sorted(wanted)


def test_a_script_notes_what_it_pickles(tmp_path: Path) -> None:
    """wepystore.api is all that a script imports, and $WEPY_TRUST is honoured; where it cannot be
    written there is a warning and the store is made."""
    script = (
        "import sys\nfrom tests.orchestrator.run.test_trust import with_own_class\n"
        "from pathlib import Path\nwith_own_class(Path(sys.argv[1]))\n"
    )
    words = [sys.executable, "-W", "always", "-c", script]
    done = subprocess.run(
        [*words, tmp_path / "a.orch"],
        env=environment(WEPY_TRUST=str(tmp_path / "trusted")),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert len(Trust(tmp_path / "trusted").trusted()) == 1
    done = subprocess.run(
        [*words, tmp_path / "b.orch"],
        env=environment(WEPY_TRUST="/proc/no/trusted"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "RuntimeWarning" in done.stderr
    assert (tmp_path / "b.orch" / "refs" / "default-snapshot").exists()


def test_every_start_on_the_command_line_asks(tmp_path: Path) -> None:
    """No module of cli/ starts a run without giving the list."""
    import wepystore.cli

    seen = 0
    for file in Path(wepystore.cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name in ("start_from", "resume", "verify"):
                seen += 1
                assert any(word.arg == "trust" for word in node.keywords), file
    assert seen >= 3


def test_looking_for_parts_changes_nothing(trust: Trust, tmp_path: Path) -> None:
    """Being refused leaves the store as it was, and loads nothing."""
    store, md5 = with_own_class(tmp_path / "s.orch")
    before = tree_of(store.path)
    with pytest.raises(UntrustedError):
        start_from(store, md5, None, trust=Trust(tmp_path / "none"))
    assert tree_of(store.path) == before


def test_parts_are_found_wherever_they_are() -> None:
    """In lists, dictionaries, states and beside other keys; inline XML counts as the manifest. What
    has more keys than a reference has is none, and nothing is found beside it."""
    ref = {"md5": "a" * 32, "sha256": A, "size": 1}
    mine = Ref("b" * 32, B, 2)
    manifest = {
        "x": [{"dict": {"y": {"pickle": ref, "of": "Y"}}}],
        "component": {"params": {"z": {"text": {**ref}, "pickle": {**ref, "md5": "c" * 32}}}},
        "s": ["plain", '<Force type="PythonForce"/>'],
        "pickle": 3,
    }
    found = code_parts(manifest, mine, lambda ref: b"<!DOCTYPE")
    assert {(part.where, part.of, part.ref.md5[0]) for part in found} == {
        ("x[0].y", "Y", "a"),
        ("z", "?", "c"),
        ("z", "OpenMM XML", "a"),
        ("s[1]", "OpenMM XML", "b"),
    }
    assert len(code_parts(manifest, mine, lambda ref: b"<System/>")) == 3
    manifest["component"]["params"]["z"]["text"]["more"] = 1
    with pytest.raises(BadJSONError, match="'more'"):
        code_parts(manifest, mine, lambda ref: b"<!DOCTYPE")
