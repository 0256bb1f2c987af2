"""Configurations: how an apparatus is run. They hold no path, host, job name or time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wepystore.engine import fit
from wepystore.engine.kept_frames import Recording
from wepystore.engine.parameters import platform_properties
from wepystore.records.snapshot import FORMAT, AsFound, check_type
from wepystore.records.values import Fetch, Sink, decode, encode, reading
from wepystore.store import canonical
from wepystore.store.names import Ref

#: The format of one that says what is recorded.
WITH_RECORDING = 2

_PARTS = ("work_mapper", "reporters", "monitor", "platform", "platform_properties")


@dataclass(frozen=True)
class Configuration(AsFound):
    """How it is executed.

    Attributes
    ----------
    work_mapper : WorkMapper
    reporters : sequence of Reporter
        Their files are named by the job when a run begins.
    monitor : object or None
        Looks at the manager once a cycle (wepy's protocol).
    platform : str or None
        OpenMM platform for every segment; None leaves the runner its own.
    platform_properties : mapping of str to str
    recording : Recording or None
        Which frames are kept in the store; None for the usual ones.

    Raises
    ------
    WrongPartError : a part is not what its place is for.
    """

    work_mapper: Any
    reporters: Sequence[Any] = ()
    monitor: Any = None
    platform: str | None = None
    platform_properties: Mapping[str, str] = field(default_factory=dict)
    recording: Recording | None = None

    def __post_init__(self) -> None:
        fit.check_configuration(
            self.work_mapper, self.reporters, self.monitor, self.platform, self.platform_properties
        )
        fit.check_recording(self.recording)


def encode_configuration(configuration: Configuration, sink: Sink) -> Ref:
    """Put a configuration's objects and then its manifest into `sink`; the manifest's Ref."""
    values = {part: getattr(configuration, part) for part in _PARTS}
    values["reporters"] = list(configuration.reporters)
    values["platform_properties"] = dict(configuration.platform_properties)
    manifest: dict[str, Any] = {"type": "configuration", "format": FORMAT}
    if configuration.recording is not None:
        # What is usual adds no key: configurations keep their hashes.
        manifest["format"] = WITH_RECORDING
        values["recording"] = configuration.recording
    for part, value in values.items():
        manifest[part] = encode(value, sink, part)
    return sink.put("configs", canonical.dumps(manifest))


def decode_configuration(manifest: Any, fetch: Fetch, where: str) -> Configuration:
    """The configuration of a manifest. Loads its pickled parts, if it has any (S9)."""
    check_type(manifest, "configuration", where)
    with reading("configuration", where):
        names = [*_PARTS, "recording"] if manifest["format"] == WITH_RECORDING else _PARTS
        parts = {part: decode(manifest[part], fetch, f"{where}: {part}") for part in names}
        if not isinstance(parts.get("recording"), (Recording, type(None))):
            raise TypeError("recording is no Recording")
        if not isinstance(parts["reporters"], list):
            raise TypeError("reporters is not a list")
        if not isinstance(parts["platform"], (str, type(None))):
            raise TypeError("platform is not a name")
        properties = parts["platform_properties"]
        if not all(isinstance(word, str) for item in properties.items() for word in item):
            raise TypeError("platform_properties are not words")
        platform_properties(properties)
        return Configuration.as_found(**{"recording": None} | parts)
