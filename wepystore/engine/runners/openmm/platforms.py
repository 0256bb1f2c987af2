"""Which of OpenMM's platforms there are here, and which of them is the fastest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, lru_cache

import numpy as np
import openmm

from wepystore.engine.errors import PlatformError
from wepystore.engine.parameters import platform_properties


def _platforms() -> list[openmm.Platform]:
    return [openmm.Platform.getPlatform(k) for k in range(openmm.Platform.getNumPlatforms())]


def known_platforms() -> list[str]:
    """Names of the platforms this OpenMM can load."""
    return [platform.getName() for platform in _platforms()]


@cache
def fastest_platform() -> str:
    """The fastest platform on which a context can really be made here."""
    system = openmm.System()
    system.addParticle(1.0)
    for platform in sorted(_platforms(), key=lambda p: -p.getSpeed()):
        with suppress(openmm.OpenMMException):
            openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
            return str(platform.getName())
    raise PlatformError(platform="any", problem="none works", known="none")


def unusable(platform: str, problem: object) -> PlatformError:
    """The error of a platform that cannot be used here."""
    known = ", ".join(known_platforms())
    return PlatformError(platform=platform, problem=problem, known=known)


def load_platform(name: str, properties: Mapping[str, str]) -> openmm.Platform:
    """The platform `name`.

    Raises
    ------
    PlatformError : there is none, it lacks one of `properties`, or they are none to use.
    """
    try:
        platform_properties(properties)
    except ValueError as problem:
        raise unusable(name, problem) from None
    try:
        platform = openmm.Platform.getPlatformByName(name)
    except openmm.OpenMMException:
        raise unusable(name, "there is no such platform") from None
    has = platform.getPropertyNames()
    for key in properties:
        if key not in has:
            raise unusable(name, f"it has no property {key!r} (it has: {', '.join(has) or 'none'})")
    return platform


def device_name(platform: str, properties: Mapping[str, str]) -> str | None:
    """What a platform computes on, as it names it; None where it has no devices to choose from.

    Without a DeviceIndex among `properties` it is every kind of device that OpenMM might
    choose; nearly always that is one.
    """
    wanted = {name: properties[name] for name in _DEVICE if name in properties}
    return _device_name(platform, tuple(sorted(wanted.items())))


#: By which properties a device is chosen.
_DEVICE = ("DeviceIndex", "OpenCLPlatformIndex")


@lru_cache
def _device_name(platform: str, wanted: tuple[tuple[str, str], ...]) -> str | None:
    try:
        devices = openmm.Platform.getPlatformByName(platform).getDevices()
    except (openmm.OpenMMException, AttributeError):
        # Older OpenMM cannot tell; what ails a driver is met when a context is made.
        return None
    names = [
        device["DeviceName"]
        for device in map(dict, devices)
        if "DeviceName" in device
        and all(device.get(key, "") in value.split(",") for key, value in wanted)
    ]
    return ", ".join(dict.fromkeys(names)) or None


def pme_is_on_threads(system: openmm.System) -> bool:
    """Whether `system` has PME, and this process computes it on several of the CPU's threads."""
    return (
        any(
            isinstance(force, openmm.NonbondedForce)
            and force.getNonbondedMethod()
            in (openmm.NonbondedForce.PME, openmm.NonbondedForce.LJPME)
            for force in system.getForces()
        )
        and not _is_on_one_thread()
    )


@lru_cache(maxsize=1)
def _is_on_one_thread() -> bool:
    """Whether PME on the CPU platform adds up in the order of one thread in this process.

    OpenMM reads OPENMM_CPU_THREADS once a process, at its first PME, and tells nobody. It shows in
    what float32 loses: of many charges in one place, the first is 1, and each other one is so small
    that to add it changes nothing. Threads add up a share each, and two of the small ones count.
    """
    os.environ["OPENMM_CPU_THREADS"] = "1"
    try:
        without, added = (_reciprocal_forces(charge) for charge in (0.0, 0.9 * 2.0**-25))
    except openmm.OpenMMException:
        return True  # There is no such platform, or a context on it says what is wrong.
    return np.array_equal(without, added)


def _reciprocal_forces(small: float) -> np.ndarray:
    """PME's part of the forces on a charge of 1, which shares its place with small ones, and on
    its counterpart; shape (2, 3)."""
    # At least two for each thread but the first.
    charges = [1.0, -1.0] + [small] * (200 + 4 * (os.cpu_count() or 1))
    system, force = openmm.System(), openmm.NonbondedForce()
    system.setDefaultPeriodicBoxVectors(*(2.0 * np.eye(3)))
    force.setNonbondedMethod(openmm.NonbondedForce.PME)
    force.setPMEParameters(3.0, 16, 16, 16)
    force.setReciprocalSpaceForceGroup(1)
    for charge in charges:
        system.addParticle(1.0)
        force.addParticle(charge, 1.0, 0.0)
    system.addForce(force)
    platform = openmm.Platform.getPlatformByName("CPU")
    properties = {"Threads": "1", "DeterministicForces": "true"}
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform, properties)
    # Too far from each other to share points of the grid.
    context.setPositions([(1.3, 1.4, 1.5) if q < 0 else (0.3, 0.4, 0.5) for q in charges])
    forces = context.getState(forces=True, groups={1}).getForces(asNumpy=True)
    return np.array(forces._value[:2])
