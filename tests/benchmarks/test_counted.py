"""What benchmarks count and a release may not break: bytes, files, memory; and that they run.

Times are not held to a limit here, as a busy machine is no fault: bin/bench does that.
"""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import bench_checkpoint, bench_gpu, bench_memory


def test_memory_is_a_small_multiple_of_the_walkers(tmp_path: Path) -> None:
    """50,000 particles x 48: peak memory at most 2.5 times the raw arrays, when they are loaded,
    and over a whole run, which holds the walkers before and after a cycle at once; no more when it
    is verified, and comes out otherwise."""
    bench_memory.measure("prepare", tmp_path, bench_memory.N_PARTICLES)
    for name, least in (("load", 1.0), ("run", 2.0), ("verify", 2.0), ("disprove", 2.0)):
        found = bench_memory.measure(name, tmp_path, bench_memory.N_PARTICLES)
        # Less would mean that it is not the memory of the work that was measured.
        assert least <= found <= bench_memory.LIMIT, name


def test_the_gpu_benchmark_runs_where_there_is_none() -> None:
    """Its code path, on the CPU platform: bare steps, cycles, two contexts at once."""
    one = bench_gpu.cycle(600, "CPU", n_steps=2, n_walkers=2, rounds=1)
    assert one.n_atoms >= 600
    assert one.steps_per_s > 0
    assert one.ratio > 0
    assert set(bench_gpu.at_once(600, "CPU", 2, 2, [1, 2], rounds=1)) == {1, 2}


def test_a_checkpoint_is_little_more_than_its_arrays(tmp_path: Path) -> None:
    """10,000 particles x 48: bytes at most 1.05 times those of np.save, at most 12 new files,
    none of them apparatus again (I4)."""
    found = bench_checkpoint.measure(tmp_path, rounds=1)
    assert found.bytes <= bench_checkpoint.BYTES_LIMIT
    assert found.new_files <= bench_checkpoint.FILES_LIMIT
    assert found.new_apparatus_files == 0


def test_walkers_do_not_multiply_files(tmp_path: Path) -> None:
    """I4: a checkpoint of 96 walkers has no more files than one of 3."""
    found = []
    for n_walkers in (3, 96):
        folder = tmp_path / str(n_walkers)
        folder.mkdir()
        found.append(bench_checkpoint.measure(folder, n_walkers, rounds=2).new_files)
    assert found[0] == found[1] <= bench_checkpoint.FILES_LIMIT
