"""What a run record says of the machine: enough to explain another end, and no more."""

from __future__ import annotations

import getpass
import json
import os
import platform
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from tests.systems import pair_runner, python
from wepystore.engine.runners.openmm.platforms import known_platforms
from wepystore.orchestrator.run import environment as room
from wepystore.orchestrator.run.environment import (
    EnvironmentDifference,
    differences,
    environment_of,
)
from wepystore.store import canonical

#: Prints this environment's digest of libm's answers.
_LIBM = """
from wepystore.orchestrator.run.environment import environment_of
print(environment_of(None, None, None)["libm"])
"""

_X86 = """model name\t: A CPU
flags\t\t: fpu sse2 avx avx2 fma

model name\t: Another
"""
_ARM = """CPU implementer\t: 0x41
CPU part\t: 0xd0c
Features\t: fp asimd aes
"""


def here(**options: str) -> dict[str, Any]:
    return environment_of(pair_runner(**options), None, None)


def test_it_names_versions_machine_and_platform() -> None:
    """Every field that can explain another end is there, and says what its library says."""
    found = here(platform="CPU")
    assert found["python"] == platform.python_version()
    assert found["numpy"] == np.__version__
    assert found["openmm"] == openmm.Platform.getOpenMMVersion()
    assert found["platform"] == "CPU"
    assert found["platform_properties"] == {"Threads": "1", "DeterministicForces": "true"}
    assert found["machine"] == platform.machine()
    assert found["os"] == platform.system()
    assert {"wepystore", "cpu", "cpu_flags", "libc", "libm"} <= found.keys()
    assert all(found[name] not in ("", "unknown") for name in found)


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of the processor")
def test_the_processor_is_what_the_system_says() -> None:
    """The model is the one of /proc/cpuinfo, and the C library the one Python runs on."""
    text = Path("/proc/cpuinfo").read_text()
    assert here()["cpu"] in text
    name, version = platform.libc_ver()
    assert here()["libc"] == f"{name} {version}"


def test_it_can_be_recorded() -> None:
    """It is plain JSON: a run record's bytes give it back unchanged."""
    found = here()
    assert json.loads(canonical.dumps(found)) == found


def test_it_tells_nobody_where_or_when_it_was() -> None:
    """No host name, user, path, process or time: two calls in two folders say the same."""
    found = here()
    said = json.dumps(found)
    names = {socket.gethostname(), os.getcwd(), sys.prefix, os.path.expanduser("~")}
    if len(getpass.getuser()) > 4:
        names.add(getpass.getuser())
    assert not {name for name in names if len(name) > 1 and name in said}
    assert not any(value.startswith("/") for value in found.values() if isinstance(value, str))
    assert found == here()


def test_the_machine_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint's record does not wait for it: what is known of the machine is kept for the
    process, and of a file that has a paragraph for each of many cores only the start is read."""
    file = tmp_path / "cpuinfo"
    file.write_text("model name : one\n\n" + "model name : two\n\n" * 100_000)
    monkeypatch.setattr(room, "CPUINFO", str(file))
    room._host.cache_clear()
    try:
        found = environment_of(pair_runner(), None, None)
        assert found["cpu"] == "one"
        file.unlink()
        assert environment_of(pair_runner(), None, None) == found
    finally:
        room._host.cache_clear()


def test_a_runner_without_an_environment_has_the_machine_s() -> None:
    """A runner written for wepy names no platform, and the record says what else is known."""
    found = environment_of(object(), None, None)
    assert "platform" not in found
    assert found["numpy"] == np.__version__


@pytest.mark.parametrize("name", known_platforms())
def test_a_device_is_named_where_there_is_one(name: str) -> None:
    """A GPU's name bears on the bits; Reference and CPU have none to choose from, and no field."""
    found = environment_of(pair_runner(platform=name), None, None)
    platform_here = openmm.Platform.getPlatformByName(name)
    if "DeviceName" not in platform_here.getPropertyNames():
        assert "device" not in found
        return
    devices = [dict(device) for device in platform_here.getDevices()]
    assert found["device"] in ", ".join(device["DeviceName"] for device in devices)
    one = {"DeviceIndex": devices[0]["DeviceIndex"]}
    assert environment_of(pair_runner(), name, one)["device"] == devices[0]["DeviceName"]
    none = {"DeviceIndex": "999"}
    assert "device" not in environment_of(pair_runner(), name, none)


def _glibc_can_do_without_fma() -> bool:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc" and " fma " in text


needs_fma = pytest.mark.skipif(
    not _glibc_can_do_without_fma(), reason="needs glibc on x86-64 with FMA"
)


@needs_fma
def test_libm_s_other_variant_is_seen(tmp_path: Path) -> None:
    """glibc without its FMA code rounds otherwise, under one version and on one processor; the
    digest tells, and is the same in every process that is set alike."""
    script = tmp_path / "libm.py"
    script.write_text(_LIBM)
    plain = python(script)
    assert plain == here()["libm"]
    without = python(script, GLIBC_TUNABLES="glibc.cpu.hwcaps=-FMA,-AVX2,-FMA4")
    assert without != plain


def test_equal_environments_do_not_differ() -> None:
    """Nothing is named where nothing changed."""
    assert differences(here(), here()) == []


def test_the_likeliest_culprit_comes_first() -> None:
    """Properties of the platform, OpenMM, processor, C library, numpy, wepystore, Python; then what
    this version does not know."""
    now = here(platform="CPU")
    then = {name: f"other {value}" for name, value in reversed(now.items())}
    then["platform"] = "CPU"
    then["platform_properties"] = {"Threads": "2", "DeterministicForces": "true"}
    then["phase of the moon"] = "full"
    found = [name for name, _, _ in differences(then, now)]
    assert found == [
        *("platform_properties.Threads", "openmm", "machine", "cpu", "cpu_flags", "libm"),
        *("libc", "os", "numpy", "wepystore", "python", "phase of the moon"),
    ]


def test_another_platform_explains_all_of_its_properties() -> None:
    """The properties of two platforms are not compared: the platform is what to look at."""
    found = differences(here(platform="CPU"), here())
    assert found == [EnvironmentDifference("platform", "CPU", "Reference")]


def test_properties_are_compared_one_by_one() -> None:
    """A property that one side lacks is named with None, and equal ones are not named."""
    then = {"platform_properties": {"Threads": "1", "A": "x"}}
    now = {"platform_properties": {"Threads": "1", "B": "y"}}
    assert differences(then, now) == [
        EnvironmentDifference("platform_properties.A", "x", None),
        EnvironmentDifference("platform_properties.B", None, "y"),
    ]


def test_what_a_record_does_not_say_is_no_difference() -> None:
    """Records of older versions have fewer fields; what only now is known proves nothing."""
    now = here()
    old = {name: now[name] for name in ("openmm", "platform")}
    assert differences(old, now) == []
    assert differences({**old, "device": "a GPU"}, now) == [
        EnvironmentDifference("device", "a GPU", None)
    ]


@pytest.mark.parametrize(
    ("text", "model", "widest"),
    [
        (_X86, "A CPU", "avx2"),
        (_ARM, "implementer 0x41 part 0xd0c", "asimd"),
        ("cpu\t\t: POWER9\n\n", "POWER9", "unknown"),
    ],
)
def test_processors_of_other_makers(
    text: str, model: str, widest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """x86, ARM and POWER describe themselves differently; only the first processor is looked at."""
    file = tmp_path / "cpuinfo"
    file.write_text(text)
    monkeypatch.setattr(room, "CPUINFO", str(file))
    found, flags = room._cpu()
    assert found == model
    assert flags.split()[0] == widest


def test_flags_that_leave_results_alone_are_not_in_the_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that hides an encryption instruction makes no other machine, one that hides FMA
    does."""
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(room, "CPUINFO", str(file))
    found = []
    for flags in ("sse2 avx2 fma aes", "fma avx2 sse2", "sse2 avx2"):
        file.write_text(f"model name : x\nflags : {flags}\n\n")
        found.append(room._cpu()[1])
    assert found[0] == found[1]
    assert found[2] != found[0]
