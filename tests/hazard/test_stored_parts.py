"""A store that names built-in parts only runs without a question: so they must reach nothing."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Wepy, wepy
from tests.systems import pair_snapshot, plain_configuration, run_job
from wepystore.api import Store, prepare_store
from wepystore.store import canonical

__all__ = ["wepy"]


class Listener:
    """A port on which nobody is to call."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.calls = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


def evil(store: Store, config: str, port: int) -> str:
    """The configuration with dask's mapper, which is to be told an address."""
    manifest: Any = store.manifest("configs", config)
    params = {"scheduler": f"tcp://127.0.0.1:{port}"}
    mapper = {"class": "DaskMapper", "version": 1, "params": params}
    manifest["work_mapper"] = {"component": mapper}
    return store.put("configs", canonical.dumps(manifest)).md5


def test_an_address_in_a_store_is_called_by_no_command(
    wepy: Wepy, tmp_path: Path, listener: Listener
) -> None:
    """A configuration whose DaskMapper has a `scheduler` (who answers there may run code here) is
    refused by whatever decodes it (run, verify, convert, resume; also as an exported file), and
    what only reads it goes on; none calls."""
    made = prepare_store(tmp_path / "s.orch", pair_snapshot(), plain_configuration())
    store, start, config = made.store, made.snapshot_hash, made.config_hash
    done = run_job(store, start, tmp_path / "done", n_cycles=1)
    assert wepy("reconcile orch s.orch done/checkpoint.orch").status == 0
    bad = evil(store, config, listener.port)

    # A record that names it, for verify.
    (run,) = store.hashes("runs")
    record: Any = store.manifest("runs", run)
    data = store.read("configs", bad)
    record["config"] = {"kind": "configs", **_ref(data)}
    bad_run = store.put("runs", canonical.dumps(record)).md5
    assert done.end

    # A job that was killed before its first checkpoint, for resume.
    job = tmp_path / "done"
    inner = Store.open(job / "checkpoint.orch")
    evil(inner, config, listener.port)
    for md5 in inner.hashes("runs"):
        inner.file("runs", md5).unlink()
    spec = json.loads((job / "job.json").read_bytes())
    spec |= {"config": record["config"], "ended": None}
    (job / "job.json").write_bytes(canonical.dumps(spec))

    assert wepy(f"get snapshot s.orch {start} -O s.file").status == 0
    assert wepy(f"get config s.orch {bad} -O c.file").status == 0
    for line in (
        f"run orch --n-cycles 1 --configuration {bad} --job-dir j s.orch {start} 9 5",
        f"run orch --n-cycles 1 --configuration c.file --job-dir j s.orch {start} 9 5",
        "run snapshot --n-cycles 1 --job-dir j s.file c.file 9 5",
        f"run orch --n-cycles 1 --n-workers 1 --configuration {bad} --job-dir j s.orch {start} 9 5",
        f"verify s.orch {bad_run}",
        "resume done",
    ):
        said = wepy(line)
        assert said.status == 3, f"{line}: {said}"
        assert "DaskMapper takes no 'scheduler' from a store" in said.err, line
        assert said.err.count("wepy: error") == 1 and not (tmp_path / "j").exists(), line
    for line in (
        f"show s.orch {bad}",
        f"show --pickles s.orch {bad}",
        f"diff s.orch {bad} {config}",
        f"diff s.orch {bad} c.file",
        "ls configs -l s.orch",
        "log s.orch",
        "fsck s.orch",
        f"convert s.orch {bad}",
        "reconcile orch new.orch s.orch",
        "add config s.orch c.file",
    ):
        assert wepy(line).status in (0, 1, 2, 3), line
    assert listener.calls == 0


def _ref(data: bytes) -> dict[str, Any]:
    md5, sha256 = hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest()
    return {"md5": md5, "sha256": sha256, "size": len(data)}
