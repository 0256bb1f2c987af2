"""What of the machine and its software can change the last bit of a result.

Nothing here tells who ran it or where: no host name, no path, no time.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform as host_platform
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from wepystore._version import __version__
from wepystore.engine.protocols import RunnerCapabilities

#: Fields of an environment, the likeliest culprit of a different end first.
_ORDER = (
    "platform",
    "platform_properties",
    "device",
    "openmm",
    "machine",
    "cpu",
    "cpu_flags",
    "libm",
    "libc",
    "os",
    "numpy",
    "wepystore",
    "python",
)

#: Instruction sets by which libraries choose, at run time, in what order and with how many
#: roundings they add and multiply. All others (encryption, virtualisation) leave results alone.
_ARITHMETIC_FLAGS = ("sse", "ssse", "avx", "fma", "f16c", "amx", "asimd", "sve", "sme", "fphp")

#: The widest of them first; one is shown in words, all are in the digest.
_WIDEST = ("avx512f", "avx2", "avx", "sve2", "sve", "asimd", "sse2")

#: What Linux says of the processors, one paragraph each.
CPUINFO = "/proc/cpuinfo"

#: Enough for the first processor's paragraph; the whole file takes long on many cores.
_CPUINFO_BYTES = 16384

# Arguments at which two variants of one library have been seen to round differently: glibc
# 2.36 on x86-64 with and without FMA instructions, which agree at all but one in 850 (erfc)
# to one in 25,000 (log) arguments drawn at random.
_PROBES: tuple[tuple[Any, tuple[float, ...]], ...] = (
    (math.exp, (0.1504, 2.1572, 4.1084, 6.1536, 7.2484, 8.911)),
    (math.expm1, (0.099, 0.358, 1.026, 1.7561)),
    (math.log, (0.9107, 1.1546, 1.3639)),
    (math.log1p, (0.3757, 0.4735, 0.6058, 1.5745)),
    (math.log2, (0.9734, 1.0377, 1.0712, 6.1495)),
    (math.sin, (0.1374, 2.7691, 5.4533, 8.4294)),
    (math.cos, (0.3714, 1.9902, 4.5913, 8.5267)),
    (math.tan, (1.6114, 7.7967)),
    (math.atan, (0.0548, 0.0978, 0.9572, 2.7902)),
    (math.tanh, (0.0793, 0.1239, 0.1969, 0.7626)),
    (math.erfc, (1.252, 3.3147, 5.4354, 7.263)),
    (math.gamma, (0.31, 2.7, 7.9)),
    (lambda x: math.pow(x, 1.37), (0.0475, 2.0894, 4.7335, 6.6745)),
    (lambda x: math.pow(x, -0.71), (0.1504, 1.1786, 3.1812, 5.9326)),
)


class EnvironmentDifference(NamedTuple):
    """A field of an environment that is not what it was; None where there is nothing."""

    field: str
    then: Any
    now: Any


def environment_of(
    runner: Any, platform: str | None, properties: Mapping[str, str] | None
) -> dict[str, Any]:
    """What bears on the bits of a run, for its record and for whoever verifies it.

    Parameters
    ----------
    runner : object
        Asked by `environment(platform, properties)`, if it has one, for the platform it
        would use, its properties and version.
    platform, properties : str, mapping of str to str, or None
        As they are passed on to the runner.

    Returns
    -------
    dict
        JSON-able. wepystore, python, numpy : versions. machine : architecture. os : name of
        the kernel. libc : name and version. libm : digest of what it computes at arguments
        where its variants differ. cpu : model. cpu_flags : widest instruction set and a digest
        of all that bear on arithmetic. With an OpenMM runner: openmm, platform,
        platform_properties, and device where the platform has devices.
    """
    import numpy as np

    environment: dict[str, Any] = {
        "wepystore": __version__,
        "python": host_platform.python_version(),
        "numpy": np.__version__,
        **_host(),
    }
    return environment | dict(RunnerCapabilities(runner).environment(platform, properties) or {})


def step_size_ps(runner: Any) -> float | None:
    """A runner's time step; None where it has none, or one that is no number of ps."""
    try:
        found = float(runner.step_size)
    except (AttributeError, TypeError, ValueError):
        return None
    return found if math.isfinite(found) and found > 0 else None


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[EnvironmentDifference]:
    """Fields that differ, the likeliest culprit first.

    A field that the record does not have is not known to differ: older records have fewer.
    What is itself a mapping is compared by its keys: platform_properties.Threads. Those of
    two platforms have nothing in common and are left out.
    """
    known = [name for name in _ORDER if name in recorded]
    if recorded.get("platform") != now.get("platform") and "platform_properties" in known:
        known.remove("platform_properties")
    others = sorted(set(recorded) - set(_ORDER))
    found = []
    for name in (*known, *others):
        then, here = recorded[name], now.get(name)
        if isinstance(then, Mapping) and isinstance(here, Mapping):
            found += [
                EnvironmentDifference(f"{name}.{key}", then.get(key), here.get(key))
                for key in sorted({*then, *here})
                if then.get(key) != here.get(key)
            ]
        elif then != here:
            found.append(EnvironmentDifference(name, then, here))
    return found


@lru_cache(maxsize=1)
def _host() -> dict[str, str]:
    model, flags = _cpu()
    return {
        "machine": host_platform.machine(),
        "os": host_platform.system(),
        "libc": _libc(),
        "libm": _libm(),
        "cpu": model,
        "cpu_flags": flags,
    }


def _libc() -> str:
    try:
        name = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        name = None
    # musl says so in the interpreter's file alone.
    return name or " ".join(host_platform.libc_ver()).strip() or "unknown"


def _libm() -> str:
    """A digest of the mathematical library's answers.

    Its version does not say enough: glibc looks for FMA instructions when a program starts,
    and takes other code, which rounds otherwise, where there are none or where the
    environment tells it so (GLIBC_TUNABLES).
    """
    results = [function(x) for function, xs in _PROBES for x in xs]
    return _digest(struct.pack(f"<{len(results)}d", *results))


def _cpu() -> tuple[str, str]:
    """The model, and the instruction sets that matter."""
    facts: dict[str, str] = {}
    try:
        with open(CPUINFO, "rb", buffering=0) as stream:
            text = stream.read(_CPUINFO_BYTES).decode("utf-8", "replace")
    except OSError:
        text = ""
    for line in text.split("\n\n", 1)[0].splitlines():
        name, _, value = line.partition(":")
        facts[name.strip()] = value.strip()
    model = next((facts[key] for key in ("model name", "cpu model", "cpu") if key in facts), "")
    if not model and "CPU part" in facts:
        model = f"implementer {facts.get('CPU implementer', '?')} part {facts['CPU part']}"
    flags = {
        flag
        for flag in (facts.get("flags") or facts.get("Features") or "").split()
        if flag.startswith(_ARITHMETIC_FLAGS)
    }
    if not flags:
        return model or host_platform.processor() or "unknown", "unknown"
    widest = next((name for name in _WIDEST if name in flags), "no vectors")
    return model or "unknown", f"{widest} {_digest(' '.join(sorted(flags)).encode())}"


def _digest(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()[:8]
