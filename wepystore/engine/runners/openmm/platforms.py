"""Which of OpenMM's platforms there are here, and which of them is the fastest."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import openmm

from wepystore.engine.errors import PlatformError
from wepystore.engine.parameters import platform_properties


def known_platforms() -> list[str]:
    """Names of the platforms this OpenMM can load."""
    return [
        openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())
    ]


_fastest: str | None = None


def fastest_platform() -> str:
    """The fastest platform on which a context can really be made here."""
    global _fastest
    if _fastest is None:
        platforms = [
            openmm.Platform.getPlatform(k) for k in range(openmm.Platform.getNumPlatforms())
        ]
        for platform in sorted(platforms, key=lambda p: -p.getSpeed()):
            system = openmm.System()
            system.addParticle(1.0)
            try:
                openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
            except openmm.OpenMMException:
                continue
            _fastest = platform.getName()
            break
        else:
            raise PlatformError(platform="any", problem="none works", known="none")
    return _fastest


def load_platform(name: str, properties: Mapping[str, str]) -> openmm.Platform:
    """The platform `name`.

    Raises
    ------
    PlatformError : there is none, it lacks one of `properties`, or they are none to use.
    """
    try:
        platform_properties(properties)
    except ValueError as problem:
        raise PlatformError(
            platform=name, problem=problem, known=", ".join(known_platforms())
        ) from None
    try:
        platform = openmm.Platform.getPlatformByName(name)
    except openmm.OpenMMException:
        raise PlatformError(
            platform=name, problem="there is no such platform", known=", ".join(known_platforms())
        ) from None
    for key in properties:
        if key not in platform.getPropertyNames():
            raise PlatformError(
                platform=name,
                problem=f"it has no property {key!r} (it has: "
                f"{', '.join(platform.getPropertyNames()) or 'none'})",
                known=", ".join(known_platforms()),
            )
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
