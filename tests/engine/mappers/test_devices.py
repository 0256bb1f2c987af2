"""One worker a device: platform properties of its own for each worker."""

from __future__ import annotations

import ctypes.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.systems import (
    environment,
    pair_runner,
    pair_state,
    plain_configuration,
    run_job,
    salt_apparatus,
)
from tests.workers import Teller, numbers
from wepystore.api import (
    ProcessMapper,
    SerialMapper,
    Snapshot,
    Store,
    Walker,
    load_run,
    prepare_store,
)
from wepystore.engine.errors import ComponentError, PlatformError
from wepystore.orchestrator.run.mapping import choose_mapper, properties_of_workers


def told(mapper: ProcessMapper, **keywords: Any) -> list[dict[str, str]]:
    """The different properties that segments ran with, once all workers were up."""
    while not all(worker.ready for worker in mapper._workers):
        mapper.map(numbers(4), [1] * 4)
    found = {
        tuple(sorted(walker.state.items()))
        for walker in mapper.map(
            numbers(16), [1] * 16, **{name: [value] * 16 for name, value in keywords.items()}
        )
    }
    return [dict(each) for each in sorted(found)]


@pytest.mark.parametrize(("n_workers", "expected"), [(None, 2), (2, 2), (4, 4), (1, 1)])
def test_each_worker_runs_with_its_own_properties(n_workers: int | None, expected: int) -> None:
    """As many workers as there are devices unless told otherwise; with more, several share a
    device. What the configuration asks for stays, and the worker's own goes before it."""
    mapper = ProcessMapper(n_workers, [{"DeviceIndex": "0"}, {"DeviceIndex": 1}])
    mapper.init(Teller().run_segment)
    try:
        assert len(mapper._workers) == expected
        devices = ["0", "1"][:expected]
        assert told(mapper) == [{"DeviceIndex": device} for device in devices]
        mixed = told(mapper, platform_kwargs={"Precision": "mixed", "DeviceIndex": "7"})
        assert mixed == [{"Precision": "mixed", "DeviceIndex": device} for device in devices]
    finally:
        mapper.cleanup()


def test_a_successor_gets_the_device_of_the_one_before(tmp_path: Path) -> None:
    """The place among the workers has the device, not the process."""
    mapper = ProcessMapper(2, [{"DeviceIndex": "0"}, {"DeviceIndex": "1"}])
    mapper.init(Teller().run_segment)
    try:
        told(mapper)
        for worker in mapper._workers:
            worker.child._popen.kill()
            worker.child._popen.wait()
        assert told(mapper) == [{"DeviceIndex": "0"}, {"DeviceIndex": "1"}]
    finally:
        mapper.cleanup()


def test_properties_of_the_cpu_platform(tmp_path: Path) -> None:
    """Through a whole run with OpenMM: harmless ones change no bit of the end; ones that make the
    platform inexact are in the record as not reproducible."""
    apparatus, state = salt_apparatus("CPU")
    snapshot = Snapshot([Walker(state, 0.25) for _ in range(4)], apparatus)
    ends = {}
    for name, mapper in {
        "serial": SerialMapper(),
        "harmless": ProcessMapper(worker_properties=[{"Threads": "1"}, {}]),
        "inexact": ProcessMapper(worker_properties=[{"Threads": "1"}, {"Threads": "2"}]),
    }.items():
        made = prepare_store(tmp_path / f"{name}.orch", snapshot, plain_configuration(mapper))
        outcome = run_job(made.store, made.snapshot_hash, tmp_path / name, n_steps=4, n_cycles=2)
        ends[name] = outcome.end
        assert outcome.reproducible == (name != "inexact")
        job = Store.open(tmp_path / name / "checkpoint.orch")
        (run,) = job.hashes("runs")
        assert load_run(job, run).reproducible == (name != "inexact")
    assert ends["serial"] == ends["harmless"]


def test_a_property_that_the_platform_lacks_is_named() -> None:
    """The platform's name, the property, and those it has."""
    mapper = ProcessMapper(worker_properties=[{"DeviceIndex": "0"}])
    mapper.init(pair_runner().run_segment)
    try:
        with pytest.raises(PlatformError, match=r"Reference.*no property 'DeviceIndex'"):
            mapper.map([Walker(pair_state(), 1.0)], [1], seed=[1], cycle_idx=[0])
    finally:
        mapper.cleanup()


def test_wrong_arguments_are_refused() -> None:
    """Without a device there is nothing to say."""
    with pytest.raises(ComponentError, match="worker_properties is empty"):
        ProcessMapper(worker_properties=[])
    with pytest.raises(ComponentError, match="segment_timeout must be more than 0 s, not 0"):
        ProcessMapper(segment_timeout=0)


def test_which_mapper_a_run_gets() -> None:
    """One worker needs no process, unless it is to have properties of its own or to be watched."""
    devices = ProcessMapper(worker_properties=[{"DeviceIndex": "0"}])
    assert choose_mapper(devices, 1) is devices
    watched = ProcessMapper(2, segment_timeout=9)
    assert choose_mapper(watched, 1) is watched
    assert isinstance(choose_mapper(ProcessMapper(3), 1), SerialMapper)
    assert isinstance(choose_mapper(SerialMapper(), 3), ProcessMapper)
    assert properties_of_workers(devices, {"Precision": "mixed"}) == [
        {"Precision": "mixed", "DeviceIndex": "0"}
    ]
    assert properties_of_workers(SerialMapper(), None) == [None]


OPENCL = """
import sys
import openmm
from tests.systems import pair_runner, pair_state
from wepystore.api import ProcessMapper, SerialMapper, Walker
names = [openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())]
if "OpenCL" not in names:
    print("skip: OpenMM has no OpenCL platform here:", *openmm.Platform.getPluginLoadFailures()[:1])
    sys.exit()
runner = pair_runner(platform="OpenCL")
walkers = [Walker(pair_state(), 0.25) for _ in range(4)]
try:
    serial = SerialMapper()
    serial.init(runner.run_segment)
    serial.map(walkers, [5] * 4, seed=[1, 2, 3, 4])
except Exception as problem:
    print("skip: no context on OpenCL:", problem)
    sys.exit()
mapper = ProcessMapper(2, worker_properties=[{"DeviceIndex": "0"}])
mapper.init(runner.run_segment)
found = mapper.map(walkers, [50] * 4, seed=[1, 2, 3, 4])
mapper.cleanup()
assert all(walker.state["positions"].shape == (2, 3) for walker in found)
wrong = ProcessMapper(1, worker_properties=[{"DeviceIndex": "99"}])
wrong.init(runner.run_segment)
try:
    wrong.map(walkers, [5] * 4, seed=[1, 2, 3, 4], cycle_idx=[0] * 4)
except Exception as problem:
    print("refused:", type(problem).__name__, problem)
wrong.cleanup()
"""


def test_device_index_on_opencl(tmp_path: Path) -> None:
    """Where OpenMM has OpenCL (a GPU, or pocl on the CPU): two workers on device 0 run, and a
    device that is not there is an error that says so: so the index reaches the context."""
    if ctypes.util.find_library("OpenCL") is None and "LD_LIBRARY_PATH" not in environment():
        pytest.skip("no libOpenCL on this machine")
    script = tmp_path / "opencl.py"
    script.write_text(OPENCL)
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    if done.stdout.startswith("skip: "):
        pytest.skip(done.stdout.strip()[6:])
    assert "refused: PlatformError" in done.stdout
