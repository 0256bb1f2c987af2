"""Entries of wepy 1.x as what runs here: a snapshot of wepy's components, a native configuration.

A configuration of wepy's holds paths and a name of an earlier job, so it cannot
be taken as it is: the reporters become ours that write the same files, the
mapper becomes ours. What has no counterpart (a user's own reporter) is called as wepy calls it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from wepystore.compat.wepy.classes import is_wepy, wepy_class
from wepystore.compat.wepy.reporters import WepyReporter
from wepystore.engine.mappers.processes import ProcessMapper
from wepystore.engine.mappers.serial import SerialMapper
from wepystore.engine.protocols import FileCapabilities
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
        make = _REPORTERS.get(wepy_class(type(reporter)) or "") if is_wepy(reporter) else None
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
    if is_wepy(mapper):
        n_workers = getattr(mapper, "num_workers", None)
        known = is_wepy_own(mapper)
        if not known:
            notes.append(f"mapper {type(mapper).__name__} has no counterpart: it is kept, pickled")
        elif type(mapper).__name__ == "Mapper":
            mapper = SerialMapper()
        else:
            mapper = ProcessMapper(n_workers)
        if known:
            notes.append(f"mapper of wepy is now {type(mapper).__name__}")
    return dataclasses.replace(found, reporters=_once(reporters), work_mapper=mapper), notes


def _once(reporters: list[Any]) -> list[Any]:
    """Without a second one that would write the same file."""
    kinds: set[type] = set()
    kept = []
    for each in reporters:
        if isinstance(each, _BY_KIND):
            if type(each) in kinds:
                continue
            kinds.add(type(each))
        kept.append(each)
    return kept


def _mapper(found: Any, notes: list[str]) -> Any:
    cls = found.work_mapper_class
    options: Mapping[str, Any] = found.work_mapper_partial_kwargs or {}
    n_workers = options.get("num_workers")
    if cls.__module__.partition(".")[0] != "wepy":
        return found.work_mapper
    worker = options.get("worker_type") or options.get("walker_task_type")
    if worker is not None:
        notes.append(
            f"workers of type {worker.__name__} become plain processes with one thread each"
        )
    if options.get("device_ids"):
        notes.append("the list of devices is left out: see how a run is told of its GPUs")
    if cls.__name__ == "Mapper":
        return SerialMapper()
    return ProcessMapper(n_workers)


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
        if section is not None and not is_wepy_own(section)
    ]
    if sections:
        notes.append(f"sections of the dashboard that are left out: {', '.join(sections)}")
    return [DashboardReporter()]


def _tree(reporter: Any, notes: list[str]) -> list[Any]:
    return [FamilyTreeReporter()]


def _walker(reporter: Any, notes: list[str]) -> list[Any]:
    return [InitTopologyReporter(), WalkerReporter()]


def is_wepy_own(thing: Any) -> bool:
    """Whether `thing` is of a class of wepy's itself."""
    return is_wepy(thing) and wepy_class(type(thing)) is not None


_BY_KIND = (
    *(HDF5Reporter, DashboardReporter, FamilyTreeReporter),
    *(InitTopologyReporter, WalkerReporter),
)

_REPORTERS: dict[str, Callable[[Any, list[str]], list[Any]]] = {
    "wepy.reporter.hdf5.WepyHDF5Reporter": _hdf5,
    "wepy.reporter.dashboard.DashboardReporter": _dashboard,
    "wepy.reporter.restree.ResTreeReporter": _tree,
    "wepy.reporter.walker.WalkerReporter": _walker,
}
