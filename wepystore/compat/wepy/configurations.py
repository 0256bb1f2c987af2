"""Entries of wepy 1.x as what runs here: a snapshot of wepy's components, a native configuration.

A configuration of wepy's holds paths and a name of an earlier job, so it cannot
be taken as it is: the reporters become ours that write the same files, the
mapper becomes ours. What has no counterpart (a user's own reporter) is called as wepy calls it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from wepystore.compat.wepy.classes import is_of_wepy, is_wepy, wepy_class
from wepystore.compat.wepy.reporters import WepyReporter
from wepystore.engine.mappers.processes import ProcessMapper
from wepystore.engine.mappers.serial import SerialMapper
from wepystore.engine.protocols import Capabilities, FileCapabilities
from wepystore.records.configuration import Configuration
from wepystore.reporters.dashboard import DashboardReporter
from wepystore.reporters.family_tree import FamilyTreeReporter
from wepystore.reporters.hdf5 import HDF5Reporter
from wepystore.reporters.structures import InitTopologyReporter, WalkerReporter

#: What wepy's HDF5 reporter saves if it is not told which fields.
_ALL_FIELDS = (
    "positions",
    "velocities",
    "forces",
    "kinetic_energy",
    "potential_energy",
    "time",
    "box_vectors",
    "box_volume",
)


class NotedByMapper(Capabilities):
    """What a mapper of wepy's has in attributes, if it has it."""

    num_workers: int | None = None


def configuration_of(found: Any) -> tuple[Configuration, list[str]]:
    """A native configuration for one of wepy's, and what a user should know of the difference."""
    notes: list[str] = []
    reporters: list[Any] = []
    suffixes = [
        suffix
        for cls in found.reporter_classes
        for suffix in FileCapabilities(cls).SUGGESTED_EXTENSIONS
    ]
    # As wepy does where two of its reporters would write to one file.
    own_name = len(set(suffixes)) < len(suffixes)
    given = zip(found.reporter_classes, found.reporter_partial_kwargs, found.reporters, strict=True)
    for cls, options, reporter in given:
        make = _REPORTERS.get(wepy_class(cls) or "")
        if make is None:
            notes.append(f"reporter {cls.__name__} has no counterpart: it is kept, pickled")
            reporters.append(WepyReporter(cls, options, own_name))
        else:
            reporters += make(reporter, notes)
    mapper = _mapper(found, notes)
    options = dict((found.apparatus_opts or {}).get("runner", {}) or {})
    platform = options.pop("platform", None)
    properties = options.pop("platform_kwargs", None) or {}
    if not isinstance(platform, str):
        platform = None
    if options:
        notes.append(f"options of the runner that nothing here takes: {', '.join(sorted(options))}")
    return (
        Configuration.as_found(
            work_mapper=mapper,
            reporters=reporters,
            monitor=found.monitor,
            platform=platform,
            platform_properties={str(k): str(v) for k, v in properties.items()},
        ),
        notes,
    )


def native_configuration(found: Configuration) -> tuple[Configuration | None, list[str]]:
    """A configuration of ours that holds wepy's components, without them; what to know of it.

    None if it holds none of them. What has no counterpart stays the object that it is.
    """
    parts = (*found.reporters, found.work_mapper, found.monitor)
    if not any(is_wepy(part) for part in parts):
        return None, []
    notes: list[str] = []
    reporters: list[Any] = []
    for reporter in found.reporters:
        name = type(reporter).__name__
        make = _REPORTERS.get(wepy_class(type(reporter)) or "")
        if make is not None:
            made = make(reporter, notes)
            notes.append(
                f"reporter {name} of wepy is now "
                f"{' and '.join(type(each).__name__ for each in made)}, with files named by the job"
            )
            reporters += made
            continue
        if is_wepy(reporter):
            notes.append(
                f"reporter {name} has no counterpart: it is kept, pickled, and writes into the "
                "job's folder"
            )
        reporters.append(reporter)
    mapper = found.work_mapper
    if wepy_class(type(mapper)) is not None:
        mapper = _native_mapper(type(mapper), NotedByMapper(mapper).num_workers)
        notes.append(f"mapper of wepy is now {type(mapper).__name__}")
    elif is_wepy(mapper):
        notes.append(f"mapper {type(mapper).__name__} has no counterpart: it is kept, pickled")
    return dataclasses.replace(found, reporters=_once(reporters), work_mapper=mapper), notes


def _once(reporters: list[Any]) -> list[Any]:
    """Without a second one that would write the same file."""
    return [
        each
        for place, each in enumerate(reporters)
        if not isinstance(each, _BY_KIND) or type(each) not in map(type, reporters[:place])
    ]


def _mapper(found: Any, notes: list[str]) -> Any:
    cls = found.work_mapper_class
    options: Mapping[str, Any] = found.work_mapper_partial_kwargs or {}
    if not is_of_wepy(cls.__module__):
        return found.work_mapper
    worker = options.get("worker_type") or options.get("walker_task_type")
    if worker is not None:
        notes.append(
            f"workers of type {worker.__name__} become plain processes with one thread each"
        )
    if options.get("device_ids"):
        notes.append("the list of devices is left out: see how a run is told of its GPUs")
    return _native_mapper(cls, options.get("num_workers"))


def _native_mapper(cls: type, n_workers: int | None) -> Any:
    return SerialMapper() if cls.__name__ == "Mapper" else ProcessMapper(n_workers)


def _hdf5(reporter: Any, notes: list[str]) -> list[Any]:
    sparse = dict(reporter._sparse_fields or {})
    fields = list(_ALL_FIELDS if reporter.save_fields is None else reporter.save_fields)
    fields += [name for name in sparse if name not in fields]
    if sparse:
        notes.append(f"every cycle has the fields {', '.join(sorted(sparse))}, not only some")
    if reporter.alt_reps_idxs:
        notes.append("alternative representations of the atoms are not written")
    atoms = reporter.main_rep_idxs
    return [
        HDF5Reporter(
            save_fields=tuple(fields),
            main_rep_idxs=None if atoms is None else [int(i) for i in atoms],
        )
    ]


def _dashboard(reporter: Any, notes: list[str]) -> list[Any]:
    sections = [
        type(section).__name__
        for section in (reporter.resampler_dash, reporter.runner_dash, reporter.bc_dash)
        if section is not None and wepy_class(type(section)) is None
    ]
    if sections:
        notes.append(f"sections of the dashboard that are left out: {', '.join(sections)}")
    return [DashboardReporter()]


_BY_KIND = (
    *(HDF5Reporter, DashboardReporter, FamilyTreeReporter),
    *(InitTopologyReporter, WalkerReporter),
)

_REPORTERS: dict[str, Callable[[Any, list[str]], list[Any]]] = {
    "wepy.reporter.hdf5.WepyHDF5Reporter": _hdf5,
    "wepy.reporter.dashboard.DashboardReporter": _dashboard,
    "wepy.reporter.restree.ResTreeReporter": lambda reporter, notes: [FamilyTreeReporter()],
    "wepy.reporter.walker.WalkerReporter": lambda reporter, notes: [
        InitTopologyReporter(),
        WalkerReporter(),
    ],
}
