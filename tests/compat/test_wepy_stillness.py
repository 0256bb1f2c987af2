"""wepy's own resamplers, with the pmax that wepy gives them, and few walkers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.compat.conftest import InWepy

SCRIPT = """
import json, sys
from pathlib import Path
from wepystore.api import Apparatus, Configuration, SerialMapper, Snapshot, Walker
from wepystore.api import prepare_store, prepare_wepy
prepare_wepy()
from wepy.resampling.distances.distance import AtomPairDistance
from wepy.resampling.resamplers.revo import REVOResampler
from wepy.resampling.resamplers.wexplore import WExploreResampler
from tests.systems import Recorder, pair_runner, pair_state, run_job

home, kind, n_walkers, pmax = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
bounds = {} if pmax == "default" else {"pmax": float(pmax)}
distance, start = AtomPairDistance([(0, 1)], periodic=False), pair_state()
if kind == "revo":
    resampler = REVOResampler(
        merge_dist=1.0, char_dist=0.1, distance=distance, init_state=start, weights=True,
        dist_exponent=4, pmin=1e-12, **bounds)
else:
    resampler = WExploreResampler(
        distance=distance, init_state=start, max_n_regions=(10,), max_region_sizes=(0.002,),
        pmin=1e-12, **bounds)
walkers = [Walker(start, 1 / n_walkers) for _ in range(n_walkers)]
snapshot = Snapshot(walkers, Apparatus(pair_runner(), None, resampler))
made = prepare_store(home / "x.orch", snapshot, Configuration(SerialMapper(), []))
watcher = Recorder()
run_job(made.store, made.snapshot_hash, home / "job", watcher, n_cycles=12, n_steps=40)
cycles = [event[1] for event in watcher.events if event[0] == "cycle"]
print(json.dumps({
    "remarks": [event[1] for event in watcher.events if event[0] == "remark"],
    "counts": [cycles[-1].n_cloned, cycles[-1].n_merged],
}))
"""


@pytest.mark.parametrize(
    ("kind", "n_walkers", "pmax", "still"),
    [
        ("wexplore", 12, "default", True),
        ("wexplore", 8, "0.5", False),
        ("revo", 20, "default", True),
    ],
)
def test_a_pmax_that_forbids_everything_is_told(
    in_wepy: InWepy, tmp_path: Path, kind: str, n_walkers: int, pmax: str, still: bool
) -> None:
    """wepy's default of 0.1 forbids every merge to fewer than 20 equal walkers, and REVO, which
    merges below it, to 20 as well: said at the start, since what is wepy's is not refused."""
    script = tmp_path / "still.py"
    script.write_text(SCRIPT)
    done = in_wepy(script, tmp_path, kind, str(n_walkers), pmax)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    if still:
        assert found["counts"] == [0, 0]
        (said,) = found["remarks"]
        assert "pmax is 0.1" in said and "can clone and merge nothing" in said
    else:
        assert found["counts"][0] == found["counts"][1] > 0
        assert found["remarks"] == []
