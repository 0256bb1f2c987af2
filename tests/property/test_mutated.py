"""Whatever somebody makes of the JSON in a store, no command ends in a traceback (S9, S10)."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hazard.hostile import plant
from tests.store.helpers import attach
from tests.systems import run_job
from wepystore.api import Prepared, WepystoreError, load_tables
from wepystore.cli.main import main
from wepystore.orchestrator.run import recorder
from wepystore.store import KINDS, Store, merge
from wepystore.store.names import MARK, EntryRef, Ref

STATUSES = {0, 1, 2, 3, 4, 5}

# {m} the mutated entry (or a tag), {s} and {c} snapshot and configuration as they were, {r} a run.
LINES = [
    "ls snapshots {orch}",
    "ls snapshots --long {orch}",
    "ls configs --long {orch}",
    "ls runs {orch}",
    "ls runs --json {orch}",
    "show {orch} {m}",
    "show --json {orch} {m}",
    "show --pickles {orch} {m}",
    "show {orch} {r}",
    "show {orch} bound",
    "show {orch} default",
    "log {orch}",
    "log --graph {orch}",
    "log --json {orch}",
    "diff {orch} {m} {s}",
    "diff --json {orch} {c} {m}",
    "diff {orch} {r} {m}",
    "get snapshot -O {out}/file {orch} {m}",
    "get config -O {out}/file {orch} {m}",
    "get snapshot -O {out}/file {orch} default",
    "get run -O {out}/run.orch {orch} {s} {e}",
    "get run-cycles {orch} {s} {e}",
    "tag {orch}",
    "tag {orch} new {m}",
    "reconcile orch {out}/new.orch {orch}",
    "reconcile orch --dry-run --json {out}/new.orch {orch}",
    "reconcile orch {orch} {good}",
    "reconcile orch --json {good} {orch}",
    "push {orch} {out}/new.orch",
    "fsck {orch}",
    "fsck --fast --json {orch}",
    "fsck --sha256 {orch}",
    "fsck --repair --from {good} {orch}",
    "fsck --repair {orch}",
    "status {orch}",
    "status --json {orch}",
    "gc {orch}",
    "gc --apply --grace 0 --unreferenced-snapshots {orch}",
    "run orch --n-cycles 1 --job-dir {out}/job {orch} {m} 60 1",
]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from([0, -1, 1, 2**31, 2**53, 2**63, 10**400, 1e308, "", "a" * 32, "/", "..", "0"])
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KEYS = """
md5 sha256 size kind type format walkers weights states groups fields n_states apparatus component
class params version state array dtype shape data text pickle of dict pairs float start end config
n_cycles n_steps seed environment execution runner resampler index recording block_cycles columns
tables object decisions summaries topology
"""
keys = st.sampled_from(KEYS.split())


class Case(NamedTuple):
    """One mutation."""

    kind: str
    data: bytes
    renamed: bool
    """Under the MD5 of the new bytes; else under the old name."""


class Good(NamedTuple):
    """A store as it should be: a run from one snapshot to another."""

    store: Store
    start: str
    end: str
    config: str
    run: str

    def md5_of(self, kind: str) -> str:
        """The one to be mutated."""
        named = {"snapshots": self.end, "configs": self.config}
        named |= {
            each: self.store.hashes(each)[0] for each in ("frames", "recordings", "attachments")
        }
        return named.get(kind, self.run)


def nodes(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value in a JSON value."""
    found = []
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            found.append((value, key))
            found += nodes(inner)
    return found


def mutate_json(draw: Any, value: Any) -> bytes:
    """One to four changes anywhere in it."""
    value = {"": copy.deepcopy(value)}
    for _ in range(draw(st.integers(1, 4))):
        places = nodes(value)
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        other, other_key = draw(st.sampled_from(places))
        act = draw(st.sampled_from(["replace", "replace", "delete", "copy", "add", "nest"]))
        if act == "replace":
            container[key] = draw(values)
        elif act == "delete" and container is not value:
            del container[key]
        elif act == "copy":
            container[key] = copy.deepcopy(other[other_key])
        elif act == "add" and isinstance(container, dict):
            container[draw(keys)] = draw(values)
        elif act == "nest":
            for _ in range(draw(st.sampled_from([1, 3, 99, 150]))):
                container[key] = draw(st.sampled_from([[container[key]], {"a": container[key]}]))
    text = json.dumps(value.get(""), ensure_ascii=draw(st.booleans()))
    return text.encode("utf-8", "surrogatepass")


def mutate_bytes(draw: Any, data: bytes) -> bytes:
    """One to four changes of bytes."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        inner = draw(
            st.binary(max_size=6) | st.sampled_from([b"{", b"}", b"[", b'"', b",", b"1e999"])
        )
        data = data[:start] + inner + data[end:]
    return data


@st.composite
def cases(draw: Any, good: Good) -> Case:
    kind = draw(st.sampled_from([*KINDS[1:], "snapshots", MARK, "refs"]))
    if kind == MARK:
        data = (good.store.path / MARK).read_bytes()
    elif kind == "refs":
        data = good.start.encode() + b"\n"
    else:
        md5 = good.md5_of(kind)
        data = good.store.file(kind, md5).read_bytes()
    if kind != "refs" and draw(st.booleans()):
        changed = mutate_json(draw, json.loads(data))
    else:
        changed = mutate_bytes(draw, data)
    return Case(kind, changed, draw(st.integers(0, 3)) > 0)


@pytest.fixture(scope="module")
def good(pair_store: Prepared, folder: Path) -> Good:
    """A real one."""
    store = Store.create(folder / "good.orch")
    with pytest.MonkeyPatch.context() as patch:
        # A full block and a piece.
        patch.setattr(recorder, "block_cycles_for", lambda n_walkers: 2)
        outcome = run_job(pair_store.store, pair_store.snapshot_hash, folder / "job", n_cycles=3)
    sources = [pair_store.store, Store.open(folder / "job" / "checkpoint.orch")]
    merge.apply(merge.plan(store, sources))
    store.set_ref("tags/bound", outcome.end)
    (run,), (recording,) = store.hashes("runs"), store.hashes("recordings")
    assert len(store.references("recordings", recording)) > 2
    attach(store, run, recording)
    return Good(store, outcome.start, outcome.end, pair_store.config_hash, run)


def spoil(good: Good, orch: Path, case: Case) -> str:
    """The store with the mutation in it; a hash or tag that leads to it."""
    shutil.copytree(good.store.path, orch, copy_function=os.link)
    if case.kind == MARK:
        (orch / MARK).unlink()
        (orch / MARK).write_bytes(case.data)
        return "bound"
    if case.kind == "refs":
        for name in ("tags/bound", "default-snapshot"):
            (orch / "refs" / name).unlink()
            (orch / "refs" / name).write_bytes(case.data)
        return "bound"
    md5 = good.md5_of(case.kind)
    if not case.renamed:
        file = Store(orch).file(case.kind, md5)
        file.unlink()
        file.write_bytes(case.data)
        return md5
    new = plant(Store(orch), case.kind, case.data)
    (orch / "refs" / "tags" / "mutated").write_text(new + "\n")
    if case.kind in ("snapshots", "recordings"):
        _lead_to(good, orch, case)
    return new


def _lead_to(good: Good, orch: Path, case: Case) -> None:
    """A run that ends in the mutated snapshot, or has the mutated recording, so that what follows
    runs gets there."""
    record = json.loads(good.store.file("runs", good.run).read_bytes())
    key = "end" if case.kind == "snapshots" else "recording"
    record[key] = EntryRef(case.kind, Ref.of(case.data)).to_json()
    plant(Store(orch), "runs", json.dumps(record).encode())


def _tables_or_an_error(orch: Path) -> None:
    """Whoever asks for what was recorded gets it, or an error of ours."""
    with contextlib.suppress(WepystoreError):
        store = Store.open(orch)
        for run in store.hashes("runs"):
            with contextlib.suppress(WepystoreError):
                tables = load_tables(store, run)
                assert all(len(tables[name].shape) for name in tables)


def tried(good: Good, folder: Path, case: Case, lines: list[str]) -> None:
    """The commands on the mutated store, in order."""
    orch, out = folder / "m.orch", folder / "out"
    out.mkdir()
    other = folder / "other.orch"
    try:
        mutated = spoil(good, orch, case)
        shutil.copytree(good.store.path, other, copy_function=os.link)
        for line in lines:
            words = line.format(
                orch=orch,
                out=out,
                good=other,
                m=mutated,
                s=good.start,
                e=good.end,
                c=good.config,
                r=good.run,
            ).split()
            with (
                contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")) as stdout,
                contextlib.redirect_stderr(io.StringIO()) as stderr,
            ):
                status = main(words)
            told = stderr.getvalue()
            assert status in STATUSES, (line, status, told)
            assert "Traceback" not in told and "is a bug" not in told, (line, told)
            stdout.flush()
            assert status == 0 or told or stdout.buffer.tell(), line
        _tables_or_an_error(orch)
    finally:
        for path in (orch, out, other):
            shutil.rmtree(path, ignore_errors=True)


_SETTINGS = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}


@settings(max_examples=150, derandomize=True, **_SETTINGS)
@given(st.data())
def test_mutated_json(good: Good, folder: Path, data: st.DataObject) -> None:
    """150 mutations, three commands on each."""
    lines = data.draw(st.lists(st.sampled_from(LINES), min_size=3, max_size=3))
    tried(good, folder, data.draw(cases(good)), lines)


@pytest.mark.slow
@settings(max_examples=10_000, **_SETTINGS)
@given(st.data())
def test_mutated_json_for_long(good: Good, folder: Path, data: st.DataObject) -> None:
    """10,000 mutations, six commands on each."""
    lines = data.draw(st.lists(st.sampled_from(LINES), min_size=6, max_size=6))
    tried(good, folder, data.draw(cases(good)), lines)


def test_what_is_mutated(good: Good) -> None:
    """All kinds of entries are there to be mutated."""
    assert all(good.store.hashes(kind) for kind in KINDS)
