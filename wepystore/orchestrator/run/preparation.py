"""What computes the cycles of a run, or of its repetition: chosen and asked before anything is
written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wepystore.engine.adapt import adapted_runner, draws_from_the_run, releases
from wepystore.engine.manager import CycleManager, named
from wepystore.engine.mappers.processes import ProcessMapper
from wepystore.engine.mappers.serial import SerialMapper
from wepystore.engine.protocols import RunnerCapabilities
from wepystore.engine.rng import Streams
from wepystore.orchestrator.run.environment import environment_of
from wepystore.orchestrator.run.mapping import (
    choose_mapper,
    is_other_platform,
    properties_of_workers,
    useful_workers,
)
from wepystore.orchestrator.run.request import Means
from wepystore.orchestrator.run.start import Start
from wepystore.records import pickles


class Preparation:
    """An apparatus with the mapper, workers and platform that run it.

    Parameters
    ----------
    start : Start
        Its walkers are taken away: the manager has them.
    means : Means
    seed : int
    platform, properties : str, mapping of str to str, or None
        Of OpenMM.
    mapper : object
        Of a configuration.
    other_platform : bool
        Whether `platform` is another one than `mapper` was made for.
    n_done : int
        Cycles so far, for messages.
    onlookers
        Reporters and monitor.

    Attributes
    ----------
    apparatus : Apparatus
    runner : object
        One of somebody else's as what makes it run here.
    can : RunnerCapabilities
    mapper : object
    n_workers, n_walkers : int
    environment : dict
        As environment_of.
    manager : CycleManager
    """

    def __init__(
        self,
        start: Start,
        means: Means,
        seed: int,
        platform: str | None,
        properties: Mapping[str, str] | None,
        mapper: Any,
        other_platform: bool,
        n_done: int = 0,
        **onlookers: Any,
    ) -> None:
        self.apparatus = parts = start.snapshot.apparatus
        self.runner = adapted_runner(parts.runner)
        walkers = start.take_walkers()
        self.n_walkers = len(walkers)
        n_workers = useful_workers(means.n_workers, self.n_walkers)
        self.mapper = choose_mapper(mapper, n_workers, means.scheduler, other_platform)
        self.n_workers = useful_workers(n_workers, self.n_walkers, self.mapper)
        self._choice = platform, dict(properties) if properties else None
        with named(self.runner, n_done):
            self.can = RunnerCapabilities(self.runner)
            for each in properties_of_workers(self.mapper, self._choice[1]):
                self.can.check_platform(platform, each)
            environment = environment_of(self.runner, *self._choice)
            if type(self.mapper) is SerialMapper and self.can.needs_own_process(*self._choice):
                self.mapper = ProcessMapper(1)
        self.environment = environment | releases(
            parts.runner, parts.boundary_conditions, parts.resampler
        )
        chosen = zip(("platform", "platform_kwargs"), self._choice, strict=True)
        self.manager = CycleManager(
            init_walkers=walkers,
            runner=self.runner,
            boundary_conditions=parts.boundary_conditions,
            resampler=parts.resampler,
            work_mapper=self.mapper,
            # The start's hash makes a continuation with the same seed draw other numbers.
            # It is that of the run, also when this session begins at a checkpoint (R2).
            streams=Streams([seed, int(start.snapshot_ref.md5, 16)]),
            runner_options={name: value for name, value in chosen if value is not None},
            dumps=pickles.dumps,
            **onlookers,
        )

    def reproducible(self, n_done: int) -> bool:
        """Whether cycles computed so give the same bits each time (R1)."""
        check, (platform, properties) = self.can.reproducible, self._choice
        if check is None:
            return False  # Who does not say so is not known to be.
        with named(self.runner, n_done):
            says = all(
                check(platform, each) for each in properties_of_workers(self.mapper, properties)
            )
        drawing = (self.apparatus.resampler, self.apparatus.boundary_conditions)
        return says and all(map(draws_from_the_run, drawing))


def prepare(start: Start, means: Means, seed: int, n_done: int, **onlookers: Any) -> Preparation:
    """As the configuration says, unless `means` say otherwise."""
    configuration = start.configuration
    platform = means.platform or configuration.platform
    runner = adapted_runner(start.snapshot.apparatus.runner)
    return Preparation(
        start,
        means,
        seed,
        platform,
        configuration.platform_properties if platform == configuration.platform else None,
        configuration.work_mapper,
        is_other_platform(means.platform, configuration.platform, runner),
        n_done,
        **onlookers,
    )
