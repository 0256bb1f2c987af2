"""What is asked of the parts of a run, declared once.

The protocols are what the manager calls and no more, so that parts that were written for other
programs run here. What a part may have besides is in a class below `Capabilities`, which is made
of the part when it is wanted: some have it only after their `init`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

Properties = Mapping[str, str] | None


# ---- what each part must have


class Runner(Protocol):
    """Moves one walker at a time; the work mapper calls it."""

    def pre_cycle(self, **facts: Any) -> Any: ...

    def run_segment(self, walker: Any, segment_length: int, **keywords: Any) -> Any: ...

    def post_cycle(self) -> Any: ...


class EnsembleRunner(Protocol):
    """Moves all walkers at once."""

    def pre_cycle(self, **facts: Any) -> Any: ...

    def run_segments(
        self,
        walkers: Sequence[Any],
        n_steps: int,
        *,
        rng: np.random.Generator,
        cycle_idx: int,
        **keywords: Any,
    ) -> Sequence[Any]: ...

    def post_cycle(self) -> Any: ...


class BoundaryConditions(Protocol):
    """Warps walkers at a target: gives walkers, warp data, bc data, progress data."""

    def warp_walkers(
        self, walkers: Sequence[Any], cycle_idx: int
    ) -> tuple[Sequence[Any], Any, Any, Any]: ...


class Resampler(Protocol):
    """Clones and merges: gives walkers, resampling data, resampler data."""

    def resample(self, walkers: Sequence[Any]) -> tuple[Sequence[Any], Any, Any]: ...


class WorkMapper(Protocol):
    """Runs a segment for each walker; told `dumps`, and given a `seed` for each, if it takes them.

    What it notes in `worker_segment_times`, if anything, reporters are told.
    """

    def init(self, segment_func: Callable[..., Any], num_workers: int | None = None) -> Any: ...

    def map(
        self, walkers: Sequence[Any], lengths: Iterable[int], **keywords: Iterable[Any]
    ) -> Iterable[Any]: ...

    def cleanup(self) -> Any: ...


class Reporter(Protocol):
    """Is shown every cycle, and changes nothing of the run."""

    def init(self, *, init_walkers: Sequence[Any], continue_run: Any, **parts: Any) -> Any: ...

    def report(self, **report: Any) -> Any: ...

    def cleanup(self, **parts: Any) -> Any: ...


class Monitor(Protocol):
    """Looks on once a cycle."""

    def init(self) -> Any: ...

    def cycle_monitor(self, manager: Any, walkers: Sequence[Any]) -> Any: ...

    def cleanup(self) -> Any: ...


# ---- what a part may have besides


def _nothing(*given: Any, **keywords: Any) -> None:
    """Stands in for a method that a part has not."""


def name_of(part: Any) -> str:
    """What to call a part in a message: a function or a class by its own name."""
    return str(getattr(part, "__name__", type(part).__name__))


class Capabilities:
    """Base of those whose fields are what a part may have, each with what stands in for it.

    What its own properties raise passes. What is no method cannot stand for one.
    """

    def __init__(self, part: Any) -> None:
        for name in type(self).__annotations__:
            default = getattr(self, name)
            found = getattr(part, name, default)
            if found is not default and (callable(found) or not callable(default)):
                setattr(self, name, found)


class CycleRecord(Protocol):
    """What a manager tells of each cycle before the reporters are told."""

    def add(self, report: dict[str, Any]) -> None:
        """What the reporters will be told of a cycle, which may still fail; and which walkers each
        worker had, if the mapper tells."""

    def keep(self) -> None:
        """The cycle is whole. What fails here undoes that it was added."""


class RunnerCapabilities(Capabilities):
    """Of a runner: what it knows of platforms.

    Attributes
    ----------
    platform : the one that it names itself
    check_platform(platform, properties) : raises PlatformError
    environment(platform, properties) : facts for the run record
    reproducible(platform, properties) : whether equal seeds give equal bits; None if it cannot tell
    needs_own_process(platform, properties) : whether what this process has done would change bits
    run_segments : of an EnsembleRunner
    drop_contexts() : forgets what it keeps between segments
    """

    platform: str | None = None
    check_platform: Callable[[str | None, Properties], None] = _nothing
    environment: Callable[[str | None, Properties], Mapping[str, Any] | None] = _nothing
    reproducible: Callable[[str | None, Properties], bool] | None = None
    needs_own_process: Callable[[str | None, Properties], bool | None] = _nothing
    run_segments: Callable[..., Sequence[Any]] | None = None
    drop_contexts: Callable[[], None] = _nothing


class StructureCapabilities(Capabilities):
    """Of a runner: what files for other programs need to know of its system.

    Attributes
    ----------
    topology : topology JSON (engine.topology), or None where there are no atoms
    has_box : whether the box of the states is one
    masses : of the atoms, Da, shape (n_atoms,)
    """

    topology: str | None = None
    has_box: bool = True
    masses: np.ndarray | None = None


class TopologyCapabilities(Capabilities):
    """Of a topology of mdtraj's, how it becomes one of OpenMM's; of what holds one, which."""

    to_openmm: Callable[[], Any] = _nothing
    topology: Any = None


class PeriodicCapabilities(Capabilities):
    """Of a runner, whether there is a box to fold by; of what measures, whether it folds."""

    periodic: bool | None = None


class DrawingCapabilities(Capabilities):
    """Of boundary conditions or a resampler: how it is given its random numbers (R1)."""

    set_rng: Callable[[np.random.Generator], None] | None = None


class WarpCapabilities(Capabilities):
    """Of boundary conditions: where warped walkers go, and whether a trajectory ends there."""

    initial_states: Sequence[Any] | None = None
    warping_discontinuity: Callable[[Any], Any] | None = None


class StartCapabilities(Capabilities):
    """Of a resampler: which weights it refuses to start from."""

    check_start: Callable[[np.ndarray], None] = _nothing


class MeasuringCapabilities(Capabilities):
    """Of a resampler, boundary conditions or a distance: what it measures with."""

    distance: Any = None
    coordinate: Any = None


class DistanceCapabilities(Capabilities):
    """Of a distance: the faster ways to ask for many at once; see distances.base.Distance."""

    image: Callable[[Any], Any] | None = None
    images: Callable[[Sequence[Any]], Any] | None = None
    image_distances: Callable[[Any, Any], Any] | None = None
    pairwise: Callable[[Any], Any] | None = None


class CoordinateCapabilities(Capabilities):
    """Of a progress coordinate, see distances.coordinate.ProgressCoordinate; of a distance, whether
    its `images` takes ensembles."""

    many: Callable[[Sequence[Any]], Any] | None = None
    takes_ensembles: bool = False


class PotentialCapabilities(Capabilities):
    """Of a potential; see runners.langevin.Potential."""

    gradient: Callable[[Any], Any] | None = None
    exact: bool = False


class DecisionCapabilities(Capabilities):
    """Of a resampler, the class of its decisions; of that, the number of each."""

    DECISION: Any = None
    enum_dict_by_name: Callable[[], Mapping[str, int]] | None = None


class SummaryCapabilities(Capabilities):
    """Of any part: what it tells a person who watches; of a runner also its step, ps."""

    summary: Callable[[], Any] = _nothing
    step_size: float | None = None


class MapperCapabilities(Capabilities):
    """Of a work mapper: how many workers it has, and what each of them is told.

    Attributes
    ----------
    worker_properties : platform properties for each worker
    segment_timeout : s
    """

    n_workers: int | None = None
    worker_properties: Sequence[Mapping[str, str]] | None = None
    segment_timeout: float | None = None


class ReporterCapabilities(Capabilities):
    """Of a reporter: what it wants to know of jobs; see reporters.base.Reporter."""

    bind: Callable[[Any], None] = _nothing
    keep_with: Callable[[Any], None] = _nothing
    annotate: Callable[..., None] = _nothing
    resume: Callable[[int], None] = _nothing
    flush: Callable[[], None] = _nothing

    @property
    def resumes(self) -> bool:
        """Whether it goes on with files that are there."""
        return "resume" in vars(self)


class FileCapabilities(Capabilities):
    """Of a reporter that names its files itself, as wepy's do, or of its class.

    Attributes
    ----------
    file_paths : what it writes
    FILE_ORDER : the attributes in which it has these paths
    SUGGESTED_FILENAME_TEMPLATE, SUGGESTED_EXTENSIONS : how they should be named
    """

    file_paths: Any = ()
    FILE_ORDER: Sequence[str] = ()
    SUGGESTED_FILENAME_TEMPLATE: str = "{config}{narration}{reporter_class}.{ext}"
    SUGGESTED_EXTENSIONS: Sequence[str] = ()


class RemarkCapabilities(Capabilities):
    """Of a reporter: what it has to say once it is open."""

    remarks: Sequence[str] = ()
