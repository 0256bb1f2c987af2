"""Which work mapper a run uses: the configuration's, or what was asked for instead."""

from __future__ import annotations

from typing import Any

from wepystore.engine.mappers.base import WorkMapper
from wepystore.engine.mappers.dask import DaskMapper, check_dask
from wepystore.engine.mappers.processes import ProcessMapper
from wepystore.engine.mappers.serial import SerialMapper
from wepystore.engine.protocols import MapperCapabilities, RunnerCapabilities

WITHOUT_SCHEDULER = (
    "the configuration has a DaskMapper, and no scheduler was given: "
    "segments run on this host, without dask"
)


def choose_mapper(
    configured: Any,
    n_workers: int | None,
    scheduler: str | None = None,
    other_platform: bool = False,
) -> Any:
    """The configured mapper, or one that can have as many workers as were asked for.

    With a `scheduler` (its address, or its scheduler file) it is dask's, whatever
    the configuration says; without one, a DaskMapper of a configuration becomes as
    many processes on this host. On another platform than the configuration was made for
    (`other_platform`) workers get no properties of their own: what names a CUDA
    device means nothing to the CPU. Raises MissingDaskError if what is needed is not installed.
    """
    if other_platform:
        configured = _without_properties(configured)
    if scheduler is not None:
        check_dask()
        return DaskMapper(scheduler, n_workers, MapperCapabilities(configured).segment_timeout)
    if needs_scheduler(configured):
        configured = ProcessMapper(configured.n_workers, None, configured.segment_timeout)
    elif isinstance(configured, DaskMapper):
        check_dask()
    if n_workers is None:
        return configured
    if isinstance(configured, SerialMapper):
        return configured if n_workers == 1 else ProcessMapper(n_workers)
    if n_workers == 1 and type(configured) is ProcessMapper and _plain(configured):
        return SerialMapper()
    return configured


def needs_scheduler(mapper: Any) -> bool:
    """Whether this is a DaskMapper as configurations hold it, which name no host."""
    return type(mapper) is DaskMapper and mapper.scheduler is None


def _without_properties(mapper: Any) -> Any:
    own = MapperCapabilities(mapper).worker_properties
    if type(mapper) is not ProcessMapper or not own:
        return mapper
    return ProcessMapper(mapper.n_workers or len(own), None, mapper.segment_timeout)


def is_other_platform(override: str | None, configured: str | None, runner: Any) -> bool:
    """Whether a run is on another platform than the configuration, or else its runner, names."""
    return override is not None and override != (configured or RunnerCapabilities(runner).platform)


def _plain(mapper: ProcessMapper) -> bool:
    """Whether it asks for nothing that only a worker process can give."""
    return mapper.worker_properties is None and mapper.segment_timeout is None


def useful_workers(asked: int | None, n_walkers: int, mapper: Any = None) -> int | None:
    """As many workers as were asked for, or else as the mapper would start, if each can have a
    walker: others would stand by, each with a system of its own in memory.

    None leaves it to the mapper: to one of a cluster, which starts none, or to a user's own.
    """
    if asked is None and isinstance(mapper, WorkMapper):
        asked = mapper.would_start()
    return None if asked is None else min(asked, n_walkers)


def workers_of(mapper: Any, override: int | None) -> int | None:
    """How many workers a mapper has, for the run record; None if it does not say."""
    if isinstance(mapper, SerialMapper):
        return 1
    return override or MapperCapabilities(mapper).n_workers


def properties_of_workers(
    mapper: Any, properties: dict[str, str] | None
) -> list[dict[str, str] | None]:
    """The platform properties that segments of each worker run with: whether a run can be
    reproduced, and what its record says of its environment, depends on all of them.

    Just `properties`, unless the mapper gives its workers some of their own.
    """
    own = MapperCapabilities(mapper).worker_properties
    return [{**(properties or {}), **each} for each in own] if own else [properties]
